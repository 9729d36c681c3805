"""Measures of speech: intelligibility and quality, by the standard packages."""

import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vqaudio.errors import UserError
from vqaudio.evaluation.pairs import check_lengths

STOI_RATE = 10_000
LONGEST_SECONDS = 60  # for PESQ


def stoi(reference: Tensor, degraded: Tensor, sample_rate: int, extended: bool = False) -> float | None:
    """Short-time objective intelligibility (Taal et al. 2011), or its extended form (2016).

    Args:
        reference: float `[T]`.
        degraded: float `[T]`, aligned with it.
        sample_rate: of both, in Hz.
        extended: compare spectra over bands and time at once, for modulated noise.

    Returns:
        Up to 1; None where the reference has too little speech for one 384 ms segment.

    Raises:
        UserError: pystoi is not installed.
    """
    check_lengths(reference, degraded)
    try:
        from pystoi import stoi as measure
    except ImportError:
        raise UserError("STOI needs pystoi: install vqaudio with the extra `eval`") from None
    if not reference.any():  # it would say 0, as if something had not been understood
        return None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sounds = [
            _at_stois_rate(x.float().numpy().tobytes(), sample_rate) for x in (reference, degraded)
        ]
        score = float(measure(*sounds, STOI_RATE, extended=extended))
    # pystoi answers 1e-5 with a warning where it has nothing to measure: no score, rather than a bad one
    too_short = any("Not enough STFT frames" in str(warning.message) for warning in caught)
    return None if too_short or not math.isfinite(score) else score


@lru_cache(maxsize=2)  # both forms ask for both sounds, and many systems for the same original
def _at_stois_rate(samples: bytes, sample_rate: int) -> np.ndarray[Any, Any]:
    from pystoi.utils import resample_oct

    audio = np.frombuffer(samples, dtype=np.float32)
    return audio if sample_rate == STOI_RATE else resample_oct(audio, STOI_RATE, sample_rate)


def pesq(
    reference: Tensor, degraded: Tensor, sample_rate: int, band: Literal["nb", "wb"]
) -> float | None:
    """Perceptual evaluation of speech quality (ITU-T P.862, wide band P.862.2).

    Args:
        reference: float `[T]`.
        degraded: float `[T]`, aligned with it.
        sample_rate: of both: 8000 Hz for the narrow band, 16000 Hz for either.
        band: narrow or wide.

    Returns:
        1.0 to 4.6; None where it finds no speech, less than a quarter of a second, or more than a
        minute: P.862 is for the length of sentences, and the package ends the process that gives it
        more than 50 utterances.

    Raises:
        UserError: pesq is not installed.
    """
    check_lengths(reference, degraded)
    try:
        from pesq import PesqError
        from pesq import pesq as measure
    except ImportError:
        raise UserError("PESQ needs pesq: install vqaudio with the extra `eval`") from None
    if len(reference) > LONGEST_SECONDS * sample_rate:
        return None
    if not reference.any():  # it would divide by the loudest sample
        return None
    try:
        with _denormals_as_zero():
            return float(measure(sample_rate, reference.numpy(), degraded.numpy(), band))
    except PesqError:
        return None


@contextmanager
def _denormals_as_zero() -> Iterator[None]:
    """Take numbers too small for full precision as 0 in this thread: PESQ's filters fade out in them.

    They are half of its time, and no score has a digit of them.
    """
    already = sys.float_info.min / 2 == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(already)
