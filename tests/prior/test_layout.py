"""Layouts are exactly reversible and allow what can come, and nothing else."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqaudio.codes import Codes, frames_for
from vqaudio.errors import UserError
from vqaudio.prior.layout import FIRST_END, PAD, START, Layout


@st.composite
def layouts(draw: st.DrawFn, says_end: bool = False) -> Layout:
    levels = draw(st.integers(1, 3))
    hops = [draw(st.integers(1, 5))]
    for _ in range(levels - 1):
        hops.insert(0, hops[0] * draw(st.integers(2, 5)))
    sizes = [draw(st.lists(st.integers(2, 40), min_size=1, max_size=4)) for _ in range(levels)]
    held = draw(st.sampled_from([None, [0]] if says_end else [None, *[[i] for i in range(levels)]]))
    return Layout(draw(st.sampled_from(["flat", "delay"])), hops, sizes, held)


def random_codes(layout: Layout, num_samples: int, seed: int) -> Codes:
    generator = torch.Generator().manual_seed(seed)
    levels = [
        torch.stack(
            [torch.randint(0, k, (frames_for(num_samples, hop),), generator=generator) for k in sizes]
        )
        for sizes, hop in zip(layout.codebook_sizes, layout.hops, strict=True)
    ]
    return Codes(levels, num_samples, 16000, list(layout.hops), "abc")


@given(layouts(), st.integers(1, 200), st.integers(0, 2**32))
def test_decode_undoes_encode(layout: Layout, num_samples: int, seed: int) -> None:
    codes = random_codes(layout, num_samples, seed)
    finest = layout.finest_frames(num_samples)
    for end in (True, False):
        decoded = layout.decode(layout.encode(codes, end), finest)
        wanted = [codes.levels[level] for level in layout.levels]
        assert all(torch.equal(a, b) for a, b in zip(decoded, wanted, strict=True))


@given(layouts(says_end=True), st.integers(1, 200))
def test_end_tells_the_length(layout: Layout, num_samples: int) -> None:
    finest = layout.finest_frames(num_samples)
    grid = layout.encode(random_codes(layout, num_samples, 0))
    assert layout.ended(grid) == finest
    assert len(grid) == layout.length_with_end(finest)
    ends = (grid >= FIRST_END) & (grid < FIRST_END + layout.num_ends)
    assert ends.sum() == 1
    without = layout.encode(random_codes(layout, num_samples, 0), end=False)
    assert len(without) == layout.length(finest)
    assert torch.equal(without, grid[: len(without)].masked_fill(ends[: len(without)], PAD))
    with pytest.raises(UserError, match="without END"):
        layout.ended(without)


@given(layouts(), st.integers(1, 200), st.integers(0, 2**32))
def test_every_code_stands_once_and_where_its_slot_says(
    layout: Layout, num_samples: int, seed: int
) -> None:
    codes = random_codes(layout, num_samples, seed)
    grid = layout.encode(codes, end=False)
    seen = set()
    for step in range(len(grid)):
        for slot in layout.steps[step % layout.cycle]:
            token = int(grid[step, slot.column])
            frame = layout.frame(slot, step)
            if token != PAD:
                assert token - slot.offset == codes.levels[slot.level][slot.quantizer, frame]
                seen.add((slot.level, slot.quantizer, frame))
    finest = layout.finest_frames(num_samples)
    assert len(seen) == (grid != PAD).sum() == layout.num_tokens(finest)
    assert len(seen) == sum(codes.levels[level].numel() for level in layout.levels)
    assert not (grid == START).any()


@given(layouts(), st.integers(1, 200))
def test_a_code_comes_after_those_that_it_is_made_of(layout: Layout, num_samples: int) -> None:
    """Coarser levels and earlier quantizers of the same moment stand in earlier rows, or columns."""
    grid = layout.encode(random_codes(layout, num_samples, 0), end=False)
    places = {
        (slot.level, slot.quantizer, layout.frame(slot, step)): (step, slot.column)
        for step in range(len(grid))
        for slot in layout.steps[step % layout.cycle]
        if grid[step, slot.column] != PAD
    }
    for (level, quantizer, frame), (step, _) in places.items():
        if quantizer:
            assert places[level, quantizer - 1, frame][0] < step
        if frame:
            assert places[level, quantizer, frame - 1][0] < step
        for above in (held for held in layout.levels if held < level):
            covering = frame * layout.hops[level] // layout.hops[above]
            for each in range(len(layout.codebook_sizes[above])):
                assert places[above, each, covering][0] < step


@given(layouts(says_end=True), st.integers(1, 60))
def test_end_may_come_for_every_number_of_frames_and_no_other(layout: Layout, frames: int) -> None:
    possible = {}
    for step in range(layout.length_with_end(frames) + layout.cycle):
        for slot in layout.steps[step % layout.cycle]:
            for end in range(len(slot.ends)):
                finest = layout.finest_at_end(slot, step, end)
                if finest > 0:
                    assert finest not in possible
                    possible[finest] = (step, FIRST_END + end)
    assert set(range(1, frames + 1)) <= set(possible)
    for finest in range(1, frames + 1):
        grid = layout.encode(random_codes(layout, finest * layout.hops[-1], 0))
        step, token = possible[finest]
        assert grid[step, 0] == token
        # what comes before END does not depend on it: a longer sound begins with the same
        longer = random_codes(layout, (finest + 1) * layout.hops[-1], 0)
        shorter = Codes(
            [
                level[:, : frames_for(finest * layout.hops[-1], hop)]
                for level, hop in zip(longer.levels, layout.hops, strict=True)
            ],
            finest * layout.hops[-1],
            longer.sample_rate,
            longer.hops,
        )
        assert torch.equal(layout.encode(shorter)[:step], layout.encode(longer)[:step])


@given(layouts(), st.integers(1, 400))
def test_the_longest_sound_just_fits(layout: Layout, steps: int) -> None:
    longest = layout.longest(steps)
    assert longest == 0 or layout.length_with_end(longest) <= steps
    assert layout.length_with_end(longest + 1) > steps


@given(layouts(), st.integers(1, 100))
def test_places_belong_to_the_coarse_frame_of_their_code(layout: Layout, num_samples: int) -> None:
    grid = layout.encode(random_codes(layout, num_samples, 0), end=False)
    frames = layout.coarse_frames(len(grid))
    for step in range(len(grid)):
        for slot in layout.steps[step % layout.cycle]:
            if grid[step, slot.column] != PAD:
                at = layout.frame(slot, step) * layout.hops[slot.level]
                assert frames[step, slot.column] == at // layout.hops[0]


CODES = Codes([torch.tensor([[2, 0, 1]]), torch.tensor([[6, 0, 1, 2, 3, 4]])], 11, 8000, [4, 2])


def test_flat_is_as_the_head_of_the_file_says() -> None:
    layout = Layout("flat", [4, 2], [[3], [7]])
    assert layout.vocab_size == 12
    assert layout.encode(CODES)[:, 0].tolist() == [4, 11, 5, 2, 6, 7, 3, 8, 9, FIRST_END]


def test_delay_is_as_the_head_of_the_file_says() -> None:
    layout = Layout("delay", [4, 2], [[3], [7]])
    assert layout.num_ends == 2
    o = PAD
    coarse = [5, o, 3, o, 4, o, FIRST_END + 1, o]
    fine = [o, o, 12, 6, 7, 8, 9, 10]
    assert layout.encode(CODES).T.tolist() == [coarse, fine]


def test_delay_of_one_level_is_that_of_musicgen() -> None:
    layout = Layout("delay", [2], [[4, 4, 4]])
    codes = Codes([torch.tensor([[0, 1], [2, 3], [1, 0]])], 4, 8000, [2])
    o, first = PAD, layout.num_ends + FIRST_END
    wanted = [
        [first, first + 1, FIRST_END, o],
        [o, first + 6, first + 7, o],
        [o, o, first + 9, first + 8],
    ]
    assert layout.encode(codes).T.tolist() == wanted


def test_a_stage_holds_one_level() -> None:
    layout = Layout("flat", [4, 2], [[3], [7]], levels=[1])
    assert layout.num_ends == 0
    assert layout.encode(CODES)[:, 0].tolist() == [7, 1, 2, 3, 4, 5]
    top = Layout("flat", [4, 2], [[3], [7]], levels=[0])
    assert top.encode(CODES)[:, 0].tolist() == [5, 3, 4, FIRST_END + 1]


def test_tokens_that_are_no_sound_are_refused() -> None:
    layout = Layout("flat", [4, 2], [[4], [16]])
    with pytest.raises(UserError, match="too few"):
        layout.decode(torch.tensor([[2]]), 1)
    with pytest.raises(UserError, match="level 0 quantizer 0 has the code -1"):
        layout.decode(torch.tensor([[1], [7]]), 1)


def test_codes_outside_the_codebook_or_of_another_shape_are_refused() -> None:
    layout = Layout("flat", [4, 2], [[4], [16]])
    with pytest.raises(UserError, match="level 0 quantizer 0 has the code 4"):
        layout.encode(Codes([torch.tensor([[4]]), torch.tensor([[1, 2]])], 4, 8000, [4, 2]))
    with pytest.raises(UserError, match="hops"):
        layout.encode(Codes([torch.tensor([[1]])], 4, 8000, [4]))


@pytest.mark.parametrize(
    ("hops", "sizes"), [([3, 2], [[4], [4]]), ([4, 4], [[4], [4]]), ([4], [[]]), ([4, 2], [[4]])]
)
def test_impossible_layouts_are_refused(hops: list[int], sizes: list[list[int]]) -> None:
    with pytest.raises(UserError, match="layout"):
        Layout("flat", hops, sizes)
