"""Spectrograms: magnitude and mel, from whole frames only, so that nothing is padded here."""

import math

import torch
from torch import Tensor, nn

LOG_FLOOR = 1e-5


def mel_filters(sample_rate: int, n_fft: int, bands: int) -> Tensor:
    """Triangular mel filters on Slaney's scale, each of unit area, from 0 Hz to Nyquist.

    The scale is linear below 1 kHz (200/3 Hz a mel) and logarithmic above (27 mels for a factor
    of 6.4), as in Slaney's Auditory Toolbox (1998).

    Returns:
        float32 `[bands, n_fft // 2 + 1]`.
    """
    linear_step, knee, log_step = 200 / 3, 1000.0, math.log(6.4) / 27
    nyquist = sample_rate / 2
    top = nyquist / linear_step
    if nyquist > knee:
        top = knee / linear_step + math.log(nyquist / knee) / log_step
    mels = torch.linspace(0, top, bands + 2, dtype=torch.float64)
    above = knee * torch.exp(log_step * (mels - knee / linear_step))
    edges = torch.where(mels < knee / linear_step, mels * linear_step, above)
    bins = torch.linspace(0, nyquist, n_fft // 2 + 1, dtype=torch.float64)
    low, centre, high = (edges[i : bands + i, None] for i in range(3))
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return (triangles * 2 / (high - low)).float()


def spectrum(audio: Tensor, n_fft: int, hop: int, window: Tensor) -> Tensor:
    """Complex spectrum of the whole frames of `audio` under `window`.

    Args:
        audio: float `[B, T]`.
        window: `[n_fft]`.

    Returns:
        complex `[B, F, n_fft // 2 + 1]` with `F = (T - n_fft) // hop + 1`; frame `f` starts at
        sample `f * hop`.
    """
    return torch.fft.rfft(audio.unfold(-1, n_fft, hop) * window)


def magnitude(audio: Tensor, n_fft: int, hop: int) -> Tensor:
    """Hann-windowed magnitude spectrogram of the whole frames of `audio`.

    Args:
        audio: float `[B, T]`.

    Returns:
        `[B, n_fft // 2 + 1, F]` with `F = (T - n_fft) // hop + 1`.
    """
    window = torch.hann_window(n_fft, device=audio.device, dtype=audio.dtype)
    return spectrum(audio, n_fft, hop, window).abs().transpose(1, 2)


class LogMel(nn.Module):
    """Natural logarithm of the mel magnitude spectrogram, floored at 1e-5.

    Args:
        sample_rate: in Hz.
        n_fft: samples a frame.
        hop: samples from one frame's start to the next.
        bands: mel filters.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, sample_rate: int, n_fft: int, hop: int, bands: int) -> None:
        super().__init__()
        self.n_fft, self.hop, self.bands = n_fft, hop, bands
        self.register_buffer("filters", mel_filters(sample_rate, n_fft, bands), persistent=False)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """`[B, T]` to `[B, bands, F]`, in fp32 whatever the autocast: logarithms need it."""
        with torch.autocast(audio.device.type, enabled=False):
            spectra = spectrum(audio.float(), self.n_fft, self.hop, self.window)
            # sqrt of the clamped power has a finite gradient at silence; abs() does not
            power = spectra.real.square() + spectra.imag.square()
            mel = power.clamp(min=LOG_FLOOR**2).sqrt() @ self.filters.T
            return mel.clamp(min=LOG_FLOOR).log().transpose(1, 2)
