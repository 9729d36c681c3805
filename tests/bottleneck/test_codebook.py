"""The codebook: start, assignment, averages, gradients, revival."""

import pytest
import torch
from torch import Tensor

from vqaudio.bottleneck.codebook import CODEBOOKS, AverageCodebook, Codebook, LinearCodebook
from vqaudio.bottleneck.residual import ResidualQuantizer
from vqaudio.bottleneck.vector import VectorQuantizer


def clusters(count: int, dim: int, samples: int, spread: float = 0.05) -> tuple[Tensor, Tensor]:
    """Centres `[count, dim]` and samples around them, all clusters of different weight."""
    generator = torch.Generator().manual_seed(0)
    centres = 4 * torch.randn(count, dim, generator=generator)
    weights = torch.arange(1, count + 1, dtype=torch.float32)
    chosen = torch.multinomial(weights, samples, replacement=True, generator=generator)
    return centres, centres[chosen] + spread * torch.randn(samples, dim, generator=generator)


def error(codebook: Codebook, x: Tensor) -> float:
    return float((x - codebook.lookup(codebook.assign(x))).square().mean())


def started(size: int, dim: int, samples: Tensor, batch: int, decay: float = 0.99) -> AverageCodebook:
    codebook = AverageCodebook(size, dim, decay)
    codebook.start(samples, batch, torch.Generator().manual_seed(1))
    return codebook


def test_assignment_is_the_nearest_centroid() -> None:
    _, x = clusters(20, 6, 500)
    codebook = started(16, 6, x, batch=500)
    distances = torch.cdist(x.double(), codebook.centroids.double())
    assert torch.equal(codebook.assign(x), distances.argmin(1))


def test_the_start_finds_the_clusters() -> None:
    centres, x = clusters(12, 6, 4000)
    codebook = started(24, 6, x, batch=400)
    nearest = torch.cdist(centres, codebook.centroids).min(1).values
    assert nearest.max() < 0.2


def test_error_does_not_jump_in_the_step_after_the_start() -> None:
    _, x = clusters(40, 8, 4000, spread=1.0)
    codebook = started(32, 8, x, batch=200)
    before = error(codebook, x)
    for step in range(20):
        batch = x[step * 200 : (step + 1) * 200]
        codebook.update(batch, codebook.assign(batch))
        assert error(codebook, x) < 1.1 * before


def test_the_centroid_is_the_decayed_mean_of_what_was_assigned() -> None:
    codebook = AverageCodebook(1, 2, decay=0.9)
    codebook.start(torch.tensor([[1.0, 0.0]]), 1, torch.Generator().manual_seed(0))
    for x in ([[3.0, 1.0], [5.0, 1.0]], [[7.0, 2.0]]):
        batch = torch.tensor(x)
        codebook.update(batch, torch.zeros(len(batch), dtype=torch.int64))
    # weights 0.81 of the start, 0.09 of each of the first batch's two, 0.1 of the last
    weights = torch.tensor([0.81, 0.09, 0.09, 0.1])
    seen = torch.tensor([[1.0, 0.0], [3.0, 1.0], [5.0, 1.0], [7.0, 2.0]])
    torch.testing.assert_close(codebook.centroids[0], (weights[:, None] * seen).sum(0) / weights.sum())


def test_revived_codes_are_used_and_survive_the_next_steps() -> None:
    _, old = clusters(4, 8, 1000)
    codebook = started(64, 8, old, batch=500)
    new = old + 30  # everything moved away: all but a few codes can only die
    for _ in range(600):
        codebook.update(new[:500], codebook.assign(new[:500]))
    assert len(codebook.assign(new).unique()) <= 4
    before = codebook.centroids.clone()
    generator = torch.Generator().manual_seed(2)
    assert codebook.revive(new, generator) >= 60
    assert not torch.equal(before, codebook.centroids)
    codebook.update(new[:500], codebook.assign(new[:500]))
    assert codebook.revive(new, generator) == 0  # the next step undoes nothing
    for _ in range(10):
        codebook.update(new[:500], codebook.assign(new[:500]))
        codebook.revive(new, generator)
    assert len(codebook.assign(new).unique()) >= 56


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("kind", CODEBOOKS)
def test_a_code_that_nothing_chooses_stays_where_it_is(kind: str, decay: float) -> None:
    torch.manual_seed(0)
    codebook = CODEBOOKS[kind](64, 4, decay)  # type: ignore[index]
    codebook.start(5 + torch.randn(512, 4), 8, torch.Generator().manual_seed(1))
    before = codebook.centroids.detach().clone()
    for _ in range(3000):
        codebook.update(before[:8], torch.arange(8))
    assert codebook.dead().tolist() == list(range(8, 64))
    torch.testing.assert_close(codebook.centroids.detach()[8:], before[8:], rtol=1e-3, atol=1e-3)


def test_drifting_inputs_leave_no_code_dead() -> None:
    generator = torch.Generator().manual_seed(3)
    centres = torch.randn(128, 16, generator=generator)
    drift = 0.002 * torch.randn(16, generator=generator)
    codebook = AverageCodebook(128, 16, 0.99)
    for step in range(600):
        x = centres[torch.randint(128, (512,), generator=generator)] + step * drift
        x = x + 0.3 * torch.randn(512, 16, generator=generator)
        if step == 0:
            codebook.start(x, len(x), generator)
        codebook.update(x, codebook.assign(x))
        if step % 10 == 9:
            codebook.revive(x, generator)
    noises = [0.3 * torch.randn(512, 16, generator=generator) for _ in range(8)]
    used = torch.cat([codebook.assign(x + noise) for noise in noises]).unique()
    assert len(used) >= 122


def test_starting_from_fewer_samples_than_codes_works() -> None:
    x = torch.randn(5, 3)
    codebook = started(16, 3, x, batch=5)
    assert error(codebook, x) < 1e-10
    assert codebook.centroids.isfinite().all()


def uneven(samples: int, seed: int = 0) -> Tensor:
    """`[samples, 8]` with a covariance of very unlike axes, far from the origin."""
    axes = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(9))).Q
    spread = torch.logspace(-1.5, 1, 8)
    generator = torch.Generator().manual_seed(seed)
    return 20 + torch.randn(samples, 8, generator=generator) * spread @ axes.T


def test_a_linear_codebook_starts_with_mean_and_covariance_of_the_data_and_uses_most_codes() -> None:
    codebook = LinearCodebook(4096, 8, 0.99)
    codebook.start(uneven(20_000), 1000, torch.Generator().manual_seed(1))
    centroids, data = codebook.centroids.detach().double(), uneven(20_000).double()
    torch.testing.assert_close(centroids.mean(0), data.mean(0), atol=0.5, rtol=0)
    spreads = [torch.linalg.eigvalsh(torch.cov(x.T)) for x in (centroids, data)]
    ratio = spreads[0] / spreads[1]
    assert ((ratio > 0.8) & (ratio < 1.25)).all()
    codes = codebook.assign(uneven(8 * 4096, seed=2))
    assert len(codes.unique()) > 0.6 * 4096
    assert codebook.counts.sum() == pytest.approx(1000)


@pytest.mark.parametrize("kind", ["learned", "linear"])
def test_codes_learn_from_the_codebook_loss_and_from_nothing_else(kind: str) -> None:
    quantizer = ResidualQuantizer(16, 2, 8, codebook=kind)  # type: ignore[arg-type]
    x = uneven(400).T.reshape(1, 8, 400)
    quantizer(x)
    weights = dict(quantizer.named_parameters())
    result = quantizer(x)
    for other in (result.features.square().sum(), result.losses["commitment"]):
        assert not other.requires_grad
    result = quantizer(x.clone().requires_grad_())
    for other in (result.features.square().sum(), result.losses["commitment"]):
        found = torch.autograd.grad(other, weights.values(), allow_unused=True, retain_graph=True)
        assert all(gradient is None for gradient in found)
    found = torch.autograd.grad(result.losses["codebook"], weights.values())
    assert all(gradient.abs().sum() > 0 for gradient in found)


def test_the_codebook_loss_pulls_codes_to_the_mean_of_what_chose_them() -> None:
    quantizer = VectorQuantizer(4, 8, codebook="learned")
    x = uneven(400)
    quantizer(x.T[None])
    codes = quantizer.codebooks[0].assign(x)
    loss = quantizer(x.T[None]).losses["codebook"]
    [(name, weight)] = quantizer.named_parameters()
    (gradient,) = torch.autograd.grad(loss, weight)
    assert name == "codebooks.0.weight"
    for code in range(4):
        chose = x[codes == code]
        expected = 2 * (weight[code].detach() - chose).sum(0) / x.numel()
        torch.testing.assert_close(gradient[code], expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", CODEBOOKS)
def test_only_codes_by_averages_have_no_loss_with_a_gradient_or_without(kind: str) -> None:
    quantizer = VectorQuantizer(4, 8, codebook=kind)  # type: ignore[arg-type]
    result = quantizer(uneven(400).T[None].requires_grad_())
    with torch.no_grad():
        at_rest = quantizer.eval()(uneven(400).T[None])
    averaged = kind == "average"
    names = {"commitment"} if averaged else {"commitment", "codebook"}
    assert set(result.losses) == set(at_rest.losses) == names
    assert averaged == (not list(quantizer.parameters()))


def middles(codebook: Codebook, x: Tensor) -> Tensor:
    """For each of `[N, D]`, the mean of all that have the same code."""
    codes = codebook.assign(x)
    return torch.stack([x[codes == code].mean(0) for code in codes])


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("kind", CODEBOOKS)
def test_a_revived_code_stays_where_it_was_put(kind: str, cosine: bool) -> None:
    torch.manual_seed(0)
    codebook = CODEBOOKS[kind](64, 8, 0.9, cosine)  # type: ignore[index]
    _, old = clusters(4, 8, 1000)
    new = old.flip(1) - 5
    if cosine:
        old, new = (torch.nn.functional.normalize(x, dim=1) for x in (old, new))
    codebook.start(old, 500, torch.Generator().manual_seed(1))
    weights = list(codebook.parameters())
    optimizer = torch.optim.Adam(weights, 1e-5) if weights else None

    def step() -> None:
        codes = codebook.assign(new)
        if optimizer is not None:
            optimizer.zero_grad()
            (codebook.lookup(codes) - new).square().mean().backward()
            optimizer.step()
        codebook.update(new[:500], codes[:500])

    for _ in range(60):
        step()
    before = codebook.centroids.detach().clone()
    dead = torch.zeros(64, dtype=torch.bool)
    dead[codebook.dead()] = True
    between = middles(codebook, new)
    assert codebook.revive(new, torch.Generator().manual_seed(2)) == int(dead.sum()) > 8
    placed = codebook.centroids.detach().clone()
    if not cosine:  # each on the way from the mean of a vector's cell to the vector
        there = placed[dead].double()
        detours = torch.cdist(there, new.double()) + torch.cdist(there, between.double())
        assert (detours - (new - between).norm(dim=1)).min(1).values.max() < 1e-3
    torch.testing.assert_close(placed[~dead], before[~dead])
    step()
    after = codebook.centroids.detach()
    moved = (placed - before).norm(dim=1)[dead]
    assert ((after - before).norm(dim=1)[dead] > 0.3 * moved).all()  # none is where it was
    assert codebook.revive(new, torch.Generator().manual_seed(3)) == 0
    for seed in range(16):
        step()
        codebook.revive(new, torch.Generator().manual_seed(seed))
    assert len(codebook.assign(new).unique()) > 32


@pytest.mark.parametrize("kind", CODEBOOKS)
def test_by_angle_codes_have_unit_length_and_the_nearest_is_that_of_least_angle(kind: str) -> None:
    quantizer = VectorQuantizer(32, 4, codebook=kind, distance="cosine")  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(4)
    for _ in range(12):
        quantizer(torch.randn(2, 4, 100, generator=generator) * 5)
    centroids = quantizer.codebooks[0].centroids.detach()
    torch.testing.assert_close(centroids.norm(dim=1), torch.ones(32))
    x = torch.randn(1, 4, 500, generator=generator)
    angles = torch.nn.functional.cosine_similarity(
        x[0].T[:, None].double(), centroids[None].double(), dim=2
    )
    quantizer.eval()
    assert torch.equal(quantizer.encode(x)[0, 0], angles.argmax(1))
    assert torch.equal(quantizer.encode(x), quantizer.encode(0.01 * x))
    torch.testing.assert_close(quantizer(x).features.norm(dim=1), torch.ones(1, 500))
