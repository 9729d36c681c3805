"""The flat layout is exactly reversible and allows what can come, and nothing else."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqaudio.codes import Codes, frames_for
from vqaudio.errors import UserError
from vqaudio.prior.layout import END, FlatLayout


@st.composite
def layouts(draw: st.DrawFn) -> FlatLayout:
    levels = draw(st.integers(1, 3))
    hops = [draw(st.integers(1, 5))]
    for _ in range(levels - 1):
        hops.insert(0, hops[0] * draw(st.integers(2, 5)))
    sizes = [draw(st.lists(st.integers(2, 40), min_size=1, max_size=3)) for _ in range(levels)]
    return FlatLayout(hops, sizes)


def random_codes(layout: FlatLayout, num_samples: int, seed: int) -> Codes:
    generator = torch.Generator().manual_seed(seed)
    levels = [
        torch.stack(
            [torch.randint(0, k, (frames_for(num_samples, hop),), generator=generator) for k in sizes]
        )
        for sizes, hop in zip(layout.codebook_sizes, layout.hops, strict=True)
    ]
    return Codes(levels, num_samples, 16000, list(layout.hops), "abc")


@given(layouts(), st.integers(1, 200), st.integers(0, 2**32))
def test_decode_undoes_encode(layout: FlatLayout, num_samples: int, seed: int) -> None:
    codes = random_codes(layout, num_samples, seed)
    tokens = layout.encode(codes)
    assert len(tokens) == layout.length(num_samples) + 1
    assert layout.decode(tokens, 16000, "abc", num_samples) == codes
    rounded = layout.decode(tokens[:-1], 16000, "abc")
    assert all(torch.equal(a, b) for a, b in zip(rounded.levels, codes.levels, strict=True))
    assert rounded.num_samples - codes.num_samples in range(layout.hops[-1])
    assert rounded.codec == "abc"


@given(layouts(), st.integers(1, 200), st.integers(0, 2**32))
def test_every_token_is_one_that_may_come(layout: FlatLayout, num_samples: int, seed: int) -> None:
    tokens = layout.encode(random_codes(layout, num_samples, seed)).tolist()
    for position, token in enumerate(tokens[:-1]):
        slot = layout.slot(position)
        assert slot.offset <= token < slot.offset + slot.size
    assert tokens[-1] == END
    assert layout.may_end(len(tokens) - 1)


@given(layouts(), st.integers(1, 60))
def test_end_may_come_exactly_after_a_complete_finest_frame(layout: FlatLayout, frames: int) -> None:
    possible = {layout.length(count * layout.hops[-1]) for count in range(1, frames + 1)}
    for position in range(max(possible) + 1):
        assert layout.may_end(position) == (position in possible)
        assert layout.complete(position) == max({0} | {end for end in possible if end <= position})


@given(layouts(), st.integers(1, 200), st.integers(0, 2**32))
def test_tokens_are_in_time_order_coarse_before_fine(
    layout: FlatLayout, num_samples: int, seed: int
) -> None:
    length = len(layout.encode(random_codes(layout, num_samples, seed))) - 1
    order = []
    for position in range(length):
        slot = layout.slot(position)
        cycle = position // len(layout.slots)
        start = cycle * layout.hops[0] + slot.frame * layout.hops[slot.level]
        assert start < num_samples
        order.append((start, slot.level, slot.quantizer))
    assert order == sorted(set(order))


def test_vocabulary_is_end_then_the_codebooks_in_order() -> None:
    layout = FlatLayout([4, 2], [[3, 5], [7]])
    codes = Codes(
        [torch.tensor([[2, 0, 1], [4, 0, 2]]), torch.tensor([[6, 0, 1, 2, 3]])], 9, 8000, [4, 2]
    )
    assert layout.vocab_size == 16
    assert layout.encode(codes).tolist() == [3, 8, 15, 9, 1, 4, 10, 11, 2, 6, 12, END]


def test_nominal_bits_are_those_of_the_codebooks() -> None:
    layout = FlatLayout([4, 2], [[4], [16]])
    assert layout.nominal_bits(5) == 2 + 4 + 4 + 2 + 4


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([], "cannot end"),
        ([1], "cannot end"),
        ([1, 5, 4], "outside its codebook"),
        ([5, 5], "outside"),
    ],
)
def test_tokens_that_are_no_sound_are_refused(tokens: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FlatLayout([4, 2], [[4], [16]]).decode(torch.tensor(tokens, dtype=torch.int64), 8000)


def test_codes_outside_the_codebook_or_of_another_shape_are_refused() -> None:
    layout = FlatLayout([4, 2], [[4], [16]])
    with pytest.raises(UserError, match="level 0 quantizer 0 has the code 4"):
        layout.encode(Codes([torch.tensor([[4]]), torch.tensor([[1, 2]])], 4, 8000, [4, 2]))
    with pytest.raises(UserError, match="hops"):
        layout.encode(Codes([torch.tensor([[1]])], 4, 8000, [4]))
    with pytest.raises(UserError, match="not a sound of 9 samples"):
        layout.decode(torch.tensor([1, 5, 6]), 8000, num_samples=9)


@pytest.mark.parametrize(
    ("hops", "sizes"), [([3, 2], [[4], [4]]), ([4, 4], [[4], [4]]), ([4], [[]]), ([4, 2], [[4]])]
)
def test_impossible_layouts_are_refused(hops: list[int], sizes: list[list[int]]) -> None:
    with pytest.raises(UserError, match="layout"):
        FlatLayout(hops, sizes)
