"""What to train a codec on and how, and what trainings have in common."""

from typing import Literal, Self

from pydantic import Field, model_validator

from vqaudio.config.codec import CodecConfig
from vqaudio.config.section import Decay, Positive, Section, Share, Weight

NormKind = Literal["weight", "spectral"]  # of the weights of discriminators


class _Range(Section):
    """Something that is done to a share of the training sounds, within limits."""

    share: Share = 0.0

    def _refuse_disorder(self, low: str, high: str) -> Self:
        if getattr(self, low) > getattr(self, high):
            raise ValueError(f"{low}: {getattr(self, low)} is above {high}, {getattr(self, high)}")
        return self


class Perturbation(_Range):
    """Resampling of training sounds: pitch, formants and speed together, for more voices."""

    slowest: float = Field(default=0.7, gt=0)
    fastest: float = Field(default=1.35, gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        return self._refuse_disorder("slowest", "fastest")


class Gain(_Range):
    """Softer or louder, never clipped."""

    softest_db: float = -12.0
    loudest_db: float = 6.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        return self._refuse_disorder("softest_db", "loudest_db")


class Noise(_Range):
    """Noise from white to brown, so far below the sound."""

    lowest_snr_db: float = 15.0
    highest_snr_db: float = 40.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        return self._refuse_disorder("lowest_snr_db", "highest_snr_db")


class Reverberation(_Range):
    """Echoes that decay by 60 dB within some time, and their level to the sound itself."""

    shortest_seconds: float = Field(default=0.1, gt=0)
    longest_seconds: float = Field(default=0.5, gt=0)
    softest_db: float = -20.0
    loudest_db: float = -6.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        self._refuse_disorder("softest_db", "loudest_db")
        return self._refuse_disorder("shortest_seconds", "longest_seconds")


class CodecData(Section):
    """How crops are cut from the manifest."""

    crop_seconds: float = Field(default=1.5, gt=0)
    crops: Positive = 10
    gap_seconds: float = Field(default=0.1, ge=0, description="silence between short sounds in a crop")
    perturbation: Perturbation = Perturbation()
    reverberation: Reverberation | None = None
    noise: Noise | None = None
    gain: Gain | None = None
    balance: str = Field(
        default="",
        description="field of the manifest, such as speaker, all values of which are heard alike",
    )
    trim_db: float | None = Field(
        default=None, gt=0, description="silence at the ends is left out: so far below the loudest 20 ms"
    )


class CodecLosses(Section):
    """Weights of the terms of the loss."""

    mel: Weight = 1.0
    stft: Weight = 1.0
    envelopes: Weight = Field(default=0.0, description="of speech bands; see EnvelopeDistance")
    loudness: Weight = Field(default=0.0, description="of what is heard; see LoudnessDistance")
    coarse: Weight = Field(
        default=0.0, description="mel and stft of what the coarse levels alone make, the mean over them"
    )
    commitment: Weight = 0.25
    codebook: Weight = Field(default=1.0, description="of codebooks learned by gradient")
    entropy: Weight = Field(default=0.1, description="of lfq and bsq: sure, and all codes alike")
    adversarial: Weight = Field(default=1.0, description="of being taken for sound by discriminators")
    features: Weight = Field(default=2.0, description="of the features that discriminators see")
    balance: Decay = Field(
        default=0.0,
        description="decay of the running size of each term's gradient at the sound; weights are then "
        "shares of the pull; 0 for plain weights",
    )
    fft_sizes: list[Positive] = Field(default=[256, 512, 1024, 2048], min_length=1)


class Adversarial(Section):
    """Discriminators trained beside the codec, and how."""

    start_step: int = Field(ge=0, description="until then the distances alone teach the codec")
    fft_sizes: list[Positive] = Field(default=[2048, 1024, 512, 256])
    periods: list[Positive] = Field(default=[2, 3, 5, 7, 11])
    channels: Positive = 32
    norm: NormKind = "weight"
    loss: Literal["hinge", "least_squares"] = "hinge"
    every: Positive = Field(default=1, description="steps of the codec for one of the discriminators")
    learning_rate_ratio: float = Field(default=1.0, gt=0, description="to the codec's at the same step")
    betas: list[Decay] = Field(default=[0.5, 0.9], min_length=2, max_length=2)
    clip_norm: float = Field(default=10.0, gt=0)

    @model_validator(mode="after")
    def _somebody_judges(self) -> Self:
        if not self.fft_sizes and not self.periods:
            raise ValueError("fft_sizes and periods: both empty; name at least one discriminator")
        for n_fft in self.fft_sizes:
            if n_fft % 4:
                raise ValueError(f"fft_sizes: {n_fft} is not a multiple of 4")
        return self


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
    precision: Literal["32-true", "bf16-mixed", "auto"] = Field(
        default="32-true",
        description="auto: bf16-mixed where the GPU or processor computes it, else 32-true",
    )
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
    adversarial: Adversarial | None = None
    optimization: Optimization
    run: Housekeeping = Housekeeping()
    warm_start_steps: int = Field(default=300, ge=0, description="steps before codes are set from data")
    keep_codes: bool = Field(
        default=False,
        description="of the model begun with: only what makes sound of them learns",
    )
    health: Health = Health()

    @model_validator(mode="after")
    def _discriminators_hear_sound(self) -> Self:
        if self.adversarial is not None and self.codec.head.kind == "mel":
            raise ValueError(
                "adversarial: discriminators need sound, but codec.head.kind is mel; leave them out, or "
                "give another head"
            )
        return self
