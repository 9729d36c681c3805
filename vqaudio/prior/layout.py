"""Codes <-> one token sequence: time order, coarse before fine, exactly reversible.

The vocabulary, for any number of levels and quantizers:

    token 0                      END; as an input, also what stands before the first code
    the next K of level 0, q 0   codes of the coarsest level's first quantizer
    the next K of level 0, q 1   its second quantizer, if there is one
    ...
    the next K of level 1, q 0   and so on, to the finest level's last quantizer

The sequence repeats one cycle a coarse frame. With two levels of one quantizer each and hops of
4 and 2, a sound of 11 samples has 3 coarse and 6 fine frames:

    position   0  1  2  3  4  5  6  7  8  9
    slot       0  1  2  0  1  2  0  1  2  0
    token      C0 f0 f1 C1 f2 f3 C2 f4 f5 END

A sound may end wherever a frame of the finest level is complete, so that the last cycle may be
cut short: 9 samples leave out f5.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from vqaudio.codes import Codes, frames_for
from vqaudio.errors import UserError

END = 0


@dataclass(frozen=True)
class Slot:
    """One place of the cycle: which codebook comes there.

    Args:
        level: coarsest is 0.
        quantizer: within the level.
        frame: of this level, counted from the start of the coarse frame.
        offset: the codebook's first token.
        size: of the codebook; tokens `offset ... offset + size - 1` may come.
        may_end: END may come instead (never at position 0, as no sound is empty).
    """

    level: int
    quantizer: int
    frame: int
    offset: int
    size: int
    may_end: bool


class FlatLayout:
    """The order of tokens and which of them may come where.

    Args:
        hops: samples a frame, per level, coarsest first; each a multiple of the next.
        codebook_sizes: per level, per quantizer.

    Raises:
        UserError: the hops do not nest or a level has no quantizer.
    """

    def __init__(self, hops: Sequence[int], codebook_sizes: Sequence[Sequence[int]]) -> None:
        for level, sizes in enumerate(codebook_sizes):
            if not sizes:
                raise UserError(
                    f"layout: level {level} of the codec is continuous and has no codes: a prior needs "
                    "them"
                )
        if not hops or len(hops) != len(codebook_sizes):
            raise UserError(f"layout: hops {list(hops)} and codebooks {codebook_sizes} do not match")
        if any(coarse % fine or coarse == fine for coarse, fine in pairwise(hops)):
            raise UserError(f"layout: hops {list(hops)} are not each a multiple of the next")
        self.hops = tuple(hops)
        self.codebook_sizes = [list(sizes) for sizes in codebook_sizes]
        self.slots = _cycle(self.hops, self.codebook_sizes)
        self.vocab_size = 1 + sum(map(sum, self.codebook_sizes))
        self._low = torch.tensor([slot.offset for slot in self.slots])
        self._high = torch.tensor([slot.offset + slot.size for slot in self.slots])
        finest = len(hops) - 1
        # Tokens of a cut cycle -> frames of the finest level in it. Its length is told by them alone.
        self._fine_frames = {0: 0}
        for position, slot in enumerate(self.slots, start=1):
            if slot.level == finest and slot.quantizer == len(self.codebook_sizes[finest]) - 1:
                self._fine_frames[position] = slot.frame + 1

    def slot(self, position: int) -> Slot:
        """What comes at a position of the sequence, counted from 0."""
        return self.slots[position % len(self.slots)]

    def may_end(self, position: int) -> bool:
        """Whether END may come at this position."""
        return position > 0 and self.slot(position).may_end

    def length(self, num_samples: int) -> int:
        """Tokens of a sound of this many samples, END not counted."""
        return sum(
            len(sizes) * frames_for(num_samples, hop)
            for sizes, hop in zip(self.codebook_sizes, self.hops, strict=True)
        )

    def complete(self, length: int) -> int:
        """The longest sequence of at most `length` tokens after which a sound may end."""
        cycles, rest = divmod(length, len(self.slots))
        return cycles * len(self.slots) + max(cut for cut in self._fine_frames if cut <= rest)

    def num_samples(self, length: int) -> int:
        """Samples of that many tokens of a sound, its last finest frame counted as full.

        Raises:
            UserError: a sound cannot end there.
        """
        cycles, rest = divmod(length, len(self.slots))
        if length < 1 or rest not in self._fine_frames:
            raise UserError(f"tokens: a sound cannot end after {length} of them")
        return cycles * self.hops[0] + self._fine_frames[rest] * self.hops[-1]

    def nominal_bits(self, length: int) -> float:
        """Bits of that many tokens if every code of a codebook were equally likely; END not counted."""
        bits = [math.log2(slot.size) for slot in self.slots]
        cycles, rest = divmod(length, len(bits))
        return cycles * sum(bits) + sum(bits[:rest])

    def encode(self, codes: Codes) -> Tensor:
        """Codes as one sequence.

        Args:
            codes: of a codec with these hops and codebook sizes.

        Returns:
            int64 `[N + 1]`, the last one END.

        Raises:
            UserError: the codes belong to another kind of codec.
        """
        shapes = [len(level) for level in codes.levels]
        if tuple(codes.hops) != self.hops or shapes != [len(sizes) for sizes in self.codebook_sizes]:
            raise UserError(
                f"codes: hops {list(codes.hops)} with {shapes} quantizers, but this prior reads hops "
                f"{list(self.hops)} with {[len(sizes) for sizes in self.codebook_sizes]}"
            )
        grid = torch.zeros(codes.levels[0].shape[1], len(self.slots), dtype=torch.int64)
        for index, slot in enumerate(self.slots):
            column = codes.levels[slot.level][slot.quantizer, slot.frame :: self._ratio(slot.level)]
            grid[: len(column), index] = column + slot.offset
        length = self.length(codes.num_samples)
        tokens = grid.flatten()[:length]  # what is past the end has its start past the end: a suffix
        self._check(tokens)
        return torch.cat([tokens, torch.tensor([END])])

    def decode(
        self, tokens: Tensor, sample_rate: int, codec: str = "", num_samples: int | None = None
    ) -> Codes:
        """The codes that a sequence stands for.

        Args:
            tokens: int64 `[N]` or, with its END, `[N + 1]`.
            sample_rate: in Hz.
            codec: fingerprint of the codec whose codes these are.
            num_samples: true length; otherwise the last finest frame counts as full.

        Raises:
            UserError: a token stands where it may not, or the length belongs to another sequence.
        """
        tokens = tokens.cpu()
        if len(tokens) and tokens[-1] == END:
            tokens = tokens[:-1]
        rounded = self.num_samples(len(tokens))
        self._check(tokens)
        samples = rounded if num_samples is None else num_samples
        if self.length(samples) != len(tokens):
            raise UserError(f"tokens: {len(tokens)} of them are not a sound of {samples} samples")
        levels = [
            torch.zeros(len(sizes), frames_for(samples, hop), dtype=torch.int64)
            for sizes, hop in zip(self.codebook_sizes, self.hops, strict=True)
        ]
        for index, slot in enumerate(self.slots):
            column = tokens[index :: len(self.slots)] - slot.offset
            levels[slot.level][slot.quantizer, slot.frame :: self._ratio(slot.level)] = column
        return Codes(levels, samples, sample_rate, list(self.hops), codec)

    def _ratio(self, level: int) -> int:
        """Frames of a level in one coarse frame."""
        return self.hops[0] // self.hops[level]

    def _check(self, tokens: Tensor) -> None:
        slots = torch.arange(len(tokens)) % len(self.slots)
        wrong = ((tokens < self._low[slots]) | (tokens >= self._high[slots])).nonzero()
        if len(wrong):
            place = int(wrong[0])
            slot = self.slot(place)
            raise UserError(
                f"codes: level {slot.level} quantizer {slot.quantizer} has the code "
                f"{int(tokens[place]) - slot.offset}, outside its codebook of {slot.size}"
            )


def _cycle(hops: tuple[int, ...], codebook_sizes: list[list[int]]) -> tuple[Slot, ...]:
    """The places of one coarse frame, by time, then coarse before fine, then quantizer."""
    offsets = {}
    offset = END + 1
    for level, sizes in enumerate(codebook_sizes):
        for quantizer, size in enumerate(sizes):
            offsets[level, quantizer] = offset
            offset += size
    places = sorted(
        (frame * hop, level, quantizer, frame)
        for level, hop in enumerate(hops)
        for frame in range(hops[0] // hop)
        for quantizer in range(len(codebook_sizes[level]))
    )
    finest = (len(hops) - 1, len(codebook_sizes[-1]) - 1)
    slots = []
    before = finest  # what stands before a cycle is the last token of the one before it
    for _, level, quantizer, frame in places:
        size = codebook_sizes[level][quantizer]
        slots.append(Slot(level, quantizer, frame, offsets[level, quantizer], size, before == finest))
        before = (level, quantizer)
    return tuple(slots)
