"""What a detector is made of: where normal vectors lie and how far apart, and how rare a value is."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from vqaudio.applications.anomaly_views import Array

TAIL, LONGEST_TAIL = 0.2, 200  # share of normal values, or how many, by which rarer ones are judged
MOST_VALUES = 1000  # of the others that are kept
LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Gaussian:
    """Mean and covariance of vectors, shrunk as these are few (Ledoit and Wolf 2004).

    Args:
        mean: `[D]`.
        whitening: `[D, D]`, which makes the covariance that of unit noise.
    """

    mean: Array
    whitening: Array

    @classmethod
    def fit(cls, vectors: Array) -> Self:
        """Of `[N, D]`."""
        from sklearn.covariance import ledoit_wolf

        mean, scale = vectors.mean(0), vectors.std(0)
        scale = np.where(scale > LEAST_SPREAD, scale, 1.0)  # what never changed is compared as it is
        covariance, _ = ledoit_wolf((vectors - mean) / scale, assume_centered=True)
        values, axes = np.linalg.eigh(covariance)
        return cls(mean, axes / np.sqrt(values.clip(max(values[-1], 1e-12) * 1e-6)) / scale[:, None])

    def distance(self, vectors: Array) -> Array:
        """Mahalanobis distance of each of `[N, D]`, over the square root of D: `[N]`."""
        whitened = (vectors - self.mean) @ self.whitening
        return np.sqrt((whitened**2).mean(1))


@dataclass(frozen=True)
class Tail:
    """How rare values are among normal ones: as counted, and among the highest, exponentially rarer.

    Args:
        values: normal ones, ascending, without the highest.
        share: of the normal ones that were the highest.
        scale: by how much these exceed the others, on average.
    """

    values: Array
    share: float
    scale: float

    @classmethod
    def fit(cls, normal: Array) -> Self:
        """Of normal values `[N]`."""
        ordered = np.sort(normal)
        highest = min(round(TAIL * len(ordered)), LONGEST_TAIL)
        others, excess = np.split(ordered, [len(ordered) - highest])
        places = np.linspace(0, len(others) - 1, min(len(others), MOST_VALUES)).round().astype(int)
        scale = float((excess - others[-1]).mean()) if highest else 0.0
        return cls(others[places], highest / len(ordered), max(scale, 1e-9))

    def surprise(self, values: Array) -> Array:
        """Negative log10 of the share of normal values that are higher: at least 0."""
        number = len(self.values)
        above = 1 - (1 - self.share) * (np.arange(number) + 0.5) / number
        counted = -np.log10(np.interp(values, self.values, above, left=1.0))
        excess = (values - self.values[-1]).clip(0)
        return counted + excess / self.scale / np.log(10)


@dataclass(frozen=True)
class Spread:
    """How far from their mean vectors of normal sounds lie, by how long the sounds are.

    What is taken over time is the less certain the shorter the sound: the variance of a mean of frames
    is that between sounds and, over the number of frames, that within them (the one-way random model,
    Searle, Casella and McCulloch 1992). Without it, short sounds are what is most unusual.

    Args:
        within: share of the variance that is within sounds of `frames`, and falls with their length.
        frames: of a typical sound, of which the spread is 1.
    """

    within: float
    frames: float

    @classmethod
    def fit(cls, squares: Array, frames: Array) -> Self:
        """Of the square of each normal sound's distance `[N]`, and how many frames it has `[N]`.

        By maximum likelihood, were the squares sums of those of Gaussian numbers: so short sounds, whose
        squares scatter most, do not decide alone.
        """
        typical = float(1 / (1 / frames).mean())
        within = np.linspace(0, 1, 101)
        shape = 1 + within[:, None] * (typical / frames - 1)
        misfit = np.log((squares / shape).mean(1)) + np.log(shape).mean(1)
        return cls(float(within[misfit.round(9).argmin()]), typical)  # the first, 0, if all are as good

    def of(self, frames: float) -> float:
        """Of sounds of so many frames."""
        return float(np.sqrt(1 + self.within * (self.frames / frames - 1)))
