"""The comparison of bottlenecks, through every stage on a few seconds of sound."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.models import coloured_noise
from vqaudio.audio import write_audio
from vqaudio.evaluation.recognizer import Recognizer, RecognizerConfig

RECIPE = Path(__file__).parents[2] / "egs" / "bottlenecks"
SHORT = "optimization.steps=4 warm_start_steps=1 data.crops=2"
VARIANTS = f"""# name  recipe  changes
vector one-level bits=3 {SHORT}
gaussian two-levels kind=gaussian {SHORT}
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bottlenecks")
    for digit in range(2):
        for index in (0, 5, 7, 8, 9):
            path = folder / "data" / "fsdd" / f"{digit}_theo_{index}.wav"
            write_audio(path, coloured_noise(1, 3200)[0], 8000)
    for index in range(65):
        write_audio(folder / "data" / "kathleen" / f"{index:02}.wav", coloured_noise(1, 8000)[0], 8000)
    (folder / "variants.txt").write_text(VARIANTS, encoding="utf-8")
    # what it hears means nothing here, and training one takes long
    Recognizer(RecognizerConfig(["0", "1"], 8000)).save(folder / "run" / "evaluation")
    return folder


def run(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(RECIPE / "run.sh"), "--variants", str(out / "variants.txt"), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_every_stage_runs_and_is_passed_over_once_done(out: Path) -> None:
    words = ("--data", str(out / "data"), "--out", str(out / "run"), "--jobs", "2")
    first = run(out, *words)
    assert first.returncode == 0, first.stderr
    assert first.stderr.count("training ") == 2
    evaluation = out / "run" / "evaluation"
    table = (evaluation / "results.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == ["| vector", "| gaussian"]
    results = json.loads((evaluation / "results.json").read_text())["measured"]
    assert len(results["vector"]["levels"]) == 1
    assert len(results["gaussian"]["levels"]) == len(results["gaussian"]["adds"]) == 2
    assert 0 < results["vector"]["bits"][0] <= 150
    assert all(bits > 0 for bits in results["gaussian"]["bits"])
    assert (evaluation / "rate-distortion.png").stat().st_size > 10_000
    again = run(out, *words)
    assert again.returncode == 0, again.stderr
    log = (out / "run" / "codecs" / "vector.log").read_text()
    assert log.count("from step 0") == log.count("from step 4") == 1
    (out / "variants.txt").write_text(VARIANTS.replace("bits=3", "bits=4"), encoding="utf-8")
    changed = run(out, *words)
    assert changed.returncode != 0
    assert "bits" in changed.stderr


def test_a_missing_folder_is_named(out: Path) -> None:
    result = run(out, "--data", str(out / "nowhere"), "--out", str(out / "other"))
    assert result.returncode == 2
    assert "nowhere" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--dats x", "--dats: no such option"),
        ("--data", "--data: give a value"),
        ("", "--data: give the folder"),
        ("--data x --stage one", "--stage: one is not a whole number"),
        ("--data x --jobs -1", "--jobs: -1 is not a whole number"),
        ("--data x --variants nowhere.txt", "--variants: nowhere.txt: no such file"),
        ("--stage 2 --out nowhere", "nowhere/manifest.jsonl: no such file; begin with stage 1"),
    ],
)
def test_options_that_cannot_be_are_one_line(out: Path, words: str, said: str) -> None:
    result = run(out, *words.split())
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith(f"error: {said}")
    assert "line " not in result.stderr
    assert not Path("nowhere").exists()
