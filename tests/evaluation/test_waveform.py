"""Signal-to-distortion ratios, against torchmetrics and mir_eval."""

import pytest
import torch

from tests.evaluation.references import by_reference
from tests.sounds import speechlike
from vqaudio.evaluation.waveform import sdr, si_sdr


def noisy(sound: torch.Tensor, level: float = 0.02) -> torch.Tensor:
    """A sound quieter, with an offset and noise."""
    noise = torch.randn(len(sound), generator=torch.Generator().manual_seed(0))
    return 0.6 * sound + 0.01 + level * noise


@pytest.mark.parametrize("delay", [0, 37, -90])
def test_si_sdr_is_that_of_torchmetrics_with_the_delay_taken_out(delay: int) -> None:
    sound = speechlike(0.5, 8000)
    degraded = noisy(sound).roll(delay)
    [want] = by_reference("si_sdr", sound, degraded, 8000)
    assert want > 5
    assert si_sdr(sound, degraded, 8000) == pytest.approx(want, rel=1e-4)


def test_sdr_is_that_of_torchmetrics_and_of_mir_eval() -> None:
    sound = speechlike(1.0, 8000)
    echo = noisy(sound) + 0.3 * sound.roll(100)
    for want in by_reference("sdr", sound, echo, 8000):
        assert sdr(sound, echo, 8000) == pytest.approx(want, rel=1e-4)


def test_a_ratio_does_not_depend_on_gain_and_ends_at_100_db() -> None:
    sound = speechlike(0.5, 8000)
    other = noisy(sound)
    for ratio in (si_sdr, sdr):
        assert ratio(sound, 0.1 * other, 8000) == pytest.approx(ratio(sound, other, 8000), abs=1e-3)
        assert ratio(sound, sound, 8000) == 100


@pytest.mark.parametrize("ratio", [si_sdr, sdr])
def test_silence_has_no_ratio(ratio: object) -> None:
    assert callable(ratio)
    sound, silence = speechlike(0.5, 8000), torch.zeros(4000)
    assert ratio(silence, sound, 8000) is None
    assert ratio(sound, silence, 8000) is None
    assert ratio(torch.ones(1), torch.ones(1), 8000) in (None, 100)
