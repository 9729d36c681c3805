"""What cannot be used gets one clear line and exit status 2, and leaves nothing half-written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from tests.cli.conftest import CARD, Models, Program, Result
from tests.models import WAVEFORM_CODEC
from tests.sounds import WavMaker
from vqaudio.codec.model import Codec
from vqaudio.config import CodecConfig, parse_section
from vqaudio.corpus import TokenDataset
from vqaudio.corpus.ledger import read_ledger
from vqaudio.model_folder import save_model


def assert_one_line(ran: Result, *wanted: str | Path) -> None:
    assert ran.status == 2
    [line] = ran.err.splitlines()
    assert line.startswith("error: ")
    for text in wanted:
        assert str(text) in line


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()} if folder.exists() else set()


@pytest.mark.parametrize("verb", ["tokenize", "reconstruct", "demo"])
def test_a_bad_sound(
    program: Program, models: Models, bad_sound: Path, tmp_path: Path, verb: str
) -> None:
    out = tmp_path / "out"
    prior = ["--prior", models.prior] if verb == "demo" else []
    ran = program(verb, bad_sound, "--out", out, "--codec", models.codec, *prior)
    assert_one_line(ran, bad_sound)
    assert files_in(out) <= ({"ledger.jsonl", "summary.json"} if verb == "tokenize" else set())


@pytest.mark.parametrize("verb", ["tokenize", "reconstruct"])
def test_one_bad_sound_among_good_ones_stops_nothing(
    program: Program, models: Models, wav: WavMaker, tmp_path: Path, verb: str
) -> None:
    wav("in/a.wav")
    wav("in/c.wav")
    (tmp_path / "in" / "b.wav").write_text("no sound")
    ran = program(verb, tmp_path / "in", "--out", tmp_path / "out", "--codec", models.codec)
    assert ran.status == 3
    assert "2 of 3 sounds" in ran.out
    [line] = ran.err.splitlines()
    assert "b.wav: not a sound file" in line
    if verb == "reconstruct":
        assert files_in(tmp_path / "out") == {"a.wav", "c.wav"}
    else:
        assert f"1 failed, for the reasons in {tmp_path / 'out' / 'ledger.jsonl'}" in ran.out
        entries = read_ledger(tmp_path / "out").entries
        assert {name: entry.done for name, entry in entries.items()} == {
            "a": True,
            "b": False,
            "c": True,
        }


def test_an_empty_folder(program: Program, models: Models, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    ran = program("tokenize", tmp_path / "in", "--out", tmp_path / "out", "--codec", models.codec)
    assert_one_line(ran, tmp_path / "in", "no sound files")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("line", ['{"id": "b"}', "{", '"b"', '{"id": "a", "audio": "a.wav"}'])
@pytest.mark.parametrize("verb", ["tokenize", "train"])
def test_a_bad_line_of_a_manifest(
    program: Program, models: Models, wav: WavMaker, tmp_path: Path, verb: str, line: str, recipe: Path
) -> None:
    manifest = tmp_path / "sounds.jsonl"
    manifest.write_text(json.dumps({"id": "a", "audio": wav("a.wav").name}) + f"\n{line}\n")
    if verb == "tokenize":
        ran = program(verb, manifest, "--out", tmp_path / "out", "--codec", models.codec)
    else:
        ran = program(verb, "codec", recipe, "--data", manifest, "--out", tmp_path / "out")
    assert_one_line(ran, f"{manifest}:2: ")
    assert files_in(tmp_path / "out") == set()


def test_a_key_that_does_not_exist(program: Program, tmp_path: Path, recipe: Path) -> None:
    values = yaml.safe_load(recipe.read_text())
    values["optimization"]["learning_rat"] = 0.1
    recipe.write_text(yaml.safe_dump(values))
    ran = program("train", "codec", recipe, "--data", "any.jsonl", "--out", tmp_path / "out")
    assert_one_line(ran, recipe, "optimization.learning_rat", "no such key")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("codec.levels.0.bottleneck.codebook_size=100000", "levels.0.bottleneck.codebook_size: 100000"),
        ("codec.levels.1.bottleneck={kind: gumbel, bits: 20}", "levels.1.bottleneck.bits: 1048576"),
        # more than any memory holds, were they not more than any codebook may have
        (
            "codec.levels.1.bottleneck.codebook_size=16777216",
            "levels.1.bottleneck.codebook_size: 16777216",
        ),
    ],
)
def test_a_codebook_that_the_sounds_cannot_fill(
    program: Program, tokens: Path, tmp_path: Path, recipe: Path, override: str, named: str
) -> None:
    words = ["--data", tokens.parent / "sounds.jsonl", "--out", tmp_path / "out"]
    ran = program("train", "codec", recipe, override, *words)
    assert_one_line(ran, "codec.levels.", f"{named} codes", "give fewer codes or more sound")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def continuous_codec(tmp_path: Path) -> Path:
    """A model folder whose finer level is Gaussian."""
    values = {**WAVEFORM_CODEC, "levels": [*WAVEFORM_CODEC["levels"]]}
    values["levels"][1] = {**values["levels"][1], "bottleneck": {"kind": "gaussian", "dim": 4}}
    torch.manual_seed(0)
    codec = Codec(parse_section(CodecConfig, values, "test"))
    with torch.no_grad():
        codec(torch.randn(2, 1, 8192))
    save_model(tmp_path / "continuous", codec.eval(), CARD)
    return tmp_path / "continuous"


def test_a_level_without_codes_cannot_be_tokenized(
    program: Program, continuous_codec: Path, wav: WavMaker, tmp_path: Path
) -> None:
    sound = wav()
    ran = program("tokenize", sound, "--out", tmp_path / "out", "--codec", continuous_codec)
    assert_one_line(ran, "levels.1.bottleneck.kind: gaussian is continuous")
    assert not (tmp_path / "out").exists()
    ran = program("reconstruct", sound, "--out", tmp_path / "out", "--codec", continuous_codec)
    assert ran.status == 0, ran.err
    ran = program("info", continuous_codec)
    assert ran.status == 0, ran.err


@pytest.mark.parametrize("verb", ["synthesize", "sample"])
def test_a_codec_without_codes_makes_no_sound_of_tokens(
    program: Program, models: Models, continuous_codec: Path, tokens: Path, tmp_path: Path, verb: str
) -> None:
    what = [tokens] if verb == "synthesize" else ["--prior", models.prior]
    ran = program(verb, *what, "--out", tmp_path / "out", "--codec", continuous_codec)
    assert_one_line(ran, continuous_codec)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["codec", "prior"])
def test_an_override_that_does_not_exist(
    program: Program, tmp_path: Path, recipe: Path, prior_recipe: Path, kind: str
) -> None:
    file, data = (recipe, "--data") if kind == "codec" else (prior_recipe, "--tokens")
    ran = program("train", kind, file, "optimization.step=5", data, "any", "--out", tmp_path / "out")
    assert_one_line(ran, "optimization.step", "no such key")
    assert not (tmp_path / "out").exists()


def edit_config(folder: Path) -> None:
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("units: 1", "units: 2", 1))


def edit_rate(folder: Path) -> None:  # no weight has another shape
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("sample_rate: 16000", "sample_rate: 8000", 1))


def remove_config(folder: Path) -> None:
    (folder / "config.yaml").unlink()


def remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def truncate_weights(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])


def flip_a_byte(folder: Path) -> None:
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-5] ^= 1
    (folder / "model.safetensors").write_bytes(weights)


DAMAGES = [edit_rate, remove_config, remove_weights, truncate_weights, flip_a_byte]


@pytest.mark.parametrize(
    ("kind", "damage"),
    [("codec", edit_config), *((kind, damage) for kind in ("codec", "prior") for damage in DAMAGES)],
)
def test_a_damaged_model_folder(
    program: Program,
    models: Models,
    wav: WavMaker,
    tmp_path: Path,
    kind: str,
    damage: Callable[[Path], None],
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(getattr(models, kind), folder)
    damage(folder)
    if kind == "codec":
        ran = program("reconstruct", wav(), "--out", tmp_path / "out", "--codec", folder)
    else:
        ran = program("sample", "--out", tmp_path / "out", "--prior", folder, "--codec", models.codec)
    assert_one_line(ran, folder)
    assert files_in(tmp_path / "out") == set()


def test_a_model_that_is_not_there(program: Program) -> None:
    assert_one_line(program("info", "speech-17k"), "speech-17k: neither a model folder nor")


def test_a_folder_that_is_no_model_hides_no_shipped_one(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("speech-16k").mkdir()
    assert program("info", "speech-16k").status == 0
    Path("mine").mkdir()
    assert_one_line(program("info", "mine"), "mine/config.yaml: missing")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["info", ""], "one of the arguments"),
        (["tokenize", "", "--out", "out"], "one of the arguments"),
        (["tokenize", "a.wav", "--out", ""], "--out"),
        (["tokenize", "a.wav", "--out", "out", "--codec="], "--codec"),
        (["sample", "--prior", "", "--out", "out"], "--prior"),
        (["demo", ""], "one of the arguments"),
    ],
)
def test_an_empty_word(
    program: Program,
    wav: WavMaker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    name: str,
) -> None:
    monkeypatch.chdir(wav("a.wav").parent)
    assert_one_line(program(*words), f"{name}: empty", "give it a value")
    assert files_in(tmp_path) == {"a.wav"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nosuch"], "No such command 'nosuch'; see vqaudio --help"),
        (["compress"], "Missing argument 'AUDIO'; see vqaudio compress --help"),
        (["score", "fit"], "Missing argument 'INPUT'; see vqaudio score fit --help"),
        (["compress", "a", "b", "--model", "x"], "'--model': 'x' is not one of 'static', 'prior'; see"),
        (["sample", "--seconds", "long"], "'--seconds'"),
        (["sample", "--seconds"], "Option '--seconds' requires an argument"),
    ],
)
def test_a_slip_in_the_words(program: Program, words: list[str], said: str) -> None:
    assert_one_line(program(*words), said)


def test_the_model_to_begin_with_is_looked_at_first(
    program: Program, models: Models, tmp_path: Path
) -> None:
    words = ["train", "codec", "nowhere.yaml", "--data", "nowhere.jsonl", "--out", tmp_path / "new"]
    assert_one_line(program(*words, "--from", "nosuch"), "nosuch: neither a model folder nor")
    assert_one_line(program(*words, "--from", models.prior), "a codec is needed")
    assert_one_line(program(*words, "--from", models.codec), "nowhere.yaml")
    words = ["train", "prior", "nowhere.yaml", "--tokens", "nowhere", "--out", tmp_path / "new"]
    assert_one_line(program(*words, "--from", models.codec), "a prior is needed")
    assert_one_line(program(*words, "--from", models.prior), "nowhere.yaml")


@pytest.mark.parametrize("words", [[], ["train"]])
def test_no_words_show_the_help(program: Program, words: list[str]) -> None:
    ran = program(*words)
    assert (ran.status, ran.err) == (2, "")
    assert f" vqaudio {' '.join(words)}".rstrip() in ran.out


def test_colons_in_a_name_stay(program: Program, tmp_path: Path) -> None:
    assert_one_line(program("info", tmp_path / ":key:"), ":key:")


@pytest.mark.parametrize(
    "verb", ["tokenize", "synthesize", "reconstruct", "sample", "demo", "codec", "prior"]
)
def test_an_output_folder_that_cannot_be_written(
    program: Program,
    models: Models,
    wav: WavMaker,
    tokens: Path,
    unwritable: Path,
    recipe: Path,
    prior_recipe: Path,
    verb: str,
) -> None:
    sound, codec, prior = wav(), ["--codec", models.codec], ["--prior", models.prior]
    words = {
        "tokenize": [verb, sound, *codec],
        "reconstruct": [verb, sound, *codec],
        "synthesize": [verb, tokens, *codec],
        "sample": [verb, *codec, *prior],
        "demo": [verb, sound, *codec, *prior],
        "codec": ["train", verb, recipe, "--data", tokens],
        "prior": ["train", verb, prior_recipe, "--tokens", tokens],
    }
    assert_one_line(program(*words[verb], "--out", unwritable), unwritable)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="where Linux lets nobody write")
def test_a_folder_that_is_there_but_cannot_be_written(
    program: Program, models: Models, wav: WavMaker
) -> None:
    for verb in ("tokenize", "reconstruct"):
        ran = program(verb, wav(), "--out", "/proc", "--codec", "not even looked for")
        assert_one_line(ran, "/proc: cannot be written")


def test_an_input_is_not_written_over(
    program: Program, models: Models, wav: WavMaker, tmp_path: Path
) -> None:
    path = wav()
    before = path.read_bytes()
    ran = program("reconstruct", path, "--out", tmp_path, "--codec", models.codec)
    assert_one_line(ran, path)
    assert path.read_bytes() == before


def test_tokens_of_another_codec(program: Program, models: Models, tokens: Path, tmp_path: Path) -> None:
    ran = program("synthesize", tokens, "--out", tmp_path / "out", "--codec", models.other_codec)
    assert_one_line(ran, tokens, models.other_codec)
    assert files_in(tmp_path / "out") == set()


def test_tokens_of_no_shipped_codec(program: Program, tokens: Path, tmp_path: Path) -> None:
    assert_one_line(program("synthesize", tokens, "--out", tmp_path / "out"), tokens, "--codec")


def test_altered_tokens(program: Program, models: Models, tokens: Path, tmp_path: Path) -> None:
    shutil.copytree(tokens, tmp_path / "tokens")
    shard = tmp_path / "tokens" / "tokens-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-100])
    ran = program("synthesize", tmp_path / "tokens", "--out", tmp_path / "out", "--codec", models.codec)
    assert_one_line(ran, shard)


def test_one_damaged_shard_of_several(
    program: Program, models: Models, tokens: Path, wav: WavMaker, tmp_path: Path
) -> None:
    words = ["--codec", models.codec]
    assert program("tokenize", wav("in/more.wav"), "--out", tmp_path / "b", *words).status == 0
    shard = tmp_path / "b" / "tokens-00000.parquet"
    ran = program("synthesize", tokens, shard, "--out", tmp_path / "good", *words)
    assert ran.status == 0, ran.err
    assert len(files_in(tmp_path / "good")) == len(TokenDataset([tokens, shard])) == 13
    data = bytearray(shard.read_bytes())
    codes = pq.read_metadata(shard).row_group(0).column(3).data_page_offset
    data[codes + 40] ^= 0xFF
    shard.write_bytes(data)
    ran = program("synthesize", tokens, tmp_path / "b", "--out", tmp_path / "bad", *words)
    assert_one_line(ran, shard, "damaged")


def test_a_prior_where_a_codec_is_needed(
    program: Program, models: Models, wav: WavMaker, tmp_path: Path
) -> None:
    ran = program("tokenize", wav(), "--out", tmp_path / "out", "--codec", models.prior)
    assert_one_line(ran, models.prior, "a codec is needed")
    ran = program("sample", "--out", tmp_path / "out", "--prior", models.codec)
    assert_one_line(ran, models.codec, "a prior is needed")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--label", "perhaps"], "this prior knows no, yes"),
        (["--seconds", "1000"], "beyond the context"),
        (["--seconds", "0"], "seconds"),
        (["-n", "0"], "at least 1"),
        (["--top-p", "2"], "top_p"),
        (["--temperature", "-1"], "temperature"),
        (["--min-p", "2"], "min_p"),
        (["--guidance", "-1"], "guidance"),
        (["--repetition-window", "-1"], "repetition_window"),
        (["--speaker", "ann"], "speaker ann: this prior was trained without speakers"),
        (["--text", "hello"], "trained without text"),
        (["--prompt", "nowhere.wav"], "nowhere.wav"),
    ],
)
def test_impossible_samples(
    program: Program, models: Models, tmp_path: Path, words: list[str], wanted: str
) -> None:
    given = ["--prior", models.prior, "--codec", models.codec, *words]
    assert_one_line(program("sample", "--out", tmp_path / "out", *given), wanted)
    assert files_in(tmp_path / "out") == set()


def test_a_prompt_must_leave_something_to_say(
    program: Program, wav: WavMaker, models: Models, tmp_path: Path
) -> None:
    words = ["sample", "--out", tmp_path / "out", "--prior", models.prior, "--codec", models.codec]
    assert_one_line(program(*words, "--prompt", wav(seconds=0.001)), "too short")
    assert_one_line(program(*words, "--prompt", wav(seconds=0.5), "--seconds", "0.2"), "leaves none")
    assert files_in(tmp_path / "out") == set()


def test_samples_stay_out_of_a_corpus(program: Program, models: Models, tokens: Path) -> None:
    before = (tokens / "tokens-00000.parquet").read_bytes()
    ran = program("sample", "--out", tokens, "--prior", models.prior, "--codec", models.codec)
    assert_one_line(ran, tokens)
    assert (tokens / "tokens-00000.parquet").read_bytes() == before


def test_samples_stay_out_of_earlier_samples(program: Program, models: Models, tmp_path: Path) -> None:
    words = ["sample", "--out", tmp_path / "out", "--prior", models.prior, "--codec", models.codec]
    assert program(*words, "-n", "2", "--seconds", "0.1").status == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    ran = program(*words, "--seconds", "0.1", "--seed", "1")
    assert_one_line(ran, tmp_path / "out", "choose another --out")
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_demo_stays_out_of_a_corpus_and_of_samples(
    program: Program, models: Models, wav: WavMaker, tokens: Path, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    shutil.copy(tokens / "tokens-00000.parquet", tmp_path / "new")  # no ledger, as sample leaves it
    for folder in (tokens, tmp_path / "new"):
        before = {path: path.read_bytes() for path in folder.iterdir()}
        ran = program("demo", wav(), "--out", folder, "--codec", models.codec, "--prior", models.prior)
        assert_one_line(ran, folder, "choose another --out")
        assert {path: path.read_bytes() for path in folder.iterdir()} == before


FAILURES = {
    "tokenize, no codec": ["tokenize", "SOUND", "--codec", "nosuch"],
    "reconstruct, no codec": ["reconstruct", "SOUND", "--codec", "nosuch"],
    "reconstruct, levels": ["reconstruct", "SOUNDS", "--codec", "CODEC", "--levels", "9"],
    "reconstruct, sound": ["reconstruct", "BAD", "--codec", "CODEC"],
    "demo, sound": ["demo", "nope.wav", "--codec", "CODEC", "--prior", "PRIOR"],
    "sample, seconds": ["sample", "--codec", "CODEC", "--prior", "PRIOR", "--seconds", "-1"],
    "sample, label": ["sample", "--codec", "CODEC", "--prior", "PRIOR", "--label", "zebra"],
    "synthesize, codec": ["synthesize", "TOKENS", "--codec", "OTHER"],
    "synthesize, levels": ["synthesize", "TOKENS", "--codec", "CODEC", "--levels", "9"],
    "codec, data": ["train", "codec", "RECIPE", "--data", "BAD"],
    "prior, tokens": ["train", "prior", "PRIOR_RECIPE", "--tokens", "SOUNDS"],
}


@pytest.mark.parametrize("words", FAILURES.values(), ids=FAILURES.keys())
def test_a_failure_leaves_no_folder(
    program: Program,
    models: Models,
    wav: WavMaker,
    tokens: Path,
    recipe: Path,
    prior_recipe: Path,
    tmp_path: Path,
    words: list[str],
) -> None:
    (tmp_path / "bad.wav").write_text("no sound")
    named: dict[str, str | Path] = {
        "SOUND": wav("in/below/a.wav"),
        "SOUNDS": tmp_path / "in",
        "BAD": tmp_path / "bad.wav",
        "TOKENS": tokens,
        "CODEC": models.codec,
        "OTHER": models.other_codec,
        "PRIOR": models.prior,
        "RECIPE": recipe,
        "PRIOR_RECIPE": prior_recipe,
    }
    given = [named.get(word, word) for word in words]
    assert program(*given, "--out", tmp_path / "new" / "out").status == 2
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir()  # a folder of the user's stays, empty or not
    assert program(*given, "--out", tmp_path / "mine").status == 2
    assert (tmp_path / "mine").is_dir()


def test_one_id_in_two_shards(program: Program, models: Models, tokens: Path, tmp_path: Path) -> None:
    shutil.copytree(tokens, tmp_path / "tokens")
    words = ["--out", tmp_path / "out", "--codec", models.codec]
    ran = program("synthesize", tokens, tmp_path / "tokens", *words)
    assert_one_line(ran, tokens, tmp_path / "tokens", "id '0'")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("levels", ["0", "3"])
def test_levels_that_are_not_there(
    program: Program, models: Models, wav: WavMaker, tmp_path: Path, levels: str
) -> None:
    words = ["--out", tmp_path / "out", "--codec", models.codec, "--levels", levels]
    assert_one_line(program("reconstruct", wav(), *words), "levels")
    assert files_in(tmp_path / "out") == set()


def test_a_device_that_is_not_there(
    program: Program, models: Models, wav: WavMaker, tmp_path: Path
) -> None:
    for device in ("cuda:17", "toaster"):
        words = ["tokenize", wav(), "--out", tmp_path / "out", "--codec", models.codec]
        ran = program(*words, "--device", device)
        assert_one_line(ran, f"device {device}: not to be had here")
        assert not (tmp_path / "out").exists()
