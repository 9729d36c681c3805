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


def bottleneck(kind: str = "vector", **values: Any) -> dict[str, Any]:
    """`WAVEFORM_CODEC` with another bottleneck at its coarsest level."""
    return changed("levels", 0, "bottleneck", to={"kind": kind, **values})


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


@pytest.mark.parametrize("number", ["1e-3", "1.e-3", "0.1E-2", "1.0e-3", "+1e-3"])
def test_every_way_to_write_a_small_number(tmp_path: Path, number: str) -> None:
    recipe = read_recipe(CodecRecipe, recipe_file(tmp_path), [f"optimization.learning_rate={number}"])
    assert recipe.optimization.learning_rate == 0.001


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
        (["data.crop_seconds=.inf"], "data.crop_seconds: Input should be a finite number"),
        (["codec.levels.*.bottleneck=3"], "codec.levels.0.bottleneck: not a mapping"),
        (["losses.mel=[1"], r"losses.mel=\[1: cannot be set"),
        (["nothing=1"], "nothing: no such key"),
        (["optimization.betas=[0.9, 1.0]"], "optimization.betas.1: "),
        (["optimization.weight_ema=1.0"], "optimization.weight_ema: "),
        (["codec.levels.0.bottleneck.decay=1.0"], "decay: "),
        (["run.seed=-1"], "run.seed: "),
        (
            ["data.perturbation={slowest: 1.2, fastest: 1.1}"],
            r"data\.perturbation\.slowest: 1.2 is above",
        ),
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
        ({"codec": changed("front", "kind", to="fourier")}, r"codec\.front\.kind: fourier is none of"),
        ({"codec": changed("front", "strides", to=[64])}, "codec.front.*channels"),
        ({"codec": changed("levels", to=[])}, "codec.levels: "),
        (
            {"codec": changed("levels", 0, "hop", to=250)},
            r"codec\.levels\.0\.hop: 250 is not a multiple",
        ),
        ({"codec": changed("levels", 0, "hop", to=64)}, "two levels share a hop"),
        ({"codec": changed("levels", 0, "bottleneck", "codebook_size", to=1)}, "codebook_size"),
        (
            {"codec": changed("levels", 0, "bottleneck", "kind", to="gumbo")},
            r"codec\.levels\.0\.bottleneck\.kind: gumbo is none of 'gaussian', 'vector'",
        ),
        (
            {"codec": changed("levels", 0, "bottleneck", "quantizers", to=2)},
            "quantizers: no such key where kind is vector",
        ),
        ({"codec": bottleneck(codebook_size=16, bits=4)}, "bottleneck.*codebook_size: give it, or bits"),
        ({"codec": bottleneck()}, "bottleneck.*codebook_size: give it, or bits, and not both"),
        ({"codec": bottleneck(bits=31)}, r"bottleneck\.bits: a codebook may have 24 at most"),
        ({"codec": bottleneck(bits=10**12)}, r"bottleneck\.bits: a codebook may have 24 at most"),
        ({"codec": bottleneck(codebook_size=2**25)}, r"bottleneck\.codebook_size: a codebook may have"),
        ({"codec": changed("levels", 0, "bottleneck", to={"bits": 4})}, r"bottleneck\.kind: missing"),
        ({"codec": bottleneck(bits=0)}, "bottleneck.*bits: "),
        ({"codec": bottleneck(bits=4, beta=-1.0)}, "bottleneck.*beta: no such key"),
        ({"codec": bottleneck(bits=4, distance="manhattan")}, "bottleneck.*distance: "),
        ({"codec": bottleneck("residual", bits=9)}, "bits: 9 are not the same for each of 2"),
        ({"codec": bottleneck("residual", bits=8, distance="cosine")}, "distance: no such key"),
        ({"codec": bottleneck("residual", codebook_size=8, dropout=1.5)}, "bottleneck.*dropout: "),
        (
            {"codec": bottleneck("residual", codebook_size=8, quantizers=2, default_quantizers=3)},
            "default_quantizers: 3 is above quantizers, 2",
        ),
        (
            {"codec": bottleneck("grouped_residual", codebook_size=8, default_quantizers=1)},
            "default_quantizers: only of kind residual",
        ),
        ({"codec": bottleneck("grouped_residual", bits=8, dim=9)}, "groups: 2 does not divide dim, 9"),
        (
            {"codec": bottleneck("grouped_residual", bits=6, quantizers=2)},
            "bits: 6 are not the same for each of 4",
        ),
        ({"codec": bottleneck("scalar")}, "bottleneck.*bits: give them, or the levels of fsq"),
        ({"codec": bottleneck("scalar", bits=4, levels=[4, 4])}, "bottleneck.*bits: give them, or"),
        ({"codec": bottleneck("scalar", method="lfq", levels=[3, 3])}, "levels: lfq knows only bits"),
        ({"codec": bottleneck("scalar", method="bsq", levels=[3, 3])}, "levels: bsq knows only bits"),
        ({"codec": bottleneck("scalar", levels=[1, 4])}, "bottleneck.*levels.0: "),
        ({"codec": bottleneck("scalar", bits=1)}, "bits: fsq rounds to 3 values or more"),
        ({"codec": bottleneck("scalar", levels=[])}, "bottleneck.*levels: "),
        ({"codec": bottleneck("scalar", levels=[16] * 8)}, "levels: 4294967296 codes are more than"),
        ({"codec": bottleneck("gaussian", beta=-0.1)}, "bottleneck.*beta: "),
        ({"codec": bottleneck("gaussian", free_bits=-0.1)}, "bottleneck.*free_bits: "),
        ({"codec": bottleneck("gaussian", codebook_size=8)}, "codebook_size: no such key"),
        ({"codec": bottleneck("gumbel", bits=4, temperature=0.0)}, "bottleneck.*temperature: "),
        ({"codec": bottleneck("gumbel", bits=4, anneal_steps=-1)}, "bottleneck.*anneal_steps: "),
        ({"codec": changed("levels", 0, "dropout", to=0.1)}, "levels.0.dropout: nothing is left"),
        ({"codec": changed("levels", 1, "hop", to=48)}, "levels.0.hop: 256 is not a multiple"),
        ({"codec": changed("encoders", to="apart")}, "codec.encoders: "),
        ({"losses": {"coarse": -1.0}}, "losses.coarse: "),
        ({"losses": {"beta": 1.0}}, "losses.beta: no such key"),
        ({"health": {"added": 1.5}}, "health.added: "),
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


@pytest.mark.parametrize(
    ("section", "sizes"),
    [
        ({"kind": "vector", "bits": 5}, [32]),
        ({"kind": "residual", "quantizers": 3, "bits": 12}, [16] * 3),
        ({"kind": "grouped_residual", "quantizers": 2, "groups": 2, "bits": 12}, [8] * 4),
        ({"kind": "scalar", "bits": 5}, [32]),
        ({"kind": "scalar", "bits": 10}, [1024]),
        ({"kind": "scalar", "method": "lfq", "bits": 7}, [128]),
        ({"kind": "scalar", "method": "bsq", "bits": 7}, [128]),
        ({"kind": "gumbel", "bits": 5}, [32]),
        ({"kind": "gaussian", "bits": 5}, []),
    ],
)
def test_bits_are_those_of_a_frame_whatever_the_kind(section: dict[str, Any], sizes: list[int]) -> None:
    config = parse_section(CodecConfig, bottleneck(**section), "test")
    assert Codec(config).codebook_sizes[0] == sizes


def test_a_key_at_its_default_leaves_the_identity_as_it_is() -> None:
    plain = parse_section(CodecConfig, WAVEFORM_CODEC, "test")
    spelled = parse_section(CodecConfig, plain.model_dump(mode="json"), "test")
    assert "encoders" in spelled.model_dump()
    assert "codebook" in spelled.model_dump()["levels"][0]["bottleneck"]
    assert spelled.identity() == plain.identity()
    assert "encoders" not in plain.identity()
    assert "codebook" not in plain.identity()["levels"][0]["bottleneck"]
    other = parse_section(CodecConfig, changed("encoders", to="independent"), "test")
    assert other.identity() != plain.identity()
