"""What a level's bottleneck may be: one section a kind.

Every kind takes `bits`, the bits of a frame, so that one word changes the kind and not the bitrate.
"""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from vqaudio.config.section import Decay, Positive, Section, Share, Weight

MOST_BITS = 24  # of a code: all are counted for the log
Temperature = Annotated[float, Field(gt=0)]


class GaussianBottleneck(Section):
    """A normal distribution a frame: VAE, and beta-VAE. Continuous: it has no codes."""

    kind: Literal["gaussian"]
    bits: Positive | None = Field(
        default=None, description="of KL divergence, to aim at; None for the fewest"
    )
    dim: Positive = 16
    beta: Weight = Field(default=0.1, description="weight of the KL divergence, in nats a frame")
    anneal_steps: int = Field(default=0, ge=0, description="steps in which beta grows from 0")
    free_bits: Weight = Field(default=0.0, description="bits a dimension that cost nothing")


class CodebookBottleneck(Section):
    """Codebooks of one size, set from data; given as it is or by the bits of a frame."""

    codebook_size: Annotated[int, Field(ge=2)] | None = None
    bits: Positive | None = None
    dim: Positive = 16
    decay: Decay = 0.99

    @property
    def stages(self) -> int:
        """Codes a frame."""
        return 1

    @property
    def size(self) -> int:
        """Codes a codebook."""
        return self.codebook_size or 2 ** ((self.bits or 0) // self.stages)

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if (self.codebook_size is None) == (self.bits is None):
            raise ValueError("codebook_size: give it, or bits, and not both")
        if self.bits is not None and self.bits % self.stages:
            raise ValueError(
                f"bits: {self.bits} are not the same for each of {self.stages} codes a frame; "
                "change one of the two"
            )
        if (self.bits or 0) // self.stages > MOST_BITS:
            raise ValueError(f"bits: a codebook may have {MOST_BITS} at most, or 2^{MOST_BITS} codes")
        if self.size > 2**MOST_BITS:
            raise ValueError(f"codebook_size: a codebook may have 2^{MOST_BITS} codes at most")
        return self


class VectorBottleneck(CodebookBottleneck):
    """One codebook (VQ-VAE)."""

    kind: Literal["vector"]
    codebook: Literal["average", "learned", "linear"] = Field(
        default="average", description="EMA, by gradient, or fixed under a learned linear map (SimVQ)"
    )
    distance: Literal["euclidean", "cosine"] = "euclidean"
    gradient: Literal["straight_through", "rotation"] = "straight_through"


class ResidualBottleneck(CodebookBottleneck):
    """A stack of codebooks, each for what the one before left over."""

    kind: Literal["residual"]
    quantizers: Positive = 2
    default_quantizers: Positive | None = Field(
        default=None, description="how many of them are used unless told; None for all"
    )
    codebook: Literal["average", "learned", "linear"] = "average"
    gradient: Literal["straight_through", "rotation"] = "straight_through"
    dropout: Share = Field(default=0.0, description="share of sounds quantized by 1 to all of them")

    @property
    def stages(self) -> int:
        """Codes a frame."""
        return self.quantizers

    @model_validator(mode="after")
    def _default_is_there(self) -> Self:
        if (self.default_quantizers or 0) > self.quantizers:
            raise ValueError(
                f"default_quantizers: {self.default_quantizers} is above quantizers, {self.quantizers}"
            )
        return self


class GroupedResidualBottleneck(ResidualBottleneck):
    """Such a stack for each of several equal parts of the features."""

    kind: Literal["grouped_residual"]  # type: ignore[assignment]
    quantizers: Positive = Field(default=1, description="of each group")
    groups: Positive = 2

    @property
    def stages(self) -> int:
        """Codes a frame."""
        return self.quantizers * self.groups

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        if self.default_quantizers is not None:
            raise ValueError("default_quantizers: only of kind residual; leave it out")
        if self.dim % self.groups:
            raise ValueError(f"groups: {self.groups} does not divide dim, {self.dim}")
        return self


class ScalarBottleneck(Section):
    """Each dimension rounded by itself: to one of several levels (FSQ) or to its sign (LFQ, BSQ)."""

    kind: Literal["scalar"]
    method: Literal["fsq", "lfq", "bsq"] = "fsq"
    levels: list[Annotated[int, Field(ge=3)]] | None = Field(
        default=None, min_length=1, description="of FSQ, for each dimension"
    )
    bits: Annotated[int, Field(ge=1, le=MOST_BITS)] | None = None

    @property
    def sizes(self) -> list[int]:
        """Values of each dimension; `bits` of FSQ make three bits a dimension, or two."""
        if self.levels is not None:
            return self.levels
        assert self.bits is not None
        if self.method != "fsq":
            return [2] * self.bits
        dim = -(-self.bits // 3)
        low, more = divmod(self.bits, dim)
        return [2 ** (low + 1)] * more + [2**low] * (dim - more)

    @model_validator(mode="after")
    def _levels_or_bits(self) -> Self:
        if (self.levels is None) == (self.bits is None):
            raise ValueError("bits: give them, or the levels of fsq, and not both")
        if self.method == "fsq" and self.bits == 1:
            raise ValueError("bits: fsq rounds to 3 values or more, so give 2 or more")
        if self.levels is not None and self.method != "fsq":
            raise ValueError(f"levels: {self.method} knows only bits")
        codes = math.prod(self.levels or [])
        if codes > 2**MOST_BITS:
            raise ValueError(f"levels: {codes} codes are more than 2^{MOST_BITS}")
        return self


class GumbelBottleneck(CodebookBottleneck):
    """One codebook, chosen from by a relaxed categorical distribution (the discrete VAE of DALL-E)."""

    kind: Literal["gumbel"]
    temperature: Temperature = 1.0
    final_temperature: Temperature = 0.0625
    anneal_steps: int = Field(default=1000, ge=0, description="steps from the one to the other")
    beta: Weight = Field(default=1e-3, description="weight of the KL divergence to even use, in nats")


Bottleneck = Annotated[
    GaussianBottleneck
    | VectorBottleneck
    | ResidualBottleneck
    | GroupedResidualBottleneck
    | ScalarBottleneck
    | GumbelBottleneck,
    Field(discriminator="kind"),
]
