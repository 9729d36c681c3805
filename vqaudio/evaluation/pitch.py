"""Measures of pitch and voicing, by the tracker pYIN of librosa."""

import math
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from torch import Tensor

from vqaudio.audio import resample
from vqaudio.evaluation.pairs import check_lengths
from vqaudio.files import in_turn

LOWEST_HZ, HIGHEST_HZ = 65.0, 400.0  # of speaking voices
RATE, FRAME, HOP = 16_000, 1024, 320
PIECE = 60 * RATE  # samples tracked at once, so that memory stays within bounds
LEAST_VOICED = 10  # frames, voiced in both sounds, to say anything


def f0_correlation(reference: Tensor, degraded: Tensor, sample_rate: int) -> float | None:
    """Pearson's correlation of the F0 of both sounds, over frames that are voiced in both.

    Args:
        reference: float `[T]`.
        degraded: float `[T]`, aligned with it.
        sample_rate: of both, in Hz.

    Returns:
        -1 to 1; None with fewer than 10 such frames, or where the F0 of one never changes.
    """
    first, second = _voiced_in_both(reference, degraded, sample_rate)
    if len(first) < LEAST_VOICED or not (first.std() > 0 and second.std() > 0):
        return None
    return float(np.corrcoef(first, second)[0, 1])


def f0_rmse_hz(reference: Tensor, degraded: Tensor, sample_rate: int) -> float | None:
    """RMS difference of the F0 of both sounds in Hz, over frames that are voiced in both.

    Args:
        reference: float `[T]`.
        degraded: float `[T]`, aligned with it.
        sample_rate: of both, in Hz.

    Returns:
        None with fewer than 10 such frames.
    """
    first, second = _voiced_in_both(reference, degraded, sample_rate)
    return _rms(first - second)


def f0_rmse_cents(reference: Tensor, degraded: Tensor, sample_rate: int) -> float | None:
    """The same in cents, hundredths of a semitone, so that high and low voices compare."""
    first, second = _voiced_in_both(reference, degraded, sample_rate)
    return _rms(1200 * np.log2(second / first))


def voicing_error(reference: Tensor, degraded: Tensor, sample_rate: int) -> float | None:
    """Share of frames that are voiced in one sound and not in the other.

    Args:
        reference: float `[T]`.
        degraded: float `[T]`, aligned with it.
        sample_rate: of both, in Hz.

    Returns:
        0 to 1; None for sounds shorter than a frame of 64 ms.
    """
    first, second = _tracks(reference, degraded, sample_rate)
    return float(np.mean(np.isnan(first) != np.isnan(second))) if len(first) else None


def track(audio: Tensor, sample_rate: int) -> np.ndarray:
    """F0 of a sound by pYIN (Mauch and Dixon 2014), 65 to 400 Hz.

    At 16 kHz, in frames of 1024 samples every 320, librosa's other settings as they are. Sounds over
    a minute are tracked minute by minute.

    Args:
        audio: float `[T]`.
        sample_rate: in Hz.

    Returns:
        float64 `[F]` in Hz, nan where there is no voice; empty for sounds shorter than a frame.
    """
    samples = resample(audio[None].float(), sample_rate, RATE)[0].numpy()
    return _track(samples.tobytes())


@lru_cache(maxsize=4)  # four measures ask for both sounds, and many systems for the same original
def _track(samples: bytes) -> np.ndarray:
    pyin = tracker()
    audio = np.frombuffer(samples, dtype=np.float32)
    pieces = [audio[start : start + PIECE] for start in range(0, len(audio), PIECE)]
    return np.concatenate([np.zeros(0), *(pyin(piece) for piece in pieces if len(piece) >= FRAME)])


@cache
def tracker() -> Callable[[np.ndarray], np.ndarray]:
    """Load pYIN of samples `[T]`, compiled: the first time on a machine this takes some ten seconds.

    One process at a time compiles it: two at once can leave machine code in numba's cache that is not
    of one piece and crashes every process from then on (numba issue 10128).
    """
    import librosa

    def pyin(samples: np.ndarray) -> np.ndarray:
        return librosa.pyin(
            samples, fmin=LOWEST_HZ, fmax=HIGHEST_HZ, sr=RATE, frame_length=FRAME, hop_length=HOP
        )[0]

    with in_turn(Path(librosa.__file__).parent):
        pyin(np.zeros(FRAME, np.float32))
    return pyin


def _tracks(reference: Tensor, degraded: Tensor, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    check_lengths(reference, degraded)
    return track(reference, sample_rate), track(degraded, sample_rate)


def _voiced_in_both(
    reference: Tensor, degraded: Tensor, sample_rate: int
) -> tuple[np.ndarray, np.ndarray]:
    first, second = _tracks(reference, degraded, sample_rate)
    both = ~(np.isnan(first) | np.isnan(second))
    return first[both], second[both]


def _rms(differences: np.ndarray) -> float | None:
    if len(differences) < LEAST_VOICED:
        return None
    return math.sqrt(float(np.mean(differences**2)))
