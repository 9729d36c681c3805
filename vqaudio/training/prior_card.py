"""The README.md beside a trained prior: what it is, what it read, how well it does."""

from collections.abc import Mapping

from vqaudio.config import PriorRecipe
from vqaudio.prior.model import Prior


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
    labels = ", ".join(shape.labels) or "none"
    return "\n".join(
        [
            "# A vqaudio prior",
            "",
            f"A causal transformer of {parameters / 1e6:.1f} M parameters ({shape.layers} layers, width "
            f"{shape.width}) over the codes of codec {codec.fingerprint[:12] or '(unknown)'}, after "
            f"{step} of {recipe.optimization.steps} steps.",
            "",
            "| level | frames/s | codes |",
            "|---|---|---|",
            *rows,
            "",
            f"Labels: {labels}. Samples of up to {prior.longest_seconds:.1f} s.",
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
