"""Two sounds to be compared: brought to one rate and length, and a constant delay taken out."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vqaudio.errors import UserError

ENVELOPE_SECONDS = 0.001  # of a step of the spectra by which delays of parametric codecs are found
BANDS_HZ = (100, 3400)  # that every speech codec passes on
CLEAR = 0.5  # correlation of waveforms from which their own delay is believed


def check_lengths(reference: Tensor, degraded: Tensor) -> None:
    """Refuse what is not two sounds `[T]` of one length.

    Raises:
        UserError: they are not.
    """
    if reference.ndim != 1 or reference.shape != degraded.shape:
        raise UserError(
            f"two sounds [T] of one length are compared, not {list(reference.shape)} "
            f"and {list(degraded.shape)}"
        )


def correlation(reference: Tensor, degraded: Tensor, most: int) -> Tensor:
    """Correlation of two sequences with the second one moved back by -most to most steps.

    Args:
        reference: float `[..., T]`; leading dimensions are summed over.
        degraded: float `[..., T]`.
        most: steps.

    Returns:
        `[2 * most + 1]`, from -1 to 1 by the energy of the whole sequences; 0 where one is silent.
    """
    length = reference.shape[-1] + degraded.shape[-1]
    spectra = [torch.fft.rfft(x.double(), length) for x in (reference, degraded)]
    products = torch.fft.irfft(spectra[0].conj() * spectra[1], length)
    products = products.reshape(-1, length).sum(0)
    steps = torch.arange(-most, most + 1)
    norm = reference.double().norm() * degraded.double().norm()
    within = steps.abs() < length // 2
    found = torch.where(within, products[steps % length], 0.0)
    return found / norm if norm > 0 else torch.zeros(len(steps), dtype=torch.float64)


def delay_of(reference: Tensor, degraded: Tensor, most: int) -> int:
    """Samples by which one sound comes after the other, where their waveforms agree best.

    Args:
        reference: float `[T]`.
        degraded: float `[T]`; its sign does not matter.
        most: samples to look for, early or late.
    """
    return int(correlation(reference, degraded, most).abs().argmax()) - most


def codec_delay(
    references: list[Tensor], degraded: list[Tensor], sample_rate: int, most_seconds: float
) -> int:
    """The constant delay of a codec, from some sounds that went through it.

    Where waveforms agree it is theirs. Codecs such as Codec2 keep no waveform: there, it is that at
    which spectra by steps of a millisecond agree best.

    Args:
        references: float `[T]` each.
        degraded: what came out, float `[T]`, of any length.
        sample_rate: of all, in Hz.
        most_seconds: to look for.

    Returns:
        Samples, of either sign.
    """
    most = round(most_seconds * sample_rate)
    waves = sum(correlation(a, b, most) for a, b in zip(references, degraded, strict=True))
    assert isinstance(waves, Tensor)
    if waves.abs().max() > CLEAR * len(references):
        return int(waves.abs().argmax()) - most
    step = round(ENVELOPE_SECONDS * sample_rate)
    spectra = [
        [_spectra(sound, sample_rate, step) for sound in pair]
        for pair in zip(references, degraded, strict=True)
    ]
    total = sum(correlation(a, b, most // step) for a, b in spectra)
    assert isinstance(total, Tensor)
    return (int(total.argmax()) - most // step) * step


def without_delay(audio: Tensor, delay: int, length: int) -> Tensor:
    """A sound `[T]` moved back by `delay` samples, cut or filled with silence to `length`."""
    moved = audio[delay:] if delay >= 0 else F.pad(audio, (-delay, 0))
    return F.pad(moved, (0, length - len(moved)))  # negative padding cuts


def _spectra(audio: Tensor, sample_rate: int, step: int) -> Tensor:
    """Log magnitude every `step` samples, its mean over time taken out: `[bins, steps]`."""
    n_fft = 32 * step
    padded = F.pad(audio.double(), (n_fft // 2, n_fft // 2))
    frames = padded.unfold(0, n_fft, step) * torch.hann_window(n_fft, dtype=torch.float64)
    low, high = (round(hz * n_fft / sample_rate) for hz in BANDS_HZ)
    loud = torch.fft.rfft(frames).abs()[:, low:high].clamp(min=1e-3).log().T
    return loud - loud.mean(dim=1, keepdim=True)
