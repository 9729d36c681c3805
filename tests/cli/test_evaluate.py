"""`vqaudio evaluate` as a program."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Program
from tests.models import waveform_codec
from tests.sounds import speechlike
from vqaudio.audio import write_audio
from vqaudio.model_folder import save_model


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A tiny model and a folder of two sounds."""
    save_model(tmp_path / "tiny", waveform_codec(), "for tests")
    for number in range(2):
        sound = speechlike(0.6, 16000, seed=number)[None]
        write_audio(tmp_path / "data" / f"{number}.wav", sound, 16000)
    return tmp_path / "tiny", tmp_path / "data"


def test_a_codec_is_judged_and_a_bad_file_named(
    program: Program, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    model, data = folders
    out = tmp_path / "out"
    (data / "bad.wav").write_text("no sound")
    run = program("evaluate", "--codec", model, "--data", data, "--out", out, "--workers", "1")
    assert run.status == 3
    for part in ("tiny@1+1", "PESQ-WB", "effective bitrate", "multiply-adds", "pystoi", "VERSA: si_snr"):
        assert part in run.out
    assert "error: bad: " in run.err
    assert "Traceback" not in run.err
    assert json.loads((out / "summary.json").read_text())["sounds"] == 3
    assert f"open {out / 'index.html'}" in run.out
    assert "How good is tiny?" in (out / "index.html").read_text()

    (data / "bad.wav").unlink()
    run = program("evaluate", "--codec", model, "--data", data, "--out", out)
    assert run.status == 2
    assert "holds another evaluation: inputs is 3" in run.err
    run = program("evaluate", "--codec", model, "--data", data, "--out", data)
    assert run.status == 2
    assert f"{data}: holds other files than an evaluation's; choose another --out" in run.err
    assert not (data / "run.json").exists()


def test_folders_are_compared(program: Program, folders: tuple[Path, Path], tmp_path: Path) -> None:
    _, data = folders
    shutil.copytree(data, tmp_path / "same")
    words = ["--reference", data, "--degraded", tmp_path / "same", "--workers", 1]
    run = program("evaluate", *words, "--out", tmp_path / "out")
    assert run.status == 0, run.err
    assert "100.0 [100.0, 100.0]" in run.out  # SI-SDR
    (tmp_path / "same" / "1.wav").unlink()
    run = program("evaluate", *words, "--out", tmp_path / "other")
    assert run.status == 3
    assert "1.wav: no sound of this name" in run.err


def test_measures_are_listed(program: Program) -> None:
    run = program("evaluate", "--measures")
    assert run.status == 0
    assert "MCD [dB]: Mel-cepstral distortion, orders 1 to 24" in run.out


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
    program: Program, words: list[str], line: str, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    places = {"OUT": tmp_path / "out", "DATA": folders[1], "NONE": tmp_path / "none"}
    run = program("evaluate", *(places.get(word, word) for word in words))
    assert run.status == 2
    assert line in run.err
    assert run.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
