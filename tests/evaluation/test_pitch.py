"""Measures of pitch, on voices whose pitch is known."""

import math
import subprocess
import sys
import time
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch

from vqaudio.evaluation.pitch import f0_correlation, f0_rmse_cents, f0_rmse_hz, track, voicing_error
from vqaudio.files import in_turn

RATE = 16000


def voice(hz: np.ndarray, loudness: float = 1.0) -> torch.Tensor:
    """A buzz of a pitch that is given sample by sample."""
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    buzz = sum(np.sin(k * phase) / k for k in range(1, 8))
    return torch.from_numpy(0.1 * loudness * buzz).float()


GLIDE = np.linspace(120, 220, 2 * RATE)


def test_pitch_is_found() -> None:
    found = track(voice(GLIDE), RATE)
    times = np.arange(len(found)) * 320
    want = np.interp(times, np.arange(len(GLIDE)), GLIDE)
    voiced = np.isfinite(found)
    assert voiced.mean() > 0.9
    assert np.abs(1200 * np.log2(found / want))[voiced][2:-2].max() < 30


def test_a_semitone_higher_is_a_hundred_cents_and_correlates() -> None:
    first, second = voice(GLIDE), voice(GLIDE * 2 ** (1 / 12))
    assert f0_rmse_cents(first, second, RATE) == pytest.approx(100, abs=3)
    assert f0_rmse_hz(first, second, RATE) == pytest.approx(172 * (2 ** (1 / 12) - 1), rel=0.05)
    assert f0_correlation(first, second, RATE) == pytest.approx(1, abs=0.01)
    falling = f0_correlation(first, voice(GLIDE[::-1].copy()), RATE)
    assert falling is not None
    assert falling < -0.95


def test_voicing_error_is_the_share_of_frames_where_one_has_no_voice() -> None:
    sound = voice(GLIDE)
    half = sound.clone()
    half[RATE:] = 0.01 * torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    assert voicing_error(sound, sound, RATE) == 0
    assert voicing_error(sound, half, RATE) == pytest.approx(0.5, abs=0.06)


def test_without_voice_there_is_no_pitch_to_compare() -> None:
    noise = 0.1 * torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    assert f0_correlation(voice(GLIDE)[:RATE], noise, RATE) is None
    assert f0_rmse_hz(voice(GLIDE)[:RATE], noise, RATE) is None
    short = torch.ones(100)
    assert voicing_error(short, short, RATE) is None
    assert f0_rmse_cents(short, short, RATE) is None


def test_sounds_of_other_rates_have_the_same_pitch() -> None:
    from vqaudio.audio import resample

    sound = voice(GLIDE)
    high = resample(sound[None], RATE, 48000)[0]
    difference = 1200 * np.log2(track(high, 48000)[5:-5] / track(sound, RATE)[5:-5])
    assert math.isclose(float(np.nanmax(np.abs(difference))), 0, abs_tol=11)  # a step of the tracker


def test_no_two_processes_compile_the_tracker_at_once() -> None:
    script = "from vqaudio.evaluation.pitch import tracker; tracker()"
    with in_turn(Path(librosa.__file__).parent):
        other = subprocess.Popen([sys.executable, "-c", script])
        while not waits(other.pid):
            assert other.poll() is None, "it did not wait for its turn"
            time.sleep(0.01)
    assert other.wait() == 0


def waits(process: int) -> bool:
    """Whether a process waits for somebody's lock."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and str(process) in line.split() for line in lines)
