"""Estimators: what goes forward and what comes back."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.functional import jacobian

from vqaudio.bottleneck.gradients import ESTIMATORS, rotate, straight_through


def pair(dim: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features `[2, dim, 7]` and what they may be quantized to, in fp64."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, dim, 7, generator=generator, dtype=torch.float64)
    return x, x + 0.5 * torch.randn(2, dim, 7, generator=generator, dtype=torch.float64)


def rotation(e: Tensor, q: Tensor) -> Tensor:
    """The orthogonal matrix that turns unit vector `e` into `q` in their plane and leaves all else.

    Built from that plane's axes and the angle, not from reflections.
    """
    across = F.normalize(q - (q @ e) * e, dim=0)
    cosine, sine = q @ e, q @ across
    plane = torch.stack([e, across], dim=1)
    turn = torch.stack([torch.stack([cosine, -sine]), torch.stack([sine, cosine])])
    return torch.eye(len(e), dtype=e.dtype) + plane @ (turn - torch.eye(2, dtype=e.dtype)) @ plane.T


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_goes_forward_is_the_code(name: str, dtype: torch.dtype) -> None:
    x, quantized = (value.to(dtype) for value in pair())
    passed = ESTIMATORS[name](x, quantized)  # type: ignore[index]
    # x + (q - x) is q but for the last bit
    torch.testing.assert_close(passed, quantized, atol=4 * torch.finfo(dtype).eps, rtol=0)


def test_straight_through_gives_the_gradient_back_as_it_came() -> None:
    x, quantized = pair()
    x.requires_grad_()
    quantized.requires_grad_()
    weights = torch.randn_like(x)
    straight_through(x, quantized).mul(weights).sum().backward()
    assert torch.equal(x.grad, weights)
    assert quantized.grad is None


@pytest.mark.parametrize("dim", [2, 3, 8])
def test_the_gradient_is_turned_as_the_vector_was(dim: int) -> None:
    x, quantized = pair(dim)
    for frame in range(7):
        one, its = x[:1, :, frame : frame + 1], quantized[:1, :, frame : frame + 1]
        e, q = F.normalize(one[0, :, 0], dim=0), F.normalize(its[0, :, 0], dim=0)
        matrix = rotation(e, q)
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(dim, dtype=torch.float64))
        torch.testing.assert_close(matrix @ e, q)
        expected = its.norm() / one.norm() * matrix
        found = jacobian(lambda v, its=its: rotate(v, its), one)[0, :, 0, 0, :, 0]
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


def test_the_angle_between_gradient_and_vector_is_kept() -> None:
    x, quantized = pair()
    x.requires_grad_()
    weights = torch.randn_like(x)
    (gradient,) = torch.autograd.grad((rotate(x, quantized) * weights).sum(), x)
    before = F.cosine_similarity(weights, quantized, dim=1)  # of the gradient with what went forward
    after = F.cosine_similarity(gradient, x.detach(), dim=1)
    torch.testing.assert_close(after, before)
    straight = F.cosine_similarity(weights, x.detach(), dim=1)
    assert (straight - before).abs().max() > 0.05


def test_no_gradient_flows_into_the_code() -> None:
    x, quantized = pair()
    quantized.requires_grad_()
    x.requires_grad_()
    rotate(x, quantized).sum().backward()
    assert quantized.grad is None


def test_vectors_without_length_or_opposite_to_their_code_stay_finite() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, -2.0], [1.0, 0.0]]).T[None].requires_grad_()
    quantized = torch.tensor([[1.0, 0.0], [-1.0, 2.0], [0.0, 0.0]]).T[None]
    passed = rotate(x, quantized)
    torch.testing.assert_close(passed, quantized)
    (gradient,) = torch.autograd.grad(passed.sum(), x)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("length", [0.0, 1e-30, 1e-6, 1e-2, 1.0])
def test_a_gradient_grows_with_the_quotient_of_lengths_to_a_bound(length: float) -> None:
    x = torch.tensor([length, 0.0])[None, :, None].requires_grad_()
    quantized = torch.tensor([0.0, 1.0])[None, :, None]
    (gradient,) = torch.autograd.grad(rotate(x, quantized).sum(), x)
    expected = 1.0 if length < 1e-3 else 1 / length
    torch.testing.assert_close(gradient.abs(), torch.full((1, 2, 1), expected))
