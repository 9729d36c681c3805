"""The codebook: start, assignment, averages, revival."""

import torch
from torch import Tensor

from vqaudio.bottleneck.codebook import AverageCodebook


def clusters(count: int, dim: int, samples: int, spread: float = 0.05) -> tuple[Tensor, Tensor]:
    """Centres `[count, dim]` and samples around them, all clusters of different weight."""
    generator = torch.Generator().manual_seed(0)
    centres = 4 * torch.randn(count, dim, generator=generator)
    weights = torch.arange(1, count + 1, dtype=torch.float32)
    chosen = torch.multinomial(weights, samples, replacement=True, generator=generator)
    return centres, centres[chosen] + spread * torch.randn(samples, dim, generator=generator)


def error(codebook: AverageCodebook, x: Tensor) -> float:
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
    for _ in range(3):
        codebook.update(new[:500], codebook.assign(new[:500]))
        assert codebook.revive(new, generator) == 0
    assert len(codebook.assign(new).unique()) >= 32


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
    used = torch.cat([codebook.assign(x + 0.3 * torch.randn_like(x)) for _ in range(8)]).unique()
    assert len(used) >= 122


def test_starting_from_fewer_samples_than_codes_works() -> None:
    x = torch.randn(5, 3)
    codebook = started(16, 3, x, batch=5)
    assert error(codebook, x) < 1e-10
    assert codebook.centroids.isfinite().all()
