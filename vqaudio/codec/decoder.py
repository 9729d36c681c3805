"""Codes of all scales, as the hierarchy's finest state, to the frames that a head makes sound of."""

from torch import Tensor, nn

from vqaudio.codec.layers import Context, Upsample, residual_units


class Decoder(nn.Module):
    """Up to the head's frame rate and width, then residual units.

    Args:
        inputs: channels of the finest level.
        channels: of the frames that the head reads.
        factor: frames of the head a frame of the finest level.
        units: residual units.
    """

    def __init__(self, inputs: int, channels: int, factor: int, units: int) -> None:
        super().__init__()
        self.factor = factor
        self.up = Upsample(inputs, channels, factor)
        self.units = residual_units(channels, units)

    def context_before(self, after: Context) -> Context:
        """Frames of the finest state needed for `after` frames of the head."""
        return after.before(self.units).coarser(self.factor)

    def forward(self, state: Tensor) -> Tensor:
        """`[B, inputs, F]` to `[B, channels, F * factor - context of the units]`."""
        return self.units(self.up(state))
