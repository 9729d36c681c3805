"""The recipe of read sentences, as far as it goes without training for long."""

import json
import subprocess
import sys
from pathlib import Path

import torch

from tests.models import coloured_noise
from vqaudio.audio import write_audio
from vqaudio.codec.model import Codec
from vqaudio.config import PriorConfig
from vqaudio.corpus.manifest import read_manifest
from vqaudio.corpus.tokenize import tokenize
from vqaudio.model_folder import load, save_model
from vqaudio.prior.model import CodecSpec, Prior

RECIPE = Path(__file__).parents[2] / "egs" / "kathleen"


def call(script: str, *words: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RECIPE / script), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write_data(folder: Path, sentences: int) -> None:
    lines = []
    for number, sound in enumerate(coloured_noise(sentences, 8000)):
        write_audio(folder / "audio" / f"s{number:02}.flac", sound, 16000)
        lines.append(f"s{number:02}|Sentence number {number}.")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_every_twentieth_sentence_is_held_out_with_its_text(tmp_path: Path) -> None:
    write_data(tmp_path, 22)
    assert call("prepare.py", tmp_path, tmp_path / "out" / "manifest.jsonl").returncode == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").open()]
    held_out = {line["id"]: line["split"] for line in lines if line["split"] != "train"}
    assert held_out == {"s00": "test", "s10": "validation", "s20": "test"}
    assert lines[7]["text"] == "Sentence number 7."


def test_a_folder_without_its_listing_or_a_recording_is_named(tmp_path: Path) -> None:
    ran = call("prepare.py", tmp_path, tmp_path / "manifest.jsonl")
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert "metadata.csv: missing" in ran.stderr
    write_data(tmp_path, 3)
    (tmp_path / "audio" / "s01.flac").unlink()
    ran = call("prepare.py", tmp_path, tmp_path / "manifest.jsonl")
    assert ran.returncode == 2
    assert "line 2" in ran.stderr


def test_a_run_is_judged_to_the_last_table(tmp_path: Path) -> None:
    """An untrained prior, so the figures mean nothing; all of them have to be there."""
    run = tmp_path / "run"
    write_data(tmp_path / "data", 24)
    assert call("prepare.py", tmp_path / "data", run / "manifest.jsonl").returncode == 0
    codec = load("speech-16k")
    assert isinstance(codec, Codec)
    tokenize(codec, read_manifest(run / "manifest.jsonl"), run / "tokens")
    spec = CodecSpec(codec.sample_rate, codec.hops, codec.codebook_sizes, codec.fingerprint)
    torch.manual_seed(0)
    config = PriorConfig(layout="delay", layers=1, width=16, heads=2, context=100, text_bytes=40)
    save_model(run / "prior-delay", Prior(config, spec), "card")
    ran = call("evaluate.py", run)
    assert ran.returncode == 0, ran.stderr
    results = json.loads((run / "evaluation" / "results.json").read_text())
    assert set(results["priors"]) == {"delay"}
    assert set(results["copies"]) == {"original", "samples, delay"}
    assert results["n-grams"]["1-gram"] > 0
    assert (run / "evaluation" / "samples-delay.png").exists()
    page = (run / "evaluation" / "index.html").read_text()
    assert "Sentence number 20." in page
    assert "data:audio/wav" in page
