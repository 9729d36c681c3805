"""Means over sounds and their intervals."""

import math

import numpy as np
import pytest
import scipy.stats

from vqaudio.evaluation.averages import average, interval


def test_a_missing_value_is_counted_and_does_not_pull_the_mean_down() -> None:
    scores = average([None, 1.0])
    assert (scores.count, scores.failed, scores.mean) == (1, 1, 1.0)
    assert math.isnan(average([None]).mean)


def test_an_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=60)
    found = interval([*values, None])
    assert (found.count, found.refused) == (60, 1)
    assert found.mean == pytest.approx(values.mean())
    want = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((want.low, want.high), abs=0.03)


def test_an_interval_is_the_same_every_time_and_none_of_nothing() -> None:
    assert interval([1.0, 2.0, 4.0]) == interval([1.0, 2.0, 4.0])
    nothing = interval([None, None])
    assert (nothing.mean, nothing.low, nothing.count, nothing.refused) == (None, None, 0, 2)
