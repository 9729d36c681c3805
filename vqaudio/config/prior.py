"""What shapes a prior, and how to train it."""

from typing import Literal, Self

from pydantic import Field, model_validator

from vqaudio.config.section import Positive, Section, Share
from vqaudio.config.training import Housekeeping, Optimization


class PriorConfig(Section):
    """Shape of the transformers; what they read comes from the codec of their tokens."""

    layout: Literal["flat", "delay", "cascade"] = "flat"
    layers: Positive
    width: Positive
    heads: Positive
    dropout: Share = 0.0
    context: Positive = Field(default=2048, description="steps at most, start, end and text included")
    labels: list[str] = Field(default=[], description="filled in from the tokens with data.label")
    speakers: list[str] = Field(default=[], description="filled in from the tokens with data.speaker")
    text_bytes: int = Field(default=0, ge=0, description="of the longest text, in UTF-8; 0 reads none")

    vector_dims: list[list[Positive]] = Field(
        default=[], description="of the codec's vectors, filled in from it with data.code_vectors"
    )

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
    accumulation: Positive = Field(default=1, description="parts that a batch is read in, for memory")
    code_vectors: bool = Field(default=False, description="read codes by the codec's vectors for them")
    label: bool = Field(default=False, description="condition on the manifest's `label`")
    speaker: bool = Field(default=False, description="condition on its `speaker`")
    text: bool = Field(default=False, description="condition on its `text`")
    condition_dropout: Share = Field(
        default=0.1, description="share of sounds told nothing; of several, also each is left out"
    )


class PriorRecipe(Section):
    """A file of `recipes/prior/`: what to train."""

    prior: PriorConfig
    data: PriorData = PriorData()
    label_smoothing: Share = Field(default=0.0, description="of the loss, spread over all that may come")
    optimization: Optimization
    run: Housekeeping = Housekeeping()
    patience: Positive = Field(default=5, description="validations without progress before stopping")

    @model_validator(mode="after")
    def _text_has_room(self) -> Self:
        if self.data.text != (self.prior.text_bytes > 0):
            raise ValueError("data.text: goes with prior.text_bytes above 0, the room for the longest")
        return self
