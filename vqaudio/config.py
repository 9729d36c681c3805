"""What a YAML file may say: one schema, where an unknown or impossible key is an error.

Configurations are built once, at the edge; modules take plain arguments.
"""

import math
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vqaudio.errors import UserError

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]  # of an average that follows what it averages


class Section(BaseModel):
    """A mapping of a YAML file; keys that it does not know are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


# --- the codec -------------------------------------------------------------------------------


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
    def _frames_overlap(self) -> "MelFront":
        if self.n_fft < self.hop:
            raise ValueError(f"n_fft: {self.n_fft} is shorter than hop {self.hop}")
        return self


class VectorBottleneck(Section):
    """One codebook kept by exponential averages (VQ-VAE)."""

    kind: Literal["vector"]
    codebook_size: int = Field(ge=2)
    dim: Positive = 16
    decay: Decay = 0.99


class ResidualBottleneck(Section):
    """A stack of such codebooks, each for what the one before left over."""

    kind: Literal["residual"]
    codebook_size: int = Field(ge=2)
    quantizers: Positive = 2
    dim: Positive = 16
    decay: Decay = 0.99
    dropout: Share = 0.0


Bottleneck = Annotated[VectorBottleneck | ResidualBottleneck, Field(discriminator="kind")]


class Level(Section):
    """One time scale of the hierarchy: its hop in samples, its layers and its bottleneck."""

    hop: Positive
    channels: Positive
    encoder_units: int = Field(default=2, ge=0)
    decoder_units: int = Field(default=2, ge=0)
    bottleneck: Bottleneck


class ISTFTHead(Section):
    """Magnitude and phase of each frame, then the inverse STFT (Vocos)."""

    kind: Literal["istft"]
    hop: Positive
    n_fft: Positive
    channels: Positive
    units: int = Field(default=2, ge=0)

    @model_validator(mode="after")
    def _frames_overlap(self) -> "ISTFTHead":
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
    def _frames_overlap(self) -> "MelHead":
        if self.n_fft % self.hop or self.n_fft < 2 * self.hop:
            raise ValueError(f"n_fft: {self.n_fft} must be a multiple of hop {self.hop}, at least 2")
        return self


class CodecConfig(Section):
    """Everything that shapes a codec."""

    sample_rate: Positive
    front: Annotated[WaveformFront | MelFront, Field(discriminator="kind")]
    levels: list[Level] = Field(min_length=1, description="coarsest first")
    head: Annotated[ISTFTHead | UpsampleHead | MelHead, Field(discriminator="kind")]

    @model_validator(mode="after")
    def _hops_divide(self) -> "CodecConfig":
        names = [f"levels.{i}.hop" for i in range(len(self.levels))]
        hops = [level.hop for level in self.levels]
        for (name, hop), (_, finer) in pairwise([*zip(names, hops, strict=True), ("", self.front.hop)]):
            if hop % finer:
                raise ValueError(f"{name}: {hop} is not a multiple of the next finer hop, {finer}")
        if len(set(hops)) != len(hops):
            raise ValueError(f"levels: two levels share a hop ({hops}); use one with more quantizers")
        if hops[-1] % self.head.hop:
            raise ValueError(f"head.hop: {self.head.hop} does not divide the finest hop {hops[-1]}")
        return self


# --- fitting it ------------------------------------------------------------------------------


class Perturbation(Section):
    """Resampling of training sounds: pitch, formants and speed together, for more voices."""

    share: Share = 0.0
    slowest: float = Field(default=0.7, gt=0)
    fastest: float = Field(default=1.35, gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> "Perturbation":
        if self.slowest > self.fastest:
            raise ValueError(f"slowest: {self.slowest} is above fastest, {self.fastest}")
        return self


class CodecData(Section):
    """How crops are cut from the manifest."""

    crop_seconds: float = Field(default=1.5, gt=0)
    crops: Positive = 10
    gap_seconds: float = Field(default=0.1, ge=0, description="silence between short sounds in a crop")
    perturbation: Perturbation = Perturbation()


class CodecLosses(Section):
    """Weights of the terms of the loss."""

    mel: float = Field(default=1.0, ge=0)
    stft: float = Field(default=1.0, ge=0)
    commitment: float = Field(default=0.25, ge=0)
    fft_sizes: list[Positive] = Field(default=[256, 512, 1024, 2048], min_length=1)


class Optimization(Section):
    """AdamW with a linear warm-up and a cosine decay."""

    steps: Positive
    learning_rate: float = Field(gt=0)
    final_learning_rate: float = Field(default=0.0, ge=0)
    warmup_steps: int = Field(default=200, ge=0)
    betas: list[Decay] = Field(default=[0.9, 0.95], min_length=2, max_length=2)
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    weight_ema: Decay = Field(default=0.0, description="decay of averaged weights; 0 keeps none")


class Housekeeping(Section):
    """When to log, validate and save, and how to run."""

    seed: int = Field(default=0, ge=0)
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    log_every: Positive = 20
    validate_every: Positive = 500
    checkpoint_every: Positive = 500
    validation_sounds: Positive = 8


class CodecRecipe(Section):
    """A file of `recipes/codec/`: what to train."""

    codec: CodecConfig
    data: CodecData = CodecData()
    losses: CodecLosses = CodecLosses()
    optimization: Optimization
    run: Housekeeping = Housekeeping()
    warm_start_steps: int = Field(default=300, ge=0, description="steps before codes are set from data")
    level_dropout: Share = Field(
        default=0.1, description="share of sounds decoded from coarse levels only"
    )

    @model_validator(mode="after")
    def _codes_are_learned(self) -> "CodecRecipe":
        if self.warm_start_steps >= self.optimization.steps:
            raise ValueError(
                f"warm_start_steps: {self.warm_start_steps} leaves none of optimization.steps, "
                f"{self.optimization.steps}, to learn codes in; lower it"
            )
        return self


# --- the prior -------------------------------------------------------------------------------


class PriorConfig(Section):
    """Shape of the transformer; what it reads comes from the codec of its tokens."""

    layers: Positive
    width: Positive
    heads: Positive
    dropout: Share = 0.0
    context: Positive = Field(default=2048, description="tokens at most, start and end included")
    labels: list[str] = Field(default=[], description="filled in from the tokens when `label` is set")

    @model_validator(mode="after")
    def _heads_divide(self) -> "PriorConfig":
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width: {self.width} is not a multiple of twice the heads, {2 * self.heads}"
            )
        return self


class PriorData(Section):
    """How token rows become batches."""

    tokens_per_batch: Positive = 8192
    label: bool = Field(default=False, description="condition on the manifest's `label`")
    label_dropout: Share = Field(default=0.1, description="share of sounds shown without their label")


class PriorRecipe(Section):
    """A file of `recipes/prior/`: what to train."""

    prior: PriorConfig
    data: PriorData = PriorData()
    optimization: Optimization
    run: Housekeeping = Housekeeping()
    patience: Positive = Field(default=5, description="validations without progress before stopping")


# --- reading -----------------------------------------------------------------------------------

S = TypeVar("S", bound=Section)


def parse_section(schema: type[S], values: Any, source: str) -> S:
    """Check plain values against a schema.

    Args:
        schema: the section that they must be.
        values: what YAML gave.
        source: what to call them in an error: a file's path.

    Raises:
        UserError: naming the source, the key and what is wrong with it.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = "no such key"
        raise UserError(f"{source}: {key + ': ' if key else ''}{message}") from None


def read_recipe(schema: type[S], path: str | Path, overrides: list[str] | None = None) -> S:
    """Read a YAML recipe, with `key.of.a.section=value` overrides on top.

    Args:
        schema: `CodecRecipe` or `PriorRecipe`.
        path: the YAML file.
        overrides: each parsed as YAML after its first `=`.

    Raises:
        UserError: the file is missing or is not YAML, or a key is unknown or impossible.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: not a YAML mapping")
    for override in overrides or []:
        _override(values, override)
    return parse_section(schema, values, str(path))


def _override(values: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign:
        raise UserError(f"{override}: an override is written key=value")
    *parents, last = key.split(".")
    place: Any = values
    for parent in parents:
        try:
            place = place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
        except (ValueError, IndexError, AttributeError):
            raise UserError(f"{override}: no such key as {parent}") from None
    try:
        if isinstance(place, list):
            place[int(last)] = yaml.safe_load(text)
        else:
            place[last] = yaml.safe_load(text)
    except (ValueError, IndexError, TypeError, yaml.YAMLError):
        raise UserError(f"{override}: cannot be set") from None
