"""What a recipe's `settings.yaml` may say."""

from typing import Literal, Self

from pydantic import Field, model_validator

from vqaudio.config.section import Positive, Section


class Download(Section):
    """Where a data set comes from: a class of torchaudio.datasets, or archives."""

    torchaudio: str | None = None
    parts: list[str] = Field(default=[], description="the class's urls or subsets; none: its default")
    archives: list[str] = Field(default=[], description="addresses of .zip and .tar files")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.torchaudio) == bool(self.archives):
            raise ValueError("torchaudio: give either this or archives")
        return self


class Training(Section):
    """A recipe, and what of it is other for this data set."""

    recipe: str = Field(description="below recipes/codec or recipes/prior without .yaml, or any file")
    set: list[str] = Field(default=[], description="changes: optimization.steps=2000")


class CodecSettings(Section):
    """The codec: a model that is there, or a recipe to train one."""

    model: str | None = Field(default=None, description="a shipped name or a model folder")
    recipe: str | None = Field(default=None, description="as that of the prior")
    set: list[str] = Field(default=[], description="as that of the prior")
    start: str | None = Field(default=None, description="the model whose weights training begins with")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.model is None) == (self.recipe is None):
            raise ValueError("model: give either this or recipe")
        if self.model is not None and (self.set or self.start):
            raise ValueError("set: goes with recipe, as start does; a model is used as it is")
        return self


class Samples(Section):
    """One kind of samples: how many, told what, and drawn how; see `vqaudio sample --help`."""

    n: Positive = 1
    each: Literal["label", "speaker", "text"] | None = Field(
        default=None, description="n for every label, every speaker, or every text of the test split"
    )
    most: Positive = Field(default=50, description="labels, speakers or texts")
    seconds: float | None = Field(default=None, gt=0)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    guidance: float | None = Field(default=None, ge=0)


class Evaluation(Section):
    """What is measured."""

    sounds: Positive = Field(default=100, description="of the test split, at most")
    recognizer: bool = Field(default=False, description="train one of the labels, and let it listen")
    recognizer_steps: Positive | None = Field(default=None, description="of its training")


class Settings(Section):
    """A file `egs/<data set>/settings.yaml`."""

    title: str
    source: str = Field(description="where the data come from, and their licence")
    download: Download | None = None
    codec: CodecSettings
    prior: Training
    samples: dict[str, Samples]
    evaluation: Evaluation = Evaluation()
