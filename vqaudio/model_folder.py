"""Model folders: config.yaml, model.safetensors and a card. Nothing in them can run code."""

import copy
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import nn

from vqaudio.bottleneck.codebook import AverageCodebook
from vqaudio.codec.inputs import check_quantizers
from vqaudio.codec.model import Codec
from vqaudio.config import CodecConfig, PriorConfig, Section, parse_section
from vqaudio.errors import UserError
from vqaudio.files import make_folder, replacing, write_text
from vqaudio.fingerprint import inference_state
from vqaudio.prior.model import CodecSpec, Prior

SHIPPED = Path(__file__).parent / "pretrained"
CONFIG, WEIGHTS, CARD = "config.yaml", "model.safetensors", "README.md"


class CodecSpecSection(Section):
    """What a prior's `config.yaml` says of its codec."""

    sample_rate: int
    hops: list[int]
    codebook_sizes: list[list[int]]
    fingerprint: str


def save_model(folder: str | Path, model: Codec | Prior, card: str, half: bool = False) -> None:
    """Write a model folder; every file appears whole.

    Args:
        folder: made if it is not there.
        model: left as it is.
        card: Markdown: data, licence, metrics, limits.
        half: keep weights and the sums of codebooks in fp16, half the size.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = make_folder(folder)
    if half:
        model = copy.deepcopy(model)
        with torch.no_grad():
            for value in _halved(model).values():
                value.copy_(value.half())
    state = {name: value.detach().cpu().contiguous() for name, value in inference_state(model).items()}
    if half:
        state |= {name: state[name].half() for name in _halved(model)}
    with replacing(folder / WEIGHTS) as path:
        path.write_bytes(to_bytes(state))
    values: dict[str, Any] = {"kind": "codec", "fingerprint": model.fingerprint}
    if isinstance(model, Prior):
        values |= {"kind": "prior", "prior": model.config.model_dump(), "codec": asdict(model.codec)}
    else:
        values |= {"codec": model.config.model_dump()}
    write_text(folder / CONFIG, yaml.safe_dump(values, sort_keys=False))
    write_text(folder / CARD, card)


def _halved(model: nn.Module) -> dict[str, torch.Tensor]:
    """What may lose digits: nearly all there is, but not how often codes were chosen."""
    sums = {
        f"{name}.sums": book.sums
        for name, book in model.named_modules()
        if isinstance(book, AverageCodebook)
    }
    return dict(model.named_parameters()) | sums


def split_point(name: str | Path) -> tuple[str, list[int] | None]:
    """`NAME@2+5` as the name and the quantizers of each level; without `@` these are None."""
    text = str(name)
    before, at, point = text.rpartition("@")
    if not at or (Path(text) / CONFIG).exists() or not re.fullmatch(r"\d+(\+\d+)*", point):
        return text, None
    return before, [int(count) for count in point.split("+")]


def find_model(name: str | Path) -> Path:
    """The folder of a shipped name or of a path; a model folder goes before a shipped name.

    Args:
        name: with or without `@` and the quantizers of each level.

    Raises:
        UserError: there is no such model; the shipped names are listed.
    """
    name, _ = split_point(name)
    folder = Path(name)
    if (SHIPPED / str(name) / CONFIG).is_file() and not (folder / CONFIG).exists():
        return SHIPPED / str(name)
    if folder.is_dir():
        return folder
    shipped = ", ".join(sorted(path.parent.name for path in SHIPPED.glob(f"*/{CONFIG}")))
    raise UserError(
        f"{name}: neither a model folder nor a shipped model ({shipped or 'there are none'})"
    )


def load(name: str | Path, device: str | torch.device = "cpu") -> Codec | Prior:
    """Load a codec or a prior, ready to use.

    Args:
        name: a shipped name or a model folder; of a codec also `NAME@2+5`, for another bitrate: how
            many quantizers of each level it uses unless told, coarsest first.
        device: where to.

    Raises:
        UserError: a file is missing, damaged, or not the one that the model was saved with, the
            quantizers are not there, or the device is not.
    """
    device = _device(device)
    folder = find_model(name)
    values = _read_config(folder / CONFIG)
    model = _build(folder / CONFIG, values)
    path = folder / WEIGHTS
    try:
        state = load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: missing; a model folder holds {CONFIG} and {WEIGHTS}") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged ({error}); fetch the folder again") from None
    _fill(model, state, path)
    if model.fingerprint != values["fingerprint"]:
        raise UserError(
            f"{folder}: {WEIGHTS} and {CONFIG} are not as they were saved (the fingerprint differs); "
            "fetch the folder again"
        )
    return _at_point(model, name).to(device).eval()


def load_codec(name: str | Path) -> Codec:
    """Load a codec.

    Raises:
        UserError: see `load`, or it is a prior.
    """
    model = load(name)
    if not isinstance(model, Codec):
        raise UserError(f"{name}: a prior, where a codec is needed")
    return model


def load_prior(name: str | Path) -> Prior:
    """Load a prior.

    Raises:
        UserError: see `load`, or it is a codec.
    """
    model = load(name)
    if not isinstance(model, Prior):
        raise UserError(f"{name}: a codec, where a prior is needed")
    return model


def _at_point(model: Codec | Prior, name: str | Path) -> Codec | Prior:
    """The model with the quantizers that its name asks for."""
    _, point = split_point(name)
    if point is None:
        return model
    if isinstance(model, Prior):
        raise UserError(f"{name}: a prior, which has no quantizers; leave out what follows @")
    try:
        cut = Codec(model.config.with_quantizers(check_quantizers(point, model.all_codebook_sizes)))
    except (UserError, ValueError) as error:
        raise UserError(f"{name}: {error}") from None
    cut.load_state_dict(model.state_dict())
    return cut


def _device(name: str | torch.device) -> torch.device:
    """Refuse what this machine has not before anything is read."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise UserError(f"device {name}: not on this machine ({str(error).splitlines()[0]})") from None


def _read_config(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; a model folder holds {CONFIG} and {WEIGHTS}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(
            f"{path}: damaged ({str(error).splitlines()[0]}); fetch the folder again"
        ) from None
    if not isinstance(values, dict) or not {"kind", "fingerprint", "codec"} <= values.keys():
        raise UserError(
            f"{path}: not the configuration of a model: kind, fingerprint or codec is missing"
        )
    for key in values:
        if key not in ("kind", "fingerprint", "codec", "prior"):
            raise UserError(f"{path}: {key}: no such key; fetch the folder again")
    return values


def _build(path: Path, values: dict[str, Any]) -> Codec | Prior:
    if values["kind"] == "codec":
        return Codec(parse_section(CodecConfig, values["codec"], f"{path}: codec"))
    if values["kind"] == "prior":
        spec = parse_section(CodecSpecSection, values["codec"], f"{path}: codec")
        config = parse_section(PriorConfig, values.get("prior"), f"{path}: prior")
        return Prior(config, CodecSpec(**spec.model_dump()))
    raise UserError(f"{path}: kind: {values['kind']!r} is neither codec nor prior")


def _fill(model: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    wanted = inference_state(model)
    if state.keys() != wanted.keys():
        odd = sorted(state.keys() ^ wanted.keys())[0]
        raise UserError(f"{path}: does not fit {CONFIG}: {odd} is in only one of them")
    for name, value in wanted.items():
        if value.shape != state[name].shape:
            raise UserError(
                f"{path}: does not fit {CONFIG}: {name} has shape {list(state[name].shape)}, "
                f"not {list(value.shape)}"
            )
        with torch.no_grad():
            value.copy_(state[name])
