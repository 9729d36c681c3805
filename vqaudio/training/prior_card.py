"""The README.md beside a trained prior: what it is, what it read, how well it does."""

from collections.abc import Mapping

from vqaudio.config import PriorRecipe
from vqaudio.prior.model import Prior

STAGES = {
    "flat": "A causal transformer",
    "delay": "A causal transformer",
    "cascade": "A causal transformer for each level",
}


def prior_card(
    recipe: PriorRecipe, prior: Prior, sounds: int, step: int, results: Mapping[str, float]
) -> str:
    """Describe a prior.

    Args:
        recipe: what it was trained with.
        prior: as it is saved.
        sounds: how many it was trained on.
        step: that its weights are of.
        results: measured on the validation sounds.

    Returns:
        Markdown.
    """
    shape, codec = prior.config, prior.codec
    parameters = sum(parameter.numel() for parameter in prior.parameters())
    rows = [
        f"| {level} | {codec.sample_rate / hop:.2f} | {' + '.join(map(str, sizes))} |"
        for level, (hop, sizes) in enumerate(zip(codec.hops, codec.codebook_sizes, strict=True))
    ]
    measured = ["Not validated yet."]
    if results:
        measured = [
            f"On validation sounds: {results['bits_per_token']:.3f} bits a token "
            f"({results['of_nominal']:.1%} of what equally likely codes take), "
            f"{results['bits_per_second']:.0f} bits a second of sound.",
        ]
    labels, speakers = (", ".join(names) or "none" for names in (shape.labels, shape.speakers))
    text = f"up to {shape.text_bytes} bytes" if shape.text_bytes else "none"
    shapes = f"{shape.layers} layers, width {shape.width}, layout {shape.layout}"
    return "\n".join(
        [
            "# A vqaudio prior",
            "",
            f"{STAGES[shape.layout]} of {parameters / 1e6:.1f} M parameters ({shapes}) over the codes "
            f"of codec {codec.fingerprint[:12] or '(unknown)'}, after {step} of "
            f"{recipe.optimization.steps} steps.",
            "",
            "| level | frames/s | codes |",
            "|---|---|---|",
            *rows,
            "",
            f"Labels: {labels}. Speakers: {speakers}. Text: {text}. Samples of up to "
            f"{prior.longest_seconds:.1f} s.",
            "",
            "## Data",
            "",
            f"{sounds} sounds. Their licence binds these weights too: name it here before passing "
            "them on.",
            "",
            "## Metrics",
            "",
            *measured,
            "",
            "## Limits",
            "",
            "Samples resemble the data in voice, language and noise, and may come close to single "
            "recordings of it. What is said in them means nothing.",
            "",
        ]
    )
