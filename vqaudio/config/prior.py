"""What shapes a prior, and how to train it."""

from typing import Self

from pydantic import Field, model_validator

from vqaudio.config.section import Positive, Section, Share
from vqaudio.config.training import Housekeeping, Optimization


class PriorConfig(Section):
    """Shape of the transformer; what it reads comes from the codec of its tokens."""

    layers: Positive
    width: Positive
    heads: Positive
    dropout: Share = 0.0
    context: Positive = Field(default=2048, description="tokens at most, start and end included")
    labels: list[str] = Field(default=[], description="filled in from the tokens when `label` is set")

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
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
