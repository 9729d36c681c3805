"""The variational bottleneck: its divergence, and what of it costs."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from vqaudio.bottleneck.gaussian import LOG_VARIANCE, Gaussian

DIM = 5


def moments(spread: float = 1.0) -> Tensor:
    """`[3, 2 DIM, 11]`."""
    return spread * torch.randn(3, 2 * DIM, 11, generator=torch.Generator().manual_seed(0))


def nats(x: Tensor) -> Tensor:
    """Divergence from the standard normal `[3, DIM, 11]`, as torch has it."""
    mean, log_variance = x.double().chunk(2, dim=1)
    normal = Normal(mean, log_variance.exp().sqrt())
    return kl_divergence(normal, Normal(torch.zeros_like(mean), torch.ones_like(mean)))


def cost(x: Tensor, **options: float) -> float:
    return float(Gaussian(DIM, 1.0, **options).eval()(x).losses["kl"])  # type: ignore[arg-type]


def test_kl_is_the_divergence_from_the_standard_normal() -> None:
    x = moments()
    assert cost(x) == pytest.approx(nats(x).sum(1).mean().item(), rel=1e-5)
    assert cost(torch.zeros(1, 2 * DIM, 4)) == 0
    result = Gaussian(DIM, 0.0)(x)
    assert result.losses["kl"] == 0
    assert result.health["kl_bits"].item() == pytest.approx(nats(x).sum(1).mean().item() / math.log(2))


def test_free_bits_are_those_of_a_dimension_over_the_batch() -> None:
    x = moments()
    each = nats(x).mean(dim=(0, 2))
    free = float(each.sort().values[2]) + 1e-3  # three of five dimensions are below
    expected = each.clamp(min=free).sum().item()
    assert cost(x, free_bits=free / math.log(2)) == pytest.approx(expected, rel=1e-5)
    assert expected > cost(x)
    x.requires_grad_()
    loss = Gaussian(DIM, 1.0, free_bits=free / math.log(2))(x).losses["kl"]
    (gradient,) = torch.autograd.grad(loss, x)
    pushed = gradient[:, :DIM].abs().amax(dim=(0, 2)) > 0
    assert torch.equal(pushed, each > free)


@pytest.mark.parametrize(("bits", "side"), [(1, 1), (60, -1)])
def test_with_bits_it_costs_to_miss_them_on_either_side(bits: int, side: int) -> None:
    x = moments()
    total = nats(x).sum(1).mean().item()
    wanted = bits * math.log(2)
    assert (total > wanted) == (side > 0)
    assert cost(x, bits=bits) == pytest.approx(abs(total - wanted), rel=1e-4)


def test_the_bits_wanted_are_reached() -> None:
    x = moments(0.1).requires_grad_()
    gaussian = Gaussian(DIM, 1.0, bits=8)
    optimizer = torch.optim.Adam([x], 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        result = gaussian(x)
        result.losses["kl"].backward()
        optimizer.step()
    assert result.health["kl_bits"].item() == pytest.approx(8, abs=0.5)


def test_the_weight_grows_linearly_over_the_first_steps() -> None:
    x = moments()
    gaussian = Gaussian(DIM, 0.5, anneal_steps=4)
    gaussian(x, quantize=False)  # the warm start does not count
    weights = [float(gaussian(x).losses["kl"]) / cost(x) for _ in range(6)]
    assert weights == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5, 0.5], rel=1e-5)
    assert float(gaussian.eval()(x).losses["kl"]) / cost(x) == pytest.approx(0.5)
    again = Gaussian(DIM, 0.5, anneal_steps=4)
    again.load_state_dict(gaussian.state_dict())
    assert again.steps == gaussian.steps == 6


def test_training_draws_from_the_distribution_and_evaluation_is_its_mean() -> None:
    mean, log_variance = torch.tensor([[1.0], [-2.0]]), torch.tensor([[-1.0], [0.6]])
    x = torch.cat([mean, log_variance])[None].expand(1, 4, 20_000)
    gaussian = Gaussian(2, 1.0)
    torch.manual_seed(0)
    drawn = gaussian(x).features
    torch.testing.assert_close(drawn.mean(2)[0, :, None], mean, atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.std(2)[0, :, None], (log_variance / 2).exp(), atol=0.03, rtol=0)
    assert not torch.equal(drawn, gaussian(x).features)
    assert torch.equal(gaussian(x, quantize=False).features, x[:, :2])
    gaussian.eval()
    assert torch.equal(gaussian(x).features, x[:, :2])
    assert torch.equal(gaussian.encode(x), x[:, :2])


def test_the_gradient_reaches_means_and_variances() -> None:
    x = moments().requires_grad_()
    torch.manual_seed(0)
    (gradient,) = torch.autograd.grad(Gaussian(DIM, 0.0)(x).features.square().sum(), x)
    assert (gradient.abs() > 0).all()


def test_extreme_variances_stay_finite() -> None:
    x = torch.full((1, 2 * DIM, 3), 1e4).requires_grad_()
    result = Gaussian(DIM, 1.0)(x)
    assert result.losses["kl"].isfinite()
    assert (result.features - 1e4).abs().max() < 10 * math.exp(LOG_VARIANCE / 2)
