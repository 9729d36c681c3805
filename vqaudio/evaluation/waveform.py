"""Distortion of the waveform: signal-to-distortion ratios."""

import math

import torch
from torch import Tensor

from vqaudio.evaluation.pairs import check_lengths, delay_of, fft_length, without_delay

MOST_DELAY_SECONDS = 0.05
TAPS = 512
MOST_DB = 100.0


def si_sdr(reference: Tensor, degraded: Tensor, sample_rate: int) -> float | None:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, arXiv 1811.02508, eq. 5).

    Means are taken out first (so it is SI-SNR too), and the constant delay of up to 50 ms, either
    way, at which the waveforms agree best; what then has no partner at the ends counts as silence.

    Args:
        reference: float `[T]`.
        degraded: float `[T]`.
        sample_rate: of both, in Hz.

    Returns:
        At most 100 dB, beyond which there is rounding alone; None where a sound is silent.
    """
    check_lengths(reference, degraded)
    delay = delay_of(reference, degraded, round(MOST_DELAY_SECONDS * sample_rate))
    aligned = without_delay(degraded, delay, len(degraded)).double()
    first, second = (audio - audio.mean() for audio in (reference.double(), aligned))
    return _ratio((first @ second) ** 2 / (first @ first), second @ second)


def sdr(reference: Tensor, degraded: Tensor, sample_rate: int) -> float | None:
    """Signal-to-distortion ratio in dB of BSS Eval (Vincent et al. 2006).

    Whatever a filter of 512 taps can make of the reference counts as signal, and so do delays up
    to that. Of one source it is also CI-SDR (Boeddeker et al. 2021, arXiv 2011.15003), SAR and, as
    there is nothing to interfere, the whole of the BSS Eval family.

    Args:
        reference: float `[T]`.
        degraded: float `[T]`.
        sample_rate: of both, in Hz.

    Returns:
        At most 100 dB; None where a sound is silent.
    """
    check_lengths(reference, degraded)
    if not reference.any():
        return None
    length = fft_length(len(reference) + TAPS)
    first, second = (torch.fft.rfft(audio.double(), length) for audio in (reference, degraded))
    own = torch.fft.irfft(first.abs().square(), length)[:TAPS]
    shared = torch.fft.irfft(first.conj() * second, length)[:TAPS]
    lags = (torch.arange(TAPS)[:, None] - torch.arange(TAPS)[None]).abs()
    taps, singular = torch.linalg.solve_ex(own[lags], shared)
    if singular:  # as of a single tone, or of very few samples
        taps = torch.linalg.lstsq(own[lags], shared[:, None]).solution[:, 0]
    return _ratio(shared @ taps, degraded.double().square().sum())


def _ratio(signal: Tensor, whole: Tensor) -> float | None:
    """Signal to the rest of the whole, in dB."""
    kept, rest = signal.item(), whole.item() - signal.item()
    if not (math.isfinite(kept) and whole.item() > 0 and kept > 0):
        return None
    if rest <= kept * 10 ** (-MOST_DB / 10):
        return MOST_DB
    return 10 * math.log10(kept / rest)
