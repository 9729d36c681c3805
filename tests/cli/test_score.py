"""`vqaudio score` and `vqaudio score fit`."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import Models, Program
from tests.sounds import WavMaker
from vqaudio.model_folder import load


@pytest.fixture
def options(models: Models) -> list[str | Path]:
    return ["--prior", models.prior, "--codec", models.codec]


def test_without_a_detector_the_score_is_bits_per_second(
    program: Program, models: Models, options: list[str], wav: WavMaker
) -> None:
    path = wav()
    ran = program("score", path, *options, "--json")
    assert ran.status == 0, ran.err
    [line] = map(json.loads, ran.out.splitlines())
    wanted = load(models.prior).nll(load(models.codec).encode(path)).bits_per_second  # type: ignore[union-attr]
    assert line["score"] == line["bits_per_second"] == pytest.approx(wanted, rel=1e-4)
    ran = program("score", path, *options)
    assert f"{wanted:.1f}" in ran.out


def test_fit_then_score(program: Program, options: list[str], wav: WavMaker, tmp_path: Path) -> None:
    for seed in range(10):
        wav(f"normal/{seed}.wav", seed=seed)
    file, out = tmp_path / "normal.safetensors", tmp_path / "out"
    ran = program("score", "fit", tmp_path / "normal", *options, "--out", file)
    assert ran.status == 0, ran.err
    assert "10 of 10 sounds" in ran.out
    (tmp_path / "normal" / "text.wav").write_text("no sound")
    ran = program("score", tmp_path / "normal", *options, "--detector", file, "--out", out)
    assert ran.status == 3
    [complaint] = ran.err.splitlines()
    assert "text.wav: not a sound file" in complaint
    lines = [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [str(seed) for seed in range(10)]
    assert all(line["score"] >= 0 and line["views"] for line in lines)
    curves = pq.read_table(out / "curves.parquet").to_pylist()
    for line, curve in zip(lines, curves, strict=True):
        assert line["id"] == curve["id"]
        frames = -(-4800 // 256)
        assert len(curve["surprise"]) == len(curve["bits_per_second"]) == frames
        assert [len(band) for band in curve["reconstruction"]] == [frames] * 8
    assert len(list((out / "pictures").glob("*.png"))) == 10


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], [" score [OPTIONS]", "`vqaudio score fit` makes detectors"]),
        (["fit"], [" score fit [OPTIONS]", "--out"]),
    ],
)
def test_help_is_of_the_words_that_were_said(
    program: Program, words: list[str], said: list[str]
) -> None:
    ran = program("score", *words, "--help")
    assert ran.status == 0
    assert all(one in ran.out for one in said)


def test_a_file_named_fit_is_a_sound(
    program: Program, options: list[str], wav: WavMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wav().rename(tmp_path / "fit")
    monkeypatch.chdir(tmp_path)
    ran = program("score", "./fit", *options, "--json")
    assert ran.status == 0, ran.err
    assert json.loads(ran.out)["audio"] == "fit"


def test_a_detector_of_other_models_is_refused(
    program: Program, options: list[str], wav: WavMaker, tmp_path: Path
) -> None:
    (tmp_path / "normal.safetensors").write_text("none")
    ran = program("score", wav(), *options, "--detector", tmp_path / "normal.safetensors")
    assert ran.status == 2
    assert ran.err.startswith("error: ")
    assert "normal.safetensors: no detector" in ran.err


def test_nothing_is_left_of_a_fit_to_too_few(
    program: Program, options: list[str], wav: WavMaker, tmp_path: Path
) -> None:
    ran = program("score", "fit", wav(), *options, "--out", tmp_path / "new" / "normal.safetensors")
    assert ran.status == 2
    assert "1 normal sounds: too few" in ran.err
    assert not (tmp_path / "new").exists()


def test_a_folder_is_no_detector(
    program: Program, options: list[str], wav: WavMaker, tmp_path: Path
) -> None:
    ran = program("score", "fit", wav(), *options, "--out", tmp_path)
    assert ran.status == 2
    assert f"{tmp_path}: a folder" in ran.err
