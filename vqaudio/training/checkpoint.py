"""Training state on disk: all that a killed run needs to go on bit for bit.

There are no random states in it: every step seeds torch anew from the recipe's seed and the step's
number, and so does the data.
"""

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vqaudio.config import Section
from vqaudio.errors import UserError
from vqaudio.files import make_folder

FOLDER = "training_state"


def open_run(
    out: Path, identity: Mapping[str, Any], resume: bool, schema: type[Section] = Section
) -> bool:
    """Make the folder of a run, or go on in it.

    Args:
        out: the folder.
        identity: what must be the same to go on: `recipe` and what it is trained on. Of the recipe
            only `run.*`, without the seed, and `optimization.steps` may differ.
        resume: whether the user wants to go on. Where nothing has been saved yet, that is a start.
        schema: of the recipe; a key that it did not have yet when the run began was at its default.

    Returns:
        Whether there is a training state to restore.

    Raises:
        UserError: the folder has something in it and `resume` is not set; the run there is another.
    """
    make_folder(out)
    if not resume:
        if any(out.iterdir()):
            raise UserError(
                f"{out}: not empty; --resume goes on with it; else delete it, or choose another"
            )
        return False
    if _newest(out) is None:
        return False
    saved = load_state(out)[1]
    before = {name: saved.get(name) for name in identity}
    with suppress(ValidationError):  # no recipe of today: it is compared as it is
        before["recipe"] = schema.model_validate(before.get("recipe")).model_dump(mode="json")
    then, now = flat(before), flat(identity)
    for key in sorted(then.keys() | now.keys()):
        free = key == "recipe.optimization.steps" or (
            key.startswith("recipe.run.") and key != "recipe.run.seed"
        )
        if not free and then.get(key) != now.get(key):
            raise UserError(
                f"{key.removeprefix('recipe.')}: {now.get(key)} does not go on from a run that began "
                f"with {then.get(key)}; change it back, or choose another folder than {out}"
            )
    return True


def save_state(
    out: Path, tensors: Mapping[str, Mapping[str, Tensor]], values: Mapping[str, Any]
) -> None:
    """Write `out/training_state`, leaving the one before in place until the new one is whole.

    Args:
        out: the folder of the run.
        tensors: a safetensors file each: model, optimizer, ...
        values: whatever JSON can hold: the step and what the run was started with.

    Raises:
        UserError: the folder cannot be written.
    """
    new, current, previous = (out / f"{FOLDER}{end}" for end in (".new", "", ".previous"))
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for name, group in tensors.items():
            # a copy each: safetensors refuses tensors that share memory
            copies = {key: value.detach().cpu().clone().contiguous() for key, value in group.items()}
            save_file(copies, new / f"{name}.safetensors")
        text = json.dumps({**values, "files": sorted(tensors)}, indent=1)
        (new / "state.json").write_text(text, encoding="utf-8")
        for path in new.iterdir():
            _flush(path)
        if current.exists():
            shutil.rmtree(previous, ignore_errors=True)
            current.rename(previous)
        new.rename(current)
        _flush(out)
        shutil.rmtree(previous, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{current}: cannot be written ({reason})") from None


def load_state(out: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read what `save_state` wrote; of two states, the newer whole one.

    Raises:
        UserError: there is none, or a file of it is missing or damaged.
    """
    folder = _newest(out)
    if folder is None:
        raise UserError(f"{out / FOLDER}: no training state to go on from")
    try:
        values = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        tensors = {name: load_file(folder / f"{name}.safetensors") for name in values.pop("files")}
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(f"{folder}: damaged ({error}); start anew in another folder") from None
    return tensors, values


def optimizer_tensors(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """The optimizer's state as `parameter name/entry`, such as `head.weight/exp_avg`."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in module.named_parameters()}
    return {
        f"{names[parameter]}/{key}": torch.as_tensor(value)
        for parameter, entries in optimizer.state.items()
        for key, value in entries.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, module: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Give an optimizer back the state that `optimizer_tensors` took from it."""
    parameters = dict(module.named_parameters())
    optimizer.state.clear()
    for name, tensor in tensors.items():
        owner, _, key = name.rpartition("/")
        # step counters stay on the CPU, as AdamW keeps them
        device = parameters[owner].device if tensor.ndim else torch.device("cpu")
        optimizer.state[parameters[owner]][key] = tensor.to(device, copy=True)


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings and lists as `key.of.a.section` to value."""
    if isinstance(values, Mapping):
        pairs = list(values.items())
    elif isinstance(values, list):
        pairs = list(enumerate(values))
    else:
        return {prefix: values}
    found: dict[str, Any] = {}
    for key, value in pairs:
        found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def _newest(out: Path) -> Path | None:
    # a kill between the two renames of `save_state` leaves only the older state, under this name
    for folder in (out / FOLDER, out / f"{FOLDER}.previous"):
        if (folder / "state.json").is_file():
            return folder
    return None


def _flush(path: Path) -> None:
    """Make sure that what was written survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
