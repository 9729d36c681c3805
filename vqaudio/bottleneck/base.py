"""The interface that every kind of bottleneck keeps."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass
class Bottlenecked:
    """What a bottleneck gives in training.

    Args:
        features: `[B, D, F]`, to be passed on; gradients flow straight through to the input.
        codes: int64 `[B, Q, F]`; None where nothing was quantized.
        losses: scalars by name, to be weighted by the recipe.
    """

    features: Tensor
    codes: Tensor | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)


class Bottleneck(nn.Module, ABC):
    """Continuous features `[B, D, F]` to integers `[B, Q, F]` and back."""

    codebook_sizes: list[int]
    dim: int

    @abstractmethod
    def forward(self, x: Tensor, quantize: bool = True) -> Bottlenecked:
        """Quantize and learn; with `quantize=False` only watch, for the warm start."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """`[B, D, F]` to int64 `[B, Q, F]`."""

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """int64 `[B, Q, F]`, or fewer quantizers, to `[B, D, F]`."""


def straight_through(x: Tensor, quantized: Tensor) -> Tensor:
    """`quantized` going forward, the gradient of `x` going back (Bengio 2013, arXiv 1308.3432)."""
    return x + (quantized - x).detach()
