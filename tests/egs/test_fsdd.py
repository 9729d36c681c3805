"""The recipe of the Free Spoken Digit Dataset, as far as it goes without training for long."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vqaudio.audio import write_audio

RECIPE = Path(__file__).parents[2] / "egs" / "fsdd"


def prepare(data: Path, manifest: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RECIPE / "prepare.py"), str(data), str(manifest)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(RECIPE / "run.sh"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("folder", ["recordings", "."])
def test_the_manifest_has_the_data_sets_own_test_split(tmp_path: Path, folder: str) -> None:
    for name in ("3_theo_4", "3_theo_5", "3_theo_6", "3_theo_7", "0_yweweler_0", "9_lucas_49"):
        write_audio(tmp_path / folder / f"{name}.wav", torch.zeros(1, 2000), 8000)
    write_audio(tmp_path / folder / "noise.wav", torch.zeros(1, 2000), 8000)
    result = prepare(tmp_path, tmp_path / "out" / "manifest.jsonl")
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").open()]
    splits = {line["id"]: line["split"] for line in lines}
    assert splits == {
        "0_yweweler_0": "test",
        "3_theo_4": "test",
        "3_theo_5": "validation",
        "3_theo_6": "validation",
        "3_theo_7": "train",
        "9_lucas_49": "train",
    }
    assert {key: lines[-1][key] for key in ("label", "speaker", "duration_seconds")} == {
        "label": "9",
        "speaker": "lucas",
        "duration_seconds": 0.25,
    }
    assert (tmp_path / "out" / lines[-1]["audio"]).exists()


def test_a_folder_without_recordings_is_named(tmp_path: Path) -> None:
    result = prepare(tmp_path, tmp_path / "manifest.jsonl")
    assert result.returncode == 2
    assert str(tmp_path) in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_mistakes_in_the_options_are_named() -> None:
    for words in (["--daat", "x"], ["--stop-stage", "1"]):
        result = run(*words)
        assert result.returncode == 2
        assert "--da" in result.stderr.splitlines()[-1]
