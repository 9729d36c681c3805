"""The distance of envelopes: that of STOI, with a gradient."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from vqaudio.audio import read_audio
from vqaudio.evaluation.speech import stoi
from vqaudio.training.intelligibility import EnvelopeDistance, third_octaves

RATE = 16000


@pytest.fixture
def speech(sentence: Path) -> Tensor:
    return read_audio(sentence, RATE)[0]


def noisy(speech: Tensor, snr_db: float) -> Tensor:
    noise = torch.randn(speech.shape, generator=torch.Generator().manual_seed(0))
    return speech + noise * speech.norm() / noise.norm() * 10 ** (-snr_db / 20)


@pytest.mark.parametrize("snr_db", [20.0, 10.0])  # where its clipping does not count
def test_it_is_one_minus_stoi(speech: Tensor, snr_db: float) -> None:
    heard = noisy(speech, snr_db)
    wanted = stoi(speech[0], heard[0], RATE)
    assert wanted is not None
    assert EnvelopeDistance(RATE)(heard, speech).item() == pytest.approx(1 - wanted, abs=0.04)


def test_loudness_does_not_matter_and_equal_is_nothing(speech: Tensor) -> None:
    distance = EnvelopeDistance(RATE)
    assert distance(speech, speech).item() == pytest.approx(0, abs=1e-5)
    assert distance(0.3 * speech, speech).item() == pytest.approx(0, abs=1e-3)


def test_what_is_said_softly_after_a_pause_is_not_outweighed_by_the_pause(speech: Tensor) -> None:
    quiet = torch.cat([speech, torch.zeros(1, 4 * RATE)], dim=1)
    heard = noisy(speech, 5.0)
    longer = torch.cat([heard, 1e-4 * torch.randn(1, 4 * RATE)], dim=1)
    distance = EnvelopeDistance(RATE)
    assert distance(longer, quiet).item() == pytest.approx(distance(heard, speech).item(), abs=0.03)


@pytest.mark.parametrize("length", [1, 400, 6000, 8000])
def test_a_gradient_is_finite_for_all_lengths_and_silence(length: int) -> None:
    for target in (torch.zeros(2, 1, length), torch.randn(2, 1, length)):
        made = torch.zeros(2, 1, length, requires_grad=True)
        EnvelopeDistance(RATE)(made, target).backward()
        assert made.grad is not None
        assert made.grad.isfinite().all()


def test_descending_mends_envelopes(speech: Tensor) -> None:
    made = noisy(speech, 0.0)[:, :RATE].clone().requires_grad_()
    distance, target = EnvelopeDistance(RATE), speech[:, :RATE]
    before = distance(made, target).item()
    optimizer = torch.optim.Adam([made], lr=1e-3)
    for _ in range(20):
        optimizer.zero_grad()
        distance(made, target).backward()
        optimizer.step()
    assert distance(made, target).item() < 0.8 * before


def test_bands_are_a_third_of_an_octave() -> None:
    bands = third_octaves(RATE, 1600)  # bins of 10 Hz
    assert bands.sum(0).max() == 1  # none overlap
    edges = [(row.nonzero()[0].item() * 10, row.nonzero()[-1].item() * 10) for row in bands]
    assert edges[0] == (140, 160)
    assert edges[-1][0] == pytest.approx(150 * 2 ** (14 / 3 - 1 / 6), abs=10)
    assert edges[-1][1] == pytest.approx(150 * 2 ** (14 / 3 + 1 / 6), abs=10)
