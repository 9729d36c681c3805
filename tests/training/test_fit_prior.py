"""Fitting a prior: it learns what there is to learn, and goes on bit for bit after a kill."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.models import waveform_codec
from tests.sounds import tone
from tests.training.chains import SPEC, Chain, write_corpus
from vqaudio.audio import write_audio
from vqaudio.codec.code_vectors import code_vectors
from vqaudio.config import PriorRecipe, parse_section
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.shards import TokenRow, write_shard
from vqaudio.corpus.tokenize import tokenize
from vqaudio.errors import UserError
from vqaudio.model_folder import load, save_model
from vqaudio.prior.model import Prior
from vqaudio.training.fit_prior import PriorRun, fit_prior


def make_recipe(steps: int, **changes: Any) -> PriorRecipe:
    values: dict[str, Any] = {
        "prior": {"layers": 2, "width": 32, "heads": 2, "context": 128, "dropout": 0.0},
        "data": {"tokens_per_batch": 600},
        "optimization": {"steps": steps, "learning_rate": 0.004, "warmup_steps": 10},
        "run": {"validate_every": 50, "checkpoint_every": 50, "validation_sounds": 20},
    }
    for key, value in changes.items():
        section, _, name = key.partition("__")
        if name:
            values[section][name] = value
        else:
            values[section] = value
    return parse_section(PriorRecipe, values, "recipe")


def loaded(folder: Path) -> Prior:
    prior = load(folder)
    assert isinstance(prior, Prior)
    return prior


def test_a_prior_learns_its_source_and_no_more(tmp_path: Path) -> None:
    write_corpus(tmp_path / "tokens", 1500, labels=2)
    recipe = make_recipe(300, data__label=True, optimization__weight_ema=0.9)
    fit_prior(recipe, tmp_path / "tokens", tmp_path / "out")
    prior = loaded(tmp_path / "out")
    assert prior.labels == ["chain 0", "chain 1"]
    generator = torch.Generator().manual_seed(99)
    tokens = 0
    surplus, unlabelled, wrong = [], [], []
    for index in range(200):
        codes = Chain(index % 2).draw(generator)
        truth = Chain(index % 2).bits(codes)
        tokens += prior.layout.num_tokens(codes.num_samples)
        surplus.append(prior.nll(codes, f"chain {index % 2}").bits - truth)
        unlabelled.append(prior.nll(codes).bits - truth)
        wrong.append(prior.nll(codes, f"chain {1 - index % 2}").bits - truth)
    bits = torch.tensor(surplus)
    spread = float(bits.std() / len(bits) ** 0.5)
    assert bits.mean() > -3 * spread  # nothing can beat the truth
    assert bits.sum() / tokens < 0.12
    assert sum(surplus) < sum(unlabelled) < sum(wrong)
    assert sum(unlabelled) / tokens < 0.6  # it guesses from what it has seen of the sound
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    stated = float(re.findall(r"([\d.]+) bits a token", card)[0])
    validation = Chain(0).bits  # of the same source, so of about the same bits
    fresh = [Chain(0).draw(generator) for _ in range(200)]
    truth_bits = sum(map(validation, fresh)) / sum(prior.layout.num_tokens(c.num_samples) for c in fresh)
    assert abs(stated - truth_bits) < 0.5


def test_training_stops_when_validation_gets_worse_and_keeps_the_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_corpus(tmp_path / "tokens", 30)
    recipe = make_recipe(2000, patience=3, run__validate_every=10, data__tokens_per_batch=2000)
    fit_prior(recipe, tmp_path / "tokens", tmp_path / "out")
    said = capsys.readouterr().out
    history = [float(text) for text in re.findall(r"validation  bits_per_token ([\d.]+)", said)]
    best = history.index(min(history))
    assert len(history) == best + 1 + 3
    assert f"stopped: no progress in 3 validations, since step {10 * (best + 1)}" in said
    state = json.loads((tmp_path / "out" / "training_state" / "state.json").read_text())
    assert state["best_step"] == 10 * (best + 1)
    assert state["results"]["bits_per_token"] == pytest.approx(min(history), abs=1e-3)
    kept = load_file(tmp_path / "out" / "training_state" / "best.safetensors")
    assert all(torch.equal(kept[name], x) for name, x in loaded(tmp_path / "out").state_dict().items())
    now = load_file(tmp_path / "out" / "training_state" / "model.safetensors")
    assert any(not torch.equal(kept[name], now[name]) for name in kept)


def test_it_begins_where_another_ended(tmp_path: Path) -> None:
    write_corpus(tmp_path / "tokens", 300)
    words = (tmp_path / "tokens", tmp_path / "second", False, "speech-16k", str(tmp_path / "first"))
    fit_prior(make_recipe(60), *words[:1], tmp_path / "first")
    run = PriorRun(make_recipe(60, prior__dropout=0.1), *words)
    wanted = loaded(tmp_path / "first").state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in run.prior.state_dict().items())
    before = json.loads((tmp_path / "first" / "training_state" / "state.json").read_text())
    assert run.validate()["bits_per_token"] == pytest.approx(before["results"]["bits_per_token"])
    with pytest.raises(UserError, match="from: None does not go on from a run that began with"):
        fit_prior(make_recipe(60, prior__dropout=0.1), *words[:2], resume=True)


def test_another_shape_and_another_codec_are_no_beginning(tmp_path: Path) -> None:
    write_corpus(tmp_path / "tokens", 100)
    fit_prior(make_recipe(1), tmp_path / "tokens", tmp_path / "first")
    start = str(tmp_path / "first")
    wider = make_recipe(1, prior__width=64)
    with pytest.raises(UserError, match=r"first: of another shape .*prior\.width is 64, not 32"):
        fit_prior(wider, tmp_path / "tokens", tmp_path / "second", start=start)
    codes = replace(Chain(0).draw(torch.Generator().manual_seed(0)), codec="another")
    shard = tmp_path / "others" / "tokens-00000.parquet"
    write_shard(shard, replace(SPEC, fingerprint="another"), [TokenRow("a", codes)])
    with pytest.raises(UserError, match="the prior reads codec"):
        fit_prior(make_recipe(1), tmp_path / "others", tmp_path / "second", start=start)


KILLED = """
import sys, torch
from dataclasses import replace
from pathlib import Path
from tests.training.test_fit_prior import resumable
from vqaudio.training.fit_prior import fit_prior
torch.set_num_threads(1)
fit_prior(resumable(), Path(sys.argv[1]), Path(sys.argv[2]), resume=True)
"""


def resumable() -> PriorRecipe:
    return make_recipe(
        60,
        prior__dropout=0.2,
        data__label=True,
        optimization__weight_ema=0.9,
        run__checkpoint_every=7,
        run__validate_every=11,
    )


def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    write_corpus(tokens, 150, labels=2)
    killed = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, str(tokens), str(killed)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    state = killed / "training_state" / "state.json"
    while process.poll() is None:
        with suppress(FileNotFoundError):  # none yet, or on its way to another name
            if '"step": 0,' not in state.read_text():
                process.send_signal(signal.SIGKILL)
                break
        time.sleep(0.001)
    assert process.wait() == -signal.SIGKILL
    step = json.loads((state if state.exists() else _previous(state)).read_text())["step"]
    assert 0 < step < 60

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    fit_prior(resumable(), tokens, killed, resume=True)
    fit_prior(resumable(), tokens, tmp_path / "whole")
    torch.set_num_threads(threads)
    for name in ("model", "optimizer", "average", "best"):
        one, other = (
            load_file(folder / "training_state" / f"{name}.safetensors")
            for folder in (killed, tmp_path / "whole")
        )
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert loaded(killed).fingerprint == loaded(tmp_path / "whole").fingerprint


def _previous(state: Path) -> Path:
    return state.parent.with_name("training_state.previous") / state.name


def test_only_the_same_run_is_gone_on_with(tmp_path: Path) -> None:
    write_corpus(tmp_path / "tokens", 30)
    write_corpus(tmp_path / "others", 31)
    fit_prior(make_recipe(2), tmp_path / "tokens", tmp_path / "out")
    with pytest.raises(UserError, match="--resume"):
        fit_prior(make_recipe(2), tmp_path / "tokens", tmp_path / "out")
    with pytest.raises(UserError, match="tokens"):
        fit_prior(make_recipe(2), tmp_path / "others", tmp_path / "out", resume=True)
    with pytest.raises(UserError, match=r"prior\.width"):
        fit_prior(make_recipe(2, prior__width=16), tmp_path / "tokens", tmp_path / "out", resume=True)
    fit_prior(make_recipe(4), tmp_path / "tokens", tmp_path / "out", resume=True)
    state = json.loads((tmp_path / "out" / "training_state" / "state.json").read_text())
    assert state["step"] == 4


def test_the_same_sounds_with_other_labels_are_another_run(tmp_path: Path) -> None:
    write_corpus(tmp_path / "tokens", 30, labels=2)
    other = {"chain 0": "chain 1", "chain 1": "chain 0"}
    rows = [
        replace(row, fields={**row.fields, "label": other[row.fields["label"]]})
        for row in TokenDataset(tmp_path / "tokens")
    ]
    (tmp_path / "swapped").mkdir()
    write_shard(tmp_path / "swapped" / "tokens-00000.parquet", SPEC, rows)
    fit_prior(make_recipe(2, data__label=True), tmp_path / "tokens", tmp_path / "out")
    with pytest.raises(UserError, match="tokens"):
        fit_prior(make_recipe(2, data__label=True), tmp_path / "swapped", tmp_path / "out", resume=True)


def test_labels_that_are_not_there_cannot_be_learned(tmp_path: Path) -> None:
    write_corpus(tmp_path / "tokens", 30)
    with pytest.raises(UserError, match=r"no row has a label, which data\.label asks for"):
        fit_prior(make_recipe(2, data__label=True), tmp_path / "tokens", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_texts_that_are_not_there_cannot_be_learned(tmp_path: Path) -> None:
    write_corpus(tmp_path / "tokens", 30)
    recipe = make_recipe(2, data__text=True, prior__text_bytes=8)
    with pytest.raises(UserError, match=r"no row has a text, which data\.text asks for"):
        fit_prior(recipe, tmp_path / "tokens", tmp_path / "out")


@pytest.mark.parametrize("layout", ["delay", "cascade"])
def test_other_layouts_learn_their_source_too(tmp_path: Path, layout: str) -> None:
    write_corpus(tmp_path / "tokens", 1000)
    recipe = make_recipe(250, prior__layout=layout, run__validate_every=250)
    fit_prior(recipe, tmp_path / "tokens", tmp_path / "out")
    prior = loaded(tmp_path / "out")
    generator = torch.Generator().manual_seed(99)
    fresh = [Chain(0).draw(generator) for _ in range(200)]
    truth = sum(map(Chain(0).bits, fresh))
    tokens = sum(prior.layout.finest_frames(codes.num_samples) * 3 / 2 for codes in fresh)
    bits = sum(prior.nll(codes).bits for codes in fresh)
    # One row at a time, `delay` cannot know the coarse code that is said beside a fine one; it is
    # a coarse frame ahead, though, so that this source loses nothing by it.
    assert -0.02 * tokens < bits - truth < 0.2 * tokens


def one_step(tmp_path: Path, name: str, **changes: Any) -> Prior:
    recipe = make_recipe(1, run__checkpoint_every=1, **changes)
    fit_prior(recipe, tmp_path / "tokens", tmp_path / name)
    prior = Prior(loaded(tmp_path / name).config, SPEC)
    prior.load_state_dict(load_file(tmp_path / name / "training_state" / "model.safetensors"))
    return prior


def test_a_batch_in_parts_is_the_same_step(tmp_path: Path) -> None:
    write_corpus(tmp_path / "tokens", 100)
    whole, parts = (one_step(tmp_path, f"{count}", data__accumulation=count) for count in (1, 4))
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_smoothing_spreads_what_the_prior_expects(tmp_path: Path) -> None:
    """Trained to certainty on one sound, a smoothed prior stays less than sure."""
    generator = torch.Generator().manual_seed(0)
    codes = Chain(0).draw(generator)
    (tmp_path / "tokens").mkdir()
    rows = [TokenRow(f"{i}", codes, {}) for i in range(4)]
    write_shard(tmp_path / "tokens" / "tokens-00000.parquet", SPEC, rows)
    bits = []
    for share in (0.0, 0.3):
        recipe = make_recipe(60, label_smoothing=share, run__validation_sounds=1)
        fit_prior(recipe, tmp_path / "tokens", tmp_path / f"{share}")
        bits.append(loaded(tmp_path / f"{share}").nll(codes).bits)
    tokens = loaded(tmp_path / "0.3").layout.num_tokens(codes.num_samples)
    assert bits[0] < 0.1 * tokens
    assert bits[1] > 0.25 * tokens


def test_texts_are_learned_where_they_are_asked_for(tmp_path: Path) -> None:
    """Which chain it is is said by the text alone."""
    write_corpus(tmp_path / "named", 800, labels=2)
    rows = [
        replace(row, fields={"text": row.fields["label"]}) for row in TokenDataset(tmp_path / "named")
    ]
    (tmp_path / "tokens").mkdir()
    write_shard(tmp_path / "tokens" / "tokens-00000.parquet", SPEC, rows)
    recipe = make_recipe(250, data__text=True, prior__text_bytes=8, run__validate_every=250)
    fit_prior(recipe, tmp_path / "tokens", tmp_path / "out")
    prior = loaded(tmp_path / "out")
    generator = torch.Generator().manual_seed(99)
    right = wrong = 0.0
    for index in range(60):
        codes = Chain(index % 2).draw(generator)
        right += prior.nll(codes, text=f"chain {index % 2}").bits
        wrong += prior.nll(codes, text=f"chain {1 - index % 2}").bits
    assert right < 0.8 * wrong
    with pytest.raises(UserError, match="goes with prior.text_bytes"):
        make_recipe(2, data__text=True)
    short = make_recipe(2, data__text=True, prior__text_bytes=3)
    with pytest.raises(
        UserError, match=r"prior.text_bytes: 3 is too few for the text of .*; it takes 7"
    ):
        fit_prior(short, tmp_path / "tokens", tmp_path / "short")


@pytest.fixture
def codec_and_tokens(tmp_path: Path) -> tuple[Path, Path]:
    """A tiny codec's folder, and tokens that it made."""
    codec = waveform_codec()
    save_model(tmp_path / "codec", codec, "# A toy\n")
    sounds = []
    for number in range(12):
        write_audio(tmp_path / f"{number}.wav", tone(0.5, seed=number), 16000)
        sounds.append(Sound(f"{number}", tmp_path / f"{number}.wav"))
    assert tokenize(codec, sounds, tmp_path / "tokens").done == 12
    return tmp_path / "codec", tmp_path / "tokens"


def test_the_codec_s_vectors_are_learned_with_and_go_with_the_prior(
    codec_and_tokens: tuple[Path, Path], tmp_path: Path
) -> None:
    codec, tokens = codec_and_tokens
    recipe = make_recipe(4, data__code_vectors=True, run__checkpoint_every=2)
    fit_prior(recipe, tokens, tmp_path / "out", codec=codec)
    shutil.rmtree(codec)
    prior = loaded(tmp_path / "out")
    wanted = code_vectors(waveform_codec())
    assert prior.config.vector_dims == [[v.shape[1] for v in level] for level in wanted]
    kept = prior.stages[0].to_logits.get_buffer("vectors_2")
    assert torch.allclose(kept, wanted[1][1] / wanted[1][1].std())
    [sound] = prior.sample(seconds=0.1)
    assert prior.nll(sound).bits > 0


def test_vectors_of_another_codec_are_refused(
    codec_and_tokens: tuple[Path, Path], tmp_path: Path
) -> None:
    _, tokens = codec_and_tokens
    recipe = make_recipe(2, data__code_vectors=True)
    with pytest.raises(UserError, match=r"not of speech-16k.*give theirs with --codec"):
        fit_prior(recipe, tokens, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_several_folders_of_tokens_are_one_corpus(tmp_path: Path) -> None:
    write_corpus(tmp_path / "one", 30)
    write_corpus(tmp_path / "other", 40)
    rows = [replace(row, id=f"copy of {row.id}") for row in TokenDataset(tmp_path / "other")]
    write_shard(tmp_path / "other" / "tokens-00000.parquet", SPEC, rows)
    fit_prior(make_recipe(2), [tmp_path / "one", tmp_path / "other"], tmp_path / "out")
    held = sum(row.fields.get("split") == "validation" for row in TokenDataset(tmp_path / "one"))
    held += sum(row.fields.get("split") == "validation" for row in rows)
    assert f"{70 - held} sounds" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_half_precision_learns_too(tmp_path: Path) -> None:
    write_corpus(tmp_path / "tokens", 300)
    recipe = make_recipe(60, run__precision="bf16-mixed", run__validate_every=60)
    fit_prior(recipe, tmp_path / "tokens", tmp_path / "out")
    generator = torch.Generator().manual_seed(99)
    fresh = [Chain(0).draw(generator) for _ in range(50)]
    prior = loaded(tmp_path / "out")
    taught = sum(prior.nll(codes).bits for codes in fresh)
    torch.manual_seed(0)
    assert taught < 0.9 * sum(Prior(prior.config, SPEC).nll(codes).bits for codes in fresh)
