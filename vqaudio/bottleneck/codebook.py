"""Codebooks whose codes cannot die: by averages, by gradient, or fixed under a linear map."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqaudio.bottleneck.kmeans import kmeans, totals
from vqaudio.bottleneck.nearest import nearest
from vqaudio.bottleneck.ranks import sum_over_ranks

CodebookName = Literal["average", "learned", "linear"]
PATIENCE = 16  # vectors a code that pass without it being chosen, until it is dead
STRIDE = 0.2  # of the way from the middle of a crowded cell to a vector in it: where a dead code is put
FAINTEST = 1e-6  # count that is let decay no further, since a sum over it must stay a place
REVIVED = 0.1  # of the mean count: light, so that the next vectors take it where they are


class Codebook(nn.Module, ABC):
    """`K` vectors, how often each was chosen of late, and how long not. All fp32, whatever the autocast.

    Whatever sets a code sets all the state that makes it, so that no later update can undo it.
    `learned` says whether a gradient moves the codes.

    Args:
        size: codes, `K`.
        dim: of each vector, `D`.
        decay: of the averages, a step.
        cosine: whether vectors have unit length, so that the nearest is that of least angle.
    """

    training_only = ("idle",)
    learned = True
    counts: Tensor
    idle: Tensor  # vectors that have passed since a code was chosen, on all ranks

    def __init__(self, size: int, dim: int, decay: float, cosine: bool = False) -> None:
        super().__init__()
        self.size, self.dim, self.decay, self.cosine = size, dim, decay, cosine
        self.register_buffer("counts", torch.zeros(size))
        self.register_buffer("idle", torch.zeros(size, dtype=torch.int64))

    @property
    def centroids(self) -> Tensor:
        """`[K, D]`; a gradient flows into what is learned by it."""
        return F.normalize(self.vectors(), dim=1) if self.cosine else self.vectors()

    @abstractmethod
    def vectors(self) -> Tensor:
        """`[K, D]`, of any length."""

    @abstractmethod
    def place(self, codes: Tensor, vectors: Tensor, counts: Tensor) -> None:
        """Put the codes `[N]` at `[N, D]`, as if each had been chosen `[N]` times of late."""

    def assign(self, x: Tensor) -> Tensor:
        """Index of the nearest centroid of each of `[N, D]`: int64 `[N]`."""
        return nearest(x, self.centroids)

    def lookup(self, codes: Tensor) -> Tensor:
        """Centroids of int64 codes `[...]`: `[..., D]`."""
        return self.centroids[codes]

    @torch.no_grad()
    def start(self, samples: Tensor, batch: int, generator: torch.Generator) -> None:
        """Set the codes by k-means on `[N, D]`, each with the count of its cluster.

        Counts are scaled to what the averages settle at with `batch` vectors a step, so that the
        first updates neither drown the start nor are drowned by it.
        """
        sums, counts = kmeans(samples, self.size, generator)
        everything = torch.arange(self.size, device=samples.device)
        self.place(everything, sums / counts.unsqueeze(1), counts * (batch / len(samples)))

    @torch.no_grad()
    def update(self, x: Tensor, codes: Tensor) -> None:
        """Follow the vectors `[N, D]` and the codes chosen for them, over all ranks together."""
        sums, counts = totals(x, codes, self.size)
        sum_over_ranks(sums, counts)
        self.idle += int(counts.sum())
        self.idle[counts > 0] = 0
        faint = (counts == 0) & (self.decay * self.counts < FAINTEST)
        pace = torch.where(faint, 0.0, 1 - self.decay)
        self.counts.lerp_(counts, pace)
        self.follow(sums, pace)

    def follow(self, sums: Tensor, pace: Tensor) -> None:
        """Move by the shares `[K]` towards vectors whose sums a code are `[K, D]`.

        Codes learned by gradient do not.
        """

    def dead(self) -> Tensor:
        """Codes that were not chosen for long: int64, ascending."""
        return (self.idle > PATIENCE * self.size).nonzero().squeeze(1)

    @torch.no_grad()
    def revive(self, samples: Tensor, generator: torch.Generator) -> int:
        """Put each dead code beside one that has too much to stand for.

        Vectors of `samples` `[N, D]` are drawn by their squared distance from their code times the
        number of them that have the same, which takes them from crowded and from wide cells. A dead
        code is put a part of the way from the mean of the drawn vector's cell to the vector: on the
        vector itself it would win little but that one, since in many dimensions vectors lie far
        apart, and would soon be dead again.

        Returns:
            How many codes were replaced.
        """
        dead = self.dead()[: len(samples)]
        if len(dead):
            codes = self.assign(samples)
            sums, counts = totals(samples, codes, self.size)
            errors = (samples - self.lookup(codes)).square().sum(1) * counts[codes]
            # on the CPU, where the generator is; a codebook that broke is the guard's to see to
            weights = errors.cpu().nan_to_num() + 1e-12
            chosen = torch.multinomial(weights, len(dead), generator=generator).to(samples.device)
            cells = codes[chosen]
            middles = sums[cells] / counts[cells].unsqueeze(1)
            vectors = middles.lerp(samples[chosen], STRIDE)
            self.place(dead, vectors, (REVIVED * self.counts.mean()).expand(len(dead)))
            self.idle[dead] = 0
        return len(dead)


class AverageCodebook(Codebook):
    """Each code follows the mean of what is assigned to it.

    Van den Oord et al. 2017, arXiv 1711.00937, appendix A.1, equations 6 to 8. The state is, per
    code, the decayed sum of its vectors and their decayed count; the centroid is their quotient and
    is stored nowhere else.
    """

    learned = False
    sums: Tensor

    def __init__(self, size: int, dim: int, decay: float, cosine: bool = False) -> None:
        super().__init__(size, dim, decay, cosine)
        self.register_buffer("sums", torch.zeros(size, dim))

    def vectors(self) -> Tensor:
        """`[K, D]`."""
        return self.sums / self.counts.clamp(min=1e-8).unsqueeze(1)

    def place(self, codes: Tensor, vectors: Tensor, counts: Tensor) -> None:
        """Set sums and counts."""
        self.sums[codes], self.counts[codes] = vectors * counts.unsqueeze(1), counts

    def follow(self, sums: Tensor, pace: Tensor) -> None:
        """Let the sums decay towards those of this step."""
        self.sums.lerp_(sums, pace.unsqueeze(1))


class LearnedCodebook(Codebook):
    """Each code is a weight (van den Oord et al. 2017, arXiv 1711.00937, equation 3, second term)."""

    def __init__(self, size: int, dim: int, decay: float, cosine: bool = False) -> None:
        super().__init__(size, dim, decay, cosine)
        self.weight = nn.Parameter(torch.zeros(size, dim))

    def vectors(self) -> Tensor:
        """`[K, D]`."""
        return self.weight

    def place(self, codes: Tensor, vectors: Tensor, counts: Tensor) -> None:
        """Set weights and counts."""
        self.weight[codes], self.counts[codes] = vectors, counts


class LinearCodebook(Codebook):
    """Fixed vectors under one learned linear map, so that every step moves all codes.

    SimVQ (Zhu et al. 2024, arXiv 2411.02038): the codebook is `C W`, and only `W` is learned. `C` is
    drawn from a normal distribution, and the map starts as the one that gives it mean and covariance
    of the data. Only a dead code has its fixed vector replaced.
    """

    basis: Tensor

    def __init__(self, size: int, dim: int, decay: float, cosine: bool = False) -> None:
        super().__init__(size, dim, decay, cosine)
        self.register_buffer("basis", torch.zeros(size, dim))
        self.map = nn.Linear(dim, dim)

    def vectors(self) -> Tensor:
        """`[K, D]`."""
        with torch.autocast(self.basis.device.type, enabled=False):
            return self.map(self.basis)

    def place(self, codes: Tensor, vectors: Tensor, counts: Tensor) -> None:
        """Set the fixed vectors to what the map makes into `vectors`, and the counts."""
        inverse = torch.linalg.pinv(self.map.weight)
        self.basis[codes], self.counts[codes] = (vectors - self.map.bias) @ inverse.T, counts

    @torch.no_grad()
    def start(self, samples: Tensor, batch: int, generator: torch.Generator) -> None:
        """Draw the fixed vectors, and set the map to give them mean and covariance of `[N, D]`."""
        drawn = torch.randn(self.size, self.dim, generator=generator)
        self.basis.copy_(drawn)
        self.counts.fill_(batch / self.size)
        covariance = torch.cov(samples.T, correction=0).reshape(self.dim, self.dim)
        values, axes = torch.linalg.eigh(covariance)
        self.map.weight.copy_(axes * values.clamp(min=1e-8).sqrt() @ axes.T)
        self.map.bias.copy_(samples.mean(dim=0))


def codebook_parameters(module: nn.Module) -> set[nn.Parameter]:
    """Parameters of the codebooks within a module, which may be set anew from one step to the next.

    So an average over steps would say where codes never were, and decay would drive idle ones to 0.
    """
    books = (part for part in module.modules() if isinstance(part, Codebook))
    return {parameter for book in books for parameter in book.parameters()}


CODEBOOKS: dict[CodebookName, type[Codebook]] = {
    "average": AverageCodebook,
    "learned": LearnedCodebook,
    "linear": LinearCodebook,
}
