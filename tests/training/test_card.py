"""What a codec's card says of what it makes of sound."""

from typing import Any

import pytest

from tests.training.conftest import TINY
from vqaudio.codec.model import Codec
from vqaudio.config import CodecRecipe, parse_section
from vqaudio.training.card import codec_card

VECTOR = {"kind": "vector", "codebook_size": 16, "dim": 4}
SCALAR, GAUSSIAN = {"kind": "scalar", "bits": 4}, {"kind": "gaussian", "dim": 4}


@pytest.mark.parametrize(
    ("coarse", "fine", "said", "set_from_data"),
    [
        (VECTOR, VECTOR, "to integers at 1250 bits per second and back", True),
        (SCALAR, SCALAR, "to integers at 1250 bits per second and back", False),
        (VECTOR, GAUSSIAN, "to integers at 250 bits per second and continuous features and back", True),
        (GAUSSIAN, GAUSSIAN, "to continuous features and back", False),
    ],
)
def test_a_card_says_what_the_levels_are(
    coarse: dict[str, Any], fine: dict[str, Any], said: str, set_from_data: bool
) -> None:
    codec = TINY["codec"]
    levels = [{**codec["levels"][0], "bottleneck": coarse}, {**codec["levels"][1], "bottleneck": fine}]
    recipe = parse_section(CodecRecipe, {**TINY, "codec": {**codec, "levels": levels}}, "tiny.yaml")
    card = codec_card(recipe, Codec(recipe.codec), [], recipe.warm_start_steps, {})
    assert said in card
    assert ("Its codebooks are not set yet" in card) == set_from_data
    assert "not set yet" not in codec_card(recipe, Codec(recipe.codec), [], 7, {})
