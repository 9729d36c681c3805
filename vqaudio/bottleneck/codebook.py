"""One codebook kept by exponential moving averages, whose codes cannot die."""

import torch
from torch import Tensor, nn

from vqaudio.bottleneck.ranks import sum_over_ranks


class Codebook(nn.Module):
    """`K` vectors, each following the mean of what is assigned to it.

    Van den Oord et al. 2017, arXiv 1711.00937, appendix A.1. The state is, per code, the decayed sum
    of its vectors and their decayed count. The centroid is their quotient and is stored nowhere
    else, so that whatever sets a code sets both and no later update can undo it. All of it is fp32,
    whatever the autocast.

    Args:
        size: codes, `K`.
        dim: of each vector, `D`.
        decay: of the averages, a step.
    """

    sums: Tensor
    counts: Tensor

    def __init__(self, size: int, dim: int, decay: float) -> None:
        super().__init__()
        self.size, self.dim, self.decay = size, dim, decay
        self.register_buffer("sums", torch.zeros(size, dim))
        self.register_buffer("counts", torch.zeros(size))

    @property
    def centroids(self) -> Tensor:
        """`[K, D]`."""
        return self.sums / self.counts.clamp(min=1e-8).unsqueeze(1)

    def assign(self, x: Tensor) -> Tensor:
        """Index of the nearest centroid of each of `[N, D]`: int64 `[N]`."""
        centroids = self.centroids
        # |x - c|^2 = |x|^2 - 2 (x.c - |c|^2 / 2), and |x|^2 is the same for every c
        half_norms = centroids.square().sum(1).mul_(0.5)
        return torch.addmm(half_norms, x, centroids.T, beta=-1).argmax(1)

    def lookup(self, codes: Tensor) -> Tensor:
        """Centroids of int64 codes `[...]`: `[..., D]`."""
        return self.centroids[codes]

    @torch.no_grad()
    def start(self, samples: Tensor, batch: int, generator: torch.Generator, rounds: int = 10) -> None:
        """Set the codes by k-means on `[N, D]`, each with the count of its cluster.

        Counts are scaled to what the averages settle at with `batch` vectors a step, so that the
        first updates neither drown the start nor are drowned by it.
        """
        self._set(
            torch.arange(self.size, device=samples.device), _draw(samples, self.size, generator), 1.0
        )
        for _ in range(rounds):
            sums, counts = self._totals(samples, self.assign(samples))
            self.sums.copy_(sums)
            self.counts.copy_(counts)
            empty = (counts == 0).nonzero().squeeze(1)
            if len(empty):
                self._set(empty, _draw(samples, len(empty), generator), 1.0)
        self.sums.mul_(batch / len(samples))
        self.counts.mul_(batch / len(samples))

    @torch.no_grad()
    def update(self, x: Tensor, codes: Tensor) -> None:
        """Let the codes follow the vectors `[N, D]` assigned to them, over all ranks together."""
        sums, counts = self._totals(x, codes)
        sum_over_ranks(sums, counts)
        self.sums.lerp_(sums, 1 - self.decay)
        self.counts.lerp_(counts, 1 - self.decay)

    @torch.no_grad()
    def revive(self, samples: Tensor, generator: torch.Generator, threshold: float = 0.2) -> int:
        """Give codes that fell below `threshold` of the mean count a vector of `samples` `[N, D]`.

        A revived code starts at half the mean count, so that it has some hundred steps to prove
        itself before it is judged again.

        Returns:
            How many codes were replaced.
        """
        mean = float(self.counts.mean())
        dead = (self.counts < threshold * mean).nonzero().squeeze(1)
        if len(dead):
            self._set(dead, _draw(samples, len(dead), generator), 0.5 * mean)
        return len(dead)

    def _set(self, codes: Tensor, vectors: Tensor, count: float) -> None:
        self.sums[codes] = vectors * count
        self.counts[codes] = count

    def _totals(self, x: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        sums = torch.zeros_like(self.sums).index_add_(0, codes, x)
        return sums, torch.bincount(codes, minlength=self.size).to(self.counts.dtype)


def _draw(samples: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` rows of `samples`, all different as long as there are enough."""
    order = torch.randperm(len(samples), generator=generator).to(samples.device)
    return samples[order.repeat(-(-count // len(samples)))[:count]]
