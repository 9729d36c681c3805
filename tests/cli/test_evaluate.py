"""`vqaudio evaluate` as a program."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models import waveform_codec
from tests.sounds import speechlike
from vqaudio.audio import write_audio
from vqaudio.model_folder import save_model


def vqaudio(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vqaudio", "evaluate", *map(str, words)], capture_output=True, text=True
    )


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A tiny model and a folder of two sounds."""
    save_model(tmp_path / "tiny", waveform_codec(), "for tests")
    for number in range(2):
        sound = speechlike(0.6, 16000, seed=number)[None]
        write_audio(tmp_path / "data" / f"{number}.wav", sound, 16000)
    return tmp_path / "tiny", tmp_path / "data"


def test_a_codec_is_judged_and_a_bad_file_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = folders
    out = tmp_path / "out"
    (data / "bad.wav").write_text("no sound")
    run = vqaudio("--codec", model, "--data", data, "--out", out, "--workers", 1)
    assert run.returncode == 3
    for part in ("tiny@1+1", "PESQ-WB", "effective bitrate", "multiply-adds", "pystoi", "VERSA: si_snr"):
        assert part in run.stdout
    assert "error: bad: " in run.stderr
    assert "Traceback" not in run.stderr
    assert json.loads((out / "summary.json").read_text())["sounds"] == 3
    assert f"open {out / 'index.html'}" in run.stdout
    assert "How good is tiny?" in (out / "index.html").read_text()

    (data / "bad.wav").unlink()
    run = vqaudio("--codec", model, "--data", data, "--out", out)
    assert run.returncode == 2
    assert "holds another evaluation: inputs is 3" in run.stderr


def test_folders_are_compared(folders: tuple[Path, Path], tmp_path: Path) -> None:
    _, data = folders
    shutil.copytree(data, tmp_path / "same")
    words = ["--reference", data, "--degraded", tmp_path / "same", "--workers", 1]
    run = vqaudio(*words, "--out", tmp_path / "out")
    assert run.returncode == 0, run.stderr
    assert "100.0 [100.0, 100.0]" in run.stdout  # SI-SDR
    (tmp_path / "same" / "1.wav").unlink()
    run = vqaudio(*words, "--out", tmp_path / "other")
    assert run.returncode == 3
    assert "1.wav: no sound of this name" in run.stderr


def test_measures_are_listed() -> None:
    run = vqaudio("--measures")
    assert run.returncode == 0
    assert "MCD [dB]: Mel-cepstral distortion, orders 1 to 24" in run.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "--out: name a folder"),
        (["--out", "OUT"], "--data: give a manifest, a folder or sound files"),
        (["--out", "OUT", "--reference", "DATA"], "--reference and --degraded: give both"),
        (["--out", "OUT", "--reference", "DATA", "--degraded", "DATA", "--codec", "x"], "compares two"),
        (["--out", "OUT", "--data", "DATA", "--codec", "nothing"], "nothing: neither a model folder"),
        (["--out", "OUT", "--data", "DATA", "--against", "speex:12"], "speex takes a quality"),
        (["--out", "OUT", "--data", "DATA", "--against", "mp3:64"], "mp3:64: neither a model folder"),
        (["--out", "OUT", "--data", "NONE"], "no such file or folder"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    words: list[str], line: str, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    places = {"OUT": tmp_path / "out", "DATA": folders[1], "NONE": tmp_path / "none"}
    run = vqaudio(*(places.get(word, word) for word in words))
    assert run.returncode == 2
    assert line in run.stderr
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
