"""Digits of rounded dimensions: exact, however many there are and whatever the autocast."""

import itertools

import pytest
import torch
from torch import Tensor

from vqaudio.bottleneck.scalar import FiniteScalarQuantizer, LookupFreeQuantizer


def every_code_of(sizes: list[int]) -> Tensor:
    """Digits of some codes `[1, D, F]`: all values of every dimension, and the corners."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.tensor(list(itertools.product(*[[0, size - 1] for size in sizes])))
    some = torch.stack([torch.randint(s, (4096,), generator=generator) for s in sizes], dim=1)
    return torch.cat([corners, some]).T[None]


@pytest.mark.parametrize("levels", [[2], [3], [4, 4], [8, 5, 5, 5], [8] * 7, [16] * 7, [7, 2, 9]])
def test_a_code_is_a_place_on_the_grid(levels: list[int]) -> None:
    quantizer = FiniteScalarQuantizer(levels)
    digits = every_code_of(levels)
    # counted in Python, whose integers have no end
    places = [1]
    for level in levels[:-1]:
        places.append(places[-1] * level)
    codes = [sum(d * p for d, p in zip(column, places, strict=True)) for column in digits[0].T.tolist()]
    assert max(codes) == quantizer.codebook_sizes[0] - 1
    said = quantizer.decode(torch.tensor(codes)[None, None])
    half = torch.tensor([level // 2 for level in levels])[:, None]
    assert torch.equal(said, (digits - half) / half.float())
    assert said.abs().max() <= 1
    assert len(set(codes)) == len(said[0].T.unique(dim=0))


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("levels", [[8] * 7, [5] * 9])
def test_no_digit_is_lost_in_a_large_code(levels: list[int], autocast: bool) -> None:
    quantizer = FiniteScalarQuantizer(levels)
    x = 1.5 * torch.randn(3, len(levels), 500, generator=torch.Generator().manual_seed(1))
    x = x.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        result = quantizer(x)
        assert torch.equal(quantizer.encode(x), result.codes)
        assert torch.equal(quantizer.decode(result.codes), quantizer.decode(result.codes.cpu()))
    assert torch.equal(result.codes, quantizer(x.float()).codes)
    torch.testing.assert_close(quantizer.decode(result.codes), result.features)
    assert result.codes.max() > 2**16
    assert len(result.codes.unique()) > 1400


def test_twenty_signs() -> None:
    quantizer = LookupFreeQuantizer(20, spherical=False)
    x = torch.randn(2, 20, 300, generator=torch.Generator().manual_seed(2))
    codes = quantizer.encode(x)
    words = [int("".join("1" if v > 0 else "0" for v in frame), 2) for frame in x[1].T.tolist()]
    assert codes[1, 0].tolist() == words
    assert torch.equal(quantizer.decode(codes), x.sign())
    assert quantizer(x).losses["entropy"].isfinite()


@pytest.mark.parametrize("levels", [[3], [4], [5], [8], [9, 16]])
def test_every_level_is_within_reach_and_the_nearest_is_taken(levels: list[int]) -> None:
    quantizer = FiniteScalarQuantizer(levels)
    x = torch.linspace(-9, 9, 4001).expand(1, len(levels), -1)
    said = quantizer.decode(quantizer.encode(x))
    for row, level in zip(said[0], levels, strict=True):
        assert len(row.unique()) == level
        assert (row.diff() >= 0).all()
    unrounded = quantizer(x, quantize=False).features
    half = torch.tensor([level // 2 for level in levels])[:, None]
    assert ((said - unrounded).abs() <= 0.5005 / half + 1e-6).all()
    assert (quantizer.encode(torch.zeros(1, len(levels), 1)) >= 0).all()
    zero = quantizer.decode(quantizer.encode(torch.zeros(1, len(levels), 1)))
    assert torch.equal(zero, torch.zeros_like(zero))


def test_the_gradient_is_that_of_the_bound() -> None:
    quantizer = FiniteScalarQuantizer([8, 5, 4])
    x = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(3)).requires_grad_()
    (rounded,) = torch.autograd.grad(quantizer(x).features.sum(), x)
    (smooth,) = torch.autograd.grad(quantizer(x, quantize=False).features.sum(), x)
    torch.testing.assert_close(rounded, smooth)


def test_the_spherical_kind_says_corners_of_unit_length_of_directions_alone() -> None:
    quantizer = LookupFreeQuantizer(9, spherical=True)
    x = torch.randn(2, 9, 30, generator=torch.Generator().manual_seed(4))
    said = quantizer(x).features
    torch.testing.assert_close(said.norm(dim=1), torch.ones(2, 30))
    assert torch.equal(said.sign(), x.sign())
    torch.testing.assert_close(quantizer(7 * x).losses, quantizer(x).losses)


def test_entropy_is_low_where_frames_are_sure_and_differ() -> None:
    quantizer = LookupFreeQuantizer(6, spherical=False)
    generator = torch.Generator().manual_seed(5)
    signs = torch.randint(2, (4, 6, 512), generator=generator) * 2.0 - 1
    entropies = {
        "sure and varied": quantizer(signs).losses["entropy"],
        "unsure": quantizer(1e-3 * signs).losses["entropy"],
        "all alike": quantizer(signs[:1, :, :1].expand(4, 6, 512)).losses["entropy"],
    }
    assert entropies["sure and varied"].item() == pytest.approx(-6 * 0.6931, abs=0.05)
    assert entropies["unsure"].item() == pytest.approx(0, abs=0.01)
    assert entropies["all alike"].item() == pytest.approx(0, abs=0.01)


def test_entropy_of_many_bits_is_the_sum_of_that_of_eight_at_a_time() -> None:
    whole = LookupFreeQuantizer(20, spherical=False)
    x = 0.05 * torch.randn(2, 20, 200, generator=torch.Generator().manual_seed(6))
    parts = [
        LookupFreeQuantizer(part.shape[1], spherical=False)(part).losses["entropy"]
        for part in x.split(8, dim=1)
    ]
    torch.testing.assert_close(whole(x).losses["entropy"], torch.stack(parts).sum())


@pytest.mark.parametrize("levels", [3, 8, 1000, 1500, 10_001])
def test_inputs_however_large_stay_within_the_levels(levels: int) -> None:
    bottleneck = FiniteScalarQuantizer([levels]).eval()
    codes = bottleneck.encode(torch.tensor([-50.0, 0.0, 50.0])[None, None])
    assert codes.flatten().tolist() == [0, levels // 2, levels - 1]
