import json
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import vqaudio
from vqaudio.config import CodecRecipe
from vqaudio.errors import UserError
from vqaudio.training.checkpoint import load_state
from vqaudio.training.data import Crops
from vqaudio.training.fit_codec import CodecRun, draw_levels, fit_codec

SCRIPT = """
import json, sys
from pathlib import Path
import torch
from vqaudio.config import CodecRecipe
from vqaudio.training.fit_codec import fit_codec
torch.set_num_threads(1)
recipe = CodecRecipe.model_validate(json.loads(sys.argv[1]))
fit_codec(recipe, Path(sys.argv[2]), Path(sys.argv[3]), resume=sys.argv[4] == "resume")
"""


@pytest.fixture(autouse=True)
def one_thread():
    """Bit for bit holds at one number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def changed(recipe: CodecRecipe, section: str, **values: object) -> CodecRecipe:
    return recipe.model_copy(update={section: getattr(recipe, section).model_copy(update=values)})


def brief(recipe: CodecRecipe, steps: int) -> CodecRecipe:
    """A few steps, without a warm start."""
    return changed(recipe, "optimization", steps=steps).model_copy(update={"warm_start_steps": 0})


def against_discriminators(recipe: CodecRecipe) -> CodecRecipe:
    """The same with discriminators, which are trained every other step from step 7 on, and balanced."""
    section = {"start_step": 7, "fft_sizes": [64], "periods": [3], "channels": 4, "every": 2}
    values = recipe.model_dump(mode="json") | {"adversarial": section}
    values["losses"] |= {"balance": 0.9}
    return CodecRecipe.model_validate(values)


def weights(out: Path) -> dict[str, Tensor]:
    """All that a run leaves: the model, and every tensor of its training state."""
    tensors = {f"folder/{name}": value for name, value in load_file(out / "model.safetensors").items()}
    for group, values in load_state(out)[0].items():
        tensors |= {f"{group}/{name}": value for name, value in values.items()}
    return tensors


def assert_same(one: Path, other: Path) -> None:
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


@pytest.mark.parametrize("adversarial", [False, True], ids=["distances", "adversarial"])
def test_killed_twice_and_resumed_is_as_if_left_alone(
    recipe: CodecRecipe, manifest: Path, tmp_path: Path, adversarial: bool
):
    if adversarial:
        recipe = against_discriminators(recipe)
    arguments = [json.dumps(recipe.model_dump(mode="json")), str(manifest), str(tmp_path / "killed")]
    # one kill within the warm start, one after it, both between checkpoints
    for step, mode in ((random.choice([5, 6, 7]), "start"), (random.choice([9, 10, 11]), "resume")):
        command = [sys.executable, "-c", SCRIPT, *arguments, mode]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(f"step {step}/"):
                    process.send_signal(signal.SIGKILL)
                    break
        assert process.returncode == -signal.SIGKILL
    assert load_state(tmp_path / "killed")[1]["step"] < 16
    subprocess.run([sys.executable, "-c", SCRIPT, *arguments, "resume"], check=True)
    fit_codec(recipe, manifest, tmp_path / "alone")
    assert_same(tmp_path / "killed", tmp_path / "alone")


def test_training_leaves_a_model_that_loads_and_speaks(
    recipe: CodecRecipe, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    fit_codec(recipe, manifest, out)
    codec = vqaudio.load(out)
    codes = codec.encode(tmp_path / "sounds" / "s3.wav")
    assert codec.decode(codes).shape == (1, 2000)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("step 16/16  loss") for line in lines) == 1
    assert sum(line.startswith("step 16  validation  loss") for line in lines) == 1
    assert "after 16 of 16 steps" in (out / "README.md").read_text()
    assert len(list((out / "log").iterdir())) == 1


def test_discriminators_come_in_when_told_and_the_codec_heeds_them(
    recipe: CodecRecipe, manifest: Path, tmp_path: Path
):
    run = CodecRun(against_discriminators(recipe), manifest, tmp_path / "out", resume=False)
    assert run.adversary is not None
    seen = []
    for audio in run.batches(12):
        before = [p.detach().clone() for p in run.adversary.module.parameters()]
        taken = run.train_step(audio)
        assert taken is not None
        moved = any(
            not torch.equal(a, b) for a, b in zip(before, run.adversary.module.parameters(), strict=True)
        )
        seen.append(("adversarial" in taken[0], "discriminator" in taken[0], moved))
    judged = (True, False, False)
    assert seen == [(False, False, False)] * 7 + [judged, (True, True, True)] * 2 + [judged]
    run.save()
    saved = load_state(tmp_path / "out")[0]
    assert saved["discriminators"].keys() == run.adversary.module.state_dict().keys()
    assert "sums/adversarial" in saved["balance"]


def test_loss_falls(recipe: CodecRecipe, manifest: Path, tmp_path: Path):
    recipe = changed(recipe, "optimization", steps=40, learning_rate=0.005)
    run = CodecRun(recipe, manifest, tmp_path / "out", resume=False)
    losses = []
    for audio in run.batches(40):
        taken = run.train_step(audio)
        assert taken is not None
        losses.append(taken[0]["loss"].item())
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_batch_that_breaks_is_undone_and_passed_by(
    recipe: CodecRecipe, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: float
):
    batch = Crops.batch

    def broken(self: Crops, step: int, rank: int = 0, ranks: int = 1, attempt: int = 0) -> Tensor:
        audio = batch(self, step, rank, ranks, attempt)
        if step == 10 and attempt == 0:
            audio[0, 0, 5] = bad
        return audio

    monkeypatch.setattr(Crops, "batch", broken)
    fit_codec(recipe, manifest, tmp_path / "out")
    values = load_state(tmp_path / "out")[1]
    assert (values["step"], values["attempt"]) == (16, 1)
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "out").values())


def test_data_that_always_break_end_the_run_in_one_line(
    recipe: CodecRecipe, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    batch = Crops.batch
    monkeypatch.setattr(
        Crops,
        "batch",
        lambda self, step, *place: batch(self, step, *place) / (0.0 if step == 5 else 1.0),
    )
    with pytest.raises(UserError, match="step 5: loss or gradient is not finite, after 3"):
        fit_codec(recipe, manifest, tmp_path / "out")
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "out").values())
    assert not [thread for thread in threading.enumerate() if "Writer" in type(thread).__name__]


@pytest.mark.parametrize("step", [2, 6, 7])  # in the warm start, where codes are set, and after it
def test_features_that_are_not_finite_are_the_guards_business_with_linear_codebooks_too(
    recipe: CodecRecipe, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
):
    values = recipe.model_dump(mode="json")
    for level in values["codec"]["levels"]:
        level["bottleneck"]["codebook"] = "linear"
    batch = Crops.batch
    monkeypatch.setattr(
        Crops,
        "batch",
        lambda self, now, *place: batch(self, now, *place) * (float("nan") if now == step else 1.0),
    )
    with pytest.raises(UserError, match=rf"step {step}: .* lower optimization.learning_rate"):
        fit_codec(CodecRecipe.model_validate(values), manifest, tmp_path / "out")
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "out").values())


def test_resume_of_another_recipe_names_the_key(recipe: CodecRecipe, manifest: Path, tmp_path: Path):
    recipe = brief(recipe, 1)
    fit_codec(recipe, manifest, tmp_path / "out")
    with pytest.raises(UserError, match=r"optimization.learning_rate: 0.1 does not go on"):
        fit_codec(
            changed(recipe, "optimization", learning_rate=0.1), manifest, tmp_path / "out", resume=True
        )
    with pytest.raises(UserError, match="not empty"):
        fit_codec(recipe, manifest, tmp_path / "out")


def test_more_steps_go_on_from_a_finished_run(recipe: CodecRecipe, manifest: Path, tmp_path: Path):
    fit_codec(brief(recipe, 2), manifest, tmp_path / "out")
    fit_codec(brief(recipe, 3), manifest, tmp_path / "out", resume=True)
    assert load_state(tmp_path / "out")[1]["step"] == 3


def test_a_finished_run_gets_its_model_back(recipe: CodecRecipe, manifest: Path, tmp_path: Path):
    recipe = brief(recipe, 2)
    fit_codec(recipe, manifest, tmp_path / "out")
    before = load_file(tmp_path / "out" / "model.safetensors")
    (tmp_path / "out" / "model.safetensors").unlink()
    fit_codec(recipe, manifest, tmp_path / "out", resume=True)
    after = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_mel_codec_trains(recipe: CodecRecipe, manifest: Path, tmp_path: Path):
    values = recipe.model_dump(mode="json")
    values["codec"]["front"] = {"kind": "mel", "hop": 32, "n_fft": 128, "bands": 10}
    values["codec"]["head"] = {
        "kind": "mel",
        "hop": 32,
        "n_fft": 128,
        "bands": 10,
        "channels": 16,
        "iterations": 2,
    }
    values["optimization"]["steps"] = 8
    fit_codec(CodecRecipe.model_validate(values), manifest, tmp_path / "out")
    results = load_state(tmp_path / "out")[1]["results"]
    assert set(results) == {"loss", "mel", "coarse", "commitment"}


def test_a_test_row_is_never_trained_on(recipe: CodecRecipe, manifest: Path, tmp_path: Path):
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines[:9]:
        line["split"] = "test"
    lines[9]["split"] = "validation"
    manifest.write_text("\n".join(json.dumps(line) for line in lines))
    run = CodecRun(recipe, manifest, tmp_path / "out", resume=False)
    assert [sound.id for sound in run.crops.sounds] == ["s10", "s11"]
    assert [name for name, _ in run.validation] == ["s9"]


def test_share_of_sounds_is_decoded_from_fewer_levels():
    torch.manual_seed(0)
    kept = draw_levels(4000, [0.0, 0.2, 0.5])
    shares = [(kept == levels).float().mean().item() for levels in (1, 2, 3)]
    assert shares == pytest.approx([0.2, 0.8 * 0.5, 0.8 * 0.5], abs=0.03)
    assert (draw_levels(100, [0.0]) == 1).all()
    assert (draw_levels(100, [0.0, 0.0]) == 2).all()
    assert (draw_levels(100, [0.0, 1.0, 0.0]) == 1).all()  # nothing is decoded above a missing level


def test_validation_hears_codebooks_only_once_they_are_set_and_sums_as_training_does(
    recipe: CodecRecipe, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit_codec(changed(recipe, "run", validate_every=6), manifest, tmp_path / "out")
    lines = capsys.readouterr().out.splitlines()
    training = {line.split()[1].split("/")[0]: line for line in lines if line.startswith("step ")}
    validated = [line for line in lines if "  validation  " in line]
    assert [line.split()[1] for line in validated] == ["6", "12", "16"]
    assert "commitment" not in validated[0]
    for line in validated:
        assert "coarse" in line
        assert ("commitment" in line) == ("commitment" in training[line.split()[1]])


def test_a_file_that_is_gone_is_named_with_its_sound(
    recipe: CodecRecipe, manifest: Path, tmp_path: Path
) -> None:
    lost = tmp_path / "sounds" / "s3.wav"
    lost.unlink()
    with pytest.raises(UserError, match=r"s3\.wav: no such file, but the manifest names it for s3"):
        fit_codec(recipe, manifest, tmp_path / "out")
    assert not (tmp_path / "out").exists()
