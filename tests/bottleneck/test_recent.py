"""The vectors that codes are set from."""

import torch

from vqaudio.bottleneck.recent import FEWEST, PER_CODE, Recent


def test_of_a_batch_that_is_too_large_some_of_every_sound_are_kept() -> None:
    recent = Recent(4, 2)
    sounds = torch.arange(12.0).repeat_interleave(500)
    assert len(sounds) > recent.capacity
    assert recent.push(torch.stack([sounds, sounds], dim=1)) == 6000
    kept = recent.all()[:, 0]
    assert len(kept) == FEWEST
    counts = torch.bincount(kept.long(), minlength=12)
    assert counts.max() - counts.min() <= 1


def test_the_last_steps_are_kept_and_what_is_no_number_is_not() -> None:
    recent = Recent(1000, 1)
    assert recent.capacity == PER_CODE * 1000
    for step in range(20):
        x = torch.full((1000, 1), float(step))
        x[::10] = float("nan")
        recent.push(x)
    assert sorted(set(recent.all().flatten().tolist())) == list(range(11, 20))
