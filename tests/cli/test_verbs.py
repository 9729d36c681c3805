"""Every verb does its work on real files."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from tests.cli.conftest import Models, Program
from tests.sounds import WavMaker
from vqaudio.audio import read_audio
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.model_folder import load


def test_tokens_of_a_folder_become_sound_again(
    program: Program, models: Models, wav: WavMaker, tmp_path: Path
) -> None:
    lengths = {}
    for number, name in enumerate(["in/a.wav", "in/b/a.wav", "in/b/c.flac"]):
        path = wav(name, seconds=0.1 + 0.05 * number, seed=number)
        lengths[str(Path(name).relative_to("in").with_suffix(""))] = soundfile.info(path).frames
    ran = program("tokenize", tmp_path / "in", "--out", tmp_path / "tokens", "--codec", models.codec)
    assert ran.status == 0, ran.err
    assert "3 of 3 sounds" in ran.out
    assert pq.read_table(tmp_path / "tokens" / "tokens-00000.parquet").num_rows == 3

    ran = program("synthesize", tmp_path / "tokens", "--out", tmp_path / "all", "--codec", models.codec)
    assert ran.status == 0, ran.err
    written = {
        str(path.relative_to(tmp_path / "all").with_suffix("")): soundfile.info(path)
        for path in (tmp_path / "all").rglob("*.wav")
    }
    assert {name: sound.frames for name, sound in written.items()} == lengths
    assert all(sound.samplerate == 16000 for sound in written.values())

    shard = tmp_path / "tokens" / "tokens-00000.parquet"  # a file does as well as its folder
    ran = program(
        "synthesize", shard, "--out", tmp_path / "one", "--codec", models.codec, "--levels", "1"
    )
    assert ran.status == 0, ran.err
    row = TokenDataset(shard)[0]
    coarse, _ = read_audio(tmp_path / "one" / f"{row.id}.wav")
    assert torch.allclose(coarse, load(models.codec).decode(row.codes, 1), atol=1e-4)


def test_a_repeated_tokenize_has_nothing_to_do(
    program: Program, models: Models, wav: WavMaker, tmp_path: Path
) -> None:
    words = ["tokenize", wav(), "--out", tmp_path / "tokens", "--codec", models.codec]
    assert program(*words).status == 0
    before = (tmp_path / "tokens" / "tokens-00000.parquet").stat().st_mtime_ns
    ran = program(*words)
    assert ran.status == 0
    assert "1 of 1 sounds tokenized (1 of them before)" in ran.out
    assert (tmp_path / "tokens" / "tokens-00000.parquet").stat().st_mtime_ns == before


def test_tokens_are_the_same_by_any_workers(
    program: Program, models: Models, wav: WavMaker, tmp_path: Path
) -> None:
    words = ["tokenize", wav(seconds=3.0), "--codec", models.codec, "--out"]
    for workers in ("1", "2"):
        assert program(*words, tmp_path / workers, "--workers", workers).status == 0
    one, two = (TokenDataset(tmp_path / workers)[0] for workers in ("1", "2"))
    assert one.codes == two.codes
    assert program(*words, tmp_path / "none", "--workers", "0").status == 2


def test_reconstruct_is_decode_of_encode(
    program: Program, models: Models, wav: WavMaker, tmp_path: Path
) -> None:
    path = wav()
    ran = program("reconstruct", path, "--out", tmp_path / "out", "--codec", models.codec)
    assert ran.status == 0, ran.err
    codec = load(models.codec)
    wanted = codec.decode(codec.encode(path)).clamp(-1, 1)
    found, rate = read_audio(tmp_path / "out" / "tone.wav")
    assert rate == codec.sample_rate
    assert torch.allclose(found, wanted, atol=1e-4)


def test_same_names_from_two_folders_are_both_kept(
    program: Program, models: Models, wav: WavMaker, tmp_path: Path
) -> None:
    one, two = wav("one/a.wav", seconds=0.1), wav("two/a.wav", seconds=0.2)
    ran = program("reconstruct", one, two, "--out", tmp_path / "out", "--codec", models.codec)
    assert ran.status == 0, ran.err
    assert soundfile.info(tmp_path / "out" / "one" / "a.wav").frames == 1600
    assert soundfile.info(tmp_path / "out" / "two" / "a.wav").frames == 3200
    assert len(list((tmp_path / "out").rglob("*.wav"))) == 2


def test_ids_with_a_suffix_do_not_double_it(
    program: Program, models: Models, wav: WavMaker, tmp_path: Path
) -> None:
    given = [wav("in/a.wav"), wav("in/a.flac"), wav("in/b.wav")]
    ran = program("reconstruct", *given, "--out", tmp_path / "out", "--codec", models.codec)
    assert ran.status == 0, ran.err
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["a.flac.wav", "a.wav", "b.wav"]


def test_synthesize_takes_each_file_once(
    program: Program, models: Models, tokens: Path, tmp_path: Path
) -> None:
    given = [tokens, tokens / "tokens-00000.parquet", tokens.parent / "." / tokens.name]
    ran = program("synthesize", *given, "--out", tmp_path / "out", "--codec", models.codec)
    assert ran.status == 0, ran.err
    assert "12 sounds synthesized" in ran.out
    assert len(list((tmp_path / "out").rglob("*.wav"))) == 12


def test_a_clip_of_a_manifest(program: Program, models: Models, wav: WavMaker, tmp_path: Path) -> None:
    clip = {"id": "clip", "audio": wav(seconds=0.5).name, "start_seconds": 0.1, "duration_seconds": 0.2}
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(json.dumps(clip) + "\n")
    ran = program("reconstruct", manifest, "--out", tmp_path / "out", "--codec", models.codec)
    assert ran.status == 0, ran.err
    assert soundfile.info(tmp_path / "out" / "clip.wav").frames == 3200


def test_samples_have_sound_and_tokens(program: Program, models: Models, tmp_path: Path) -> None:
    words = ["--prior", models.prior, "--codec", models.codec, "-n", "3", "--seconds", "0.1"]
    for name, seed in [("a", "1"), ("again", "1"), ("b", "2")]:
        out = tmp_path / name
        ran = program("sample", "--out", out, *words, "--seed", seed, "--label", "yes")
        assert ran.status == 0, ran.err
    paths = sorted((tmp_path / "a").glob("*.wav"))
    assert [soundfile.info(path).frames for path in paths] == [1600] * 3
    first, again, other = (TokenDataset(tmp_path / name) for name in ("a", "again", "b"))
    assert [row.fields for row in first] == [{"label": "yes"}] * 3
    assert [row.id for row in first] == [path.stem for path in paths]
    assert [row.codes for row in first] == [row.codes for row in again]
    assert [row.codes for row in first] != [row.codes for row in other]
    found, _ = read_audio(paths[2])
    assert torch.allclose(found, load(models.codec).decode(first[2].codes).clamp(-1, 1), atol=1e-4)
    (tmp_path / "a" / "tokens-00000.parquet").unlink()
    before = paths[0].read_bytes()
    ran = program("sample", "--out", tmp_path / "a", *words, "--seed", "3")
    assert (ran.status, ran.err) == (2, f"error: {paths[0]}: is there already; choose another --out\n")
    assert paths[0].read_bytes() == before


def test_a_sound_of_any_rate_is_gone_on_from(
    program: Program, models: Models, wav: WavMaker, tmp_path: Path
) -> None:
    words = ["--prior", models.prior, "--codec", models.codec, "--seconds", "0.3", "--guidance", "1.5"]
    prompt = wav(seconds=0.2, sample_rate=22050)
    ran = program("sample", "--out", tmp_path / "out", *words, "--prompt", prompt, "--precision", "int8")
    assert ran.status == 0, ran.err
    codec = load(models.codec)

    begun = codec.encode(prompt)
    [row] = TokenDataset(tmp_path / "out")
    whole = begun.num_samples // codec.hops[0]
    assert whole > 1
    assert torch.equal(row.codes.levels[0][:, :whole], begun.levels[0][:, :whole])
    assert row.codes.num_samples == 4800


def test_info_says_what_a_codec_is(program: Program, models: Models) -> None:
    ran = program("info", models.codec)
    assert ran.status == 0, ran.err
    codec = load(models.codec)
    assert codec.fingerprint in ran.out
    for text in ("16000 Hz", "CC0-1.0", "Noise of our own making.", f"{codec.bitrate / 1000:g} kbit/s"):
        assert text in ran.out
    assert "Many." not in ran.out


def test_info_of_a_model_without_its_card(program: Program, models: Models, tmp_path: Path) -> None:
    shutil.copytree(models.codec, tmp_path / "model")
    (tmp_path / "model" / "README.md").unlink()
    ran = program("info", tmp_path / "model")
    assert ran.status == 0
    assert load(models.codec).fingerprint in ran.out
    assert ran.err == ""


def test_info_keeps_the_lines_of_a_list(program: Program, models: Models, tmp_path: Path) -> None:
    shutil.copytree(models.codec, tmp_path / "model")
    card = "# A toy\n\n## Data\n\nTwo\nkinds:\n\n- noise,\n  loud\n- tones\n1. last\n\nNo [speech].\n"
    (tmp_path / "model" / "README.md").write_text(card)
    ran = program("info", tmp_path / "model")
    wanted = ["Data", "Two kinds:", "- noise, loud", "- tones", "1. last", "No [speech]."]
    assert ran.out.splitlines()[-6:] == wanted


def test_info_says_what_a_prior_is(program: Program, models: Models) -> None:
    ran = program("info", models.prior)
    assert ran.status == 0, ran.err
    prior = load(models.prior)
    for text in (
        prior.fingerprint,
        prior.codec.fingerprint,
        "no, yes",
        f"{prior.layout.vocab_size} tokens",
    ):
        assert text in ran.out


@pytest.mark.parametrize(
    "kind",
    [
        {"channels": 2},
        {"subtype": "PCM_U8"},
        {"sample_rate": 96000},
        {"sample_rate": 8000, "channels": 3},
    ],
    ids=["stereo", "8 bit", "96 kHz", "three channels at 8 kHz"],
)
def test_unusual_sounds_just_work(
    program: Program, models: Models, wav: WavMaker, tmp_path: Path, kind: dict[str, int]
) -> None:
    ran = program(
        "reconstruct", wav(seconds=0.3, **kind), "--out", tmp_path / "out", "--codec", models.codec
    )
    assert ran.status == 0, ran.err
    assert ("mixed down" in ran.err) == ("channels" in kind)
    assert soundfile.info(tmp_path / "out" / "tone.wav").frames == 4800


def test_tokenize_sums_up(program: Program, models: Models, wav: WavMaker, tmp_path: Path) -> None:
    wav("in/a.wav", 0.5, seed=1)
    wav("in/b.wav", 0.3, seed=2)
    (tmp_path / "in" / "c.wav").write_text("no sound")
    out = tmp_path / "tokens"
    words = ["tokenize", tmp_path / "in", "--out", out, "--codec", models.codec]
    ran = program(*words, "--workers", "2", "--json")
    assert ran.status == 3
    said = json.loads(ran.out)
    assert said == json.loads((out / "summary.json").read_text())
    assert (said["sounds"], said["done"], said["failed"]) == (3, 2, 1)
    assert said["failures"] == {"not a sound file, or a damaged one (Format not recognised)": 1}
    corpus = TokenDataset(out)
    assert said["hours"] == pytest.approx(0.8 / 3600)
    assert said["tokens"] == sum(level.numel() for row in corpus for level in row.codes.levels)
    for level, books in enumerate(said["codebooks"]):
        for quantizer, book in enumerate(books):
            codes = torch.cat([row.codes.levels[level][quantizer] for row in corpus])
            assert book["size"] == corpus.codebook_sizes[level][quantizer]
            assert book["used"] == len(codes.unique())
            shares = codes.bincount() / len(codes)
            assert book["entropy_bits"] == pytest.approx(-(shares * shares.clamp(1e-9).log2()).sum())
    ran = program(*words, "--verify")
    assert "2 of 3 sounds tokenized (2 of them before)" in ran.out
    assert "verified: 1 shards and 2 rows" in ran.out
    ran = program(*words, "--strict")
    assert ran.status == 2
    assert "c.wav: not a sound file" in ran.err


def test_synthesize_does_not_write_over_what_tokens_were_made_of(
    program: Program, models: Models, wav: WavMaker, tmp_path: Path
) -> None:
    before = wav("in/a.wav").read_bytes()
    words = ["--codec", models.codec, "--out"]
    assert program("tokenize", tmp_path / "in", *words, tmp_path / "tokens").status == 0
    ran = program("synthesize", tmp_path / "tokens", *words, tmp_path / "in")
    assert ran.status == 2
    assert "a.wav: an input, which would be written over" in ran.err
    assert (tmp_path / "in" / "a.wav").read_bytes() == before
