"""What a head can make of its features."""

import math

import pytest
import torch

from vqaudio.codec.heads import InverseSTFT
from vqaudio.config import ISTFTHead


@pytest.mark.parametrize(("n_fft", "hop"), [(256, 64), (640, 160), (1280, 320)])
def test_the_inverse_stft_reaches_full_scale(n_fft: int, hop: int) -> None:
    head = InverseSTFT(ISTFTHead(kind="istft", hop=hop, n_fft=n_fft, channels=4))
    sine = torch.sin(2 * math.pi * torch.arange(20 * n_fft) / 20)
    window = torch.hann_window(n_fft)
    spectra = torch.stft(sine, n_fft, hop, window=window, center=False, return_complex=True)
    features = torch.cat([spectra.abs().clamp(min=1e-5).log(), spectra.angle()])[None]
    head.norm, head.project = torch.nn.Identity(), torch.nn.Identity()  # type: ignore[assignment]
    made = head(features)[0, 0]
    assert made.square().mean().sqrt() == pytest.approx(math.sqrt(0.5), rel=0.01)
