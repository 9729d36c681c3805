"""What codes say: use of codebooks, bits, what levels share, and whether codes stay the same."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vqaudio.codes import Codes
from vqaudio.evaluation.results import Shared

SEED = 0


@dataclass(frozen=True)
class CodebookUse:
    """How one codebook is used over many sounds.

    Args:
        level: 0 is the coarsest.
        quantizer: place in that level's stack.
        size: codes in the codebook.
        counts: how often each code came, int64 `[size]`.
    """

    level: int
    quantizer: int
    size: int
    counts: Tensor

    @property
    def frames(self) -> int:
        """Codes counted."""
        return int(self.counts.sum())

    @property
    def used(self) -> int:
        """Distinct codes among them."""
        return int((self.counts > 0).sum())

    @property
    def entropy_bits(self) -> float:
        """Entropy of the codes' frequencies, in bits a code."""
        shares = self.counts[self.counts > 0].double() / max(self.frames, 1)
        return max(-(shares * shares.log2()).sum().item(), 0.0)

    @property
    def corrected_entropy_bits(self) -> float:
        """Entropy with the correction of Miller and Madow (1955), at most that of equal frequencies.

        Few frames show fewer codes than there are, so the plain estimate is too low, in the mean by
        `(used - 1) / (2 frames)` nats.
        """
        bias = (self.used - 1) / (2 * max(self.frames, 1)) / math.log(2)
        return min(self.entropy_bits + bias, math.log2(self.size))

    @property
    def perplexity(self) -> float:
        """2 to the entropy: as many equally frequent codes would be as hard to guess."""
        return 2**self.entropy_bits


def codebook_use(sounds: Iterable[Codes], codebook_sizes: Sequence[Sequence[int]]) -> list[CodebookUse]:
    """Count the codes of many sounds, codebook by codebook.

    Args:
        sounds: codes of one codec.
        codebook_sizes: per level, per quantizer.

    Returns:
        One entry a codebook, coarsest level first.
    """
    counts = [[torch.zeros(size, dtype=torch.int64) for size in sizes] for sizes in codebook_sizes]
    for codes in sounds:
        for level, found in zip(counts, codes.levels, strict=True):
            for total, row in zip(level, found, strict=True):
                total += torch.bincount(row.long(), minlength=len(total))
    return [
        CodebookUse(level, quantizer, len(total), total)
        for level, totals in enumerate(counts)
        for quantizer, total in enumerate(totals)
    ]


def nominal_bits_per_second(
    sample_rate: int, hops: Sequence[int], codebook_sizes: Sequence[Sequence[int]]
) -> float:
    """Bits a second of sound with every code written at full width, `log2(size)` bits."""
    return sum(
        sample_rate / hop * math.log2(size)
        for hop, sizes in zip(hops, codebook_sizes, strict=True)
        for size in sizes
    )


def entropy_bits_per_second(uses: Iterable[CodebookUse], duration_seconds: float) -> float:
    """Bits a second with each codebook coded by its own frequencies, blind to context.

    Args:
        uses: of every codebook, over the same sounds.
        duration_seconds: of these sounds together.
    """
    return sum(use.frames * use.entropy_bits for use in uses) / duration_seconds


def shared_information(sounds: Sequence[Codes]) -> list[Shared]:
    """Mutual information between each codebook of a level and each of a finer level.

    A fine code is paired with the coarse code of its time. Counts of pairs that are far fewer than
    the pairs there could be push the plain estimate up; so the same is estimated with the coarse
    codes in a random order, where there is nothing to know, and taken off. What remains is rather
    too low than too high, as both are bounded by the number of pairs.

    Args:
        sounds: codes of one codec.

    Returns:
        Every pair of codebooks of two levels, the coarser first.
    """
    if not sounds:
        return []
    generator = np.random.default_rng(SEED)
    books = [
        [torch.cat([codes.levels[level][q] for codes in sounds]).numpy() for q in range(len(rows))]
        for level, rows in enumerate(sounds[0].levels)
    ]
    found = []
    for a in range(len(books)):
        order = generator.permutation(len(books[a][0]))
        for b in range(a + 1, len(books)):
            place = _coarse_frames(sounds, a, b)
            for q, coarse in enumerate(books[a]):
                for r, fine in enumerate(books[b]):
                    plain = mutual_information(coarse[place], fine)
                    chance = mutual_information(coarse[order][place], fine)
                    found.append(Shared((a, q), (b, r), max(plain - chance, 0.0), plain, chance))
    return found


def mutual_information(first: np.ndarray, second: np.ndarray) -> float:
    """Bits that one sequence of integers says about another, by their counts as they are.

    Args:
        first: int `[N]`, not negative.
        second: int `[N]`, not negative.
    """

    def entropy(values: np.ndarray) -> float:
        shares = np.unique(values, return_counts=True)[1] / len(values)
        return float(-(shares * np.log2(shares)).sum())

    pairs = first.astype(np.int64) * (int(second.max()) + 1) + second
    return max(entropy(first) + entropy(second) - entropy(pairs), 0.0)


def agreement(first: Codes, second: Codes) -> float:
    """Share of codes that are the same, over all codebooks.

    Args:
        first: of a sound.
        second: of one of the same length.
    """
    same = [(a == b).flatten() for a, b in zip(first.levels, second.levels, strict=True)]
    return torch.cat(same).double().mean().item()


def _coarse_frames(sounds: Sequence[Codes], coarse: int, fine: int) -> np.ndarray:
    """For every frame of a fine level, over all sounds, that of a coarse level at its time."""
    places, start = [], 0
    for codes in sounds:
        ratio = codes.hops[coarse] // codes.hops[fine]
        places.append(start + np.arange(codes.levels[fine].shape[1]) // ratio)
        start += codes.levels[coarse].shape[1]
    return np.concatenate(places)
