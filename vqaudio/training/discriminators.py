"""Discriminators: networks that learn to tell what a codec made from sound."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from vqaudio.config import NormKind
from vqaudio.features import spectrum
from vqaudio.training.losses import OVERLAP, surround

SLOPE = 0.1  # of the leaky rectifiers
DILATIONS = (1, 2, 4)  # in time, of the convolutions over a spectrogram
WIDEST = 1024  # channels

Norm = Callable[[nn.Conv2d], nn.Module]


@dataclass
class Verdict:
    """What one discriminator says of a batch.

    Args:
        score: `[B, N]`, one number a place in the sound: high for sound, low for what was made.
        features: of each hidden layer, `[B, C, ...]`.
    """

    score: Tensor
    features: list[Tensor]


class Discriminators(nn.Module):
    """All discriminators of a training: one an STFT size, one a period.

    Args:
        fft_sizes: in samples; see `StftDiscriminator`.
        periods: in samples; see `PeriodDiscriminator`.
        channels: of the first layer of each.
        norm: of the weights of every convolution.
    """

    def __init__(
        self, fft_sizes: Sequence[int], periods: Sequence[int], channels: int, norm: NormKind
    ) -> None:
        super().__init__()
        normed = _norms()[norm]
        spectral = [StftDiscriminator(n_fft, channels, normed) for n_fft in fft_sizes]
        periodic = [PeriodDiscriminator(period, channels, normed) for period in periods]
        self.members = nn.ModuleList([*spectral, *periodic])

    def forward(self, audio: Tensor) -> list[Verdict]:
        """What each of them says of sounds `[B, 1, T]`, in fp32 or under autocast."""
        return [member(audio) for member in self.members]


class _Judge(nn.Module, ABC):
    """Convolutions over a picture of a sound, and a last one that gives the score."""

    def __init__(self, layers: Sequence[nn.Module], last: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.last = last

    @abstractmethod
    def picture(self, audio: Tensor) -> Tensor:
        """The sounds `[B, 1, T]` as `[B, C, H, W]`."""

    def forward(self, audio: Tensor) -> Verdict:
        state = self.picture(audio)
        features = []
        for layer in self.layers:
            state = nn.functional.leaky_relu(layer(state), SLOPE)
            features.append(state)
        return Verdict(self.last(state).flatten(1), features)


class StftDiscriminator(_Judge):
    """Looks at the complex spectrogram at one resolution.

    As in EnCodec (Défossez et al. 2022, arXiv 2210.13438, section 3.4): real and imaginary part
    are two channels, and convolutions stride over frequency and widen their view over time. The hop
    is a quarter of the FFT, and spectra are divided by the root of the window's energy, so that all
    resolutions are of one size.

    Args:
        n_fft: in samples.
        channels: of every layer.
        normed: what is done to each convolution.
    """

    def __init__(self, n_fft: int, channels: int, normed: Norm) -> None:
        first = nn.Conv2d(2, channels, (3, 9), padding=(1, 4))
        middle = [
            nn.Conv2d(channels, channels, (3, 9), (1, 2), padding=(d, 4), dilation=(d, 1))
            for d in DILATIONS
        ]
        final = nn.Conv2d(channels, channels, (3, 3), padding=(1, 1))
        last = nn.Conv2d(channels, 1, (3, 3), padding=(1, 1))
        super().__init__([normed(layer) for layer in (first, *middle, final)], normed(last))
        self.n_fft = n_fft
        window = torch.hann_window(n_fft)
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)

    def picture(self, audio: Tensor) -> Tensor:
        """`[B, 2, F, n_fft // 2 + 1]`, silence round the sound so that no sample is left out."""
        padded = surround(audio[:, 0].float(), self.n_fft)
        found = spectrum(padded, self.n_fft, self.n_fft // OVERLAP, self.get_buffer("window"))
        return torch.view_as_real(found).permute(0, 3, 1, 2)


class PeriodDiscriminator(_Judge):
    """Looks at every `period`-th sample, as in HiFi-GAN (Kong et al. 2020, arXiv 2010.05646, 2.3).

    The sound is laid out in rows of `period` samples, and convolutions go down the columns alone.

    Args:
        period: in samples.
        channels: of the first layer; each further one has four times as many, up to 1,024.
        normed: what is done to each convolution.
    """

    def __init__(self, period: int, channels: int, normed: Norm) -> None:
        widths = [1, *(min(channels * 4**n, WIDEST) for n in range(4))]
        layers = [
            nn.Conv2d(inside, outside, (5, 1), (3, 1), padding=(2, 0))
            for inside, outside in pairwise(widths)
        ]
        layers.append(nn.Conv2d(widths[-1], widths[-1], (5, 1), padding=(2, 0)))
        last = nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0))
        super().__init__([normed(layer) for layer in layers], normed(last))
        self.period = period

    def picture(self, audio: Tensor) -> Tensor:
        """`[B, 1, T / period, period]`, silence after the end up to a whole row."""
        rows = nn.functional.pad(audio, (0, -audio.shape[2] % self.period))
        return rows.unflatten(2, (-1, self.period))


def _norms() -> dict[NormKind, Norm]:
    return {"weight": parametrizations.weight_norm, "spectral": parametrizations.spectral_norm}
