"""The recipe of anomalies, from sounds to a table, on small sounds and models."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models import waveform_codec
from tests.sounds import tone
from vqaudio.audio import read_audio, write_audio
from vqaudio.config import PriorConfig
from vqaudio.corpus.manifest import read_manifest
from vqaudio.model_folder import save_model
from vqaudio.prior.model import CodecSpec, Prior

RECIPE = Path(__file__).parents[2] / "egs" / "anomaly"
KINDS = {"hum", "clicks", "dropouts", "clipping", "reversed", "wrong speed", "noise"}


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    codec = waveform_codec()
    spec = CodecSpec(codec.sample_rate, codec.hops, codec.codebook_sizes, codec.fingerprint)
    prior = Prior(PriorConfig(layers=1, width=16, heads=2, context=256), spec).eval()
    save_model(tmp_path / "codec", codec, "# A toy")
    save_model(tmp_path / "prior", prior, "# A toy")
    return ["--codec", str(tmp_path / "codec"), "--prior", str(tmp_path / "prior")]


def run(*words: str | Path) -> None:
    command = ["bash", RECIPE / "run.sh", *words]
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def write_sentences(folder: Path, count: int, first: int) -> None:
    for number in range(count):
        audio = tone(0.4, seed=first + number)
        write_audio(folder / "audio" / f"s{number:02}.wav", audio, 16000)
    lines = [f"s{number:02}|Sentence {number}.\n" for number in range(count)]
    (folder / "metadata.csv").write_text("".join(lines), encoding="utf-8")


def test_every_stage_for_sentences(tmp_path: Path, models: list[str]) -> None:
    write_sentences(tmp_path / "data", 40, 0)
    write_sentences(tmp_path / "other", 20, 100)
    out = tmp_path / "out"
    run("--data", tmp_path / "data", "--other", tmp_path / "other", "--out", out, *models)
    normal = {sound.id for sound in read_manifest(out / "sentences" / "normal.jsonl")}
    test = read_manifest(out / "sentences" / "test.jsonl")
    assert len(normal) == 28
    assert not normal & {sound.path.stem for sound in test if sound.fields["label"] != "other speaker"}
    rows = json.loads((out / "results.json").read_text())["sentences"]
    assert {row["anomaly"]: row["sounds"] for row in rows} == {
        **dict.fromkeys(KINDS, 4),
        "other speaker": 2,
        "all": 30,
    }
    assert all(0 <= figure <= 1 for row in rows for figure in row["figures"])
    assert "| reversed | 4 |" in (out / "results.md").read_text()


def test_every_stage_for_the_layout_of_dcase(tmp_path: Path, models: list[str]) -> None:
    def write(name: str, seed: int) -> None:
        audio = tone(0.3, seed=seed)
        broken = audio + 0.2 * torch.randn(audio.shape) if "anomaly" in name else audio
        write_audio(tmp_path / "data" / name, broken, 16000)

    for number in range(10):
        write(f"fan/train/normal_id_{number % 2:02}_{number:08}.wav", number)
        write(f"pump/train/normal_id_00_{number:08}.wav", number)
    for number in range(3):
        for label in ("normal", "anomaly"):
            write(f"fan/test/{label}_id_00_{number:08}.wav", 20 + number)
            write(f"fan/test/{label}_id_01_{number:08}.wav", 30 + number)
            write(f"pump/test/{label}_id_00_{number:08}.wav", 40 + number)
    run("--data", tmp_path / "data", "--out", tmp_path / "out", *models)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    counts = {
        machine: {row["anomaly"]: row["sounds"] for row in rows} for machine, rows in results.items()
    }
    assert counts == {
        "fan": {"anomaly id_00": 3, "anomaly id_01": 3, "all": 6},
        "pump": {"anomaly id_00": 3, "all": 3},
    }


def test_faults_are_drawn_alike_again_and_change_the_sound(tmp_path: Path) -> None:
    write_sentences(tmp_path / "data", 20, 0)
    made = []
    for out in (tmp_path / "one", tmp_path / "two"):
        words = [sys.executable, str(RECIPE / "prepare.py"), str(tmp_path / "data"), str(out)]
        subprocess.run(words, check=True)
        sounds = read_manifest(out / "sentences" / "test.jsonl")
        made.append({sound.id: read_audio(sound.path)[0].numpy() for sound in sounds})
    assert made[0].keys() == made[1].keys()
    assert len(made[0]) == 2 * (1 + len(KINDS))
    for name, audio in made[0].items():
        kind, _, sentence = name.partition("/")
        good = made[0][f"normal/{sentence}"]
        assert np.array_equal(audio, made[1][name])
        assert (kind == "normal") == (audio.shape == good.shape and np.array_equal(audio, good))


def test_data_of_neither_kind_is_refused(tmp_path: Path) -> None:
    words = [sys.executable, str(RECIPE / "prepare.py"), str(tmp_path), str(tmp_path / "out")]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: ")
    assert "metadata.csv" in ran.stderr
