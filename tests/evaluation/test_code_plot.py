"""The picture of codes tells equal codes from others, and shows each at its time."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vqaudio.codes import Codes
from vqaudio.evaluation.code_plot import UNUSED, code_colours, save_codes


def test_neighbours_among_many_codes_look_different() -> None:
    colours = code_colours(torch.arange(1024))
    assert colours.shape == (1024, 3)
    assert 0 <= colours.min() <= colours.max() <= 1
    assert np.abs(np.diff(colours, axis=0)).max(axis=1).min() > 0.1
    assert len(np.unique(colours.round(6), axis=0)) == 1024
    assert np.array_equal(code_colours(torch.tensor([5, 900, 5]))[0], colours[5])


def colours_seen(path: Path) -> set[tuple[int, ...]]:
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    found, counts = np.unique(pixels, axis=0, return_counts=True)
    return {tuple(map(int, colour)) for colour, count in zip(found, counts, strict=True) if count > 1000}


def shade(code: int, share: float = 1.0) -> tuple[int, ...]:
    colour = code_colours(torch.tensor([code]))[0] * share
    return tuple(int(part) for part in (colour * 255))


def near(colour: tuple[int, ...], seen: set[tuple[int, ...]]) -> bool:
    return any(max(abs(a - b) for a, b in zip(colour, other, strict=True)) <= 1 for other in seen)


def test_every_code_has_its_place_and_unused_rows_are_dark(tmp_path: Path) -> None:
    levels = [torch.tensor([[3, 3]]), torch.tensor([[7, 8, 7, 8], [11, 11, 12, 12]])]
    codes = Codes(levels, 1600, 1600, [800, 400])
    save_codes(tmp_path / "all.png", codes)
    seen = colours_seen(tmp_path / "all.png")
    assert all(near(shade(code), seen) for code in (3, 7, 8, 11, 12))
    save_codes(tmp_path / "some.png", codes, [1, 1])
    seen = colours_seen(tmp_path / "some.png")
    assert all(near(shade(code), seen) for code in (3, 7, 8))
    assert all(near(shade(code, UNUSED), seen) for code in (11, 12))
    assert not near(shade(11), seen)
    pixels = np.asarray(Image.open(tmp_path / "all.png").convert("RGB")).astype(int)
    columns = [np.abs(pixels - shade(code)).max(axis=2) <= 1 for code in (11, 12)]
    eleven, twelve = (np.flatnonzero(found.any(axis=0)) for found in columns)
    assert eleven.max() < twelve.min()
