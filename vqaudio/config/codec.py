"""What shapes a codec: front end, levels, head."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from vqaudio.config.bottleneck import Bottleneck
from vqaudio.config.section import Positive, Section, Share


class StridedStages(Section):
    """Convolutions one after another, a width for each stride; the hop is the product of the strides."""

    strides: list[Positive] = Field(min_length=1)
    channels: list[Positive] = Field(min_length=1)

    @property
    def hop(self) -> int:
        """Samples a frame."""
        return math.prod(self.strides)

    @model_validator(mode="after")
    def _a_width_a_stride(self) -> Self:
        if len(self.channels) != len(self.strides):
            raise ValueError("channels: give one number for each of the strides")
        return self


class WaveformFront(StridedStages):
    """Strided convolutions over samples."""

    kind: Literal["waveform"]


class MelFront(Section):
    """Log-mel spectrogram frames."""

    kind: Literal["mel"]
    hop: Positive
    n_fft: Positive
    bands: Positive = 80

    @model_validator(mode="after")
    def _frames_overlap(self) -> Self:
        if self.n_fft < self.hop:
            raise ValueError(f"n_fft: {self.n_fft} is shorter than hop {self.hop}")
        return self


class Level(Section):
    """One time scale of the hierarchy: its hop in samples, its layers and its bottleneck."""

    hop: Positive
    channels: Positive
    encoder_units: int = Field(default=2, ge=0)
    decoder_units: int = Field(default=2, ge=0)
    dropout: Share = Field(
        default=0.0, description="share of sounds decoded without this level and those finer"
    )
    bottleneck: Bottleneck


class ISTFTHead(Section):
    """Magnitude and phase of each frame, then the inverse STFT (Vocos)."""

    kind: Literal["istft"]
    hop: Positive
    n_fft: Positive
    channels: Positive
    units: int = Field(default=2, ge=0)

    @model_validator(mode="after")
    def _frames_overlap(self) -> Self:
        if self.n_fft % self.hop or self.n_fft < 4 * self.hop or self.n_fft % 2:
            raise ValueError(
                f"n_fft: {self.n_fft} must be an even multiple of hop {self.hop}, at least 4"
            )
        return self


class UpsampleHead(StridedStages):
    """Upsampling convolutions down to single samples."""

    kind: Literal["upsample"]


class MelHead(Section):
    """Log-mel frames, made audible by Griffin-Lim."""

    kind: Literal["mel"]
    hop: Positive
    n_fft: Positive
    bands: Positive = 80
    channels: Positive
    units: int = Field(default=2, ge=0)
    iterations: Positive = 32

    @model_validator(mode="after")
    def _frames_overlap(self) -> Self:
        if self.n_fft % self.hop or self.n_fft < 2 * self.hop:
            raise ValueError(f"n_fft: {self.n_fft} must be a multiple of hop {self.hop}, at least 2")
        return self


class CodecConfig(Section):
    """Everything that shapes a codec."""

    sample_rate: Positive
    front: Annotated[WaveformFront | MelFront, Field(discriminator="kind")]
    encoders: Literal["shared", "independent"] = Field(
        default="shared", description="features of coarse levels from those of finer ones, or apart"
    )
    levels: list[Level] = Field(min_length=1, description="coarsest first")
    head: Annotated[ISTFTHead | UpsampleHead | MelHead, Field(discriminator="kind")]

    def identity(self) -> dict[str, Any]:
        """What distinguishes it; not the quantizers used unless told, since codes mean the same."""
        found = super().identity()
        for level in found["levels"]:
            level["bottleneck"].pop("default_quantizers", None)
        return found

    def with_quantizers(self, counts: Sequence[int]) -> Self:
        """The same codec, with others of its quantizers used unless told, one number a level.

        Raises:
            ValueError: a level that is not of kind residual is to have other than all of its own.
        """
        levels = []
        for index, (level, count) in enumerate(zip(self.levels, counts, strict=True)):
            bottleneck = level.bottleneck
            if bottleneck.kind == "residual":
                bottleneck = bottleneck.model_copy(update={"default_quantizers": count})
            elif count != getattr(bottleneck, "stages", 1):
                raise ValueError(f"level {index}: {bottleneck.kind} has no quantizers to leave out")
            levels.append(level.model_copy(update={"bottleneck": bottleneck}))
        return self.model_copy(update={"levels": levels})

    @model_validator(mode="after")
    def _levels_fit(self) -> Self:
        names = [f"levels.{i}.hop" for i in range(len(self.levels))]
        hops = [level.hop for level in self.levels]
        for (name, hop), (_, finer) in pairwise([*zip(names, hops, strict=True), ("", self.front.hop)]):
            if hop % finer:
                raise ValueError(f"{name}: {hop} is not a multiple of the next finer hop, {finer}")
        if len(set(hops)) != len(hops):
            raise ValueError(f"levels: two levels share a hop ({hops}); use one with more quantizers")
        if self.levels[0].dropout:
            raise ValueError("levels.0.dropout: nothing is left without the coarsest level; set it to 0")
        if hops[-1] % self.head.hop:
            raise ValueError(f"head.hop: {self.head.hop} does not divide the finest hop {hops[-1]}")
        return self
