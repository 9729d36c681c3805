from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vqaudio.config import CodecRecipe
from vqaudio.errors import UserError
from vqaudio.training.checkpoint import (
    load_state,
    open_run,
    optimizer_tensors,
    restore_optimizer,
    save_state,
)

IDENTITY: dict[str, Any] = {
    "recipe": {
        "optimization": {"steps": 10, "betas": [0.9, 0.95]},
        "run": {"seed": 0, "log_every": 20},
    },
    "sounds": "abc",
}


def fit(module: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        torch.manual_seed(step)
        optimizer.zero_grad()
        module(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()


def test_model_and_optimizer_go_on_bit_for_bit(tmp_path: Path):
    torch.manual_seed(0)
    module, fresh = nn.Linear(3, 2), nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    fit(module, optimizer, range(3))
    save_state(
        tmp_path,
        {"model": module.state_dict(), "optimizer": optimizer_tensors(optimizer, module)},
        {"step": 3},
    )
    fit(module, optimizer, range(3, 6))

    tensors, values = load_state(tmp_path)
    assert values == {"step": 3}
    fresh.load_state_dict(tensors["model"])
    restored = torch.optim.AdamW(fresh.parameters(), lr=0.1)
    restore_optimizer(restored, fresh, tensors["optimizer"])
    fit(fresh, restored, range(3, 6))
    assert torch.equal(fresh.weight, module.weight)
    assert torch.equal(fresh.bias, module.bias)


def test_a_half_written_state_is_not_taken_for_one(tmp_path: Path):
    save_state(tmp_path, {"model": {"x": torch.ones(2)}}, {"step": 1})
    half = tmp_path / "training_state.new"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    assert load_state(tmp_path)[1] == {"step": 1}
    save_state(tmp_path, {"model": {"x": torch.ones(2)}}, {"step": 2})
    assert load_state(tmp_path)[1] == {"step": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["training_state"]


def test_a_kill_between_the_renames_leaves_the_state_before(tmp_path: Path):
    save_state(tmp_path, {"model": {"x": torch.ones(2)}}, {"step": 1})
    (tmp_path / "training_state").rename(tmp_path / "training_state.previous")
    assert load_state(tmp_path)[1] == {"step": 1}
    assert open_run(tmp_path, {}, resume=True)


def test_shared_memory_and_scalars_survive(tmp_path: Path):
    x = torch.arange(6.0).view(2, 3)
    saved = {"x": x, "same": x, "turned": x.T, "count": torch.tensor(3)}
    save_state(tmp_path, {"model": saved}, {})
    read = load_state(tmp_path)[0]["model"]
    assert all(torch.equal(read[name], saved[name]) for name in saved)


@pytest.mark.parametrize("name", ["state.json", "model.safetensors"])
def test_a_damaged_state_is_named(tmp_path: Path, name: str):
    save_state(tmp_path, {"model": {"x": torch.ones(2)}}, {"step": 1})
    (tmp_path / "training_state" / name).write_bytes(b"\x00")
    with pytest.raises(UserError, match="training_state: damaged"):
        load_state(tmp_path)


def test_a_missing_state_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="training_state: no training state"):
        load_state(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(unwritable: Path):
    with pytest.raises(UserError, match="in the way"):
        save_state(unwritable, {"model": {"x": torch.ones(2)}}, {})
    with pytest.raises(UserError, match="in the way"):
        open_run(unwritable, IDENTITY, resume=False)


def test_a_folder_with_something_in_it_is_refused_without_resume(tmp_path: Path):
    assert not open_run(tmp_path / "new", IDENTITY, resume=False)
    (tmp_path / "new" / "notes").write_text("mine")
    with pytest.raises(UserError, match="not empty; --resume"):
        open_run(tmp_path / "new", IDENTITY, resume=False)


def test_resume_without_a_state_is_a_start(tmp_path: Path):
    assert not open_run(tmp_path / "new", IDENTITY, resume=True)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (
            {"recipe": {"optimization": {"steps": 10, "betas": [0.9, 0.99]}}},
            r"^optimization.betas.1: 0.99",
        ),
        (
            {"recipe": {**IDENTITY["recipe"], "run": {"seed": 1, "log_every": 20}}},
            r"^run.seed: 1",
        ),
        (
            {"recipe": {"optimization": {"steps": 10, "betas": [0.9]}}},
            r"^optimization.betas.1: None does not go on from a run that began with 0.95",
        ),
        ({"sounds": "abd"}, r"^sounds: abd"),
    ],
)
def test_another_recipe_or_other_data_do_not_go_on(tmp_path: Path, change: dict[str, Any], key: str):
    save_state(tmp_path, {}, {**IDENTITY, "step": 1})
    with pytest.raises(UserError, match=key):
        open_run(tmp_path, {**IDENTITY, **change}, resume=True)


def test_steps_and_housekeeping_may_change(tmp_path: Path):
    save_state(tmp_path, {}, {**IDENTITY, "step": 1})
    changed = {
        "recipe": {
            "optimization": {"steps": 20, "betas": [0.9, 0.95]},
            "run": {"seed": 0, "log_every": 5},
        },
        "sounds": "abc",
    }
    assert open_run(tmp_path, changed, resume=True)


def test_a_key_of_a_later_version_was_at_its_default(tmp_path: Path, recipe: CodecRecipe):
    now = recipe.model_dump(mode="json")
    before = recipe.model_dump(mode="json")
    del before["data"]["balance"], before["losses"]["features"], before["adversarial"]
    save_state(tmp_path, {}, {"recipe": before, "step": 1})
    assert open_run(tmp_path, {"recipe": now}, resume=True, schema=CodecRecipe)
    now["data"]["balance"] = "speaker"
    with pytest.raises(UserError, match=r"^data.balance: speaker does not go on"):
        open_run(tmp_path, {"recipe": now}, resume=True, schema=CodecRecipe)
