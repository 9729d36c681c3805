"""Model folders: what is saved comes back, at the bitrate that is asked for, or one line says why."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.models import LEVELS, coloured_noise, tiny_codec
from vqaudio.codec.model import Codec
from vqaudio.errors import UserError
from vqaudio.model_folder import load, load_codec, save_model, split_point


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    stack = {**LEVELS[0]["bottleneck"], "quantizers": 3, "default_quantizers": 2}
    save_model(tmp_path / "codec", tiny_codec(bottlenecks={0: stack}), "a card")
    return tmp_path / "codec"


def test_what_was_saved_comes_back(folder: Path) -> None:
    codec = load(folder)
    assert isinstance(codec, Codec)
    again = folder.with_name("again")
    save_model(again, codec, "a card")
    for path in folder.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_in_half_the_size_it_is_nearly_the_same_codec(folder: Path) -> None:
    codec, half = load_codec(folder), folder.with_name("half")
    save_model(half, codec, "a card", half=True)
    weights = load_file(half / "model.safetensors")
    kept = {name for name, value in weights.items() if value.dtype == torch.float32}
    assert {name.rpartition(".")[2] for name in kept} == {"counts"}
    size, whole = ((f / "model.safetensors").stat().st_size for f in (half, folder))
    assert size < 0.6 * whole
    sound = coloured_noise(1, 8000)[0]
    mine, theirs = load_codec(half).encode(sound), codec.encode(sound)
    for ours, others in zip(mine.levels, theirs.levels, strict=True):
        assert (ours == others).float().mean() > 0.95


def test_a_point_of_the_curve_is_the_same_codec_with_other_quantizers(folder: Path) -> None:
    codec, cut, more = (load_codec(f"{folder}{point}") for point in ("", "@1+1", "@3+1"))
    assert codec.default_quantizers == [2, 1]
    assert cut.default_quantizers == [1, 1]
    assert cut.codebook_sizes == [[8], [12]]
    assert more.codebook_sizes == [[8, 8, 8], [12]]
    assert cut.fingerprint == codec.fingerprint == more.fingerprint
    sound = coloured_noise(1, 5000)[0]
    assert cut.encode(sound) == codec.encode(sound, quantizers=[1, 1])
    assert torch.equal(codec.decode(more.encode(sound)), more.reconstruct(sound))


@pytest.mark.parametrize(
    ("point", "word"),
    [
        ("@4+1", "@4.1: quantizers: 4 at level 0 is not from 1 to 3"),
        ("@1", "@1: quantizers: .1. is not one number for each of 2 levels"),
        ("@one", "neither a model folder nor a shipped model"),
    ],
)
def test_quantizers_that_are_not_there_are_refused(folder: Path, point: str, word: str) -> None:
    with pytest.raises(UserError, match=word):
        load(f"{folder}{point}")


def test_a_folder_may_have_such_a_name(folder: Path) -> None:
    odd = folder.rename(folder.with_name("codec@1+1"))
    assert split_point(odd) == (str(odd), None)
    assert load_codec(odd).default_quantizers == [2, 1]
    assert load_codec(f"{odd}@1+1").default_quantizers == [1, 1]


def test_a_prior_has_no_quantizers() -> None:
    with pytest.raises(UserError, match="speech-16k-prior@2.2: a prior, which has no quantizers"):
        load("speech-16k-prior@2+2")
