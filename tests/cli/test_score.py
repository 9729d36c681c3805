"""`vqaudio score` and `vqaudio score fit`."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from tests.cli.conftest import Models, Program
from tests.sounds import WavMaker
from vqaudio.audio import write_audio
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
    pictures = {str(path.relative_to(out)) for path in (out / "pictures").glob("*.png")}
    assert len(pictures) == 10
    assert {line["picture"] for line in lines} == pictures


def test_the_table_fits_a_narrow_terminal(
    program: Program, options: list[str], wav: WavMaker, tmp_path: Path
) -> None:
    names = [f"a-sound-with-some-name-{seed}" for seed in range(21)]
    for seed, name in enumerate(names):
        wav(f"in/{name}.wav", seed=seed)
    file = tmp_path / "normal.safetensors"
    assert program("score", "fit", tmp_path / "in", *options, "--out", file).status == 0
    ran = program("score", tmp_path / "in", *options, "--detector", file)
    lines = ran.out.splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(any(f" {name} " in line for name in names) for line in lines) == 20
    assert "the 20 most unusual of 21" in ran.out
    assert "counted from 21 normal sounds: above 1.3" in ran.out
    [head] = [line for line in lines if "loudest view" in line]
    assert [cell.strip() for cell in head.split("┃")[1:-1]] == [
        "sound",
        "seconds",
        "surprise",
        "loudest view",
    ]


def test_pictures_are_told_by_the_lines(
    program: Program, options: list[str], wav: WavMaker, tmp_path: Path
) -> None:
    path, out = wav("in/x.wav"), tmp_path / "out"
    (tmp_path / "sounds").mkdir()
    line = {"id": "../in/x", "audio": "../in/x.wav"}
    (tmp_path / "sounds" / "all.jsonl").write_text(json.dumps(line))
    ran = program("score", tmp_path / "sounds" / "all.jsonl", *options, "--out", out)
    assert ran.status == 0, ran.err
    [told] = map(json.loads, (out / "scores.jsonl").read_text().splitlines())
    assert (out / told["picture"]).is_file()
    assert told["audio"] == str(path)


def test_nothing_is_learned_from_silence(
    program: Program, options: list[str], wav: WavMaker, tmp_path: Path
) -> None:
    for seed in range(8):
        wav(f"in/{seed}.wav", seed=seed)
    for number in range(8):
        write_audio(tmp_path / "none" / f"{number}.wav", torch.zeros(1, 4800), 16000)
    words = [*options, "--out", tmp_path / "new" / "normal.safetensors"]
    ran = program("score", "fit", tmp_path / "none", *words)
    assert (ran.status, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 8
    assert all("wav: silence" in line for line in ran.err.splitlines())
    assert not (tmp_path / "new").exists()
    ran = program("score", "fit", tmp_path / "in", tmp_path / "none", *words)
    assert ran.status == 3
    assert "8 of 16 sounds" in ran.out


def test_nothing_is_learned_from_copies(
    program: Program, options: list[str], wav: WavMaker, tmp_path: Path
) -> None:
    for number in range(8):
        wav(f"in/{number}.wav", seed=0)
    ran = program("score", "fit", tmp_path / "in", *options, "--out", tmp_path / "new" / "a.safetensors")
    assert ran.status == 2
    [line] = ran.err.splitlines()
    assert "normal sounds: all alike in their " in line
    assert not (tmp_path / "new").exists()


def test_a_detector_has_its_suffix(program: Program, options: list[str], wav: WavMaker) -> None:
    path = wav()
    ran = program("score", "fit", path, *options, "--out", path.with_suffix(".txt"))
    assert ran.status == 2
    [line] = ran.err.splitlines()
    assert ".txt: give it a name that ends in .safetensors" in line
    assert not path.with_suffix(".txt").exists()


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
