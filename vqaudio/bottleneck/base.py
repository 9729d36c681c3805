"""The interface that every kind of bottleneck keeps."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass
class Bottlenecked:
    """What a bottleneck gives in training.

    Args:
        features: `[B, D, F]`, to be passed on.
        codes: int64 `[B, Q, F]`; None where nothing was quantized.
        losses: scalars by name, to be weighted by the recipe; `kl` carries its own weight.
        health: scalars by name that only the log wants.
    """

    features: Tensor
    codes: Tensor | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)
    health: dict[str, Tensor] = field(default_factory=dict)


class Bottleneck(nn.Module, ABC):
    """Features `[B, inputs, F]` to what a level says, `[B, dim, F]`, mostly by way of integers.

    Attributes:
        codebook_sizes: codes of each of its `Q` quantizers; none where the bottleneck is continuous.
        dim: of the features that it passes on, `D`.
        inputs: of the features that it reads; `dim` unless the kind says otherwise.
        settled: whether codes stay what they are in training, and only their dropout is left.
        default_quantizers: how many of its quantizers are used unless told; all unless the kind says
            otherwise.
    """

    codebook_sizes: list[int]
    dim: int
    inputs: int
    settled = False

    @property
    def learning(self) -> bool:
        """Whether codes follow what they are given."""
        return self.training and not self.settled

    @property
    def default_quantizers(self) -> int:
        """See the class."""
        return len(self.codebook_sizes)

    @abstractmethod
    def forward(self, x: Tensor, quantize: bool = True) -> Bottlenecked:
        """Quantize, and learn when in training mode.

        Args:
            x: `[B, inputs, F]`; computed on in fp32 whatever the autocast.
            quantize: False passes features on as near to unquantized as the kind allows and only
                watches them, for the warm start.
        """

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """`[B, inputs, F]` to int64 `[B, Q, F]`; a continuous kind gives float `[B, D, F]`."""

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """What `encode` gave, or the first few of its Q, to `[B, D, F]`."""


def distortion(x: Tensor, quantized: Tensor) -> Tensor:
    """Share of the variance of features `[B, D, F]` that quantizing took away, for the log."""
    x, quantized = x.detach(), quantized.detach()
    centred = x - x.mean(dim=(0, 2), keepdim=True)
    return (x - quantized).square().mean() / centred.square().mean().clamp(min=1e-12)
