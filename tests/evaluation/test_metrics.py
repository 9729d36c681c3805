"""Measures of resynthesis and of codes, against independent references."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from vqaudio.audio import mono, read_audio
from vqaudio.codes import Codes
from vqaudio.errors import UserError
from vqaudio.evaluation.averages import average
from vqaudio.evaluation.code_use import codebook_use, entropy_bits_per_second, nominal_bits_per_second
from vqaudio.evaluation.spectral import mel_distance
from vqaudio.evaluation.speech import pesq, stoi


def speechlike(seconds: float, sample_rate: int, seed: int = 0) -> torch.Tensor:
    """Noise in syllables: loud and quiet by turns, as STOI and mel bands want it."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    tone = sum(
        np.sin(2 * np.pi * f * time + p) for f, p in zip((180, 540, 1300), (0, 1, 2), strict=True)
    )
    envelope = 0.05 + np.sin(2 * np.pi * 2 * time) ** 2
    return torch.from_numpy(0.1 * envelope * (tone + 0.3 * rng.standard_normal(len(time)))).float()


def librosa_log10_mel(audio: torch.Tensor, sample_rate: int) -> np.ndarray:
    import librosa

    spectrum = np.abs(librosa.stft(audio.double().numpy(), n_fft=1024, hop_length=256))
    filters = librosa.filters.mel(sr=sample_rate, n_fft=1024, n_mels=80, fmax=min(8000, sample_rate / 2))
    return np.log10(np.maximum(filters @ spectrum, 1e-5))


@pytest.mark.parametrize("sample_rate", [8000, 16000])
def test_mel_distance_is_that_of_librosa(sample_rate: int) -> None:
    reference = speechlike(0.8, sample_rate)
    degraded = 0.5 * reference + 0.01 * speechlike(0.8, sample_rate, seed=1)
    pictures = [librosa_log10_mel(audio, sample_rate) for audio in (reference, degraded)]
    want = np.abs(pictures[0] - pictures[1]).mean()
    assert want > 0.1
    assert mel_distance(reference, degraded, sample_rate) == pytest.approx(want, rel=1e-3)


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


def test_stoi_falls_with_noise_and_is_one_without() -> None:
    reference = speechlike(2.0, 16000)
    noise = torch.randn(len(reference), generator=torch.Generator().manual_seed(0))
    assert stoi(reference, reference, 16000) == pytest.approx(1, abs=1e-4)
    little = stoi(reference, reference + 0.01 * noise, 16000)
    much = stoi(reference, reference + 0.3 * noise, 16000)
    extended = stoi(reference, reference + 0.3 * noise, 16000, extended=True)
    assert little is not None
    assert much is not None
    assert extended is not None
    assert 1 > little > much > extended


def test_a_sound_too_short_for_stoi_is_counted_and_does_not_pull_the_mean_down() -> None:
    short, long = speechlike(0.2, 8000), speechlike(2.0, 8000)
    scores = average(stoi(sound, sound, 8000) for sound in (short, long))
    assert (scores.count, scores.failed) == (1, 1)
    assert scores.mean == pytest.approx(1, abs=1e-4)
    assert math.isnan(average([None]).mean)


def codes(coarse: list[int], fine: list[list[int]]) -> Codes:
    levels = [torch.tensor([coarse]), torch.tensor(fine)]
    return Codes(levels, num_samples=40 * len(coarse), sample_rate=8000, hops=[40, 20])


def test_pesq_falls_with_noise_and_is_highest_without(sentence: Path) -> None:
    speech = mono(read_audio(sentence, 16000)[0])[0][:48000]
    noise = torch.randn(len(speech), generator=torch.Generator().manual_seed(0))
    for rate, band, best in ((16000, "nb", 4.549), (16000, "wb", 4.644)):
        scores = [pesq(speech, speech + level * noise, rate, band) for level in (0.0, 0.002, 0.02)]  # type: ignore[arg-type]
        assert scores[0] == pytest.approx(best, abs=1e-3)  # the highest that P.862.1 and .2 map to
        assert scores[0] > scores[1] > scores[2] > 1


def test_pesq_of_silence_or_of_too_little_is_none(sentence: Path) -> None:
    speech = mono(read_audio(sentence, 8000)[0])[0]
    assert pesq(speech[:1000], speech[:1000], 8000, "nb") is None
    assert pesq(torch.zeros(16000), torch.zeros(16000), 8000, "nb") is None


def test_codebook_use_counts_every_quantizer_over_all_sounds() -> None:
    sounds = [codes([0, 1], [[0, 0, 1, 1], [5, 5, 5, 5]]), codes([1, 0], [[2, 2, 3, 3], [5, 5, 5, 5]])]
    coarse, first, second = codebook_use(sounds, [[4], [8, 8]])
    assert [(u.level, u.quantizer, u.size, u.frames) for u in (coarse, first, second)] == [
        (0, 0, 4, 4),
        (1, 0, 8, 8),
        (1, 1, 8, 8),
    ]
    assert [u.used for u in (coarse, first, second)] == [2, 4, 1]
    assert [u.perplexity for u in (coarse, first, second)] == pytest.approx([2, 4, 1])
    # 4 coarse codes of 1 bit, 8 fine ones of 2 bits and 8 that are always the same, in 20 ms
    assert entropy_bits_per_second([coarse, first, second], 160 / 8000) == pytest.approx(20 / 0.02)


def test_codebook_use_of_skewed_codes_is_their_entropy() -> None:
    (use,) = codebook_use(
        [Codes([torch.tensor([[0, 0, 0, 1]])], num_samples=4, sample_rate=8000, hops=[1])], [[16]]
    )
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert use.entropy_bits == pytest.approx(entropy)
    assert use.perplexity == pytest.approx(2**entropy)


def test_nominal_bits_per_second() -> None:
    # 50 frames a second of 10 bits, and 100 of two quantizers of 8 bits
    assert nominal_bits_per_second(16000, [320, 160], [[1024], [256, 256]]) == pytest.approx(2100)
