"""The recipes for codecs can be trained by: a few steps of each, on real speech."""

from pathlib import Path

import pytest
import torch

from vqaudio.audio import read_audio
from vqaudio.codec.model import Codec
from vqaudio.config import CodecRecipe
from vqaudio.config.reading import read_recipe
from vqaudio.training.objective import Objective

RECIPES = Path(__file__).parents[2] / "recipes" / "codec"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_steps_lower_the_loss(path: Path, sentence: Path) -> None:
    recipe = read_recipe(CodecRecipe, path)
    torch.manual_seed(0)
    codec = Codec(recipe.codec)
    objective = Objective(codec, recipe.losses)
    length = recipe.codec.sample_rate // codec.hops[0] * codec.hops[0]
    audio = read_audio(sentence, codec.sample_rate)[0][None, :, :length]
    optimizer = torch.optim.AdamW(codec.parameters(), lr=2e-4)

    def step() -> float:
        output = codec(audio, quantize=False)
        loss = objective.loss(objective.terms(output, audio), output.made)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    losses = [step() for _ in range(4)]
    assert losses[-1] < losses[0]
