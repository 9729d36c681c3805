"""Training that begins where another ended: a model's weights, and its discriminators."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from vqaudio.codec.model import Codec
from vqaudio.config import Adversarial
from vqaudio.errors import UserError, some_of
from vqaudio.files import replacing
from vqaudio.model_folder import find_model, load_codec, load_prior
from vqaudio.prior.model import Prior
from vqaudio.training.checkpoint import flat

DISCRIMINATORS = "discriminators.safetensors"
SHAPE = ("fft_sizes", "periods", "channels", "norm")  # of the recipe's section: what makes the weights
OWN = ("dropout", "decay", "default_quantizers")  # keys of a model that only say how it is trained


def begin_with(new: Codec | Prior, model: str) -> str:
    """Give a codec or prior the weights of another of the same shape, a codec its codebooks too.

    Args:
        new: that is to be trained.
        model: a shipped name or a model folder.

    Returns:
        The fingerprint of the other.

    Raises:
        UserError: it is no such model, of another shape, of which what differs is named, or a
            prior over the codes of another codec.
    """
    codec = isinstance(new, Codec)
    other = load_codec(model) if codec else load_prior(model)
    section = "codec." if codec else "prior."
    there, here = (one.config.model_dump(mode="json") for one in (other, new))
    _refuse_others(model, section, there, here)
    if isinstance(other, Prior) and isinstance(new, Prior):
        other.check_codec(new.codec.fingerprint)
    new.load_state_dict(other.state_dict())
    return other.fingerprint


def save_discriminators(folder: Path, module: nn.Module, config: Adversarial) -> None:
    """Write them beside a model, for others to go on with.

    Args:
        folder: of the model.
        module: the discriminators, kept in fp16.
        config: the recipe's section.

    Raises:
        UserError: the folder cannot be written.
    """
    weights = {name: value.detach().cpu().half() for name, value in module.state_dict().items()}
    shape = json.dumps({key: getattr(config, key) for key in SHAPE})
    with replacing(folder / DISCRIMINATORS) as path:
        path.write_bytes(save(weights, {"adversarial": shape}))


def load_discriminators(model: str, module: nn.Module, config: Adversarial) -> bool:
    """Fill discriminators from beside a model, if it has some.

    Args:
        model: a shipped name or a model folder.
        module: the discriminators.
        config: the recipe's section.

    Returns:
        Whether there were any.

    Raises:
        UserError: the file is damaged, or of discriminators of another shape.
    """
    path = find_model(model) / DISCRIMINATORS
    if not path.exists():
        return False
    try:
        with safe_open(path, "pt") as file:
            shape = json.loads((file.metadata() or {})["adversarial"])
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); fetch it again, or delete it") from None
    _refuse_others(path, "adversarial.", shape, {key: getattr(config, key) for key in SHAPE})
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path}: damaged ({str(error).splitlines()[-1].strip()}); delete it") from None
    return True


def _refuse_others(model: str | Path, section: str, there: Any, here: Any) -> None:
    then, now = flat(there), flat(here)
    wrong = [
        f"{section}{key} is {now.get(key)}, not {then.get(key)}"
        for key in sorted(then.keys() | now.keys())
        if key.rpartition(".")[2] not in OWN and then.get(key) != now.get(key)
    ]
    if wrong:
        raise UserError(
            f"{model}: of another shape than the recipe, where {some_of(wrong)}; "
            "change these, or begin with another model"
        )
