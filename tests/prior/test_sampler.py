"""Sampling: only what may come, repeatable, and each sound for itself."""

import math

import pytest
import torch

from tests.prior.test_model import SPEC, small_prior
from vqaudio.codes import frames_for
from vqaudio.config import PriorConfig
from vqaudio.prior.layout import END, Slot
from vqaudio.prior.model import CodecSpec, Prior


def test_a_sound_of_a_seed_does_not_depend_on_how_many() -> None:
    prior = small_prior()
    many = prior.sample(11, seed=5)
    assert prior.sample(11, seed=5) == many
    assert prior.sample(3, seed=5) == many[:3]
    assert len({sound.num_samples for sound in many}) > 2  # they do end early, each where it ends
    assert all(sound.codec == "abc" for sound in many)
    assert prior.sample(11, seed=6) != many
    assert len({str(sound.levels) for sound in many}) == 11


@pytest.mark.parametrize("seconds", [1e-6, 0.001, 0.0034, 0.01])
def test_seconds_give_exactly_that_length(seconds: float) -> None:
    prior = small_prior()
    with torch.no_grad():
        prior.to_logits.weight[END] *= 0
        prior.to_logits.weight[END] += 10  # it would rather end
    for sound in prior.sample(2, seconds=seconds):
        assert sound.num_samples == max(1, math.ceil(round(seconds * 8000, 6)))
        assert [list(level.shape) for level in sound.levels] == [
            [len(sizes), frames_for(sound.num_samples, hop)]
            for sizes, hop in zip(SPEC.codebook_sizes, SPEC.hops, strict=True)
        ]


def test_without_an_end_a_sound_fills_the_context_with_whole_frames() -> None:
    spec = CodecSpec(8000, [4, 2], [[4], [4]])
    prior = Prior(PriorConfig(layers=1, width=16, heads=2, context=25), spec)
    with_end = prior.logits

    def without_end(hidden: torch.Tensor, slot: Slot) -> torch.Tensor:
        logits = with_end(hidden, slot).clone()
        logits[..., 4:] = -torch.inf
        return logits

    prior.logits = without_end  # type: ignore[method-assign]
    [sound] = prior.sample()
    assert prior.layout.length(sound.num_samples) == 23  # the context, less start and end
    assert sound.num_samples == 30


def test_the_likeliest_sound_is_the_likeliest_token_by_token() -> None:
    prior = small_prior(["a", "b"])
    [sound] = prior.sample(seconds=0.005, label="b", temperature=0)
    tokens = torch.cat([torch.tensor([END]), prior.layout.encode(sound)])[:-1]
    hidden = prior.read(tokens[None], torch.tensor([2]))[0]
    for position in range(len(tokens) - 1):
        slot = prior.layout.slot(position)
        best = prior.logits(hidden[position], slot)[: slot.size].argmax()
        assert slot.offset + best == tokens[position + 1]


def test_samples_are_as_frequent_as_the_prior_says() -> None:
    spec = CodecSpec(100, [1], [[3]])
    torch.manual_seed(1)
    prior = Prior(PriorConfig(layers=1, width=16, heads=2, context=4), spec)
    with torch.no_grad():
        prior.to_logits.weight *= 20
    sounds = prior.sample(2000, seed=3)
    counts: dict[str, int] = {}
    by_text = {}
    for sound in sounds:
        text = str(sound.levels[0].tolist())
        counts[text] = counts.get(text, 0) + 1
        by_text[text] = sound
    for text, count in counts.items():
        codes = by_text[text]
        expected = 2 ** -prior.nll(codes).bits
        if codes.num_samples == 2:  # the context's end stands in for END
            labels = torch.zeros(1, dtype=torch.int64)
            tokens = torch.cat([torch.tensor([END]), prior.layout.encode(codes)[:-1]])
            expected = torch.exp(-prior(tokens[None], labels).sum()).item()
        spread = (2000 * expected * (1 - expected)) ** 0.5
        assert abs(count - 2000 * expected) < 5 * spread + 1
