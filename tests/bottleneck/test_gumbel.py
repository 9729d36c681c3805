"""The relaxed categorical bottleneck: temperature, start, revival."""

import math

import pytest
import torch
from torch import Tensor

from vqaudio.bottleneck.gumbel import GumbelQuantizer


def batch(seed: int, centre: float = 0.0, frames: int = 64) -> Tensor:
    """`[4, 3, frames]` about eight centres."""
    generator = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    chosen = torch.randint(8, (4, frames), generator=generator)
    noise = 0.1 * torch.randn(4, frames, 3, generator=generator)
    return (centre + centres[chosen] + noise).transpose(1, 2)


def temperatures(quantizer: GumbelQuantizer, steps: int) -> list[float]:
    return [quantizer(batch(step)).health["temperature"].item() for step in range(steps)]


def test_the_temperature_falls_along_half_a_cosine_to_its_end() -> None:
    quantizer = GumbelQuantizer(8, 3, temperature=2.0, final_temperature=0.5, anneal_steps=40)
    quantizer(batch(0), quantize=False)  # the warm start does not count
    found = temperatures(quantizer, 45)
    expected = [0.5 + 1.5 * (1 + math.cos(math.pi * step / 40)) / 2 for step in range(1, 41)]
    assert found[:40] == pytest.approx(expected, abs=1e-5)
    assert found[0] == pytest.approx(2.0, abs=0.01)
    assert found[39:] == pytest.approx([0.5] * 6)
    assert temperatures(GumbelQuantizer(8, 3, 2.0, 0.5, anneal_steps=0), 2) == [0.5, 0.5]


def test_after_the_start_the_likeliest_code_is_the_nearest() -> None:
    quantizer = GumbelQuantizer(16, 3)
    quantizer(batch(0))
    x = batch(1, frames=500)
    distances = torch.cdist(x.transpose(1, 2).double(), quantizer.codebook.weight.detach().double())
    assert torch.equal(quantizer.encode(x)[:, 0], distances.argmin(2))


def test_logits_are_those_of_normal_clusters_alike_in_spread() -> None:
    quantizer = GumbelQuantizer(16, 3)
    quantizer(batch(0))
    x = batch(1)[0].T
    probabilities = quantizer.codebook.logits(x).softmax(1)
    squared = torch.cdist(x, quantizer.codebook.weight.detach()).square()
    torch.testing.assert_close(probabilities, (-squared / 2).softmax(1), atol=1e-4, rtol=1e-3)


def test_the_loss_is_the_divergence_from_even_use_in_nats() -> None:
    quantizer = GumbelQuantizer(16, 3, beta=0.5).train()
    quantizer(batch(0))
    result = quantizer.eval()(batch(1))
    p = quantizer.codebook.logits(batch(1).transpose(1, 2).reshape(-1, 3)).softmax(1).double()
    even = torch.distributions.Categorical(torch.ones(len(p), 16, dtype=torch.float64))
    expected = torch.distributions.kl_divergence(torch.distributions.Categorical(p), even).mean()
    assert result.losses["kl"].item() == pytest.approx(0.5 * expected.item(), rel=1e-4)
    assert result.health["kl_bits"].item() == pytest.approx(expected.item() / math.log(2), rel=1e-4)


def test_at_a_low_temperature_training_says_nearly_one_code() -> None:
    hot, cold = (
        GumbelQuantizer(16, 3, final_temperature=temperature, anneal_steps=0)
        for temperature in (2.0, 0.01)
    )
    gaps = []
    for quantizer in (hot, cold):
        torch.manual_seed(0)
        quantizer(batch(0))
        said = quantizer(batch(1)).features.transpose(1, 2).reshape(-1, 3)
        gaps.append(torch.cdist(said, quantizer.codebook.weight).min(1).values.median().item())
    assert gaps[1] < 1e-3
    assert gaps[0] > 100 * gaps[1]
    assert torch.equal(cold.eval()(batch(1)).features, cold.decode(cold.encode(batch(1))))


def test_training_draws_codes_as_likely_as_the_logits_say() -> None:
    quantizer = GumbelQuantizer(4, 3, final_temperature=0.01, anneal_steps=0)
    quantizer(batch(0))
    between = quantizer.codebook.weight[:2].detach().mean(0)  # as likely the one as the other
    x = between[None, :, None].expand(1, 3, 5000)
    said = quantizer.train()(x).features[0].T
    chosen = torch.cdist(said.detach(), quantizer.codebook.weight.detach()).argmin(1)
    shares = torch.bincount(chosen, minlength=4) / 5000
    wanted = quantizer.codebook.logits(between[None]).softmax(1)[0].detach()
    torch.testing.assert_close(shares, wanted, atol=0.03, rtol=0)


def test_codes_that_die_are_revived() -> None:
    quantizer = GumbelQuantizer(32, 3, decay=0.9)
    optimizer = torch.optim.Adam(quantizer.parameters(), 1e-5)
    moved = torch.cat([batch(1000 + step, 20.0) for step in range(8)])
    for step in range(120):
        optimizer.zero_grad()
        quantizer(batch(step, centre=0.0 if step < 20 else 20.0)).losses["kl"].backward()
        optimizer.step()
        if step == 19:
            assert len(quantizer.encode(moved).unique()) <= 2
    assert len(quantizer.encode(moved).unique()) >= 24


def test_the_gradient_reaches_codes_logits_and_input() -> None:
    quantizer = GumbelQuantizer(8, 3)
    quantizer(batch(0))
    x = batch(1).requires_grad_()
    torch.manual_seed(0)
    quantizer(x).features.square().sum().backward()
    assert (x.grad.abs().amax(dim=(0, 2)) > 0).all()
    assert (quantizer.codebook.weight.grad.abs().sum(1) > 0).all()
    assert (quantizer.codebook.logits.weight.grad.abs().sum(1) > 0).all()
