"""Intelligibility and quality, by the standard packages."""

from pathlib import Path

import pytest
import torch

from tests.sounds import speechlike
from vqaudio.audio import mono, read_audio
from vqaudio.evaluation.averages import average
from vqaudio.evaluation.speech import pesq, stoi


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


def test_pesq_falls_with_noise_and_is_highest_without(sentence: Path) -> None:
    speech = mono(read_audio(sentence, 16000)[0])[0][:48000]
    noise = torch.randn(len(speech), generator=torch.Generator().manual_seed(0))
    for rate, band, best in ((16000, "nb", 4.549), (16000, "wb", 4.644)):
        scores = [pesq(speech, speech + level * noise, rate, band) for level in (0.0, 0.002, 0.02)]  # type: ignore[arg-type]
        assert scores[0] == pytest.approx(best, abs=1e-3)  # the highest that P.862.1 and .2 map to
        assert scores[0] > scores[1] > scores[2] > 1


def test_pesq_leaves_small_numbers_to_others(sentence: Path) -> None:
    speech = mono(read_audio(sentence, 8000)[0])[0]
    smallest = torch.tensor(torch.finfo(torch.float32).tiny)
    for flush in (False, True):
        torch.set_flush_denormal(flush)
        try:
            assert pesq(speech, speech, 8000, "nb") is not None
            assert bool(smallest / 2 == 0) == flush
        finally:
            torch.set_flush_denormal(False)


def test_pesq_of_more_than_a_minute_is_none() -> None:
    sound = speechlike(61, 8000)  # of some 120 syllables, over which the package would crash
    assert pesq(sound, sound, 8000, "nb") is None


def test_pesq_of_silence_or_of_too_little_is_none(sentence: Path) -> None:
    speech = mono(read_audio(sentence, 8000)[0])[0]
    assert pesq(speech[:1000], speech[:1000], 8000, "nb") is None
    assert pesq(torch.zeros(16000), torch.zeros(16000), 8000, "nb") is None


def test_a_sound_too_short_for_stoi_is_counted() -> None:
    short, long = speechlike(0.2, 8000), speechlike(2.0, 8000)
    scores = average(stoi(sound, sound, 8000) for sound in (short, long))
    assert (scores.count, scores.failed) == (1, 1)
    assert scores.mean == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("extended", [False, True])
def test_stoi_of_silence_is_none(extended: bool) -> None:
    silence = torch.zeros(32000)
    assert stoi(silence, silence, 16000, extended) is None
    assert stoi(silence, speechlike(2.0, 16000), 16000, extended) is None
