"""Two sounds to be compared: brought to one rate and length, and a constant delay taken out."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vqaudio.errors import UserError


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
    # what wraps around comes after `most` steps
    length = fft_length(max(reference.shape[-1], degraded.shape[-1]) + most)
    spectra = [torch.fft.rfft(x.double(), length) for x in (reference, degraded)]
    products = torch.fft.irfft(spectra[0].conj() * spectra[1], length)
    products = products.reshape(-1, length).sum(0)
    steps = torch.arange(-most, most + 1)
    norm = reference.double().norm() * degraded.double().norm()
    return products[steps % length] / norm if norm > 0 else torch.zeros(len(steps), dtype=torch.float64)


def fft_length(samples: int) -> int:
    """The next power of two: transforms of other lengths can be many times slower."""
    return 1 << (samples - 1).bit_length()


def delay_of(reference: Tensor, degraded: Tensor, most: int) -> int:
    """Samples by which one sound comes after the other, where their waveforms agree best.

    Args:
        reference: float `[T]`.
        degraded: float `[T]`; its sign does not matter.
        most: samples to look for, early or late.
    """
    return int(correlation(reference, degraded, most).abs().argmax()) - most


def without_delay(audio: Tensor, delay: int, length: int) -> Tensor:
    """A sound `[T]` moved back by `delay` samples, cut or filled with silence to `length`."""
    moved = audio[delay:] if delay >= 0 else F.pad(audio, (-delay, 0))
    return F.pad(moved, (0, length - len(moved)))  # negative padding cuts
