"""Codes <-> steps of tokens: which codes a prior reads and writes when, exactly reversible.

A layout is a grid of steps and columns. At each step the prior says all tokens of one row at once,
given all rows before. Rows repeat with one cycle a frame of the coarsest level.

`flat`: one token a step, by time, coarse before fine. With two levels of one quantizer and hops 4
and 2, a sound of 11 samples has 3 coarse frames C and 6 fine ones f:

    step    0  1  2  3  4  5  6  7  8  9
    token   C0 f0 f1 C1 f2 f3 C2 f4 f5 END

`delay`: a column a codebook, a step a frame of the finest level, so fewer steps than tokens (after
MusicGen, Copet et al. 2023, arXiv 2306.05284, section 2.2, for levels of unequal rates). A quantizer
is one step behind the one before it, and a level one frame of the level above it behind that level:

    step    0  1  2  3  4  5  6  7
    level 0 C0    C1    C2    E2
    level 1       f0 f1 f2 f3 f4 f5

A layout may also hold one level alone, which is how a cascade's stages read theirs.

The vocabulary:

    token 0        START: stands before the first code, and is never said
    tokens 1 - E   END: the sound is over. One token in `flat`, which says it where the next frame
                   would begin. Else one for each number of finest frames that the last coarse
                   frame may have: END r (r = 1 ... E) stands where a coarse frame would begin.
    then           codes of level 0, quantizer 0; of its quantizer 1; ...; of level 1; ...
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from vqaudio.codes import Codes, frames_for
from vqaudio.errors import UserError

PAD = -1  # no token
START = 0
FIRST_END = 1
Order = Literal["flat", "delay"]


@dataclass(frozen=True)
class Slot:
    """One codebook's place in a cycle.

    Args:
        step: of the cycle.
        column: of the grid.
        level: coarsest is 0.
        quantizer: within the level.
        frame: of this level, counted from the start of the coarse frame.
        lag: how many coarse frames ago the coarse frame began.
        offset: the codebook's first token.
        size: of the codebook; tokens `offset ... offset + size - 1` may come.
        ends: for each END token that may come here instead, the finest frames that the sound has
            then, counted from the start of the cycle (so 0 or less, where it says so late).
    """

    step: int
    column: int
    level: int
    quantizer: int
    frame: int
    lag: int
    offset: int
    size: int
    ends: tuple[int, ...]

    def outputs_of(self, tokens: Tensor) -> Tensor:
        """Where tokens stand among the logits of a slot: its codebook, then END."""
        return torch.where(tokens < self.offset, tokens - FIRST_END + self.size, tokens - self.offset)


class Layout:
    """The order of tokens and which of them may come where.

    Args:
        order: see the head of this file.
        hops: samples a frame, per level, coarsest first; each a multiple of the next.
        codebook_sizes: per level, per quantizer.
        levels: those that it holds; by default all. It says when the sound ends if level 0 is
            among them; else it must be told.

    Raises:
        UserError: the hops do not nest or a level has no quantizer.
    """

    def __init__(
        self,
        order: Order,
        hops: Sequence[int],
        codebook_sizes: Sequence[Sequence[int]],
        levels: Sequence[int] | None = None,
    ) -> None:
        _check(hops, codebook_sizes)
        self.hops = tuple(hops)
        self.codebook_sizes = [list(sizes) for sizes in codebook_sizes]
        self.levels = list(range(len(hops))) if levels is None else list(levels)
        self.finest_a_cycle = self.hops[0] // self.hops[-1]
        self.num_ends = self._num_ends(order)
        self.slots = tuple(self._slots(order))
        self.columns = 1 + max(slot.column for slot in self.slots)
        self.cycle = 1 + max(slot.step for slot in self.slots)
        self.steps = [
            tuple(slot for slot in self.slots if slot.step == step) for step in range(self.cycle)
        ]
        self.vocab_size = max(slot.offset + slot.size for slot in self.slots)

    # --- arithmetic of lengths ---

    def ratio(self, level: int) -> int:
        """Frames of a level in one coarse frame."""
        return self.hops[0] // self.hops[level]

    def finest_frames(self, num_samples: int) -> int:
        """Frames of the finest level in a sound."""
        return frames_for(num_samples, self.hops[-1])

    def frames(self, level: int, finest: int) -> int:
        """Frames of a level in a sound with that many finest frames."""
        return frames_for(finest * self.hops[-1], self.hops[level])

    def length(self, finest: int) -> int:
        """Steps up to the last code of a sound with that many finest frames."""
        return max(self._last_step(slot, finest) for slot in self.slots) + 1

    def length_with_end(self, finest: int) -> int:
        """Steps up to the last token, END included if the layout says it."""
        return max(self.length(finest), self._end(finest)[0] + 1 if self.num_ends else 0)

    def longest(self, steps: int, end: bool = True) -> int:
        """The finest frames of the longest sound of at most so many steps, END included or not."""
        bound = (steps // self.cycle + 1) * self.finest_a_cycle
        length = self.length_with_end if end else self.length
        return bisect_right(range(1, bound + 1), steps, key=length)

    def num_tokens(self, finest: int) -> int:
        """Codes of a sound; END not counted."""
        return sum(self.frames(level, finest) * len(self.codebook_sizes[level]) for level in self.levels)

    def frame(self, slot: Slot, step: int) -> int:
        """The frame of its level that a slot stands for at a step; below 0 before the first one."""
        return (step // self.cycle - slot.lag) * self.ratio(slot.level) + slot.frame

    def finest_at_end(self, slot: Slot, step: int, end: int) -> int:
        """Finest frames of a sound that has the END token `end` (from 0) in a slot at a step."""
        return step // self.cycle * self.finest_a_cycle + slot.ends[end]

    def coarse_frames(self, steps: int) -> Tensor:
        """The coarse frame that each place of the grid belongs to: int64 `[steps, columns]`."""
        found = torch.zeros(steps, self.columns, dtype=torch.int64)
        for slot in self.slots:
            cycles = torch.arange(len(range(slot.step, steps, self.cycle)))
            found[slot.step :: self.cycle, slot.column] = (cycles - slot.lag).clamp(min=0)
        return found

    def books(self, dims: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
        """Codes of each codebook, in the order of their tokens, beside a number for it from `dims`."""
        return [
            pair
            for level in self.levels
            for pair in zip(self.codebook_sizes[level], dims[level], strict=True)
        ]

    # --- codes <-> grid ---

    def encode(self, codes: Codes, end: bool = True) -> Tensor:
        """Codes as a grid of tokens.

        Args:
            codes: of a codec with these hops and codebook sizes.
            end: with END, if the layout says it.

        Returns:
            int64 `[steps, columns]`, PAD where there is no token.

        Raises:
            UserError: the codes belong to another kind of codec.
        """
        self.must_fit(codes)
        finest = self.finest_frames(codes.num_samples)
        end = end and self.num_ends > 0
        length = self.length_with_end(finest) if end else self.length(finest)
        grid = torch.full((length, self.columns), PAD)
        for slot in self.slots:
            column = codes.levels[slot.level][slot.quantizer, slot.frame :: self.ratio(slot.level)]
            self._column(grid, slot)[: len(column)] = column + slot.offset
        if end:
            step, token = self._end(finest)
            grid[step, 0] = token
        return grid

    def decode(self, grid: Tensor, finest: int) -> list[Tensor]:
        """The codes that a grid stands for: int64 `[Q, F]` of each level that the layout holds.

        Args:
            grid: int64 `[steps, columns]`, of at least as many steps as the sound has.
            finest: frames of the finest level in the sound.

        Raises:
            UserError: a token stands where it may not.
        """
        levels = {
            level: torch.zeros(
                len(self.codebook_sizes[level]), self.frames(level, finest), dtype=torch.int64
            )
            for level in self.levels
        }
        if len(grid) < self.length(finest):
            raise UserError(f"tokens: {len(grid)} steps are too few for {finest} frames")
        for slot in self.slots:
            place = levels[slot.level][slot.quantizer, slot.frame :: self.ratio(slot.level)]
            codes = self._column(grid, slot)[: len(place)].cpu() - slot.offset
            place.copy_(_within(slot, codes))
        return list(levels.values())

    def ended(self, grid: Tensor) -> int:
        """The finest frames of a sound, by its END.

        Raises:
            UserError: there is none.
        """
        for slot in self.slots:
            if slot.ends:
                tokens = self._column(grid, slot).cpu()
                found = ((tokens >= FIRST_END) & (tokens < FIRST_END + self.num_ends)).nonzero()
                if len(found):
                    cycle = int(found[0]) + slot.lag
                    end = int(tokens[int(found[0])]) - FIRST_END
                    return self.finest_at_end(slot, cycle * self.cycle, end)
        raise UserError("tokens: without END, so that the length of the sound is not known")

    # --- how a cycle is made ---

    def _num_ends(self, order: Order) -> int:
        if 0 not in self.levels:
            return 0
        whole = len(self.levels) == len(self.hops)
        return 1 if order == "flat" and whole else self.finest_a_cycle

    def _slots(self, order: Order) -> list[Slot]:
        offset = FIRST_END + self.num_ends
        offsets: dict[tuple[int, int], int] = {}
        for level in self.levels:
            for quantizer, size in enumerate(self.codebook_sizes[level]):
                offsets[level, quantizer] = offset
                offset += size
        places = self._flat() if order == "flat" else self._delay()
        slots = []
        for step, column, lag, level, quantizer, frame in places:
            size = self.codebook_sizes[level][quantizer]
            ends = self._ends(level, quantizer, frame)
            slots.append(
                Slot(step, column, level, quantizer, frame, lag, offsets[level, quantizer], size, ends)
            )
        return slots

    def _flat(self) -> list[tuple[int, int, int, int, int, int]]:
        """Step, column, lag, level, quantizer and frame of each slot: one a step, by time."""
        places = sorted(
            (frame * self.hops[level], level, quantizer, frame)
            for level in self.levels
            for frame in range(self.ratio(level))
            for quantizer in range(len(self.codebook_sizes[level]))
        )
        return [(step, 0, 0, *place) for step, (_, *place) in enumerate(places)]  # type: ignore[misc]

    def _delay(self) -> list[tuple[int, int, int, int, int, int]]:
        """The same for a column a codebook."""
        cycle = self.ratio(self.levels[-1])
        places = []
        column = delay = 0
        for level in self.levels:
            apart = cycle // self.ratio(level)  # steps between frames
            quantizers = len(self.codebook_sizes[level])
            for quantizer in range(quantizers):
                for frame in range(self.ratio(level)):
                    lag, step = divmod(frame * apart + delay + quantizer, cycle)
                    places.append((step, column, lag, level, quantizer, frame))
                column += 1
            delay += max(apart, quantizers)
        return places

    def _ends(self, level: int, quantizer: int, frame: int) -> tuple[int, ...]:
        finest = self.finest_a_cycle
        if self.num_ends == 0 or quantizer > 0:
            return ()
        if self.num_ends == finest > 1:
            return tuple(range(1 - finest, 1)) if (level, frame) == (0, 0) else ()
        # The first token of a moment: what stands before it is a whole finest frame.
        coarsest = next(
            above for above in self.levels if frame * self.hops[level] % self.hops[above] == 0
        )
        return (frame * self.hops[level] // self.hops[-1],) if level == coarsest else ()

    def _end(self, finest: int) -> tuple[int, int]:
        """Step and token of END."""
        for slot in self.slots:
            for end, ahead in enumerate(slot.ends):
                cycle, rest = divmod(finest - ahead, self.finest_a_cycle)
                if rest == 0:
                    return cycle * self.cycle + slot.step, FIRST_END + end
        raise AssertionError("every number of frames has an END")

    def _last_step(self, slot: Slot, finest: int) -> int:
        """The last step at which a slot has a code; -1 if it has none."""
        frames = self.frames(slot.level, finest)
        if frames <= slot.frame:
            return -1
        return ((frames - 1 - slot.frame) // self.ratio(slot.level) + slot.lag) * self.cycle + slot.step

    def _column(self, grid: Tensor, slot: Slot) -> Tensor:
        """A view of the places of a slot, from its first frame on."""
        return grid[slot.lag * self.cycle + slot.step :: self.cycle, slot.column]

    def must_fit(self, codes: Codes) -> None:
        """Refuse codes of other levels.

        Raises:
            UserError: hops, quantizers or codebook sizes are others.
        """
        shapes = [len(level) for level in codes.levels]
        wanted = [len(sizes) for sizes in self.codebook_sizes]
        if tuple(codes.hops) != self.hops or shapes != wanted:
            raise UserError(
                f"codes: hops {list(codes.hops)} with {shapes} quantizers, but this prior reads hops "
                f"{list(self.hops)} with {wanted}"
            )
        for slot in self.slots:
            _within(slot, codes.levels[slot.level][slot.quantizer])


def _within(slot: Slot, codes: Tensor) -> Tensor:
    wrong = codes[(codes < 0) | (codes >= slot.size)]
    if len(wrong):
        raise UserError(
            f"codes: level {slot.level} quantizer {slot.quantizer} has the code {int(wrong[0])}, "
            f"outside its codebook of {slot.size}"
        )
    return codes


def _check(hops: Sequence[int], codebook_sizes: Sequence[Sequence[int]]) -> None:
    for level, sizes in enumerate(codebook_sizes):
        if not sizes:
            raise UserError(
                f"layout: level {level} of the codec is continuous and has no codes: a prior needs them"
            )
    if not hops or len(hops) != len(codebook_sizes):
        raise UserError(f"layout: hops {list(hops)} and codebooks {codebook_sizes} do not match")
    if any(coarse % fine or coarse == fine for coarse, fine in pairwise(hops)):
        raise UserError(f"layout: hops {list(hops)} are not each a multiple of the next")
