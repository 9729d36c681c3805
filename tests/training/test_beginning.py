"""Going on with a model that is there: its weights, codebooks and discriminators."""

from pathlib import Path

import pytest
import torch

import vqaudio
from vqaudio.config import CodecRecipe
from vqaudio.errors import UserError
from vqaudio.training.beginning import DISCRIMINATORS
from vqaudio.training.fit_codec import CodecRun, fit_codec


def changed(
    recipe: CodecRecipe, section: dict[str, object] | None = None, **levels: object
) -> CodecRecipe:
    """The recipe with discriminators, and with other values in its finest level."""
    values = recipe.model_dump(mode="json")
    values["adversarial"] = {
        "start_step": 1,
        "fft_sizes": [64],
        "periods": [3],
        "channels": 4,
        **(section or {}),
    }
    values["codec"]["levels"][1] |= levels
    values["optimization"] |= {"steps": 8}
    return CodecRecipe.model_validate(values)


@pytest.fixture
def trained(recipe: CodecRecipe, manifest: Path, tmp_path: Path) -> Path:
    fit_codec(changed(recipe), manifest, tmp_path / "first")
    return tmp_path / "first"


def test_it_begins_where_the_other_ended(
    trained: Path, recipe: CodecRecipe, manifest: Path, tmp_path: Path
):
    run = CodecRun(changed(recipe, dropout=0.5), manifest, tmp_path / "second", False, str(trained))
    wanted = vqaudio.load(trained).state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in run.codec.state_dict().items())
    assert run.quantizing  # without a warm start
    before = CodecRun(changed(recipe), manifest, trained, resume=True)
    assert run.adversary is not None
    assert before.adversary is not None
    theirs = before.adversary.module.state_dict()
    for name, value in run.adversary.module.state_dict().items():
        assert torch.allclose(value, theirs[name], rtol=1e-3, atol=1e-4)  # they are kept in fp16
    for audio in run.batches(2):
        assert run.train_step(audio) is not None


def test_kept_codes_stay_bit_for_bit_while_the_sound_changes(
    trained: Path, recipe: CodecRecipe, manifest: Path, tmp_path: Path, sentence: Path
):
    keeping = changed(recipe).model_copy(update={"keep_codes": True, "adversarial": None})
    with pytest.raises(UserError, match="keep_codes: there are none to keep; begin with a model"):
        fit_codec(keeping, manifest, tmp_path / "second")
    fit_codec(keeping, manifest, tmp_path / "second", start=str(trained))
    before, after = vqaudio.load(trained), vqaudio.load(tmp_path / "second")
    assert isinstance(before, vqaudio.Codec)
    assert isinstance(after, vqaudio.Codec)
    codes, again = before.encode(sentence), after.encode(sentence)
    assert all(torch.equal(a, b) for a, b in zip(codes.levels, again.levels, strict=True))
    assert not torch.allclose(before.decode(codes), after.decode(again), atol=1e-4)


def test_codes_that_are_there_need_neither_steps_nor_frames(
    trained: Path, recipe: CodecRecipe, manifest: Path, tmp_path: Path
):
    values = changed(recipe).model_dump(mode="json")
    values["optimization"] |= {"steps": 2}  # fewer than warm_start_steps
    short = CodecRecipe.model_validate(values)
    few = tmp_path / "few.jsonl"
    few.write_text("".join(manifest.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(UserError, match="warm_start_steps: 6 leaves none of optimization.steps, 2"):
        fit_codec(short, few, tmp_path / "second")
    with pytest.raises(UserError, match="give fewer codes or more sound"):
        fit_codec(changed(recipe), few, tmp_path / "second")
    fit_codec(short, few, tmp_path / "second", start=str(trained))
    assert (tmp_path / "second" / "model.safetensors").exists()


def test_a_run_goes_on_with_the_model_that_it_began_with(
    trained: Path, recipe: CodecRecipe, manifest: Path, tmp_path: Path
):
    fit_codec(changed(recipe), manifest, tmp_path / "second", start=str(trained))
    fit_codec(changed(recipe), manifest, tmp_path / "second", resume=True, start=str(trained))
    with pytest.raises(UserError, match="from: None does not go on from a run that began with"):
        fit_codec(changed(recipe), manifest, tmp_path / "second", resume=True)


def test_another_shape_is_named_key_by_key(
    trained: Path, recipe: CodecRecipe, manifest: Path, tmp_path: Path
):
    other = changed(recipe, channels=24, encoder_units=2)
    with pytest.raises(
        UserError,
        match=r"codec.levels.1.channels is 24, not 16; codec.levels.1.encoder_units is 2, not 1",
    ):
        CodecRun(other, manifest, tmp_path / "second", False, str(trained))
    with pytest.raises(UserError, match=r"adversarial.periods.0 is 5, not 3"):
        CodecRun(changed(recipe, {"periods": [5]}), manifest, tmp_path / "third", False, str(trained))


def test_a_prior_or_damage_is_refused(
    trained: Path, recipe: CodecRecipe, manifest: Path, tmp_path: Path
):
    with pytest.raises(UserError, match="a prior, where a codec is needed"):
        CodecRun(changed(recipe), manifest, tmp_path / "a", False, "speech-16k-prior")
    (trained / DISCRIMINATORS).write_bytes(b"nothing")
    with pytest.raises(UserError, match=f"{DISCRIMINATORS}: damaged"):
        CodecRun(changed(recipe), manifest, tmp_path / "b", False, str(trained))
    (trained / DISCRIMINATORS).unlink()
    run = CodecRun(changed(recipe), manifest, tmp_path / "c", False, str(trained))
    assert run.adversary is not None
