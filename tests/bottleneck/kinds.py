"""One section for every kind of bottleneck and every option that makes another module of it."""

from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from vqaudio.bottleneck import Bottleneck, build_bottleneck
from vqaudio.bottleneck.tended import TendedBottleneck
from vqaudio.config import Bottleneck as BottleneckSection

VECTOR = {"kind": "vector", "codebook_size": 32, "dim": 6}
RESIDUAL = {"kind": "residual", "codebook_size": 16, "quantizers": 3, "dim": 6}
GROUPED = {"kind": "grouped_residual", "codebook_size": 16, "quantizers": 2, "groups": 2, "dim": 6}
KINDS: dict[str, dict[str, Any]] = {
    "vector": VECTOR,
    "vector-learned": {**VECTOR, "codebook": "learned"},
    "vector-linear": {**VECTOR, "codebook": "linear"},
    "vector-cosine": {**VECTOR, "distance": "cosine"},
    "vector-cosine-learned": {**VECTOR, "distance": "cosine", "codebook": "learned"},
    "vector-cosine-linear": {**VECTOR, "distance": "cosine", "codebook": "linear"},
    "vector-rotation": {**VECTOR, "gradient": "rotation"},
    "vector-bits": {"kind": "vector", "bits": 5, "dim": 6},
    "residual": {**RESIDUAL, "dropout": 0.5},
    "residual-learned": {**RESIDUAL, "codebook": "learned", "dropout": 0.5},
    "residual-linear": {**RESIDUAL, "codebook": "linear"},
    "residual-rotation": {**RESIDUAL, "gradient": "rotation"},
    "grouped": {**GROUPED, "dropout": 0.5},
    "grouped-learned": {**GROUPED, "codebook": "learned", "gradient": "rotation"},
    "fsq": {"kind": "scalar", "method": "fsq", "levels": [5, 4, 3]},
    "fsq-bits": {"kind": "scalar", "method": "fsq", "bits": 5},
    "lfq": {"kind": "scalar", "method": "lfq", "bits": 5},
    "bsq": {"kind": "scalar", "method": "bsq", "bits": 5},
    "gumbel": {"kind": "gumbel", "codebook_size": 32, "dim": 6, "anneal_steps": 200},
    "gaussian": {"kind": "gaussian", "dim": 6, "beta": 1e-3, "free_bits": 0.1},
    "gaussian-bits": {"kind": "gaussian", "dim": 6, "beta": 1e-2, "bits": 5, "anneal_steps": 100},
}
DISCRETE = [name for name in KINDS if not name.startswith("gaussian")]
TENDED = [name for name in DISCRETE if KINDS[name]["kind"] != "scalar"]
STACKED = [name for name in DISCRETE if "residual" in KINDS[name]["kind"]]


def build(name: str, seed: int = 0, **changes: Any) -> Bottleneck:
    """A fresh bottleneck, in training mode."""
    torch.manual_seed(seed)
    section: Any = TypeAdapter(BottleneckSection).validate_python({**KINDS[name], **changes})
    return build_bottleneck(section)


def batch(bottleneck: Bottleneck, seed: int, sounds: int = 4, frames: int = 40) -> Tensor:
    """`[sounds, inputs, frames]`, not centred, and of a spread that differs between dimensions."""
    generator = torch.Generator().manual_seed(seed)
    dims = bottleneck.inputs
    spread = torch.linspace(0.5, 1.5, dims)[:, None]
    return 0.3 + spread * torch.randn(sounds, dims, frames, generator=generator)


def trained(name: str, steps: int = 5, **changes: Any) -> Bottleneck:
    """A bottleneck that has seen a few batches, as the first steps of a training."""
    bottleneck = build(name, **changes)
    step_on(bottleneck, 0, steps)
    return bottleneck


def step_on(bottleneck: Bottleneck, first: int, last: int) -> None:
    """Steps of training, gradient descent on the bottleneck's own losses included."""
    weights = list(bottleneck.parameters())
    for step in range(first, last):
        torch.manual_seed(1000 + step)
        losses = bottleneck(batch(bottleneck, step)).losses.values()
        learnable = [loss for loss in losses if loss.requires_grad]
        if not (weights and learnable):
            continue
        gradients = torch.autograd.grad(torch.stack(learnable).sum(), weights, allow_unused=True)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                if gradient is not None:
                    weight -= 0.01 * gradient


def state_of(bottleneck: Bottleneck) -> dict[str, Tensor]:
    """A copy of all that it holds."""
    return {name: value.clone() for name, value in bottleneck.state_dict().items()}


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """Names of the tensors that are not the same bits."""
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


def is_tended(bottleneck: Bottleneck) -> bool:
    """Whether its codes are set from data."""
    return any(isinstance(part, TendedBottleneck) for part in bottleneck.modules())
