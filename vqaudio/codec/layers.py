"""Convolutions with exact receptive-field arithmetic.

No layer here pads. An output range `[a, b)` of a layer needs the input range
`[a * stride - left, b * stride + right)`; what lies outside a sound is silence at the input, not
zeros at every layer, so that a window cut from a sound gives the same features as the whole.
"""

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class Layer(Protocol):
    """What the arithmetic must know of a layer."""

    stride: int
    left: int
    right: int


class Context(NamedTuple):
    """Input frames needed to the left and right of those under the output."""

    left: int
    right: int

    def before(self, layer: "Layer") -> "Context":
        """The context needed at the input of `layer`, when this one is needed at its output."""
        return Context(self.left * layer.stride + layer.left, self.right * layer.stride + layer.right)

    def after(self, layer: "Layer") -> "Context":
        """The context left at the output of `layer`, when this one is there at its input."""
        return Context(
            (self.left - layer.left) // layer.stride, (self.right - layer.right) // layer.stride
        )

    def coarser(self, factor: int) -> "Context":
        """The same context in frames `factor` times as long, rounded up."""
        return Context(-(-self.left // factor), -(-self.right // factor))

    def finer(self, factor: int) -> "Context":
        """The same context in frames `factor` times as short."""
        return Context(self.left * factor, self.right * factor)

    def union(self, other: "Context") -> "Context":
        """The larger of both on each side."""
        return Context(max(self.left, other.left), max(self.right, other.right))


NO_CONTEXT = Context(0, 0)


def refit(x: Tensor, have: Context, want: Context) -> Tensor:
    """Crop `[..., F]` from one context to a smaller one, or pad it with zeros to a larger one."""
    return F.pad(x, (want.left - have.left, want.right - have.right))


class Conv(nn.Module):
    """1-D convolution over whole kernels only.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: taps; at least `stride`.
        stride: input frames an output frame.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.left = (kernel - stride) // 2
        self.right = kernel - stride - self.left
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, F]` to `[B, outputs, (F - kernel) // stride + 1]`."""
        if self.stride > 1 and x.device.type == "cpu" and _in_bfloat16(x):
            return self._without_stride(x)
        return self.conv(x)

    def _without_stride(self, x: Tensor) -> Tensor:
        """The same from frames of `stride` frames each, over which no kernel leaps.

        With AMX instructions, oneDNN gives noise for bfloat16 of few channels at strides from 4
        (torch 2.11; pytorch issue 169688).
        """
        stride, kernel = self.stride, self.conv.kernel_size[0]
        taps = -(-kernel // stride)
        frames = (x.shape[2] - kernel) // stride + 1
        x = F.pad(x, (0, (frames - 1 + taps) * stride - x.shape[2]))
        weight = F.pad(self.conv.weight, (0, taps * stride - kernel))
        return F.conv1d(
            rearrange(x, "b c (f s) -> b (c s) f", s=stride),
            rearrange(weight, "o c (k s) -> o (c s) k", s=stride),
            self.conv.bias,
        )


def _in_bfloat16(x: Tensor) -> bool:
    """Whether a convolution of `x` is one of bfloat16."""
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu") == torch.bfloat16
    return x.dtype == torch.bfloat16


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each frame of `[B, C, F]`."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape kept."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class ResidualUnit(nn.Module):
    """Norm, convolution, GELU, pointwise convolution, and the input added back.

    Without the norm, speech at its usual level (RMS near 0.05) starves the encoder.
    """

    def __init__(self, channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.conv = Conv(channels, channels, kernel)
        self.mix = nn.Conv1d(channels, channels, 1)
        self.stride, self.left, self.right = 1, self.conv.left, self.conv.right

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, F]` to `[B, C, F - kernel + 1]`."""
        change = self.mix(F.gelu(self.conv(self.norm(x))))
        return refit(x, Context(self.left, self.right), NO_CONTEXT) + change


class Chain(nn.Sequential):
    """Layers one after another, with the context and stride of all of them together."""

    def __init__(self, *layers: "Conv | ResidualUnit | Chain") -> None:
        super().__init__(*layers)
        self.stride, context = 1, NO_CONTEXT
        for layer in reversed(layers):
            self.stride *= layer.stride
            context = context.before(layer)
        self.left, self.right = context


def residual_units(channels: int, count: int) -> Chain:
    """`count` residual units of the same width."""
    return Chain(*(ResidualUnit(channels) for _ in range(count)))


class Upsample(nn.Module):
    """Each frame becomes `factor` frames of its own: no overlap, so no checkerboard and no context."""

    def __init__(self, inputs: int, outputs: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.expand = nn.Conv1d(inputs, outputs * factor, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, F]` to `[B, outputs, F * factor]`."""
        return rearrange(self.expand(x), "b (c r) f -> b c (f r)", r=self.factor)
