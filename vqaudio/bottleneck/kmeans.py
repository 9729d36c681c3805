"""Codes set from data: draws and k-means, alike for equal generators."""

import torch
from torch import Tensor

from vqaudio.bottleneck.nearest import nearest

ROUNDS = 10  # of k-means at most; clusters of few samples settle sooner


def draw(samples: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` rows of `samples` `[N, D]`, all different as long as there are enough."""
    order = torch.randperm(len(samples), generator=generator).to(samples.device)
    return samples[order.repeat(-(-count // len(samples)))[:count]]


def totals(x: Tensor, codes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Per code, the sum `[size, D]` and the number `[size]` of the vectors `[N, D]` assigned to it."""
    sums = x.new_zeros(size, x.shape[1]).index_add_(0, codes, x)
    return sums, torch.bincount(codes, minlength=size).to(x.dtype)


def kmeans(samples: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm on `[N, D]`; a cluster that comes out empty is drawn anew.

    Returns:
        The sum `[size, D]` and the number `[size]` of the samples of each cluster, of which none is
        empty: their quotient is the centroid.
    """
    sums, counts = draw(samples, size, generator), samples.new_ones(size)
    for _ in range(min(ROUNDS, 2 + len(samples) // size)):
        sums, counts = totals(samples, nearest(samples, sums / counts.unsqueeze(1)), size)
        empty = (counts == 0).nonzero().squeeze(1)
        sums[empty], counts[empty] = draw(samples, len(empty), generator), 1.0
    return sums, counts
