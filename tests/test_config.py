"""The schema of YAML files: what is wrong is named, with its file and key."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.models import WAVEFORM_CODEC
from vqaudio.codec.model import Codec
from vqaudio.config import (
    CodecConfig,
    CodecRecipe,
    PriorRecipe,
    parse_section,
    read_recipe,
)
from vqaudio.errors import UserError
from vqaudio.prior.model import CodecSpec, Prior

RECIPES = Path(__file__).parents[1] / "recipes"
OPTIMIZATION = {"steps": 10, "learning_rate": 0.001}
WARM_START = 4


def recipe_file(folder: Path, change: dict[str, Any] | None = None) -> Path:
    values = {"codec": WAVEFORM_CODEC, "optimization": OPTIMIZATION, "warm_start_steps": WARM_START}
    values |= change or {}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def changed(*path: str | int, to: Any) -> dict[str, Any]:
    """`WAVEFORM_CODEC` with one value changed, or taken out where `to` is None."""
    values = copy.deepcopy(WAVEFORM_CODEC)
    place: Any = values
    for key in path[:-1]:
        place = place[key]
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return values


def test_recipes_are_there() -> None:
    assert list(RECIPES.glob("codec/*.yaml"))
    assert list(RECIPES.glob("prior/*.yaml"))


@pytest.mark.parametrize("path", sorted(RECIPES.glob("codec/*.yaml")), ids=lambda path: path.stem)
def test_every_codec_recipe_builds(path: Path) -> None:
    recipe = read_recipe(CodecRecipe, path)
    codec = Codec(recipe.codec)
    assert codec.hops == [level.hop for level in recipe.codec.levels]
    assert codec.bitrate > 0
    assert f"vqaudio train codec recipes/codec/{path.name}" in path.read_text()


@pytest.mark.parametrize("path", sorted(RECIPES.glob("prior/*.yaml")), ids=lambda path: path.stem)
def test_every_prior_recipe_builds(path: Path) -> None:
    recipe = read_recipe(PriorRecipe, path)
    prior = Prior(recipe.prior, CodecSpec(16000, [1280, 320], [[1024, 1024], [1024, 1024]]))
    assert sum(parameter.numel() for parameter in prior.parameters()) > 0
    assert f"vqaudio train prior recipes/prior/{path.name}" in path.read_text()


def test_values_and_defaults(tmp_path: Path) -> None:
    recipe = read_recipe(CodecRecipe, recipe_file(tmp_path, {"data": {"crops": 3}}))
    assert recipe.data.crops == 3
    assert recipe.data.crop_seconds == CodecRecipe.model_fields["data"].default.crop_seconds
    assert recipe.codec.front.hop == 64
    assert recipe.optimization.steps == 10


def test_overrides_come_on_top(tmp_path: Path) -> None:
    overrides = [
        "optimization.steps=7",
        "run.precision=bf16-mixed",
        "codec.levels.0.bottleneck.codebook_size=32",
        "losses.fft_sizes=[64, 128]",
    ]
    recipe = read_recipe(CodecRecipe, recipe_file(tmp_path), overrides)
    assert recipe.optimization.steps == 7
    assert recipe.run.precision == "bf16-mixed"
    assert recipe.codec.levels[0].bottleneck.codebook_size == 32
    assert recipe.losses.fft_sizes == [64, 128]


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["optimization.steps"], "optimization.steps: an override is written key=value"),
        (["optimization.stops=7"], "optimization.stops: no such key"),
        (["optimization.steps=many"], "optimization.steps: "),
        (["optimization.steps=0"], "optimization.steps: "),
        (["codec.levels.9.hop=1"], "codec.levels.9.hop=1: no such key as 9"),
        (["codec.levels.x.hop=1"], "codec.levels.x.hop=1: no such key as x"),
        (["optimization.steps.more=1"], "optimization.steps.more=1: "),
        (["losses.mel=[1"], r"losses.mel=\[1: cannot be set"),
        (["nothing=1"], "nothing: no such key"),
        (["optimization.betas=[0.9, 1.0]"], "optimization.betas.1: "),
        (["optimization.weight_ema=1.0"], "optimization.weight_ema: "),
        (["codec.levels.0.bottleneck.decay=1.0"], "decay: "),
        (["run.seed=-1"], "run.seed: "),
        (["optimization.steps=4"], "warm_start_steps: 4 leaves none of optimization.steps, 4"),
        (["data.perturbation={slowest: 1.2, fastest: 1.1}"], "data.perturbation: slowest: 1.2 is above"),
    ],
)
def test_bad_overrides_are_named(tmp_path: Path, overrides: list[str], named: str) -> None:
    with pytest.raises(UserError, match=named) as caught:
        read_recipe(CodecRecipe, recipe_file(tmp_path), overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"colour": "red"}, "colour: no such key"),
        ({"optimization": {**OPTIMIZATION, "stesp": 1}}, "optimization.stesp: no such key"),
        ({"optimization": {"steps": 10}}, "optimization.learning_rate: "),
        ({"optimization": {**OPTIMIZATION, "steps": "ten"}}, "optimization.steps: "),
        ({"optimization": {**OPTIMIZATION, "steps": True}}, "optimization.steps: "),
        ({"data": {"crop_seconds": -1}}, "data.crop_seconds: "),
        ({"codec": changed("levels", 1, "dropout", to=1.5)}, "codec.levels.1.dropout: "),
        ({"run": {"precision": "16"}}, "run.precision: "),
        ({"codec": changed("sample_rate", to=0)}, "codec.sample_rate: "),
        ({"codec": changed("front", "kind", to="fourier")}, "codec.front"),
        ({"codec": changed("front", "strides", to=[64])}, "codec.front.*channels"),
        ({"codec": changed("levels", to=[])}, "codec.levels: "),
        ({"codec": changed("levels", 0, "hop", to=250)}, "levels.0.hop: 250 is not a multiple"),
        ({"codec": changed("levels", 0, "hop", to=64)}, "two levels share a hop"),
        ({"codec": changed("levels", 0, "bottleneck", "codebook_size", to=1)}, "codebook_size"),
        (
            {"codec": changed("levels", 0, "bottleneck", "kind", to="gumbo")},
            r"codec.levels.0.bottleneck",
        ),
        ({"codec": changed("levels", 0, "bottleneck", "quantizers", to=2)}, "quantizers: no such key"),
        ({"codec": changed("head", "hop", to=48)}, "head"),
        ({"codec": changed("head", "n_fft", to=100)}, "codec.head.*n_fft"),
        ({"codec": changed("head", to=None)}, "codec.head: "),
    ],
)
def test_bad_values_are_named_with_their_file(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    path = recipe_file(tmp_path, change)
    with pytest.raises(UserError, match=named) as caught:
        read_recipe(CodecRecipe, path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a YAML mapping"),
        (b"- a\n- b\n", "not a YAML mapping"),
        (b"a: [1, 2\n", "not YAML"),
        (b"\xff\xfe\x00a", "not YAML"),
        (b"a: !!python/object/apply:os.system ['true']\n", "not YAML"),
        (b"key: \x00\n", "not YAML"),
    ],
)
def test_files_that_are_no_recipe(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"bad.yaml: {said}") as caught:
        read_recipe(CodecRecipe, path)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.yaml: cannot be read"):
        read_recipe(CodecRecipe, tmp_path / "none.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        read_recipe(CodecRecipe, tmp_path)


def test_configurations_survive_yaml() -> None:
    config = parse_section(CodecConfig, WAVEFORM_CODEC, "test")
    text = yaml.safe_dump(config.model_dump())
    assert parse_section(CodecConfig, yaml.safe_load(text), "test") == config
