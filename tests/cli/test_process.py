"""The program as its users start it: a process of its own."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.cli.conftest import Models
from tests.sounds import WavMaker

VQAUDIO = [sys.executable, "-m", "vqaudio"]


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VQAUDIO, *map(str, words)], capture_output=True, text=True)


def test_help_names_every_verb_and_loads_no_torch() -> None:
    script = "import sys\ntry:\n from vqaudio.cli.app import main; main(['--help'])\n"
    script += "finally:\n assert 'torch' not in sys.modules, 'torch'"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    for verb in (
        "demo",
        "train",
        "tokenize",
        "synthesize",
        "reconstruct",
        "sample",
        "compress",
        "decompress",
        "evaluate",
        "score",
        "info",
        "web",
    ):
        assert f" {verb} " in ran.stdout


def test_tokenize(models: Models, wav: WavMaker, tmp_path: Path) -> None:
    ran = run("tokenize", wav(), "--out", tmp_path / "tokens", "--codec", models.codec)
    assert ran.returncode == 0
    assert ran.stderr == ""
    assert (tmp_path / "tokens" / "tokens-00000.parquet").exists()


def test_a_mistake_is_one_line(models: Models, tmp_path: Path) -> None:
    (tmp_path / "notes.wav").write_text("not a sound")
    ran = run("reconstruct", tmp_path / "notes.wav", "--out", tmp_path / "out", "--codec", models.codec)
    assert ran.returncode == 2
    [line] = ran.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path / 'notes.wav'}: not a sound file")


def test_an_unknown_option_exits_with_2() -> None:
    ran = run("info", "--colour")
    assert ran.returncode == 2
    assert ran.stderr == "error: No such option: --colour; see vqaudio info --help\n"


def test_interrupted(recipe: Path, tokens: Path, tmp_path: Path) -> None:
    words = [
        "train",
        "codec",
        recipe,
        "optimization.steps=1000000",
        "--data",
        tokens.parent / "sounds.jsonl",
    ]
    command = [*VQAUDIO, *map(str, words), "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # what it begins with
        process.stdout.readline()  # the first step is done
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("interrupted; the same command with --resume")


def test_an_interrupted_tokenize_goes_on(models: Models, wav: WavMaker, tmp_path: Path) -> None:
    for number in range(64):
        wav(f"in/{number:03}.wav", seed=number)
    # the signal comes after some sounds, at a place that does not hang on the machine's speed
    script = (
        "import os, signal, sys\n"
        "from vqaudio.cli.app import main\n"
        "from vqaudio.corpus.tokenize import Summary\n"
        "count = Summary.count\n"
        "def interrupted(self, codes):\n"
        "    count(self, codes)\n"
        "    if self.done == 16: os.kill(os.getpid(), signal.SIGINT)\n"
        "Summary.count = interrupted\n"
        "main(sys.argv[1:])\n"
    )
    words = [
        "tokenize",
        str(tmp_path / "in"),
        "--out",
        str(tmp_path / "out"),
        "--codec",
        str(models.codec),
    ]
    ran = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True)
    assert ran.returncode == 130
    assert ran.stderr.splitlines() == ["interrupted; the same command goes on from here"]
    again = run(*words)
    assert again.returncode == 0
    assert "64 of 64 sounds tokenized (16 of them before)" in again.stdout
