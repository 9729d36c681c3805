"""The recipe of the Free Spoken Digit Dataset, as far as it goes without training for long."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.models import coloured_noise, tiny_codec
from vqaudio.audio import write_audio
from vqaudio.config import PriorConfig
from vqaudio.corpus.manifest import read_manifest
from vqaudio.corpus.shards import TokenRow, write_shard
from vqaudio.corpus.tokenize import tokenize
from vqaudio.evaluation.recognizer import Recognizer, RecognizerConfig
from vqaudio.model_folder import save_model
from vqaudio.prior.model import CodecSpec, Prior

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
    for words in (["--daat", "x"], ["--stop-stage", "1"], ["--data", ".", "--layouts", "--dally"]):
        result = run(*words)
        assert result.returncode == 2
        assert "--da" in result.stderr.splitlines()[-1]


def test_a_run_is_judged_to_the_last_table(tmp_path: Path) -> None:
    """Untrained models, so the figures mean nothing; all of them have to be there."""
    labels = ["0", "1"]
    names = [
        f"{label}_{speaker}_{n}" for label in labels for speaker in ("ann", "bob") for n in (0, 1, 9)
    ]
    audio = coloured_noise(len(names), 4000)
    for name, sound in zip(names, audio, strict=True):
        write_audio(tmp_path / "data" / f"{name}.wav", sound, 8000)
    manifest = tmp_path / "run" / "manifest.jsonl"
    assert prepare(tmp_path / "data", manifest).returncode == 0
    codec = tiny_codec()
    save_model(tmp_path / "run" / "codec", codec, "card")
    tokenize(codec, read_manifest(manifest), tmp_path / "run" / "tokens")
    spec = CodecSpec(codec.sample_rate, codec.hops, codec.codebook_sizes, codec.fingerprint)
    for out, known in (("", labels), ("speakers", ["ann", "bob"])):
        Recognizer(RecognizerConfig(known, 8000)).save(tmp_path / "run" / "evaluation" / out)
    for layout in ("flat", "cascade"):
        shape = {"layout": layout, "layers": 1, "width": 16, "heads": 2, "context": 40}
        config = PriorConfig.model_validate({**shape, "labels": labels, "speakers": ["ann", "bob"]})
        prior = Prior(config, spec)
        save_model(tmp_path / "run" / f"prior-{layout}", prior, "card")
        kinds: list[tuple[str, dict[str, str]]] = [("free", {})]
        kinds += [("labels", {"label": label}) for label in labels]
        kinds += [("speakers-guided", {"speaker": name}) for name in ("ann", "bob")]
        for kind, said in kinds:
            folder = tmp_path / "run" / "samples" / layout / kind / "".join([*said.values(), "-"])
            sounds = prior.sample(4, **said)  # type: ignore[arg-type]
            rows = [TokenRow(f"sample-{i}", codes, said) for i, codes in enumerate(sounds)]
            for row in rows:
                write_audio(folder / f"{row.id}.wav", codec.decode(row.codes), 8000)
            write_shard(folder / "tokens-00000.parquet", spec, rows)

    command = [sys.executable, str(RECIPE / "evaluate.py"), str(tmp_path / "run")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    out = tmp_path / "run" / "evaluation"
    results = json.loads((out / "results.json").read_text())
    assert results["heard"]["original"]["sounds"] == 8
    for layout in ("flat", "cascade"):
        found = results["priors"][layout]
        assert {name: h["sounds"] for name, h in found["samples"].items()} == {
            "free": 4,
            "labels": 8,
            "speakers-guided": 8,
        }
        assert found["samples"]["free"]["accuracy"] is None
        assert set(found["test"]) == {"nothing", "label", "label and speaker"}
        assert 0.5 < found["test"]["label"]["bits_per_token"] / 4 < 2
    assert results["n-grams"]["5-gram"] > 0
    assert [book["size"] for book in results["codebooks"]] == [8, 8, 12]
    assert results["resynthesis"]["mel_distance"] > 0
    table = (out / "results.md").read_text()
    assert table in result.stdout
    assert len({line.count("|") for line in table.split("\n\n")[0].splitlines()}) == 1
    assert {path.name for path in out.glob("*.png")} == {
        "codebooks.png",
        "resynthesis.png",
        "samples-flat.png",
        "samples-cascade.png",
    }
    assert "data:audio/wav" in (out / "index.html").read_text()
