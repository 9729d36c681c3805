"""Discriminators: they hear every sample, learn to tell, and their norms hold."""

import pytest
import torch
from torch import Tensor, nn

from vqaudio.training.discriminators import Discriminators, PeriodDiscriminator, StftDiscriminator

RATE = 8000


def tones(count: int, length: int, seed: int = 0) -> Tensor:
    """Sines of random pitch: `[count, 1, length]`."""
    rng = torch.Generator().manual_seed(seed)
    pitch = 200 + 1000 * torch.rand(count, 1, 1, generator=rng)
    return 0.3 * torch.sin(2 * torch.pi * pitch * torch.arange(length) / RATE)


def make(norm: str = "weight") -> Discriminators:
    torch.manual_seed(0)
    return Discriminators([256, 64], [2, 5], 4, norm)


@pytest.mark.parametrize("length", [1, 63, 1000])
def test_every_sample_counts(length: int) -> None:
    audio = (tones(2, length) + 0.01).requires_grad_()
    for verdict in make()(audio):
        assert verdict.score.ndim == 2
        assert all(len(features) == 2 for features in verdict.features)
        [gradient] = torch.autograd.grad(verdict.score.square().sum(), audio, retain_graph=True)
        assert (gradient != 0).all()


def test_sounds_are_judged_one_by_one() -> None:
    audio = tones(3, 500)
    module = make()
    for whole, alone in zip(module(audio), module(audio[1:2]), strict=True):
        assert torch.allclose(whole.score[1:2], alone.score, atol=1e-5)


def test_the_spectrogram_is_that_of_torch_and_keeps_the_energy() -> None:
    audio = tones(1, 2048)
    picture = StftDiscriminator(256, 4, lambda layer: layer).picture(audio)
    window = torch.hann_window(256)
    padded = nn.functional.pad(audio[:, 0], (192, 192))
    wanted = torch.stft(padded, 256, 64, window=window, center=False, return_complex=True)
    wanted = wanted / window.square().sum().sqrt()
    assert torch.allclose(
        torch.view_as_complex(picture.permute(0, 2, 3, 1).contiguous()), wanted.mT, atol=1e-5
    )
    noise = torch.randn(1, 1, 8192, generator=torch.Generator().manual_seed(1))
    for n_fft in (64, 1024):
        power = StftDiscriminator(n_fft, 4, lambda layer: layer).picture(noise).square().sum(1).mean()
        assert power.item() == pytest.approx(1, abs=0.15)


def test_a_row_has_a_period() -> None:
    picture = PeriodDiscriminator(5, 4, lambda layer: layer).picture(torch.arange(1.0, 13)[None, None])
    assert picture[0, 0].tolist() == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11, 12, 0, 0, 0]]


def test_spectral_norm_bounds_every_layer() -> None:
    module = make("spectral")
    for _ in range(50):  # a power iteration each
        module(tones(1, 200))
    module.eval()
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            largest = torch.linalg.svdvals(layer.weight.flatten(1))[0].item()
            assert largest == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("norm", ["weight", "spectral"])
def test_they_learn_to_tell(norm: str) -> None:
    module = make(norm)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    noise = torch.randn(8, 1, 800, generator=torch.Generator().manual_seed(2)) * 0.3
    for step in range(60):
        real, fake = module(tones(8, 800, step)), module(noise.roll(step, -1))
        loss = sum(
            (1 - r.score).relu().mean() + (1 + f.score).relu().mean()
            for r, f in zip(real, fake, strict=True)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for real, fake in zip(module(tones(8, 800, 99)), module(noise.flip(-1)), strict=True):
        assert real.score.mean() > fake.score.mean() + 0.5
