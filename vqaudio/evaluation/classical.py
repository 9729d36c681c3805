"""Classical speech codecs, run as the programs that people have: Opus, Codec2, Speex."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from vqaudio.audio import read_audio, resample, write_audio
from vqaudio.codes import frames_for
from vqaudio.errors import UserError
from vqaudio.sound_files import native_name

LONGEST_SECONDS = 600  # that a program may take for one sound
CODEC2_RATE = 8_000
CODEC2_FRAME = 320  # samples, 40 ms: what is left of the last one c2enc would drop
CODEC2_MODES = ("3200", "2400", "1600", "1400", "1300", "1200", "700C", "450")
SPEEX_FRAME_SECONDS = 0.02
# more than a page has: of a file of one page speexdec leaves the encoder's delay in
SPEEX_FRAMES_AFTER = 260
OGG_HEADERS = 2  # packets before the first of sound
OPUS_LONG_FRAMES = 8  # kbit/s, below which frames of 60 ms rather than 20 leave more bits for sound


@dataclass(frozen=True)
class Coded:
    """What became of a sound: float `[T]` at its own rate, and the payload without container in bits."""

    audio: Tensor
    payload_bits: int


@dataclass(frozen=True)
class Program:
    """A codec as a pair of programs, with one setting.

    Args:
        kind: of `KINDS`.
        setting: bitrate in kbit/s for opus, mode for codec2, quality 0 to 10 for speex.
    """

    kind: str
    setting: str

    @property
    def name(self) -> str:
        """Such as opus-6."""
        return f"{self.kind}-{self.setting}"

    @property
    def version(self) -> str:
        """What the encoder says of itself; empty where it says nothing."""
        if self.kind == "codec2":
            return ""
        said = subprocess.run(
            [KINDS[self.kind].programs[0], "--version"], capture_output=True, text=True
        )
        return (said.stdout or said.stderr).partition("\n")[0].strip()

    def code(self, audio: Tensor, sample_rate: int) -> Coded:
        """Encode a sound and decode it again.

        Args:
            audio: float `[T]`.
            sample_rate: in Hz.

        Raises:
            UserError: a program failed; what it said is part of the message.
        """
        with tempfile.TemporaryDirectory() as folder:
            return KINDS[self.kind].code(self.setting, audio, sample_rate, Path(folder))


def find_program(text: str) -> Program | None:
    """What `opus:6`, `codec2:1200` or `speex:0` name; None for what begins otherwise.

    Raises:
        UserError: there is no such setting, or its programs are not installed.
    """
    kind, colon, setting = text.partition(":")
    if kind not in KINDS or (not colon and Path(text).is_dir()):
        return None
    known = KINDS[kind]
    if not known.allows(setting):
        raise UserError(f"--against {text}: {kind} takes {known.settings}, as in {known.example}")
    for program in known.programs:
        if shutil.which(program) is None:
            raise UserError(
                f"--against {text}: {program} is not installed; install {known.source} "
                f"(Debian: apt-get install {known.source}) or leave it out"
            )
    return Program(kind, setting)


def ogg_payload(content: bytes, packets: int | None = None) -> int:
    """Bytes of the packets of sound in an Ogg file of one stream (RFC 3533), without its headers.

    Args:
        content: of the file.
        packets: to count, from the first; by default all.
    """
    sizes, size, place = [], 0, 0
    while content[place : place + 4] == b"OggS":
        segments = content[place + 27 : place + 27 + content[place + 26]]
        for segment in segments:
            size += segment
            if segment < 255:
                sizes.append(size)
                size = 0
        place += 27 + len(segments) + sum(segments)
    return sum(sizes[OGG_HEADERS:][:packets])


def _opus(setting: str, audio: Tensor, rate: int, folder: Path) -> Coded:
    source, coded, made = folder / "a.wav", folder / "a.opus", folder / "b.wav"
    write_audio(source, audio[None], rate)
    frame = "60" if float(setting) < OPUS_LONG_FRAMES else "20"
    how = ["--quiet", "--bitrate", setting, "--framesize", frame, "--serial", "0"]
    _run(["opusenc", *how, str(source), str(coded)])
    _run(
        ["opusdec", "--quiet", "--rate", str(rate), "--no-dither", "--force-wav", str(coded), str(made)]
    )
    return Coded(read_audio(made)[0][0], 8 * ogg_payload(coded.read_bytes()))


def _codec2(setting: str, audio: Tensor, rate: int, folder: Path) -> Coded:
    source, coded, made = folder / "a.raw", folder / "a.bin", folder / "b.raw"
    narrow = resample(audio[None], rate, CODEC2_RATE)[0]
    narrow = torch.nn.functional.pad(narrow, (0, -len(narrow) % CODEC2_FRAME)).clamp(-1, 1)
    raw = {"samplerate": CODEC2_RATE, "subtype": "PCM_16", "format": "RAW", "endian": "LITTLE"}
    soundfile.write(native_name(source), narrow.numpy(), **raw)
    _run(["c2enc", setting, str(source), str(coded)])
    _run(["c2dec", setting, str(coded), str(made)])
    samples, _ = soundfile.read(native_name(made), channels=1, dtype="float32", **raw)
    return Coded(
        resample(torch.from_numpy(samples)[None], CODEC2_RATE, rate)[0], 8 * coded.stat().st_size
    )


def _speex(setting: str, audio: Tensor, rate: int, folder: Path) -> Coded:
    source, coded, made = folder / "a.wav", folder / "a.spx", folder / "b.wav"
    band, width = (16_000, "--wideband") if rate >= 16_000 else (8_000, "--narrowband")
    frame = round(SPEEX_FRAME_SECONDS * band)
    sound = resample(audio[None], rate, band)
    padded = torch.nn.functional.pad(sound, (0, SPEEX_FRAMES_AFTER * frame))
    write_audio(source, padded, band)
    _run(["speexenc", width, "--quality", setting, str(source), str(coded)])
    _run(["speexdec", str(coded), str(made)])
    payload = ogg_payload(coded.read_bytes(), packets=frames_for(sound.shape[1], frame))
    return Coded(resample(read_audio(made)[0], band, rate)[0], 8 * payload)


@dataclass(frozen=True)
class _Kind:
    """A codec's programs, the settings that it takes, and how it is run."""

    programs: Sequence[str]
    source: str
    settings: str
    example: str
    allows: Callable[[str], bool]
    code: Callable[[str, Tensor, int, Path], Coded]


def _is_bitrate(setting: str) -> bool:
    return setting.replace(".", "", 1).isdecimal() and 6 <= float(setting) <= 256


def _is_quality(setting: str) -> bool:
    return setting.isdecimal() and int(setting) <= 10


KINDS = {
    "opus": _Kind(("opusenc", "opusdec"), "opus-tools", "6 to 256 kbit/s", "opus:6", _is_bitrate, _opus),
    "codec2": _Kind(
        ("c2enc", "c2dec"),
        "codec2",
        "one of " + ", ".join(CODEC2_MODES),
        "codec2:1200",
        CODEC2_MODES.__contains__,
        _codec2,
    ),
    "speex": _Kind(
        ("speexenc", "speexdec"), "speex", "a quality from 0 to 10", "speex:0", _is_quality, _speex
    ),
}


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LONGEST_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{command[0]}: took more than {LONGEST_SECONDS} s") from None
    except OSError as error:
        raise UserError(f"{command[0]}: cannot be run ({error.strerror})") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise UserError(f"{command[0]}: failed (status {done.returncode}): {said[-1]}")
