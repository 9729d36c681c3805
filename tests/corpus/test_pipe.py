"""A sound through a codec between two pipes: real processes, real streams."""

import io
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from tests.models import waveform_codec
from tests.sounds import tone
from vqaudio.codec.model import Codec
from vqaudio.corpus.pipe import SoundReader, SoundWriter, reconstruct_stream
from vqaudio.errors import UserError
from vqaudio.model_folder import save_model

RATE = 16000


@pytest.fixture(scope="module")
def codec() -> Codec:
    return waveform_codec()


@pytest.fixture(scope="module")
def folder(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "codec"
    save_model(
        path, codec, "# A toy\n\n## Data\n\nNone.\n\n## Licence\n\nCC0-1.0\n\n## Limits\n\nMany.\n"
    )
    return path


def start(folder: Path, *words: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "vqaudio", "reconstruct", "-", "--codec", str(folder), *words]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wav(audio: Tensor, subtype: str = "PCM_16", rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, audio.T.numpy(), rate, subtype=subtype, format="WAV")
    return file.getvalue()


def heard(data: bytes) -> tuple[Tensor, int]:
    audio, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    return torch.from_numpy(audio), rate


def read(data: bytes) -> Tensor:
    return torch.cat(list(SoundReader(io.BytesIO(data)).blocks()), dim=1)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT"])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_are_those_of_libsndfile(subtype: str, channels: int) -> None:
    data = wav(torch.rand(channels, 100001) * 2 - 1, subtype)
    wanted, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    assert torch.equal(read(data), torch.from_numpy(wanted.T.copy()))


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_header_may_not_know_the_length(length: int) -> None:
    data = wav(tone(0.1))
    place = data.index(b"data") + 4
    chunk = b"LIST" + struct.pack("<I", 3) + b"abc\0"  # a length that is odd, filled up
    unknown = data[: place - 4] + chunk + b"data" + struct.pack("<I", length) + data[place + 4 :]
    assert torch.equal(read(unknown), read(data))


def test_what_is_written_is_read_as_a_file() -> None:
    file, audio = io.BytesIO(), torch.rand(1, 1000) * 3 - 1.5
    SoundWriter(file, RATE).write(audio)
    found, rate = heard(file.getvalue())
    assert rate == RATE
    assert (found - audio[0].clamp(-1, 1)).abs().max() < 1e-4
    assert torch.equal(read(file.getvalue())[0], found)


@pytest.mark.parametrize(("words", "levels"), [([], None), (["--out", "-", "--levels", "1"], 1)])
def test_a_process_between_two_pipes(
    codec: Codec, folder: Path, words: list[str], levels: int | None
) -> None:
    audio = tone(3.0)
    out, err = start(folder, *words).communicate(wav(audio, "FLOAT"))
    assert err == b""
    found, rate = heard(out)
    assert rate == RATE
    wanted = codec.reconstruct(audio, levels=levels)[0].clamp(-1, 1)
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() < 1e-4


def test_raw_samples_come_out_while_others_go_in(folder: Path) -> None:
    numbers = (tone(4.0)[0] * 32767).to(torch.int16).numpy().tobytes()
    with start(folder, "--raw", str(RATE)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(numbers[: len(numbers) // 2])
        process.stdin.flush()
        early = process.stdout.read(44 + RATE)  # half a second, of the two that have come
        assert early[:4] == b"RIFF"
        process.stdin.write(numbers[len(numbers) // 2 :])
        process.stdin.close()
        late = process.stdout.read()
    assert process.returncode == 0
    assert len(early) + len(late) == 44 + len(numbers)


def test_nobody_listens_any_more(folder: Path) -> None:
    with start(folder) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        endless = wav(tone(1.0))[:40] + struct.pack("<I", 0xFFFFFFFF) + bytes(RATE * 2)
        process.stdin.write(endless)
        process.stdin.flush()
        process.stdout.read(10)
        process.stdout.close()
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            try:
                process.stdin.write(bytes(RATE))
            except BrokenPipeError:
                break
        with suppress(BrokenPipeError):
            process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", "standard input: empty; give a WAV stream"),
        (b"RIFF\0\0", "standard input: ends within its header"),
        (b"# Read me\n" * 9, "standard input: not a WAV stream; give one, or raw samples"),
        (wav(torch.zeros(1, 9), "ULAW"), "standard input: WAV of kind 7 with 8 bits; give 16, 24 or 32"),
        (wav(torch.zeros(1, 0)), "standard input: holds no samples"),
        (
            wav(torch.tensor([[0.0, float("nan")]]), "FLOAT"),
            "standard input: samples are not all finite",
        ),
        (wav(tone(1.0))[:-100], "standard input: truncated, 100 bytes before the end"),
    ],
    # Named, since a float WAV holds the second it was made in, and so would a name made of its bytes.
    ids=["nothing", "cut header", "text", "u-law", "no samples", "not finite", "cut data"],
)
def test_bad_input_is_one_line(codec: Codec, data: bytes, line: str) -> None:
    with pytest.raises(UserError, match=line.replace("(", r"\(")):
        reconstruct_stream(codec, io.BytesIO(data), io.BytesIO())


def test_no_wav_exits_with_2(folder: Path) -> None:
    process = start(folder)
    out, err = process.communicate(b"not a sound at all, and that is all")
    assert process.returncode == 2
    assert out == b""
    [line] = err.decode().splitlines()
    assert line.startswith("error: standard input: not a WAV stream")


@pytest.mark.parametrize(("closing", "name"), [("<&-", "input"), (">&-", "output")])
def test_a_stream_that_is_not_there(folder: Path, closing: str, name: str) -> None:
    command = f'exec "$0" -m vqaudio reconstruct - --codec "$1" {closing}'
    run = ["sh", "-c", command, sys.executable, str(folder)]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"error: standard {name}: closed; give a pipe or a file\n"


def test_memory_does_not_grow(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of a sound between two parts, early and late."""
    import vqaudio.codec.passes as passes

    kept: list[int] = []
    decode = passes._decode_window

    def watched(codec: Codec, levels: list[Tensor], *rest: int) -> Tensor:
        kept.append(max(level.shape[1] for level in levels))
        return decode(codec, levels, *rest)

    monkeypatch.setattr(passes, "_decode_window", watched)
    samples = (np.random.default_rng(0).normal(size=RATE * 20) * 3000).astype("<i2").tobytes()

    class Slow(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            return super().read1(4000)

    reconstruct_stream(codec, Slow(samples), io.BytesIO(), RATE)
    assert len(kept) > 100
    assert max(kept) < 400
    assert max(kept[100:]) <= max(kept[:100])
