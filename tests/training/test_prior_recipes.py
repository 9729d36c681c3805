"""The recipes for priors are what their headers say."""

import re
from pathlib import Path

import pytest

from vqaudio.config import PriorRecipe, read_recipe
from vqaudio.prior.model import CodecSpec, Prior

FOLDER = Path(__file__).parents[2] / "recipes" / "prior"
CODECS = {
    "speech-16k": CodecSpec(16000, [1280, 320], [[256, 256], [4096, 4096]]),
    "text-16k": CodecSpec(16000, [1280, 320], [[256, 256], [4096, 4096]]),
    "small-labels": CodecSpec(8000, [320, 160], [[256], [64]]),
}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_makes_a_prior_of_the_stated_size_that_writes_sounds(path: Path) -> None:
    recipe = read_recipe(PriorRecipe, path)
    header = path.read_text(encoding="utf-8")
    assert f"vqaudio train prior recipes/prior/{path.name} --tokens" in header
    prior = Prior(recipe.prior, CODECS[path.stem])
    millions = sum(parameter.numel() for parameter in prior.parameters()) / 1e6
    assert f"{millions:.1f} M parameters" in header
    [sound] = prior.sample(seconds=0.2)
    assert sound.num_samples == prior.sample_rate // 5
    seconds = float(re.search(r"context: \d+  # (\S+) s", header)[1])  # type: ignore[index]
    assert prior.longest_seconds == pytest.approx(seconds, rel=0.03)
