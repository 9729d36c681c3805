"""Pictures that show what is in the sound."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vqaudio.evaluation.code_use import CodebookUse
from vqaudio.evaluation.plots import (
    mel_picture,
    save_codebook_use,
    save_rate_distortion,
    save_spectrograms,
)


def tone(hertz: float, seconds: float, sample_rate: int) -> torch.Tensor:
    return 0.3 * torch.sin(2 * torch.pi * hertz * torch.arange(int(seconds * sample_rate)) / sample_rate)


@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100])
@pytest.mark.parametrize("hertz", [300, 1000, 3000])
def test_a_tone_is_brightest_in_the_band_at_its_frequency(hertz: int, sample_rate: int) -> None:
    decibels, centres = mel_picture(tone(hertz, 0.3, sample_rate), sample_rate)
    found = centres[decibels[:, decibels.shape[1] // 2].argmax()].item()
    assert found == pytest.approx(hertz, rel=0.08)
    assert decibels.shape[1] == pytest.approx(0.3 / 0.005, abs=2)


def test_a_grid_shows_each_sound_in_its_place(tmp_path: Path) -> None:
    sounds = [("", torch.zeros(4000)), ("", tone(500, 0.5, 8000)), ("", torch.zeros(4000))]
    save_spectrograms(tmp_path / "grid.png", sounds, 8000, columns=3)
    pixels = np.asarray(Image.open(tmp_path / "grid.png").convert("RGB"), dtype=float)
    glow = pixels[:, :, 0] - pixels[:, :, 2]  # loud is orange, text and axes are grey
    left, _, middle, _, right = (part.max() for part in np.array_split(glow, 5, axis=1))
    assert middle > 100
    assert max(left, right) < 30


def test_titles_are_not_read_as_formulas_and_tiny_sounds_can_be_drawn(tmp_path: Path) -> None:
    save_spectrograms(tmp_path / "a.png", [("$x_{", torch.ones(1)), ("b", torch.zeros(3))], 8000)
    assert Image.open(tmp_path / "a.png").width > 500


def test_codebook_panels_stand_side_by_side(tmp_path: Path) -> None:
    uses = [CodebookUse(0, 0, 8, torch.arange(8)), CodebookUse(1, 0, 4, torch.zeros(4).long())]
    save_codebook_use(tmp_path / "one.png", uses[:1])
    save_codebook_use(tmp_path / "two.png", uses)
    assert Image.open(tmp_path / "two.png").width == 2 * Image.open(tmp_path / "one.png").width


def test_a_rate_distortion_picture_has_a_panel_a_set_and_a_colour_a_codec(tmp_path: Path) -> None:
    curves = {("a", "one level"): [(500.0, 0.2)], ("b", "two levels"): [(100.0, 0.4), (500.0, 0.1)]}
    save_rate_distortion(tmp_path / "one.png", {"digits": curves}, "mel distance")
    save_rate_distortion(tmp_path / "two.png", {"digits": curves, "sentences": curves}, "mel distance")
    one, two = (Image.open(tmp_path / f"{name}.png").convert("RGB") for name in ("one", "two"))
    assert two.width == 2 * one.width
    colours = {colour for count, colour in one.getcolors(1 << 20) or [] if count > 50}
    assert {(31, 119, 180), (255, 127, 14)} <= {tuple(c) for c in colours}  # the first two strong ones


def test_matplotlib_is_loaded_only_to_draw() -> None:
    program = "import sys, vqaudio.evaluation.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
