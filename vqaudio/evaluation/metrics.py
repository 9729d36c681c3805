"""Measures of resynthesis and of codes: spectral distance, intelligibility, codebook use, bits."""

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vqaudio.audio import resample
from vqaudio.codes import Codes
from vqaudio.errors import UserError
from vqaudio.features import magnitude, mel_filters

N_FFT, HOP, BANDS, FLOOR = 1024, 256, 80, 1e-5
WIDEST_RATE = 16_000


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
    padded = F.pad(audio.float()[None], (N_FFT // 2, N_FFT // 2))
    mel = mel_filters(sample_rate, N_FFT, BANDS) @ magnitude(padded, N_FFT, HOP)[0]
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
    _check_lengths(reference, degraded)
    if sample_rate > WIDEST_RATE:
        both = resample(torch.stack([reference, degraded]), sample_rate, WIDEST_RATE)
        reference, degraded = both[0], both[1]
        sample_rate = WIDEST_RATE
    difference = log10_mel(reference, sample_rate) - log10_mel(degraded, sample_rate)
    return difference.abs().mean().item()


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
    _check_lengths(reference, degraded)
    try:
        from pystoi import stoi as measure
    except ImportError:
        raise UserError("STOI needs pystoi: install vqaudio with the extra `eval`") from None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        score = float(measure(reference.numpy(), degraded.numpy(), sample_rate, extended=extended))
    # pystoi answers 1e-5 with a warning where it has nothing to measure: no score, rather than a bad one
    too_short = any("Not enough STFT frames" in str(warning.message) for warning in caught)
    return None if too_short or not math.isfinite(score) else score


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
        1.0 to 4.6; None where it finds no speech, or less than a quarter of a second.

    Raises:
        UserError: pesq is not installed.
    """
    _check_lengths(reference, degraded)
    try:
        from pesq import PesqError
        from pesq import pesq as measure
    except ImportError:
        raise UserError("PESQ needs pesq: install vqaudio with the extra `eval`") from None
    if not reference.any():  # it would divide by the loudest sample
        return None
    try:
        return float(measure(sample_rate, reference.numpy(), degraded.numpy(), band))
    except PesqError:
        return None


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


def _check_lengths(reference: Tensor, degraded: Tensor) -> None:
    if reference.ndim != 1 or reference.shape != degraded.shape:
        raise UserError(
            f"two sounds [T] of one length are compared, not {list(reference.shape)} "
            f"and {list(degraded.shape)}"
        )
