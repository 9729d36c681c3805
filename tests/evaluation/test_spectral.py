"""Distances of spectra, against librosa."""

import pytest
import torch

from tests.evaluation.references import by_reference
from tests.sounds import speechlike
from vqaudio.errors import UserError
from vqaudio.evaluation.measures import built_in
from vqaudio.evaluation.spectral import (
    log_spectral_distance,
    mel_cepstral_distortion,
    mel_distance,
    multi_mel_distance,
    stft_distance,
)
from vqaudio.evaluation.speech import stoi

SPECTRAL = ["mel", "multi_mel", "stft", "lsd", "mcd"]


@pytest.mark.parametrize("name", SPECTRAL)
@pytest.mark.parametrize("sample_rate", [8000, 16000])
def test_a_distance_is_that_of_librosa(name: str, sample_rate: int) -> None:
    reference = speechlike(0.8, sample_rate)
    degraded = 0.5 * reference + 0.01 * speechlike(0.8, sample_rate, seed=1)
    [measure] = [one for one in built_in() if one.name == name]
    [want] = by_reference(name, reference, degraded, sample_rate)
    assert want > 0.01
    assert measure.compute(reference, degraded, sample_rate) == pytest.approx(want, rel=1e-4)


def test_mel_distance_of_higher_rates_ends_at_8_khz() -> None:
    sample_rate = 48000
    reference = speechlike(0.5, sample_rate)
    whistle = torch.sin(2 * torch.pi * 15000 * torch.arange(len(reference)) / sample_rate)
    assert mel_distance(reference, reference + 0.1 * whistle, sample_rate) < 0.01
    assert mel_distance(reference, 0.1 * reference, sample_rate) > 0.5


def test_mel_distance_of_a_tenth_is_one_and_of_one_sample_is_finite() -> None:
    reference = speechlike(0.5, 16000)
    assert mel_distance(reference, 0.1 * reference, 16000) == pytest.approx(1, abs=0.02)
    assert mel_distance(torch.ones(1), torch.zeros(1), 16000) > 0


def test_sounds_of_unlike_length_are_refused() -> None:
    with pytest.raises(UserError, match="one length"):
        mel_distance(torch.zeros(100), torch.zeros(99), 16000)
    with pytest.raises(UserError, match="one length"):
        stoi(torch.zeros(100), torch.zeros(99), 16000)


def test_a_tenth_is_twenty_decibels_away_but_has_the_same_cepstrum() -> None:
    reference = 0.5 * torch.randn(16000, generator=torch.Generator().manual_seed(0))
    assert log_spectral_distance(reference, 0.1 * reference, 16000) == pytest.approx(20, abs=0.1)
    assert mel_cepstral_distortion(reference, 0.1 * reference, 16000) < 0.01


def test_a_smooth_tilt_is_as_many_decibels_of_cepstral_distortion_as_its_rms() -> None:
    reference = 0.5 * torch.randn(32000, generator=torch.Generator().manual_seed(0))
    spectrum = torch.fft.rfft(reference)
    bands = torch.linspace(0, 8000, len(spectrum))
    tilted = torch.fft.irfft(spectrum * 10 ** (0.15 * torch.cos(2 * torch.pi * bands / 8000)))
    # 3 dB of a cosine over frequency; mel bands see as much of it, if more of its low end
    assert 1.5 < mel_cepstral_distortion(reference, tilted, 16000) < 3


def test_sounds_shorter_than_half_a_window_have_no_multi_resolution_distance() -> None:
    short = torch.ones(1024)
    assert stft_distance(short, 0 * short, 16000) is None
    assert multi_mel_distance(short, 0 * short, 16000) is None
    assert stft_distance(torch.ones(1025), torch.zeros(1025), 16000) is not None
