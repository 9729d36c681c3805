"""The sides from which a detector looks at a sound, each as vectors that a Gaussian can be fitted to."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from vqaudio.applications.anomaly_features import QUIETEST, RESOLUTIONS, STEPS, Noticed

Array = NDArray[np.float64]

FLOOR = 0.1  # of the frames are quieter than a band's floor
HELD_SECONDS = 0.3  # longer than speech keeps a band loud
LEVELS = (0.5, 0.9, 0.97, 0.99, 0.997, 0.999, 1.0)  # shares of samples that are quieter
NEIGHBOUR_SECONDS = 0.006


def views(noticed: Noticed) -> dict[str, Array]:
    """Vectors `[N, D]` by view: one for the whole sound, or one every 2 ms for `moments` and `jumps`.

    - `spectrum`: mean and deviation over time of the log-mel of the sound; `resynthesis`: of its error.
    - `floor`: what the lowest bands do not fall below; hum.
    - `held`: the loudest that each band stays for 0.3 s; noise.
    - `peaks`: levels of the loudest samples against those of the resynthesis; clipping.
    - `moments`: the error in short windows, and against that 6 ms before and after; clicks, dropouts.
    - `jumps`: the sound in short windows, against that 6 ms before and after; clicks.
    - `prior`: bits, their deviation, and how many more they are when the codes are read backwards.
    """
    series = {name: one.astype(np.float64) for name, one in noticed.series.items()}
    long, error = series["sound long"], series["error short"]
    bits, backwards = series["bits"]
    whole = {
        "spectrum": _moments(long),
        "resynthesis": _moments(series["error long"]),
        "floor": np.quantile(long[: len(long) // 4], FLOOR, axis=1),
        "held": _held(series["sound middle"]),
        "peaks": _levels(series["samples"]) - _levels(series["samples made"]),
        "prior": np.array([bits.mean(), bits.std(), (backwards - bits).mean()]),
    }
    return {name: vector[None] for name, vector in whole.items()} | {
        "moments": np.concatenate([error, _change(error)]).T,
        "jumps": _change(series["sound short"]).T,
    }


def over_time(series: NDArray[Any], frames: int, by: np.ufunc) -> Array:
    """`[D, F]` brought to fewer frames `[D, frames]` by `np.maximum` or the like."""
    starts = np.arange(frames) * series.shape[1] // frames
    return by.reduceat(series.astype(np.float64), starts, axis=1)


def _moments(series: Array) -> Array:
    return np.concatenate([series.mean(1), series.std(1)])


def _held(log_mel: Array) -> Array:
    """`[bands, F]` to `[bands]`: of all stretches of 0.3 s, the loudest by its quietest frame."""
    length = min(log_mel.shape[1], round(HELD_SECONDS / RESOLUTIONS["middle"].hop_seconds))
    held: Array = sliding_window_view(log_mel, length, axis=1).min(2).max(1)
    return held


def _levels(counts: Array) -> Array:
    """Decibels that shares of the samples stay below, from counts of levels `[levels, pieces]`."""
    below = counts.sum(1).cumsum()
    return QUIETEST + np.searchsorted(below, np.array(LEVELS) * below[-1]) / STEPS


def _change(series: Array) -> Array:
    """Of `[D, F]`: each frame less the mean of one before and one behind it."""
    step = round(NEIGHBOUR_SECONDS / RESOLUTIONS["short"].hop_seconds)
    padded = np.pad(series, ((0, 0), (step, step)), mode="edge")
    changed: Array = series - (padded[:, : -2 * step] + padded[:, 2 * step :]) / 2
    return changed
