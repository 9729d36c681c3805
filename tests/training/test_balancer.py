"""The balancer: a weight is a share of the pull, whatever the size of a term."""

import pytest
import torch
from torch import Tensor

from vqaudio.training.balancer import Balancer

WEIGHTS = {"near": 1.0, "far": 3.0, "out": 0.0}


def terms(made: Tensor, scale: float) -> dict[str, Tensor]:
    """Terms whose gradients stand at right angles."""
    return {
        "near": 1e-3 * made[:, 0].sum(),
        "far": scale * made[:, 1].sum(),
        "out": 1e6 * made[:, 2].sum(),
    }


def pull(balancer: Balancer, scale: float) -> Tensor:
    made = torch.zeros(4, 3, requires_grad=True)
    [gradient] = torch.autograd.grad(balancer.balance(terms(made, scale), WEIGHTS, made), made)
    return gradient


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_weights_are_shares(scale: float) -> None:
    balancer = Balancer(0.9)
    for _ in range(3):
        assert torch.allclose(pull(balancer, scale), torch.tensor([0.25, 0.75, 0]).expand(4, 3))


def test_a_term_that_grows_at_once_pulls_more_for_a_while() -> None:
    balancer = Balancer(0.5)
    pull(balancer, 1.0)
    first = pull(balancer, 10.0)[0, 1].item()
    # running means of 1 and 10, weighed 0.5 and 1
    assert first == pytest.approx(0.75 * 10 / ((0.5 * 1 + 10) / 1.5))
    for _ in range(30):
        last = pull(balancer, 10.0)[0, 1].item()
    assert last == pytest.approx(0.75, rel=1e-3)


def test_a_term_without_a_gradient_does_no_harm() -> None:
    made = torch.ones(2, 3, requires_grad=True)
    none = {"near": (0 * made).sum(), "far": made.sum(), "out": made.sum()}
    [gradient] = torch.autograd.grad(Balancer(0.9).balance(none, WEIGHTS, made), made)
    assert gradient.isfinite().all()


def test_it_goes_on_where_it_was() -> None:
    one, other = Balancer(0.9), Balancer(0.9)
    pull(one, 1.0)
    other.restore(one.tensors(), torch.device("cpu"))
    assert torch.equal(pull(one, 5.0), pull(other, 5.0))
    assert one.tensors() == other.tensors()
