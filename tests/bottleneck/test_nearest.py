"""Nearest-centroid search against plain distances in double precision."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from vqaudio.bottleneck.nearest import BLOCK, COLUMNS, TILE, nearest


def random(rows: int, codes: int, dim: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows + codes)
    x = torch.randn(rows, dim, generator=generator)
    return x, torch.randn(codes, dim, generator=generator)


@pytest.mark.parametrize(
    ("rows", "codes", "dim"),
    [
        (1, 1, 1),
        (1, 1000, 7),
        (50, 256, 16),
        (3001, 1, 4),
        (70001, TILE - 1, 3),
        (5000, TILE + 1, 8),
        (BLOCK // 1024 + 1, 1024, 16),
        (2001, COLUMNS + 1, 16),
        (300, 2 * COLUMNS - 1, 64),
        (0, 16, 4),
        (0, 2 * COLUMNS, 4),
    ],
)
def test_it_is_the_nearest(rows: int, codes: int, dim: int) -> None:
    x, centroids = random(rows, codes, dim)
    found = nearest(x, centroids)
    assert found.shape == (rows,)
    assert found.dtype == torch.int64
    # fp32 may take another of two centroids that are as near but for its rounding
    for some, chosen in zip(x.double().split(5000), found.split(5000), strict=True):
        distances = torch.cdist(some, centroids.double(), compute_mode="donot_use_mm_for_euclid_dist")
        distances = distances.square()
        least = distances.min(1).values
        assert ((distances.gather(1, chosen.unsqueeze(1)).squeeze(1) - least) < 1e-4).all()
        assert (chosen == distances.argmin(1)).float().mean() > 0.999 or not len(some)


@pytest.mark.parametrize("codes", [5, TILE + 1, 1000, 2 * COLUMNS + 10])
def test_the_lowest_index_wins_a_tie(codes: int) -> None:
    # whole numbers, so that scores are exact: 9 different centroids, again and again
    grid = torch.cartesian_prod(torch.arange(3.0), torch.arange(3.0))
    centroids = grid.repeat(-(-codes // 9), 1)[:codes]
    x = grid.repeat(700, 1)
    first = torch.cdist(x, centroids[:9]).argmin(1)
    assert torch.equal(nearest(x, centroids), first)


def test_what_is_not_a_number_still_has_a_code() -> None:
    x, centroids = random(300, 1000, 8)
    x[5], x[7] = torch.nan, torch.inf
    found = nearest(x, centroids)
    assert ((found >= 0) & (found < 1000)).all()
    rest = torch.ones(300, dtype=torch.bool)
    rest[[5, 7]] = False
    assert torch.equal(found[rest], nearest(x.nan_to_num(0, 0, 0), centroids)[rest])


@pytest.mark.parametrize("codes", [100, 1000])
def test_no_gradient_passes_and_autocast_changes_nothing(codes: int) -> None:
    x, centroids = random(300, codes, 8)
    expected = nearest(x, centroids)
    assert torch.equal(nearest(x.clone().requires_grad_(), centroids.clone().requires_grad_()), expected)
    with torch.no_grad():
        assert torch.equal(nearest(x, centroids), expected)
    with torch.autocast("cpu"):
        assert torch.equal(nearest(x, centroids), expected)


def test_rows_laid_out_otherwise_give_the_same() -> None:
    x, centroids = random(3000, 500, 16)
    assert torch.equal(nearest(x.T.contiguous().T, centroids), nearest(x, centroids))


def test_memory_does_not_grow_with_vectors_times_centroids() -> None:
    # the scores of 20,000 vectors and 8192 centroids alone are 655 MB
    script = """
import resource, torch
from vqaudio.bottleneck.nearest import nearest
torch.set_num_threads(1)
x, centroids = torch.randn(20_000, 16), torch.randn(8192, 16)
nearest(x[:1000], centroids[:500])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
nearest(x, centroids)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 100e6
