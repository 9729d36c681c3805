"""What every kind of bottleneck promises."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.bottleneck.kinds import (
    DISCRETE,
    KINDS,
    STACKED,
    TENDED,
    batch,
    build,
    differing,
    is_tended,
    state_of,
    step_on,
    trained,
)
from vqaudio.bottleneck import Bottleneck

every_kind = pytest.mark.parametrize("name", KINDS)
every_discrete_kind = pytest.mark.parametrize("name", DISCRETE)


def rounded(x: Tensor) -> Tensor:
    """Values that bf16 has too."""
    return x.bfloat16().float()


@every_discrete_kind
def test_forward_encode_and_decode_agree(name: str) -> None:
    bottleneck = trained(name).eval()
    x = batch(bottleneck, 99)
    result, codes = bottleneck(x), bottleneck.encode(x)
    assert codes.dtype == torch.int64
    assert codes.shape == (4, len(bottleneck.codebook_sizes), 40)
    assert result.codes is not None
    assert torch.equal(result.codes, codes)
    for quantizer, size in zip(codes.unbind(1), bottleneck.codebook_sizes, strict=True):
        assert quantizer.min() >= 0
        assert quantizer.max() < size
        assert len(quantizer.unique()) > size // 4
    assert result.features.shape == (4, bottleneck.dim, 40)
    assert result.features.dtype == torch.float32
    torch.testing.assert_close(bottleneck.decode(codes), result.features, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["gaussian", "gaussian-bits"])
def test_a_continuous_kind_says_its_features_and_no_codes(name: str) -> None:
    bottleneck = trained(name).eval()
    x = batch(bottleneck, 99)
    result = bottleneck(x)
    assert result.codes is None
    assert bottleneck.codebook_sizes == []
    assert torch.equal(bottleneck.decode(bottleneck.encode(x)), result.features)
    assert torch.equal(result.features, x[:, : bottleneck.dim])


@pytest.mark.parametrize("name", [*(n for n in DISCRETE if KINDS[n]["kind"] == "vector"), "lfq", "bsq"])
def test_what_is_said_is_its_own_code(name: str) -> None:
    bottleneck = trained(name).eval()
    codes = bottleneck.encode(batch(bottleneck, 99))
    assert torch.equal(bottleneck.encode(bottleneck.decode(codes)), codes)


@pytest.mark.parametrize("name", STACKED)
def test_every_prefix_of_the_codes_decodes_and_more_of_them_lie_nearer(name: str) -> None:
    bottleneck = trained(name, steps=30).eval()
    x = batch(bottleneck, 99, sounds=16)
    codes = bottleneck.encode(x)
    errors = [
        float((x - bottleneck.decode(codes[:, :count]).detach()).square().mean())
        for count in range(1, codes.shape[1] + 1)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.8 * errors[0]


@pytest.mark.parametrize("name", STACKED)
def test_what_is_kept_of_a_stack_is_a_prefix_of_its_codes(name: str) -> None:
    bottleneck = trained(name).eval()
    groups, stages = KINDS[name].get("groups", 1), KINDS[name]["quantizers"]
    x = batch(bottleneck, 99, sounds=stages)
    result = bottleneck(x, kept=torch.arange(1, stages + 1))
    codes = bottleneck.encode(x)
    for sound in range(stages):
        prefix = bottleneck.decode(codes[sound : sound + 1, : (sound + 1) * groups])[0]
        torch.testing.assert_close(result.features[sound], prefix, atol=1e-5, rtol=1e-5)


@every_kind
def test_a_gradient_reaches_every_dimension_of_the_input(name: str) -> None:
    bottleneck = trained(name)
    x = batch(bottleneck, 99).requires_grad_()
    features = bottleneck(x).features
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((features * weights).sum(), x)
    assert gradient.isfinite().all()
    assert (gradient.abs().amax(dim=(0, 2)) > 1e-4).all()


@every_kind
def test_evaluation_learns_and_draws_nothing(name: str) -> None:
    bottleneck = trained(name).eval()
    before = state_of(bottleneck)
    torch.manual_seed(1)
    one = bottleneck(batch(bottleneck, 99)).features
    torch.manual_seed(2)
    assert torch.equal(one, bottleneck(batch(bottleneck, 99)).features)
    bottleneck(batch(bottleneck, 98), quantize=False)
    bottleneck.encode(batch(bottleneck, 97))
    assert differing(before, state_of(bottleneck)) == []


@every_kind
def test_saved_and_loaded_in_the_middle_it_goes_on_alike(name: str) -> None:
    whole = trained(name, steps=23)
    cut = trained(name, steps=8)
    again = build(name, seed=7)
    again.load_state_dict(state_of(cut))
    step_on(again, 8, 23)
    assert differing(state_of(whole), state_of(again)) == []


@every_kind
def test_autocast_changes_nothing(name: str) -> None:
    plain, cast = build(name), build(name)
    for step in range(12):
        x = rounded(batch(plain, step))
        torch.manual_seed(step)
        a = plain(x)
        torch.manual_seed(step)
        with torch.autocast("cpu", torch.bfloat16):
            b = cast(x.bfloat16())
        assert b.features.dtype == torch.float32
        assert torch.equal(a.features, b.features)
        assert a.losses.keys() == b.losses.keys()
        assert all(torch.equal(a.losses[key], b.losses[key]) for key in a.losses)
    assert differing(state_of(plain), state_of(cast)) == []
    x = rounded(batch(plain, 99))
    codes = plain.eval().encode(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(cast.eval().encode(x.bfloat16()), codes)
        assert torch.equal(cast.decode(codes), plain.decode(codes))


@every_kind
def test_the_warm_start_has_no_codes_and_lets_the_gradient_through(name: str) -> None:
    bottleneck = build(name)
    for step in range(3):
        x = batch(bottleneck, step).requires_grad_()
        result = bottleneck(x, quantize=False)
        assert result.codes is None
        assert result.features.shape == (4, bottleneck.dim, 40)
        (gradient,) = torch.autograd.grad(result.features.sum(), x)
        assert gradient.abs().sum() > 0
    assert not bottleneck.state_dict().get("started", torch.tensor(False))
    if is_tended(bottleneck):
        bottleneck(batch(bottleneck, 3))
        seen = torch.cat([batch(bottleneck, step) for step in range(4)])
        for codes, size in zip(
            bottleneck.eval().encode(seen).unbind(1), bottleneck.codebook_sizes, strict=True
        ):
            assert len(codes.unique()) > 0.8 * size  # of all that was seen, not of one batch


@every_kind
def test_features_that_are_not_finite_raise_nothing(name: str) -> None:
    """The guard of the training has to see the loss, and to name the step."""
    for bottleneck in (build(name), trained(name, steps=10)):
        x = batch(bottleneck, 5)
        x[0, :, :3] = float("nan")
        result = bottleneck(x)
        total = torch.stack([result.features.sum(), *result.losses.values()]).sum()
        assert not total.isfinite()


@pytest.mark.parametrize("name", TENDED)
def test_a_batch_without_a_finite_vector_leaves_the_start_to_the_next(name: str) -> None:
    bottleneck = build(name)
    bottleneck(torch.full_like(batch(bottleneck, 5), float("nan")))
    assert not any(bool(s) for key, s in state_of(bottleneck).items() if key.endswith("started"))
    bottleneck(batch(bottleneck, 6))
    assert bottleneck.eval()(batch(bottleneck, 7)).features.std() > 0.1


@pytest.mark.parametrize("name", TENDED)
def test_features_that_are_not_finite_start_no_code(name: str) -> None:
    bottleneck = build(name)
    x = batch(bottleneck, 5)
    x[0, :, :3] = float("inf")
    bottleneck(x, quantize=False)
    bottleneck(batch(bottleneck, 6))
    result = bottleneck.eval()(batch(bottleneck, 7))
    assert result.features.isfinite().all()
    assert result.features.std() > 0.1


class Toy(nn.Module):
    """An autoencoder of two convolutions about a bottleneck."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.bottleneck: Bottleneck = build(name)
        self.read = nn.Sequential(nn.Conv1d(8, 24, 3, padding=1), nn.GELU())
        self.project = nn.Conv1d(24, self.bottleneck.inputs, 1)
        self.write = nn.Sequential(nn.Conv1d(self.bottleneck.dim, 24, 3, padding=1), nn.GELU())
        self.last = nn.Conv1d(24, 8, 1)

    def forward(self, x: Tensor, quantize: bool) -> tuple[Tensor, Any]:
        result = self.bottleneck(self.project(self.read(x)), quantize)
        return self.last(self.write(result.features)), result


def structured(generator: torch.Generator, mixing: Tensor) -> Tensor:
    """`[4, 8, 32]`, all of it a mixture of three slow sources."""
    slow = torch.randn(4, 3, 9, generator=generator)
    return mixing @ nn.functional.interpolate(slow, 32, mode="linear")


PLAIN = [name for name in KINDS if name not in ("vector-bits", "fsq-bits", "vector-cosine-learned")]


@pytest.mark.parametrize(
    ("name", "bf16"), [*((name, True) for name in KINDS), *((name, False) for name in PLAIN)]
)
def test_it_trains_without_a_collapse(name: str, bf16: bool) -> None:
    toy = Toy(name)
    optimizer = torch.optim.Adam(toy.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(8, 3, generator=generator)
    weights = {"commitment": 0.25, "codebook": 1.0, "entropy": 0.1, "kl": 1.0}
    distances, counts = [], [torch.zeros(size) for size in toy.bottleneck.codebook_sizes]
    for step in range(300):
        x = structured(generator, mixing)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            made, result = toy(x, quantize=step >= 20)
        distance = (made.float() - x).square().mean() / x.square().mean()
        loss = distance + sum(weights[key] * value for key, value in result.losses.items())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert loss.isfinite()
        distances.append(distance.item())
        if step >= 200 and counts:
            for count, codes in zip(counts, result.codes.unbind(1), strict=True):
                count += torch.bincount(codes.flatten(), minlength=len(count))
    assert sum(distances[-20:]) / 20 < 0.6 * sum(distances[:5]) / 5
    for count in counts:
        perplexity = float(torch.special.entr(count / count.sum()).sum().exp())
        assert perplexity > 1 + 0.25 * (len(count) - 1)
