"""Which sounds are learned from, and which only measured on."""

import pytest

from vqaudio.errors import UserError
from vqaudio.training.split import split


def test_marked_sounds_are_split_as_marked() -> None:
    ids = list("abcdef")
    marks = ["train", "test", "validation", "dev", None, "test"]
    assert split(ids, marks, 8) == ([0, 4], [2, 3])
    training, validation = split(ids, marks, 1)
    assert training == [0, 4]  # what is held back and not needed is still not trained on
    assert len(validation) == 1


def test_a_corpus_all_held_back_leaves_nothing_to_train_on() -> None:
    assert split(["a", "b"], ["test", "dev"], 8) == ([], [1])


def test_unmarked_sounds_give_the_same_few_in_any_order() -> None:
    ids = [f"sound {i}" for i in range(50)]
    training, validation = split(ids, [None] * 50, 8)
    assert len(validation) == 5  # a tenth
    assert sorted(training + validation) == list(range(50))
    backwards = split(ids[::-1], [None] * 50, 8)[1]
    assert {ids[::-1][place] for place in backwards} == {ids[place] for place in validation}
    assert len(split(ids, [None] * 50, 2)[1]) == 2


def test_of_a_few_sounds_none_is_set_aside() -> None:
    assert split(list("abc"), [None] * 3, 8) == ([0, 1, 2], [])


@pytest.mark.parametrize("mark", ["Test", "valid", "banana"])
def test_a_mark_that_is_none_of_the_four_is_refused(mark: str) -> None:
    with pytest.raises(UserError, match=f"^b: split '{mark}' is none of train, validation, dev, test"):
        split(["a", "b"], ["train", mark], 1)
