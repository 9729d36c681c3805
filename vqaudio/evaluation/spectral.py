"""Distances of spectra: mel, multi-scale, log-spectral and mel-cepstral."""

import math
from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from vqaudio.audio import resample
from vqaudio.evaluation.pairs import check_lengths
from vqaudio.features import mel_filters, spectrum

N_FFT, HOP, BANDS, FLOOR = 1024, 256, 80, 1e-5
LSD_N_FFT, LSD_HOP = 2048, 512
CEPSTRA = 24
SCALES = ((2048, 150), (512, 80))  # samples a window, and mel bands
WIDEST_RATE = 16_000
REMEMBERED = 60 * WIDEST_RATE  # samples; spectra of longer sounds would fill the memory


def log10_mel(audio: Tensor, sample_rate: int) -> Tensor:
    """Log10 mel magnitudes by which `mel_distance` compares.

    80 Slaney bands from 0 Hz to Nyquist, Hann window, n_fft 1024, hop 256, zero-padded by half a
    window at both ends, floored at 1e-5.

    Args:
        audio: float `[T]`.
        sample_rate: in Hz.

    Returns:
        `[80, T // 256 + 1]`, at least -5.
    """
    mel = _filters(sample_rate, N_FFT, BANDS) @ _spectrogram(audio, N_FFT, HOP)
    return mel.clamp(min=FLOOR).log10()


def mel_distance(reference: Tensor, degraded: Tensor, sample_rate: int) -> float:
    """Mean absolute difference of log10 mel spectra, 0-8 kHz (0-Nyquist for lower rates).

    Sounds above 16 kHz are brought to 16 kHz first: the bands end at 8 kHz and a window lasts
    64 ms whatever the rate, so figures compare.

    Args:
        reference: float `[T]`.
        degraded: float `[T]`, aligned with it.
        sample_rate: of both, in Hz.

    Returns:
        0 for equal sounds; 1 is a factor of ten in every band.
    """
    pictures = [log10_mel(*sound) for sound in _both(reference, degraded, sample_rate)]
    return (pictures[0] - pictures[1]).abs().mean().item()


def mel_cepstral_distortion(reference: Tensor, degraded: Tensor, sample_rate: int) -> float:
    """Mel-cepstral distortion in dB (Kubichek 1993), frame by frame, without time alignment.

    The cepstrum `c_m = 2 / B * sum_b ln M_b cos(pi m (b + 1/2) / B)` is the DCT-II of the natural
    logarithm of the mel magnitudes of `log10_mel` (64 ms frames every 16 ms at 16 kHz, B = 80
    bands). Of orders 1 to 24 it is `10 / ln 10 * sqrt(2 * sum (c - c')^2)`, the mean over all
    frames, silent ones too: the RMS difference in dB of the smoothed spectra. VERSA's `mcd` has 39
    orders of WORLD's envelope under another warping, so figures do not compare.

    Args:
        reference: float `[T]`.
        degraded: float `[T]`, aligned with it.
        sample_rate: of both, in Hz; sounds above 16 kHz are brought to 16 kHz.
    """
    first, second = (log10_mel(*sound) for sound in _both(reference, degraded, sample_rate))
    orders = torch.arange(1, CEPSTRA + 1, dtype=torch.float64)[:, None]
    bands = torch.arange(BANDS, dtype=torch.float64)[None] + 0.5
    transform = 2 / BANDS * torch.cos(math.pi / BANDS * orders * bands)
    cepstra = transform @ (first - second) * math.log(10)
    return (10 / math.log(10) * (2 * cepstra.square().sum(0)).sqrt()).mean().item()


def log_spectral_distance(reference: Tensor, degraded: Tensor, sample_rate: int) -> float:
    """Log-spectral distance in dB: the mean over frames of the RMS difference over bins.

    Magnitudes under a Hann window of 2048 samples every 512, zero-padded by half a window at both
    ends, floored at 1e-5 (digital silence would be infinitely far from anything).

    Args:
        reference: float `[T]`.
        degraded: float `[T]`, aligned with it.
        sample_rate: of both, in Hz; sounds above 16 kHz are brought to 16 kHz.
    """
    first, second = (
        20 * _spectrogram(audio, LSD_N_FFT, LSD_HOP).clamp(min=FLOOR).log10()
        for audio, _ in _both(reference, degraded, sample_rate)
    )
    return (first - second).square().mean(0).sqrt().mean().item()


def stft_distance(reference: Tensor, degraded: Tensor, sample_rate: int) -> float | None:
    """Multi-resolution STFT distance, that of DAC (Kumar et al. 2023, arXiv 2306.06546).

    The mean absolute difference of magnitudes and of the log10 of their squares, floored at 1e-5
    before squaring, summed over Hann windows of 2048 and 512 samples, hop a quarter, the ends
    mirrored.

    Args:
        reference: float `[T]`.
        degraded: float `[T]`, aligned with it.
        sample_rate: of both, in Hz; windows are in samples whatever it is.

    Returns:
        0 for equal sounds; None for sounds of 1024 samples or fewer.
    """
    return _over_scales(reference, degraded, lambda magnitudes, n_fft, bands: magnitudes)


def multi_mel_distance(reference: Tensor, degraded: Tensor, sample_rate: int) -> float | None:
    """Multi-resolution mel distance, that of DAC: as `stft_distance`, of 150 and 80 mel bands.

    Args:
        reference: float `[T]`.
        degraded: float `[T]`, aligned with it.
        sample_rate: of both, in Hz; Slaney bands reach from 0 Hz to Nyquist.

    Returns:
        0 for equal sounds; None for sounds of 1024 samples or fewer.
    """
    return _over_scales(
        reference,
        degraded,
        lambda magnitudes, n_fft, bands: _filters(sample_rate, n_fft, bands) @ magnitudes,
    )


def _over_scales(
    reference: Tensor, degraded: Tensor, seen: Callable[[Tensor, int, int], Tensor]
) -> float | None:
    """Sum over `SCALES` of the distance of what is seen of a spectrum, its `n_fft` and bands."""
    check_lengths(reference, degraded)
    if len(reference) <= SCALES[0][0] // 2:
        return None
    total = 0.0
    for n_fft, bands in SCALES:
        first, second = (
            seen(_spectrogram(audio, n_fft, n_fft // 4, "reflect"), n_fft, bands)
            for audio in (reference, degraded)
        )
        total += _log_and_linear(first, second)
    return total


def _log_and_linear(first: Tensor, second: Tensor) -> float:
    logs = [2 * magnitudes.clamp(min=FLOOR).log10() for magnitudes in (first, second)]
    return ((first - second).abs().mean() + (logs[0] - logs[1]).abs().mean()).item()


def _both(reference: Tensor, degraded: Tensor, sample_rate: int) -> list[tuple[Tensor, int]]:
    """Both sounds at 16 kHz or their own lower rate, with that rate."""
    check_lengths(reference, degraded)
    rate = min(sample_rate, WIDEST_RATE)
    return [(audio, rate) for audio in resample(torch.stack([reference, degraded]), sample_rate, rate)]


@lru_cache
def _filters(sample_rate: int, n_fft: int, bands: int) -> Tensor:
    return mel_filters(sample_rate, n_fft, bands).double()


def _spectrogram(audio: Tensor, n_fft: int, hop: int, ends: str = "constant") -> Tensor:
    """Magnitudes `[n_fft // 2 + 1, T // hop + 1]` in double precision, frames centred on `f * hop`."""
    magnitudes = _magnitudes if len(audio) <= REMEMBERED else _magnitudes.__wrapped__
    return magnitudes(audio.double().numpy().tobytes(), n_fft, hop, ends)


@lru_cache(maxsize=8)  # four of an original, for all systems, and four of a system, for all measures
def _magnitudes(samples: bytes, n_fft: int, hop: int, ends: str) -> Tensor:
    audio = torch.frombuffer(bytearray(samples), dtype=torch.float64)
    padded = F.pad(audio[None, None], (n_fft // 2, n_fft // 2), mode=ends)
    window = torch.hann_window(n_fft, dtype=torch.float64)
    frames = spectrum(padded[0], n_fft, hop, window)[0]
    # a third of the time of `abs`, which guards against overflow
    return (frames.real.square() + frames.imag.square()).sqrt().T
