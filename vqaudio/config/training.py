"""What to train a codec on and how, and what trainings have in common."""

from typing import Literal, Self

from pydantic import Field, model_validator

from vqaudio.config.codec import CodecConfig
from vqaudio.config.section import Decay, Positive, Section, Share, Weight


class Perturbation(Section):
    """Resampling of training sounds: pitch, formants and speed together, for more voices."""

    share: Share = 0.0
    slowest: float = Field(default=0.7, gt=0)
    fastest: float = Field(default=1.35, gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
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

    mel: Weight = 1.0
    stft: Weight = 1.0
    coarse: Weight = Field(
        default=0.0, description="mel and stft of what the coarse levels alone make, the mean over them"
    )
    commitment: Weight = 0.25
    codebook: Weight = Field(default=1.0, description="of codebooks learned by gradient")
    entropy: Weight = Field(default=0.1, description="of lfq and bsq: sure, and all codes alike")
    fft_sizes: list[Positive] = Field(default=[256, 512, 1024, 2048], min_length=1)


class Optimization(Section):
    """AdamW with a linear warm-up and a cosine decay."""

    steps: Positive
    learning_rate: float = Field(gt=0)
    final_learning_rate: float = Field(default=0.0, ge=0)
    warmup_steps: int = Field(default=200, ge=0)
    betas: list[Decay] = Field(default=[0.9, 0.95], min_length=2, max_length=2)
    weight_decay: Weight = 0.01
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


class Health(Section):
    """Below which shares a level raises an alarm."""

    perplexity: Share = Field(default=0.02, description="of the way from one code in use to all alike")
    added: Share = Field(
        default=0.02, description="rise of mel and stft with the level's codes shuffled, of their sum"
    )


class CodecRecipe(Section):
    """A file of `recipes/codec/`: what to train."""

    codec: CodecConfig
    data: CodecData = CodecData()
    losses: CodecLosses = CodecLosses()
    optimization: Optimization
    run: Housekeeping = Housekeeping()
    warm_start_steps: int = Field(default=300, ge=0, description="steps before codes are set from data")
    health: Health = Health()

    @model_validator(mode="after")
    def _codes_are_learned(self) -> Self:
        if self.warm_start_steps >= self.optimization.steps:
            raise ValueError(
                f"warm_start_steps: {self.warm_start_steps} leaves none of optimization.steps, "
                f"{self.optimization.steps}, to learn codes in; lower it"
            )
        return self
