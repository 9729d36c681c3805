"""N-gram models: normalized, near the truth with enough data, and better the more they know."""

import math
from collections.abc import Callable

import pytest
import torch

from tests.prior.priors import random_codes
from tests.training.chains import SPEC, Chain
from vqaudio.codes import Codes
from vqaudio.evaluation.ngram import NGram
from vqaudio.prior.layout import FIRST_END, Layout

LAYOUT = Layout("flat", SPEC.hops, SPEC.codebook_sizes)


def sounds(count: int, seed: int) -> list[Codes]:
    generator = torch.Generator().manual_seed(seed)
    return [Chain(0).draw(generator) for _ in range(count)]


ODD = Layout("flat", [8, 4, 2], [[5, 4], [7], [3, 6]])  # END may come at some frames of a level only


def odd_sounds(count: int, seed: int) -> list[Codes]:
    return [random_codes(1 + (7 * i + seed) % 61, i + seed) for i in range(count)]


@pytest.mark.parametrize(("layout", "draw"), [(LAYOUT, sounds), (ODD, odd_sounds)])
def test_what_may_come_after_any_history_has_probability_one_together(
    layout: Layout, draw: Callable[[int, int], list[Codes]]
) -> None:
    for order in (1, 2, 5):
        model = NGram(order, layout, draw(30, 0))
        for codes in draw(5, 1):
            for step, ((book, *tokens), may_end) in enumerate(model._ngrams(codes)):
                slot = layout.steps[step % layout.cycle][0]
                assert may_end == (step > 0 and len(slot.ends) == 1)
                options = [*range(slot.offset, slot.offset + slot.size), *[FIRST_END] * may_end]
                total = sum(model._probability((book, *tokens[:-1], o), may_end) for o in options)
                assert total == pytest.approx(1, abs=1e-9)


def test_the_right_order_comes_near_the_truth() -> None:
    train, test = sounds(4000, 0), sounds(300, 1)
    truth = sum(Chain(0).bits(codes) for codes in test)
    tokens = sum(LAYOUT.num_tokens(codes.num_samples) for codes in test)
    models = {order: NGram(order, LAYOUT, train) for order in (1, 4)}
    bits = {order: sum(map(model.bits, test)) for order, model in models.items()}
    assert 0 < bits[4] - truth < 0.1 * tokens  # three tokens back is all that the source looks at
    assert bits[1] > bits[4] + 0.3 * tokens


def test_what_was_never_seen_has_a_probability() -> None:
    [short] = sounds(1, 0)
    for codes in sounds(20, 1):
        assert math.isfinite(NGram(5, LAYOUT, [short]).bits(codes))
