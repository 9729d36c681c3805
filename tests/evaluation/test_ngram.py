"""N-gram models: normalized, near the truth with enough data, and better the more they know."""

import math

import pytest
import torch

from tests.training.chains import SPEC, Chain
from vqaudio.codes import Codes
from vqaudio.evaluation.ngram import NGram
from vqaudio.prior.layout import FIRST_END, Layout

LAYOUT = Layout("flat", SPEC.hops, SPEC.codebook_sizes)


def sounds(count: int, seed: int) -> list[Codes]:
    generator = torch.Generator().manual_seed(seed)
    return [Chain(0).draw(generator) for _ in range(count)]


def test_what_may_come_after_any_history_has_probability_one_together() -> None:
    train = sounds(30, 0)
    for order in (1, 2, 5):
        model = NGram(order, LAYOUT, train)
        for codes in sounds(5, 1):
            known = list(model._ngrams(codes))
            for step, ((book, *tokens), may_come) in enumerate(known):
                slot = LAYOUT.steps[step % LAYOUT.cycle][0]
                options = [*range(slot.offset, slot.offset + slot.size)]
                options += [FIRST_END] if slot.ends and step else []
                assert len(options) == may_come
                total = sum(model._probability((book, *tokens[:-1], o), may_come) for o in options)
                # At the very start END has a share that it cannot use.
                assert total == pytest.approx(1, abs=1e-9) if step else 0.8 < total <= 1


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
