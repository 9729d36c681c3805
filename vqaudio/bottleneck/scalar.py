"""Each dimension rounded by itself: a grid of codes that is there without being learned."""

import math
from abc import abstractmethod
from itertools import accumulate
from operator import mul

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from vqaudio.bottleneck.base import Bottleneck, Bottlenecked, distortion
from vqaudio.bottleneck.gradients import straight_through
from vqaudio.bottleneck.ranks import mean_over_ranks

MARGIN = 1e-3  # beyond the outermost levels, so that tanh reaches them
SHARPNESS = 10.0  # inverse temperature of a code's probability in the entropy term
JOINT_BITS = 8  # bits whose codes are counted together in the entropy term


class ScalarQuantizer(Bottleneck):
    """A code a frame, whose digits are the rounded dimensions.

    Digits are worked out in fp32 and put together in int64, whatever the autocast: bf16 has no
    number between 256 and 258.

    Args:
        sizes: values of each dimension; the code is their product's.
        places: weight of each dimension's digit in the code.
        scale: of each dimension of what is passed on, over what is rounded.
    """

    sizes: Tensor
    places: Tensor
    scale: Tensor

    def __init__(self, sizes: list[int], places: list[int], scale: list[float]) -> None:
        super().__init__()
        self.codebook_sizes = [math.prod(sizes)]
        self.dim = self.inputs = len(sizes)
        self.register_buffer("sizes", torch.tensor(sizes)[:, None], persistent=False)
        self.register_buffer("places", torch.tensor(places)[:, None], persistent=False)
        self.register_buffer("scale", torch.tensor(scale)[:, None], persistent=False)

    @abstractmethod
    def bound(self, x: Tensor) -> Tensor:
        """`[B, D, F]` to what is rounded."""

    @abstractmethod
    def digits(self, bounded: Tensor) -> Tensor:
        """What was bounded to its digits: int64 `[B, D, F]`, from 0."""

    @abstractmethod
    def values(self, digits: Tensor) -> Tensor:
        """int64 digits `[B, D, F]` to what they stand for, on the scale of what was bounded."""

    def forward(self, x: Tensor, quantize: bool = True) -> Bottlenecked:
        """`[B, D, F]` to features, codes and the losses of the method."""
        with torch.autocast(x.device.type, enabled=False):
            bounded = self.bound(x.float())
            if not quantize:
                return Bottlenecked(bounded * self.scale)
            digits = self.digits(bounded)
            values = self.values(digits)
            return Bottlenecked(
                features=straight_through(bounded, values) * self.scale,
                codes=(digits * self.places).sum(1, keepdim=True),
                losses=self.losses(bounded, values),
                health={"distortion": distortion(bounded, values)},
            )

    def losses(self, bounded: Tensor, values: Tensor) -> dict[str, Tensor]:
        """Scalars by name; none where rounding needs no help."""
        return {}

    def encode(self, x: Tensor) -> Tensor:
        """`[B, D, F]` to int64 `[B, 1, F]`."""
        return (self.digits(self.bound(x.float())) * self.places).sum(1, keepdim=True)

    def decode(self, codes: Tensor) -> Tensor:
        """int64 `[B, 1, F]` to `[B, D, F]`."""
        return self.values(codes // self.places % self.sizes) * self.scale


class FiniteScalarQuantizer(ScalarQuantizer):
    """FSQ (Mentzer et al. 2023, arXiv 2309.15505, section 3.1 and appendix A.1).

    Each dimension is bounded by a tanh and rounded to one of its levels, which are passed on within
    -1 to 1, one of them at 0. The first dimension is the last digit.

    Args:
        levels: of each dimension.
    """

    def __init__(self, levels: list[int]) -> None:
        places = list(accumulate([1, *levels[:-1]], mul))
        super().__init__(levels, places, [1 / (level // 2) for level in levels])

    def bound(self, x: Tensor) -> Tensor:
        """To within the outermost levels, which are whole numbers."""
        half = (self.sizes - 1) * (1 + MARGIN) / 2
        offset = torch.where(self.sizes % 2 == 0, 0.5, 0.0)
        return (x + (offset / half).atanh()).tanh() * half - offset

    def digits(self, bounded: Tensor) -> Tensor:
        """The nearest level, from 0 at the lowest."""
        digits = bounded.round().long() + self.sizes // 2
        return digits.clamp(min=0).minimum(self.sizes - 1)  # of 1,000 levels MARGIN is half a one

    def values(self, digits: Tensor) -> Tensor:
        """Whole numbers."""
        return (digits - self.sizes // 2).float()


class LookupFreeQuantizer(ScalarQuantizer):
    """A bit a dimension, its sign: LFQ and BSQ.

    LFQ (Yu et al. 2023, arXiv 2310.05737, equations 3 to 5) passes on -1 or 1. BSQ (Zhao et al. 2024,
    arXiv 2406.07548, section 4.1) brings features to unit length first and passes on the
    corners of the cube within the unit sphere. The first dimension is the first digit.

    Args:
        bits: dimensions, `D`.
        spherical: BSQ.
    """

    def __init__(self, bits: int, spherical: bool) -> None:
        super().__init__([2] * bits, [2**bit for bit in reversed(range(bits))], [1.0] * bits)
        self.spherical = spherical
        self.size = bits**-0.5 if spherical else 1.0

    def bound(self, x: Tensor) -> Tensor:
        """To unit length for BSQ."""
        return F.normalize(x, dim=1) if self.spherical else x

    def digits(self, bounded: Tensor) -> Tensor:
        """1 above 0."""
        return (bounded > 0).long()

    def values(self, digits: Tensor) -> Tensor:
        """All of one size, of either sign."""
        return (2 * digits - 1).float() * self.size

    def losses(self, bounded: Tensor, values: Tensor) -> dict[str, Tensor]:
        """`commitment`, and `entropy`: of a frame's code, in nats, less that of all frames' codes.

        A code's probability falls with its squared distance, so it is the product of its bits'
        (LFQ, equation 5); all frames' codes are counted for eight bits at a time.
        """
        odds = 4 * SHARPNESS * self.size * rearrange(bounded, "b d f -> (b f) d")
        ones = odds.sigmoid()
        sure = (F.softplus(odds) - odds * ones).sum(1).mean()
        varied = bounded.new_zeros(())
        for some in ones.split(JOINT_BITS, dim=1):
            joint = ones.new_ones(len(ones), 1)
            for one in some.unbind(1):
                joint = torch.cat([joint * (1 - one[:, None]), joint * one[:, None]], dim=1)
            # at 0 entropy has no slope
            shares = mean_over_ranks(joint.mean(0)).clamp(min=1e-9)
            varied = varied + torch.special.entr(shares).sum()
        return {"commitment": (bounded - values).square().mean(), "entropy": sure - varied}
