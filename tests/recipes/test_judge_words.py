"""What recognizers hear: untrained models, so the figures mean nothing; all of them have to be there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models import coloured_noise, tiny_codec
from vqaudio.audio import write_audio
from vqaudio.codec.model import Codec
from vqaudio.corpus.manifest import Sound, write_manifest
from vqaudio.corpus.shards import TokenRow, write_shard
from vqaudio.evaluation.report import Folded, Picture, Player, Table, write_page
from vqaudio.evaluation.sections import load_section
from vqaudio.model_folder import save_model
from vqaudio.prior.model import CodecSpec

SCRIPT = Path(__file__).parents[2] / "recipes" / "pipeline" / "judge_words.py"
SPLITS = ["train", "train", "train", "validation", "test"]


def judge(run: Path, *more: str) -> subprocess.CompletedProcess[str]:
    files = [str(run / "manifest.jsonl"), "--codec", str(run / "codec"), "--out", str(run / "out")]
    command = [sys.executable, str(SCRIPT), *files, "--steps", "2", *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def make_manifest(run: Path, labels: list[str], speakers: dict[str, list[str]]) -> None:
    """A sound for every label and split, and for every speaker of that split."""
    sounds = []
    for number, split in enumerate(SPLITS):
        for label in labels:
            for speaker in speakers[split]:
                name = f"{label}-{speaker}-{number}"
                path = run / "data" / f"{name}.wav"
                write_audio(path, coloured_noise(1, 3000)[0], 8000)
                fields = {"label": label, "speaker": speaker, "split": split}
                sounds.append(Sound(name, path, duration_seconds=0.3, fields=fields))
    write_manifest(run / "manifest.jsonl", sounds)


def make_samples(run: Path, codec: Codec, place: str, count: int, fields: dict[str, str]) -> None:
    spec = CodecSpec(codec.sample_rate, codec.hops, codec.codebook_sizes, codec.fingerprint)
    folder = run / "samples" / place
    rows = []
    for number, sound in enumerate(coloured_noise(count, 2400)):
        rows.append(TokenRow(f"sample-{number:03}", codec.encode(sound, 8000), fields))
        write_audio(folder / f"sample-{number:03}.wav", sound, 8000)
    write_shard(folder / "tokens-00000.parquet", spec, rows)


@pytest.fixture
def codec(tmp_path: Path) -> Codec:
    codec = tiny_codec()
    save_model(tmp_path / "codec", codec, "card")
    return codec


EVERYONE = {split: ["ann", "bob"] for split in SPLITS}


def test_every_row_and_figure_is_there(tmp_path: Path, codec: Codec) -> None:
    make_manifest(tmp_path, ["no", "yes"], EVERYONE)
    make_samples(tmp_path, codec, "free", 4, {})
    make_samples(tmp_path, codec, "alone", 1, {})
    for name in ("no", "yes"):
        make_samples(tmp_path, codec, f"labels/{name}", 3, {"label": name})
        make_samples(tmp_path, codec, f"both/{name}", 2, {"label": name, "speaker": "ann"})
    for name in ("ann", "bob"):
        make_samples(tmp_path, codec, f"speakers/{name}", 2, {"speaker": name})
    result = judge(tmp_path, "--samples", str(tmp_path / "samples"))
    assert result.returncode == 0, result.stderr
    assert "alone" in result.stderr

    results = json.loads((tmp_path / "out" / "results.json").read_text())
    counts = {what: {row: h["sounds"] for row, h in rows.items()} for what, rows in results.items()}
    of_codec = {"original": 4, "resynthesis": 4, "coarse level": 4}
    assert counts["label"] == of_codec | {"samples, free": 4, "samples, labels": 6, "samples, both": 4}
    assert counts["speaker"] == of_codec | {"samples, both": 4, "samples, speakers": 4}
    assert results["label"]["samples, free"]["accuracy"] is None
    for rows in results.values():
        for row, heard in rows.items():
            assert heard["frechet"] >= 0, row
            assert heard["inception"] >= 1 - 1e-6, row
            assert row == "samples, free" or 0 <= heard["accuracy"] <= 1

    section = load_section(tmp_path / "out")
    tables = [part for part in section.parts if isinstance(part, Table)]
    assert [len(table.rows) for table in tables] == [6, 5]
    assert all(table.markdown() in result.stdout for table in tables)
    pictures = [part.caption for part in section.parts if isinstance(part, Picture)]
    assert [caption.split(":")[0] for caption in pictures] == [
        f"Samples, {kind}" for kind in ("both", "free", "labels", "speakers")
    ]
    heard_by_people = [part for part in section.parts if isinstance(part, Folded)]
    captions = [p.caption for fold in heard_by_people for p in fold.parts if isinstance(p, Player)]
    assert captions.count("no; labels") == 2
    assert captions.count("told nothing; free") == 2
    write_page(tmp_path / "page.html", "t", [section])


def test_recognizers_are_kept_and_used_again(tmp_path: Path, codec: Codec) -> None:
    make_manifest(tmp_path, ["no", "yes"], EVERYONE)
    assert judge(tmp_path).returncode == 0
    kept = [tmp_path / "out" / name / "recognizer.safetensors" for name in ("recognizer", "speakers")]
    before = [path.stat().st_mtime_ns for path in kept]
    assert judge(tmp_path).returncode == 0
    assert [path.stat().st_mtime_ns for path in kept] == before


def test_speakers_who_are_not_in_the_test_split_are_not_told_apart(tmp_path: Path, codec: Codec) -> None:
    others = {"train": ["ann", "bob"], "validation": ["cat"], "test": ["dan", "eve"]}
    make_manifest(tmp_path, ["no", "yes"], others)
    assert judge(tmp_path).returncode == 0
    assert list(json.loads((tmp_path / "out" / "results.json").read_text())) == ["label"]


def test_without_anything_to_tell_apart_the_manifest_is_named(tmp_path: Path, codec: Codec) -> None:
    make_manifest(tmp_path, ["yes"], {split: ["ann"] for split in SPLITS})
    result = judge(tmp_path)
    assert result.returncode == 2
    assert "manifest.jsonl" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_folder_without_samples_is_named(tmp_path: Path, codec: Codec) -> None:
    make_manifest(tmp_path, ["no", "yes"], EVERYONE)
    (tmp_path / "samples" / "empty").mkdir(parents=True)
    for name in ("samples", "nowhere"):
        result = judge(tmp_path, "--samples", str(tmp_path / name))
        assert result.returncode == 2
        assert str(tmp_path / name) in result.stderr
        assert len(result.stderr.splitlines()) == 1
