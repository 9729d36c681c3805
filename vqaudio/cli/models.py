"""What the option MODEL means: a shipped name or a folder, of the kind that the verb needs."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from vqaudio.codec.model import Codec
from vqaudio.errors import UserError
from vqaudio.model_folder import CONFIG, SHIPPED, find_model, load, load_codec, load_prior
from vqaudio.prior.model import Prior

if TYPE_CHECKING:
    from vqaudio.applications.block_codes import CodeModel


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
        fingerprint: of the codec that made the codes, or how it begins.
        given: what the user says with `--codec`; None for nothing.
        who: what the codes belong to, for the error.

    Raises:
        UserError: the codec given is another one, or no shipped codec made these codes.
    """
    return codec_and_folder(fingerprint, given, who)[0]


def codec_and_folder(
    fingerprint: str, given: str | None, who: str | Path, otherwise: str = ""
) -> tuple[Codec, Path]:
    """The same, and its folder; `otherwise` is what may be wrong but the codec, for the error."""
    if given is not None:
        codec = load_codec(given)
        if codec.fingerprint.startswith(fingerprint):
            return codec, find_model(given)
        raise UserError(
            f"{who}: of codec {fingerprint[:12]}, but {given} is {codec.fingerprint[:12]}; "
            f"give the one that made it with --codec{otherwise}"
        )
    for config in sorted(SHIPPED.glob(f"*/{CONFIG}")):
        model = load(config.parent)
        if isinstance(model, Codec) and model.fingerprint.startswith(fingerprint):
            return model, config.parent
    raise UserError(
        f"{who}: of codec {fingerprint[:12]}, which is none of the shipped ones; give it with "
        f"--codec{otherwise}"
    )


def load_code_model(kind: str, codec: Codec, folder: Path, prior: str) -> "CodeModel":
    """What says how likely a codec's codes are.

    Args:
        kind: static or prior.
        codec: whose codes.
        folder: of the codec, with its code tables.
        prior: what the user says with `--prior`, for that kind.

    Raises:
        UserError: the codec has no codes or no tables, or the prior is of another codec.
    """
    from vqaudio.applications.code_tables import load_tables
    from vqaudio.applications.prior_model import PriorModel
    from vqaudio.applications.static_model import StaticModel

    codec.check_discrete()
    tables = load_tables(codec, folder)
    return StaticModel(tables) if kind == "static" else PriorModel(load_prior(prior), codec, tables)
