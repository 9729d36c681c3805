"""The distance of loudness: what PESQ takes off, with a gradient."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from torch import Tensor

import vqaudio
from vqaudio.audio import read_audio
from vqaudio.evaluation.speech import pesq
from vqaudio.training.loudness import LoudnessDistance, bark, threshold

RATE = 16000


@pytest.fixture
def speech(sentence: Path) -> Tensor:
    return read_audio(sentence, RATE)[0]


def noise_like(speech: Tensor, snr_db: float) -> Tensor:
    noise = torch.randn(speech.shape, generator=torch.Generator().manual_seed(0))
    return noise * speech.norm() / noise.norm() * 10 ** (-snr_db / 20)


def points_lost(reference: Tensor, degraded: Tensor) -> float:
    """What PESQ takes off 4.5, before P.862.2 maps it (equation 1, inverted)."""
    score = pesq(reference[0], degraded[0], RATE, "wb")
    assert score is not None
    return 4.5 - (3.8224 - float(np.log(4 / (score - 0.999) - 1))) / 1.3669


def test_it_agrees_with_pesq_on_noise_distortion_filters_and_codecs(speech: Tensor) -> None:
    codec = vqaudio.load("speech-16k")
    assert isinstance(codec, vqaudio.Codec)
    codes = codec.encode(speech, RATE)
    dull = torch.from_numpy(lfilter([0.3], [1, -0.7], speech.numpy())).float()
    degraded = [
        *(speech + noise_like(speech, snr) for snr in (0.0, 10.0, 20.0, 30.0)),
        *(speech.clamp(-peak, peak) for peak in speech.abs().max() * torch.tensor([0.1, 0.2, 0.4])),
        *(codec.decode(codes, levels=levels) for levels in (1, 2)),
        dull + noise_like(speech, 25.0),
    ]
    wanted = np.array([points_lost(speech, sound) for sound in degraded])
    found = np.array([LoudnessDistance(RATE)(sound, speech).item() for sound in degraded])
    assert np.corrcoef(wanted, found)[0, 1] > 0.95
    assert np.abs(wanted - found).mean() < 0.6  # white noise above all costs PESQ more


def test_equal_is_nothing_and_so_are_gain_and_what_is_masked(speech: Tensor) -> None:
    distance = LoudnessDistance(RATE)
    assert distance(speech, speech).item() < 1e-3
    assert distance(0.3 * speech, speech).item() < 1e-3
    assert distance(speech + noise_like(speech, 70.0), speech).item() < 0.1


def test_what_is_added_costs_more_than_what_is_missing(speech: Tensor) -> None:
    distance, hum = LoudnessDistance(RATE), noise_like(speech, 10.0)
    assert distance(speech + hum, speech).item() > distance(speech, speech + hum).item() + 0.3


@pytest.mark.parametrize("length", [1, 600, 6000, 16000])
def test_a_gradient_is_finite_for_all_lengths_and_silence(length: int) -> None:
    for target in (torch.zeros(2, 1, length), torch.randn(2, 1, length)):
        made = torch.zeros(2, 1, length, requires_grad=True)
        LoudnessDistance(RATE)(made, target).backward()
        assert made.grad is not None
        assert made.grad.isfinite().all()


def test_descending_raises_pesq(speech: Tensor) -> None:
    made = (speech + noise_like(speech, 15.0)).requires_grad_()
    before = points_lost(speech, made.detach())
    distance = LoudnessDistance(RATE)
    optimizer = torch.optim.Adam([made], lr=3e-4)
    for _ in range(30):
        optimizer.zero_grad()
        distance(made, speech).backward()
        optimizer.step()
    assert points_lost(speech, made.detach()) < before - 0.3


def test_bark_and_threshold_are_the_published_ones() -> None:
    # Zwicker 1961: critical bands end at 510, 1480, 3150 and 7700 Hz, which are 5, 11, 16 and 21 Bark
    edges = bark(torch.tensor([510.0, 1480.0, 3150.0, 7700.0]))
    torch.testing.assert_close(edges, torch.tensor([5.0, 11.0, 16.0, 21.0]), atol=0.2, rtol=0)
    quietest = torch.linspace(100, 8000, 800, dtype=torch.float64)
    assert quietest[threshold(quietest).argmin()].item() == pytest.approx(3300, abs=150)
