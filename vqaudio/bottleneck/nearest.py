"""Nearest-centroid search whose memory does not grow with vectors times centroids."""

import torch
from torch import Tensor

BLOCK = 2**21  # scores made at once by a thread: 8 MB, which a cache holds
DEVICE_BLOCK = 2**26  # on other devices than the CPU, where fewer and larger steps are faster
COLUMNS = 2048  # centroids in a block
TILE = 64  # scores of which only the largest is looked at again
FEW = 2**18  # scores that are searched faster in one step than by tiles


def nearest(x: Tensor, centroids: Tensor) -> Tensor:
    """Index of the nearest of `[K, D]` centroids for each of `[N, D]` vectors: int64 `[N]`.

    Distances are squared Euclidean, in fp32; the lowest index wins a tie; no gradient passes.
    Scores are made and searched a block at a time, in the same memory, so that they are still in
    the cache when they are searched and that there never are N * K.
    """
    x, centroids, size = x.detach(), centroids.detach(), len(centroids)
    few = len(x) * size <= FEW
    if not few and size > TILE:  # copies of the last centroid fill up the last tile
        centroids = torch.cat([centroids, centroids[-1:].expand(-size % TILE, -1)])
    # |x - c|^2 = |x|^2 - 2 (x.c - |c|^2 / 2), and |x|^2 is the same for every c
    half_norms = centroids.square().sum(1).mul_(0.5)
    if few:
        return torch.addmm(half_norms, x, centroids.T, beta=-1, out=x.new_empty(len(x), size)).argmax(1)
    columns = min(COLUMNS, len(centroids))
    block = BLOCK * torch.get_num_threads() if x.device.type == "cpu" else DEVICE_BLOCK
    memory = x.new_empty(min(len(x), block // columns) * columns)
    codes = [
        _nearest(rows, centroids.split(columns), half_norms.split(columns), memory)
        for rows in x.split(block // columns)
    ]
    return torch.cat(codes).clamp_(max=size - 1)


def _nearest(
    x: Tensor, centroids: tuple[Tensor, ...], half_norms: tuple[Tensor, ...], memory: Tensor
) -> Tensor:
    best, codes, before = x, x, 0
    for part, half_norm in zip(centroids, half_norms, strict=True):
        scores = memory[: len(x) * len(part)].view(len(x), len(part))
        torch.addmm(half_norm, x, part.T, beta=-1, out=scores)
        value, index = _largest(scores)
        if before:
            codes = torch.where(value > best, index.add_(before), codes)
            best = torch.maximum(value, best)
        else:
            best, codes = value, index
        before += len(part)
    return codes


def _largest(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Largest of each row of `[N, K]`, and the first place where it is.

    `amax` is vectorized and `max`, which must know the place, is not: so `max` looks only at the
    largest of each tile, and then at the one tile that holds the largest of all.
    """
    if scores.shape[1] <= TILE:
        value, index = scores.max(1)
        return value, index
    tiles = scores.unflatten(1, (-1, TILE))
    value, tile = tiles.amax(2).max(1)
    inside = tiles[torch.arange(len(scores), device=scores.device), tile].argmax(1)
    return value, inside.add_(tile, alpha=TILE)
