"""Sound files that nobody can use, of every kind, and a process without the rights of root."""

import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from tests.sounds import tone

RATE = 16000
RATE_AT, BITS_AT, CHANNELS_AT, DATA_SIZE_AT = 24, 34, 22, 40  # in the header of a plain WAV file


def make_broken(folder: Path) -> dict[Path, str]:
    """Fill a folder with inputs that cannot be tokenized, one of each kind, named by it.

    Args:
        folder: is made. Nothing else may be in it.

    Returns:
        For each input that `find_sounds` gives for the folder, a part of the reason why it is none.
        What needs rights to be taken away is in `make_locked`.
    """
    folder.mkdir(parents=True)
    reasons: dict[str, str] = {}

    def make(name: str, content: bytes, reason: str) -> None:
        (folder / name).write_bytes(content)
        reasons[name] = reason

    wav = encoded(folder, "wav")
    make("empty.wav", b"", "empty")
    make("text.wav", b"this is not a sound\n" * 100, "Format not recognised")
    make("text.au", b"this is not a sound\n" * 100, "without the header")
    make("text.mp3", b"this is not a sound\n" * 100, "nothing in it can be decoded")
    make("cut-header.wav", wav[:30], "not a sound file, or a damaged one")
    make("no-data.wav", wav[:36], "No 'data' chunk")
    make("0-samples.wav", patched(wav[:44], DATA_SIZE_AT, "<I", 0), "no samples, says its header")
    make("0-in-header.wav", patched(wav, DATA_SIZE_AT, "<I", 0), "no samples, says its header")
    make("0-hz.wav", patched(wav, RATE_AT, "<I", 0), "no usable sample rate")
    make("1-hz.wav", patched(wav, RATE_AT, "<I", 1), ": 1 Hz")
    make("2-ghz.wav", patched(wav, RATE_AT, "<I", 2**31 - 1), ": 2147483647 Hz")
    make("2^31-hz.wav", patched(wav, RATE_AT, "<I", 2**31), "no usable sample rate")
    make("0-bits.wav", patched(wav, BITS_AT, "<H", 0), "not a sound file, or a damaged one")
    make("0-channels.wav", patched(wav, CHANNELS_AT, "<H", 0), "Channel count is zero")
    for suffix in ("wav", "flac", "ogg", "mp3", "aiff"):
        whole = encoded(folder, suffix)
        reason = {"flac": "cut short", "mp3": "truncated or damaged: ends after"}.get(
            suffix, "truncated;"
        )
        make(f"cut.{suffix}", whole[: len(whole) // 2], reason)
    picture = b"ID3\x03\0\0" + bytes([0, 32, 0, 0]) + bytes(32 << 14)
    make("cut-with-picture.mp3", picture + (folder / "cut.mp3").read_bytes(), "ends after")
    noise = np.random.default_rng(0).bytes(2000)
    flac = encoded(folder, "flac")
    middle = len(flac) // 2
    make("scratched.flac", flac[:middle] + noise + flac[middle + 2000 :], "damaged")

    for name, value in (("nan", np.nan), ("infinite", np.inf)):
        samples = tone(1.0)[0].numpy().copy()
        samples[-7] = value
        soundfile.write(folder / f"{name}.wav", samples, RATE, subtype="FLOAT")
        reasons[f"{name}.wav"] = "NaN or infinite"
    soundfile.write(folder / "64-channels.wav", tone(0.1, channels=64).T.numpy(), RATE)
    reasons["64-channels.wav"] = "64 channels"

    (folder / "folder.wav").mkdir()
    reasons["folder.wav"] = "a folder, where a sound file is needed"
    (folder / "dangling.wav").symlink_to("nowhere.wav")
    reasons["dangling.wav"] = "a link to nowhere.wav, which is not there"
    (folder / "itself.wav").symlink_to("itself.wav")
    reasons["itself.wav"] = "Too many levels of symbolic links"
    (folder / "loop").symlink_to("..")
    reasons["loop"] = "leads back to a folder it lies in"
    os.mkfifo(folder / "pipe.wav")
    reasons["pipe.wav"] = "a pipe or a device"
    (folder / "device.wav").symlink_to("/dev/zero")
    reasons["device.wav"] = "a pipe or a device"
    with socket.socket(socket.AF_UNIX) as plug:
        at = os.open(folder, os.O_RDONLY)
        plug.bind(f"/proc/self/fd/{at}/socket.wav")  # the whole path may be too long for a socket
        os.close(at)
    reasons["socket.wav"] = "a pipe or a device"
    return {folder / name: reason for name, reason in reasons.items()}


def make_locked(folder: Path) -> dict[Path, str]:
    """Add what may not be read, except by root: see `run_as_nobody`.

    Args:
        folder: is made if it is not there.

    Returns:
        As `make_broken`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wav = encoded(folder, "wav")
    hidden = folder / "locked-folder"
    hidden.mkdir()
    (hidden / "in-it.wav").write_bytes(wav)
    (folder / "locked.wav").write_bytes(wav)
    (folder / "into-locked").symlink_to("locked-folder/deeper")
    for path in (hidden, folder / "locked.wav"):
        path.chmod(0)
    names = ["locked-folder", "locked.wav", "into-locked"]
    return {folder / name: "cannot be read (Permission denied)" for name in names}


def encoded(folder: Path, suffix: str, seconds: float = 8.0) -> bytes:
    """The bytes of a good sound file; the folder is left as it was."""
    path = folder / f"whole.{suffix}"
    soundfile.write(path, tone(seconds, RATE)[0].numpy(), RATE)
    content = path.read_bytes()
    path.unlink()
    return content


def patched(content: bytes, at: int, kind: str, value: int) -> bytes:
    """Bytes with a number of a header changed; `kind` is one of `struct`."""
    packed = struct.pack(kind, value)
    return content[:at] + packed + content[at + len(packed) :]


def run_as_nobody(imports: str, script: str, *arguments: object) -> str:
    """What a Python process prints that has not the rights of root.

    Args:
        imports: lines that run before rights are given up: the package may lie where only root looks.
        script: lines that run after.
        arguments: `sys.argv[1:]`.
    """
    drop = (
        "\nimport os, sys\nif os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    )
    run = [sys.executable, "-c", imports + drop + script, *map(str, arguments)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
