"""Means over sounds, how sure they are, and how many sounds have no value."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vqaudio.evaluation.results import Interval

DRAWS, SEED = 2000, 0


@dataclass(frozen=True)
class Average:
    """Mean of what could be measured, and how much could not.

    Args:
        mean: nan when nothing could be measured.
        count: values in the mean.
        failed: sounds without a value.
    """

    mean: float
    count: int
    failed: int


def average(values: Iterable[float | None]) -> Average:
    """Mean of the values that are there; the missing ones are counted."""
    values = list(values)
    found = [value for value in values if value is not None]
    mean = sum(found) / len(found) if found else math.nan
    return Average(mean, len(found), len(values) - len(found))


def interval(values: Sequence[float | None]) -> Interval:
    """Mean and 95 % bootstrap interval (Efron 1979): percentiles of 2000 means of drawn sounds.

    The draws have a fixed seed, so that the same values always give the same interval.

    Args:
        values: one a sound; None where a measure refused.
    """
    found = np.array([value for value in values if value is not None])
    refused = len(values) - len(found)
    if not len(found):
        return Interval(None, None, None, 0, refused)
    generator = np.random.default_rng(SEED)
    means = [found[generator.integers(len(found), size=len(found))].mean() for _ in range(DRAWS)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(found.mean()), float(low), float(high), len(found), refused)
