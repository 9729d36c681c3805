"""Receptive-field arithmetic against what really reaches an output."""

import pytest
import torch

from vqaudio.codec.layers import Chain, Context, Conv, ResidualUnit, Upsample, refit, residual_units

CHAINS = {
    "strided": lambda: Chain(
        Conv(2, 4, 6, 2), residual_units(4, 2), Conv(4, 4, 5, 3), residual_units(4, 1)
    ),
    "odd": lambda: Chain(Conv(2, 4, 4), Conv(4, 4, 9, 4)),
    "wide": lambda: Chain(Conv(2, 4, 1), ResidualUnit(4, 7)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_an_output_hangs_on_exactly_the_inputs_that_the_arithmetic_says(name: str) -> None:
    torch.manual_seed(0)
    chain = CHAINS[name]()
    frames = 5
    x = torch.randn(1, 2, chain.left + frames * chain.stride + chain.right, requires_grad=True)
    y = chain(x)
    assert y.shape[2] == frames
    (gradient,) = torch.autograd.grad(y[..., 2].square().sum(), x)
    reached = gradient.abs().sum((0, 1)).nonzero().squeeze(1)
    # output 2 covers inputs [2 * stride - left, 3 * stride + right), and x starts at -left
    assert reached.min() == 2 * chain.stride
    assert reached.max() == 3 * chain.stride + chain.right + chain.left - 1


def test_upsampling_needs_no_neighbours() -> None:
    up = Upsample(3, 5, 4)
    x = torch.randn(2, 3, 6)
    y = up(x)
    assert y.shape == (2, 5, 24)
    torch.testing.assert_close(up(x[..., 2:3]), y[..., 8:12])


def test_refit_crops_and_pads() -> None:
    x = torch.arange(1.0, 6.0).view(1, 1, -1)
    assert refit(x, Context(1, 2), Context(0, 1)).flatten().tolist() == [2, 3, 4]
    assert refit(x, Context(1, 2), Context(2, 2)).flatten().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5, 8, 10, 16])
@pytest.mark.parametrize("inputs", [1, 8, 16])
@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_rounds_and_no_more(stride: int, inputs: int, autocast: bool) -> None:
    torch.manual_seed(0)
    conv = Conv(inputs, 8, 2 * stride + stride % 2, stride)
    x = torch.randn(2, inputs, 501)
    wanted = conv(x)
    weights = wanted.detach().sign()  # of a sum that has a gradient everywhere
    (wanted_gradient,) = torch.autograd.grad((wanted * weights).sum(), conv.conv.weight)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = conv(x) if autocast else conv.bfloat16()(x.bfloat16())
    (gradient,) = torch.autograd.grad((found * weights).sum(), conv.conv.weight)
    for one, other in ((found, wanted), (gradient, wanted_gradient)):
        assert one.shape == other.shape
        assert (one.float() - other).norm() < 0.02 * other.norm()
