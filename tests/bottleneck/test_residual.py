"""The residual stack, and the single codebook that is a stack of one."""

import pytest
import torch
from torch import Tensor

from vqaudio.bottleneck import build_bottleneck
from vqaudio.bottleneck.residual import ResidualQuantizer
from vqaudio.config import ResidualBottleneck, VectorBottleneck

KINDS = [
    VectorBottleneck(kind="vector", codebook_size=32, dim=6),
    ResidualBottleneck(kind="residual", codebook_size=32, quantizers=3, dim=6),
]


def batch(seed: int, frames: int = 50) -> Tensor:
    return torch.randn(4, 6, frames, generator=torch.Generator().manual_seed(seed))


def trained(quantizers: int = 3, steps: int = 30, dropout: float = 0.0) -> ResidualQuantizer:
    quantizer = ResidualQuantizer(32, quantizers, 6, dropout=dropout)
    for step in range(steps):
        quantizer(batch(step))
    return quantizer


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_forward_encode_and_decode_agree(config: VectorBottleneck | ResidualBottleneck) -> None:
    quantizer = build_bottleneck(config)
    for step in range(5):
        quantizer(batch(step))
    quantizer.eval()
    x = batch(9)
    result = quantizer(x)
    codes = quantizer.encode(x)
    assert codes.dtype == torch.int64
    assert codes.shape == (4, len(quantizer.codebook_sizes), 50)
    assert torch.equal(result.codes, codes)
    torch.testing.assert_close(result.features, quantizer.decode(codes))


def test_each_stage_lowers_the_error() -> None:
    quantizer = trained()
    codes = quantizer.encode(batch(99))
    errors = [float((batch(99) - quantizer.decode(codes[:, :q])).square().mean()) for q in (1, 2, 3)]
    assert errors[0] > 1.2 * errors[1] > 1.4 * errors[2]


def test_dropout_draws_other_numbers_of_stages_than_the_default() -> None:
    quantizer = ResidualQuantizer(32, 5, 6, dropout=0.5, default=2)
    assert quantizer.default_quantizers == 2
    shares = torch.bincount(quantizer.draw_kept(20_000, torch.device("cpu")), minlength=6) / 20_000
    torch.testing.assert_close(shares, torch.tensor([0, 0.1, 0.6, 0.1, 0.1, 0.1]), atol=0.02, rtol=0)
    assert (quantizer.eval().draw_kept(100, torch.device("cpu")) == 2).all()


def test_the_gradient_passes_straight_through_once() -> None:
    x = batch(1).requires_grad_()
    result = trained()(x)
    (gradient,) = torch.autograd.grad(result.features.sum(), x)
    assert torch.equal(gradient, torch.ones_like(x))


def test_every_stage_commits_the_encoder() -> None:
    quantizer = trained()
    x = batch(1).requires_grad_()
    (whole,) = torch.autograd.grad(quantizer.eval()(x).losses["commitment"], x)
    # d/dx of the mean over stages of |x - what the stages before gave|^2, each stage held fixed
    codes = quantizer.encode(x)
    sums = [quantizer.decode(codes[:, :q]) for q in (1, 2, 3)]
    parts = [2 * (x - s) / x.numel() / 3 for s in sums]
    torch.testing.assert_close(whole, sum(parts))
    assert all(part.abs().mean() > 1e-6 for part in parts)


def test_stages_that_a_sound_is_not_given_cost_it_nothing() -> None:
    quantizer = trained().eval()
    x = batch(1)
    found = quantizer(x, kept=torch.tensor([1, 3, 2, 1])).losses["commitment"]
    codes = quantizer.encode(x)
    errors = [(x - quantizer.decode(codes[:, :q])).square().mean(dim=(1, 2)) for q in (1, 2, 3)]
    expected = errors[0].sum() + errors[1][1:3].sum() + errors[2][1]
    torch.testing.assert_close(found, expected / 4 / 3)


def test_a_late_stage_is_revived_from_what_the_stages_before_left_over() -> None:
    quantizer = trained()
    samples = torch.cat([batch(s) for s in range(4)]).transpose(1, 2).reshape(-1, 6) + 10
    last = quantizer.codebooks[2]
    last.idle[5] = 1 << 40
    for _ in range(600):  # let the first stages follow
        for codebook, own in zip(quantizer.codebooks, left_over(quantizer, samples), strict=True):
            if codebook is not last:
                codebook.update(own, codebook.assign(own))
    for codebook in quantizer.codebooks[:2]:
        codebook.idle.zero_()
    given = left_over(quantizer, samples)[2]
    codes = last.assign(given)
    middles = torch.stack([given[codes == code].mean(0) for code in codes])
    quantizer.revive(samples, torch.Generator().manual_seed(0))
    there = last.centroids[5:6].double()
    detours = torch.cdist(there, given.double()) + torch.cdist(there, middles.double())
    assert (detours - (given - middles).norm(dim=1)).min() < 1e-3  # on the way between the two


def left_over(quantizer: ResidualQuantizer, samples: Tensor) -> list[Tensor]:
    """What each stage is given of `[N, D]`."""
    given = [samples]
    for codebook in quantizer.codebooks:
        given.append(given[-1] - codebook.lookup(codebook.assign(given[-1])))
    return given[:-1]


def test_the_loss_of_learned_codes_does_not_reach_the_encoder() -> None:
    quantizer = ResidualQuantizer(16, 2, 6, codebook="learned")
    quantizer(batch(0))
    x = batch(1).requires_grad_()
    (gradient,) = torch.autograd.grad(quantizer(x).losses["codebook"], x, allow_unused=True)
    assert gradient is None


def test_dropout_leaves_whole_stages_out_for_some_sounds() -> None:
    quantizer = trained(dropout=1.0)
    torch.manual_seed(0)
    x = torch.cat([batch(s) for s in range(8)])
    codes = quantizer.encode(x)  # as forward begins
    features = quantizer(x).features
    cuts = [
        next(
            q
            for q in (1, 2, 3)
            if torch.allclose(quantizer.decode(codes[i : i + 1, :q])[0], f, atol=0.3)
        )
        for i, f in enumerate(features)
    ]
    assert set(cuts) == {1, 2, 3}
    assert torch.equal(quantizer.eval()(x).features, quantizer.eval()(x).features)


def test_warm_start_passes_features_on_and_remembers_them() -> None:
    quantizer = ResidualQuantizer(32, 2, 6)
    for step in range(3):
        result = quantizer(batch(step), quantize=False)
        assert torch.equal(result.features, batch(step))
        assert result.codes is None
    assert not quantizer.started
    quantizer(batch(3))
    assert quantizer.started
    used = quantizer.encode(torch.cat([batch(s) for s in range(3)])).unique()
    assert len(used) == 32  # 800 vectors seen before and 200 of this step set them


def test_statistics_stay_in_fp32_under_autocast() -> None:
    plain, cast = trained(steps=0), trained(steps=0)
    for step in range(3):
        x = batch(step).bfloat16()
        a = plain(x.float())
        with torch.autocast("cpu", torch.bfloat16):
            b = cast(x)
        assert b.features.dtype == torch.float32
        assert torch.equal(a.codes, b.codes)
    for mine, other in zip(plain.state_dict().values(), cast.state_dict().values(), strict=True):
        assert torch.equal(mine, other)


def test_saved_and_loaded_in_the_middle_it_goes_on_alike() -> None:
    whole, cut = trained(steps=25), trained(steps=12)
    again = ResidualQuantizer(32, 3, 6)
    again.load_state_dict(cut.state_dict())
    for step in range(12, 25):
        again(batch(step))
    for mine, other in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(mine, other)


def test_evaluation_learns_nothing() -> None:
    quantizer = trained().eval()
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    quantizer(batch(5))
    assert all(torch.equal(before[name], value) for name, value in quantizer.state_dict().items())
