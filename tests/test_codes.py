"""Codes: shapes belong to a length, and equality is of what is heard."""

import pytest
import torch

from vqaudio.codes import Codes, frames_for
from vqaudio.errors import UserError


def make(num_samples: int = 1000, hops: tuple[int, ...] = (320, 80), codec: str = "a") -> Codes:
    levels = [torch.arange(2 * frames_for(num_samples, hop)).view(2, -1) for hop in hops]
    return Codes(levels, num_samples, 16000, hops, codec)


@pytest.mark.parametrize(
    ("samples", "hop", "frames"), [(1, 320, 1), (320, 320, 1), (321, 320, 2), (640, 1, 640)]
)
def test_frames_cover_the_sound(samples: int, hop: int, frames: int) -> None:
    assert frames_for(samples, hop) == frames


@pytest.mark.parametrize("samples", [1, 79, 80, 81, 320, 321, 5000])
def test_every_level_has_its_own_ceiling(samples: int) -> None:
    codes = make(samples)
    assert [level.shape[1] for level in codes.levels] == [-(-samples // 320), -(-samples // 80)]
    assert codes.duration_seconds == samples / 16000
    assert codes.num_codes == sum(len(level.flatten()) for level in codes.levels)


def test_shapes_that_no_sound_has_are_refused() -> None:
    codes = make()
    with pytest.raises(UserError, match=r"level 1 has shape \[2, 12\]"):
        Codes([codes.levels[0], codes.levels[1][:, :-1]], 1000, 16000, (320, 80))
    with pytest.raises(UserError, match=r"level 0 has shape \[4\]"):
        Codes([codes.levels[0][0], codes.levels[1]], 1000, 16000, (320, 80))
    with pytest.raises(UserError, match="2 levels but 1 hops"):
        Codes(codes.levels, 1000, 16000, (320,))


def test_equality_is_of_integers_lengths_and_rates() -> None:
    codes = make()
    assert codes == make(codec="another")
    changed = codes.levels[1].clone()
    changed[0, 5] += 1
    assert codes != Codes([codes.levels[0], changed], 1000, 16000, (320, 80))
    assert codes != Codes(codes.levels, 999, 16000, (320, 80))
    assert codes != Codes(codes.levels, 1000, 8000, (320, 80))
    assert codes != "codes"


def test_fewer_levels_are_other_codes() -> None:
    codes = make()
    assert codes != Codes(codes.levels[:1], 1000, 16000, (320,))
