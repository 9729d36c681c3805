"""How a token is chosen: by the probabilities, and by what limits them."""

import math

import pytest
import torch

from vqaudio.errors import UserError
from vqaudio.prior.choice import Choice

LOGITS = torch.tensor([[0.1, 0.2, 0.4, 0.3]]).log().expand(1000, 4)
CHANCE = ((torch.arange(1000, dtype=torch.float64) + 0.5) / 1000)[:, None].expand(1000, 2)


def shares(choice: Choice) -> list[int]:
    return torch.bincount(choice(LOGITS, CHANCE), minlength=4).tolist()


def test_choice_follows_the_probabilities() -> None:
    assert shares(Choice()) == [100, 200, 400, 300]
    cold = torch.tensor([0.01, 0.04, 0.16, 0.09]) / 0.3
    assert shares(Choice(temperature=0.5)) == pytest.approx((1000 * cold).tolist(), abs=1)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(temperature=0), [0, 0, 1000, 0]),
        (Choice(top_k=1), [0, 0, 1000, 0]),
        (Choice(top_k=9), [100, 200, 400, 300]),
        (Choice(top_p=0.65), [0, 0, 571, 429]),
        (Choice(top_p=1e-9), [0, 0, 1000, 0]),
        (Choice(top_k=3, top_p=0.7), [0, 0, 571, 429]),
        (Choice(min_p=0.49), [0, 222, 444, 333]),
        (Choice(min_p=0.51), [0, 0, 571, 429]),
        (Choice(min_p=1), [0, 0, 1000, 0]),
        (Choice(top_k=2, min_p=0.1), [0, 0, 571, 429]),
    ],
)
def test_limits_keep_the_likeliest(choice: Choice, expected: list[int]) -> None:
    assert shares(choice) == pytest.approx(expected, abs=1)


def test_a_temperature_near_nothing_takes_the_likeliest() -> None:
    assert shares(Choice(temperature=1e-320)) == [0, 0, 1000, 0]
    with pytest.raises(UserError, match="logits: beyond"):
        Choice()(LOGITS * math.inf, CHANCE)


def test_chance_at_its_bounds_never_leads_to_what_may_not_come() -> None:
    logits = torch.tensor([[-math.inf, 0.0, 0.0, -math.inf]]).expand(2, 4)
    chance = torch.tensor([[0.0, 0.0], [1 - 2**-53, 0.0]], dtype=torch.float64)
    assert Choice()(logits, chance).tolist() == [1, 2]
    assert Choice(top_p=0.9)(logits, chance).tolist() == [1, 2]


def test_what_fills_the_window_is_drawn_anew_from_all() -> None:
    choice = Choice(top_k=1, repetition_window=10)
    chance = torch.stack([torch.zeros(1000), (torch.arange(1000) + 0.5) / 1000], dim=1).double()
    two, one = torch.tensor([2, 2] + [0] * 8), torch.tensor([2] + [0] * 9)
    assert choice(LOGITS, chance, one.expand(1000, 10)).unique().tolist() == [2]
    anew = choice(LOGITS, chance, two.expand(1000, 10))
    assert torch.bincount(anew).tolist() == [100, 200, 400, 300]
    young = torch.tensor([[2]]).expand(1000, 1)  # early on, one of a window of ten is a tenth
    assert choice(LOGITS, chance, young).unique().tolist() == [2]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"temperature": -0.1}, "temperature -0.1: must be 0"),
        ({"temperature": math.nan}, "temperature nan"),
        ({"top_k": -1}, "top_k -1"),
        ({"top_p": 0.0}, "top_p 0.0"),
        ({"top_p": 1.5}, "top_p 1.5"),
        ({"min_p": -0.5}, "min_p -0.5: must be from 0 to 1"),
        ({"repetition_window": -1}, "repetition_window -1"),
    ],
)
def test_impossible_choices_are_refused(choice: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Choice(**choice)  # type: ignore[arg-type]
