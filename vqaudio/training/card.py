"""The README.md beside a trained model: what it is, what it heard, how well it does."""

from collections import Counter
from collections.abc import Mapping, Sequence

from vqaudio.codec.model import Codec
from vqaudio.config import CodebookBottleneck, CodecRecipe
from vqaudio.corpus.manifest import Sound


def codec_card(
    recipe: CodecRecipe,
    codec: Codec,
    sounds: Sequence[Sound],
    step: int,
    results: Mapping[str, float],
) -> str:
    """Describe a codec.

    Args:
        recipe: what it was trained with.
        codec: as it is saved.
        sounds: what it was trained on.
        step: steps taken.
        results: terms of the loss on the validation sounds.

    Returns:
        Markdown.
    """
    config = recipe.codec
    levels = [
        f"| {i} | {level.hop} | {config.sample_rate / level.hop:.2f} | {level.bottleneck.kind} | "
        f"{' + '.join(map(str, sizes))} |"
        for i, (level, sizes) in enumerate(zip(config.levels, codec.all_codebook_sizes, strict=True))
    ]
    from_data = any(isinstance(level.bottleneck, CodebookBottleneck) for level in config.levels)
    unset = from_data and step <= recipe.warm_start_steps
    speakers = Counter(sound.fields["speaker"] for sound in sounds if "speaker" in sound.fields)
    heard = f"{len(sounds)} sounds"
    if all(sound.duration_seconds is not None for sound in sounds):
        minutes = sum(sound.duration_seconds or 0 for sound in sounds) / 60
        heard += f", {minutes:.0f} minutes"
    if speakers:
        heard += f", {len(speakers)} speakers"
    measured = ["Not validated yet."]
    if results:
        rows = [f"| {name} | {value:.4f} |" for name, value in results.items()]
        measured = [
            "Terms of the loss on validation sounds:",
            "",
            "| term | value |",
            "|---|---|",
            *rows,
        ]
    return "\n".join(
        [
            "# A vqaudio codec",
            "",
            f"Sound at {config.sample_rate} Hz to {_said(codec)} and back, after {step} of "
            f"{recipe.optimization.steps} steps."
            + (" Its codebooks are not set yet: all codes are 0." * unset),
            "",
            "| level | hop | frames/s | bottleneck | codes |",
            "|---|---|---|---|---|",
            *levels,
            "",
            "## Data",
            "",
            f"{heard}. Its licence binds these weights too: name it here before passing them on.",
            "",
            "## Metrics",
            "",
            *measured,
            "",
            "## Limits",
            "",
            "Voices, languages, noises and microphones unlike those of the data come out worse. The "
            "codes keep the speaker's voice: they do not make a recording anonymous.",
            "",
        ]
    )


def _said(codec: Codec) -> str:
    """What a codec makes of sound."""
    integers = f"integers at {codec.bitrate:.0f} bits per second"
    discrete = [bool(sizes) for sizes in codec.codebook_sizes]
    if all(discrete):
        return integers
    return f"{integers} and continuous features" if any(discrete) else "continuous features"
