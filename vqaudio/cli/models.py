"""What the option MODEL means: a shipped name or a folder, of the kind that the verb needs."""

from pathlib import Path

import torch

from vqaudio.codec.model import Codec
from vqaudio.errors import UserError
from vqaudio.model_folder import CONFIG, SHIPPED, load
from vqaudio.prior.model import Prior


def load_codec(name: str | Path) -> Codec:
    """Load a codec.

    Raises:
        UserError: there is no such model, it is damaged, or it is a prior.
    """
    model = load(name)
    if not isinstance(model, Codec):
        raise UserError(f"{name}: a prior, where a codec is needed")
    return model


def on_device(codec: Codec, device: str) -> Codec:
    """Put a codec where it is to encode.

    Raises:
        UserError: there is no such device here.
    """
    try:
        torch.zeros(1, device=device).item()
        return codec.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"device {device}: not to be had here ({reason}); give cpu") from None


def load_prior(name: str | Path) -> Prior:
    """Load a prior.

    Raises:
        UserError: there is no such model, it is damaged, or it is a codec.
    """
    model = load(name)
    if not isinstance(model, Prior):
        raise UserError(f"{name}: a codec, where a prior is needed")
    return model


def shipped_prior(codec: Codec) -> Prior | None:
    """The shipped prior that reads the codes of a codec; None if there is none."""
    for config in sorted(SHIPPED.glob(f"*/{CONFIG}")):
        model = load(config.parent)
        if isinstance(model, Prior) and model.codec.fingerprint == codec.fingerprint:
            return model
    return None


def codec_of(fingerprint: str, given: str | None, who: str | Path) -> Codec:
    """The codec that the user names, or else the shipped one that made some codes.

    Args:
        fingerprint: of the codec that made the codes.
        given: what the user says with `--codec`; None for nothing.
        who: what the codes belong to, for the error.

    Raises:
        UserError: the codec given is another one, or no shipped codec made these codes.
    """
    if given is not None:
        codec = load_codec(given)
        if codec.fingerprint == fingerprint:
            return codec
        raise UserError(
            f"{who}: of codec {fingerprint[:12]}, but {given} is {codec.fingerprint[:12]}; "
            "give the one that made its tokens with --codec"
        )
    for config in sorted(SHIPPED.glob(f"*/{CONFIG}")):
        model = load(config.parent)
        if isinstance(model, Codec) and model.fingerprint == fingerprint:
            return model
    raise UserError(
        f"{who}: of codec {fingerprint[:12]}, which is none of the shipped ones; give it with --codec"
    )
