"""Constant delays."""

from pathlib import Path

import pytest
import torch

from vqaudio.audio import read_audio
from vqaudio.evaluation.delays import codec_delay
from vqaudio.evaluation.pairs import delay_of, without_delay


@pytest.fixture
def speech(sentence: Path) -> torch.Tensor:
    return read_audio(sentence, 16000)[0][0]


@pytest.mark.parametrize("delay", [0, 321, -77])
def test_the_delay_of_a_waveform_is_found_and_taken_out(speech: torch.Tensor, delay: int) -> None:
    moved = without_delay(speech, -delay, len(speech))
    assert delay_of(speech, -moved, 500) == delay
    back = without_delay(moved, delay, len(speech))
    assert torch.equal(back[100:-400], speech[100:-400])
    assert len(back) == len(speech)


def test_the_delay_of_a_codec_that_keeps_its_waveform_is_found_to_the_sample(
    speech: torch.Tensor,
) -> None:
    noise = torch.randn(len(speech), generator=torch.Generator().manual_seed(0))
    coded = speech + noise * speech.norm() / noise.norm()  # 0 dB
    assert codec_delay([speech], [without_delay(coded, -101, len(speech) + 101)], 16000) == 101


def test_the_delay_of_a_codec_that_keeps_no_waveform_is_found(speech: torch.Tensor) -> None:
    spectrum = torch.stft(speech, 256, 64, window=torch.hann_window(256), return_complex=True)
    turns = torch.rand(spectrum.shape, generator=torch.Generator().manual_seed(0))
    phases = torch.polar(spectrum.abs(), 2 * torch.pi * turns)
    other = torch.istft(phases, 256, 64, window=torch.hann_window(256), length=len(speech))
    found = codec_delay([speech], [without_delay(other, -480, len(speech) + 480)], 16000)
    assert abs(found - 480) <= 32
