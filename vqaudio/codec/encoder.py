"""Sound to features: one feature map per scale, by strided convolutions."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from vqaudio.codec.layers import NO_CONTEXT, Chain, Context, Conv, refit, residual_units
from vqaudio.config import Level, MelFront, WaveformFront
from vqaudio.features import LogMel

GAIN = 10  # of samples
MEL_SHIFT, MEL_SCALE = 6, 3  # of log-mel


class WaveformFrontEnd(nn.Module):
    """Strided convolutions over samples: `[B, 1, T]` to `[B, C, F]`."""

    def __init__(self, config: WaveformFront) -> None:
        super().__init__()
        widths = [1, *config.channels]
        self.channels = config.channels[-1]
        stages = [
            Chain(Conv(before, after, 2 * stride, stride), residual_units(after, 1))
            for before, after, stride in zip(widths, config.channels, config.strides, strict=False)
        ]
        self.stages = Chain(*stages)
        self.stride, self.left, self.right = self.stages.stride, self.stages.left, self.stages.right

    def forward(self, audio: Tensor) -> Tensor:
        """`[B, 1, T]` to `[B, C, F]`; the gain brings speech near unit variance."""
        return self.stages(audio * GAIN)


class MelFrontEnd(nn.Module):
    """Log-mel frames, scaled near unit variance: `[B, 1, T]` to `[B, bands, F]`."""

    def __init__(self, config: MelFront, sample_rate: int) -> None:
        super().__init__()
        self.channels = config.bands
        self.stride = config.hop
        self.left = (config.n_fft - config.hop) // 2
        self.right = config.n_fft - config.hop - self.left
        self.mel = LogMel(sample_rate, config.n_fft, config.hop, config.bands)

    def forward(self, audio: Tensor) -> Tensor:
        """`[B, 1, T]` to `[B, bands, F]`; log-mel of speech lies around -6 with a spread near 3."""
        return (self.mel(audio[:, 0]) + MEL_SHIFT) / MEL_SCALE


class Encoder(nn.Module):
    """Features at the hop of every level, each computed from those of the next finer one.

    Args:
        front: what turns samples into frames.
        levels: coarsest first.
        sample_rate: in Hz.
    """

    def __init__(self, front: WaveformFront | MelFront, levels: list[Level], sample_rate: int) -> None:
        super().__init__()
        self.front: WaveformFrontEnd | MelFrontEnd
        if isinstance(front, MelFront):
            self.front = MelFrontEnd(front, sample_rate)
        else:
            self.front = WaveformFrontEnd(front)
        stages: list[Chain] = []
        channels, hop = self.front.channels, front.hop
        for level in reversed(levels):
            stride = level.hop // hop
            reduce = Conv(channels, level.channels, 2 * stride + stride % 2, stride)
            stages.append(Chain(reduce, residual_units(level.channels, level.encoder_units)))
            channels, hop = level.channels, level.hop
        self.stages = cast(Sequence[Chain], nn.ModuleList(reversed(stages)))

    def audio_context(self, wanted: list[Context]) -> Context:
        """Samples beyond the wanted frames that `forward` needs.

        Args:
            wanted: context of each level's features, coarsest first, in that level's frames.
        """
        return self._needs(wanted)[-1].before(self.front)

    def forward(self, audio: Tensor, wanted: list[Context]) -> list[Tensor]:
        """Features of a stretch of sound, each with the context wanted of it.

        Args:
            audio: `[B, 1, T]`, with the context `audio_context(wanted)`.
            wanted: per level, coarsest first, in that level's frames.

        Returns:
            `[B, C_l, F_l]`, coarsest first.
        """
        needs = self._needs(wanted)
        x, have = self.front(audio), needs[-1]
        features: list[Tensor] = []
        for stage, need, want in zip(self.stages[::-1], needs[::-1], wanted[::-1], strict=True):
            x = stage(refit(x, have, need))
            have = need.after(stage)
            features.append(refit(x, have, want))
        return features[::-1]

    def _needs(self, wanted: list[Context]) -> list[Context]:
        """The context that the input of each level's stage needs, coarsest first."""
        needs: list[Context] = []
        need = NO_CONTEXT
        for want, stage in zip(wanted, self.stages, strict=True):
            need = need.union(want).before(stage)
            needs.append(need)
        return needs


class IndependentEncoders(nn.Module):
    """An encoder of its own for every level, as in Jukebox (Dhariwal et al. 2020, arXiv 2005.00341).

    Each goes down to its level through the hops of the finer ones, and gives nothing of those.

    Args:
        front: what turns samples into frames.
        levels: coarsest first.
        sample_rate: in Hz.
    """

    def __init__(self, front: WaveformFront | MelFront, levels: list[Level], sample_rate: int) -> None:
        super().__init__()
        encoders = nn.ModuleList(
            Encoder(front, levels[index:], sample_rate) for index in range(len(levels))
        )
        self.encoders = cast(Sequence[Encoder], encoders)

    def audio_context(self, wanted: list[Context]) -> Context:
        """Samples beyond the wanted frames that `forward` needs; as that of `Encoder`."""
        context = NO_CONTEXT
        for index in range(len(wanted)):
            context = context.union(self._own_context(wanted, index))
        return context

    def forward(self, audio: Tensor, wanted: list[Context]) -> list[Tensor]:
        """Features of a stretch of sound; as those of `Encoder`."""
        have = self.audio_context(wanted)
        return [
            encoder(refit(audio, have, self._own_context(wanted, index)), _coarsest(wanted, index))[0]
            for index, encoder in enumerate(self.encoders)
        ]

    def _own_context(self, wanted: list[Context], index: int) -> Context:
        return self.encoders[index].audio_context(_coarsest(wanted, index))


def _coarsest(wanted: list[Context], index: int) -> list[Context]:
    """What the encoder of a level is asked for: its features, and none of the finer levels'."""
    return [wanted[index]] + [NO_CONTEXT] * (len(wanted) - index - 1)
