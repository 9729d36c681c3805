"""Reading on: a transformer that keeps what it has read, so that one more step costs one step.

`open_reader` gives the fastest one there is for the place and the precision.
"""

from typing import Literal, Protocol

import torch
from torch import Tensor

from vqaudio.errors import UserError
from vqaudio.prior.cpu import CpuReader
from vqaudio.prior.native import library
from vqaudio.prior.transformer import Transformer

Precision = Literal["float32", "bfloat16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "int8")

# Torch's matrix products may round otherwise with another number of rows, and then a sound would
# depend on how many others were asked for: so single steps always have this many, or a multiple.
ROWS = 8


class Reader(Protocol):
    """Several sequences, each read from left to right."""

    def read(self, x: Tensor, rows: Tensor) -> Tensor:
        """Go on with some of the sequences.

        Args:
            x: float32 `[R, N, D]`, what comes next in each of them. Where N is above 1, all of them
                have been read equally far.
            rows: int64 `[R]`, on the CPU: which they are.

        Returns:
            Features after the last norm, `[R, N, D]`.
        """

    def project(self, hidden: Tensor, head: int) -> Tensor:
        """Features `[R, D]` times the head of that number: `[R, outputs]`."""

    def forget(self) -> None:
        """Begin all sequences again."""


def open_reader(
    transformer: Transformer, heads: list[Tensor], rows: int, length: int, precision: Precision
) -> Reader:
    """The fastest reader for where the weights are.

    Args:
        transformer: in evaluation mode.
        heads: matrices `[outputs, D]` that features are to be multiplied with.
        rows: sequences at most.
        length: positions of each at most.
        precision: of weights, keys and values; int8 rounds what it multiplies them with too.

    Raises:
        UserError: the precision needs a CPU and a working C compiler, and one of them is not there.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision {precision}: must be {', '.join(PRECISIONS)}")
    on_cpu = transformer.cosine.device.type == "cpu"
    if on_cpu and library() is not None:
        return CpuReader(transformer, heads, rows, length, precision)
    if precision != "float32":
        lacking = "a C compiler (cc) that works" if on_cpu else "a CPU; load the prior there"
        raise UserError(f"precision {precision}: needs {lacking}, or leave it at float32")
    return TorchReader(transformer, heads, rows, length)


class TorchReader:
    """A reader that runs wherever torch does.

    Args:
        transformer: see `open_reader`, as for the others.
        heads: see there.
        rows: see there.
        length: see there.
    """

    def __init__(self, transformer: Transformer, heads: list[Tensor], rows: int, length: int) -> None:
        self.transformer, self.heads, self.length = transformer, heads, length
        self.device = transformer.cosine.device
        self.rows = -(-rows // ROWS) * ROWS
        shape = (2, self.rows, transformer.heads, length, transformer.head_width)
        self.pasts = [torch.zeros(shape, device=self.device) for _ in transformer.blocks]
        self.filled = torch.zeros(self.rows, dtype=torch.int64)

    def read(self, x: Tensor, rows: Tensor) -> Tensor:
        """See `Reader.read`."""
        count = x.shape[1]
        if count == 1:  # all sequences step on; those not asked for come back to where they were
            whole = x.new_zeros(self.rows, 1, x.shape[2])
            whole[rows] = x
            hidden = self._read(whole, torch.arange(self.rows), self.filled)[rows]
        else:
            hidden = self._read(x, rows, self.filled[rows])
        self.filled[rows] += count
        return hidden

    def _read(self, x: Tensor, rows: Tensor, starts: Tensor) -> Tensor:
        positions = (starts[:, None] + torch.arange(x.shape[1])).to(self.device)
        rows = rows.to(self.device)
        seen = torch.arange(self.length, device=self.device) <= positions[:, None, :, None]
        rotation = tuple(
            table[positions.clamp(max=len(table) - 1)][:, None]
            for table in (self.transformer.cosine, self.transformer.sine)
        )
        for block, past in zip(self.transformer.blocks, self.pasts, strict=True):
            x = block(x, rotation, _Past(past, rows, positions, seen))
        return self.transformer.norm(x)

    def project(self, hidden: Tensor, head: int) -> Tensor:
        """See `Reader.project`."""
        whole = hidden.new_zeros(self.rows, hidden.shape[1])
        whole[: len(hidden)] = hidden
        return (whole @ self.heads[head].T)[: len(hidden)]

    def forget(self) -> None:
        """See `Reader.forget`."""
        self.filled.zero_()


class _Past:
    """The past of one block, for some rows: `[2, all rows, heads, length, width]`."""

    def __init__(self, kept: Tensor, rows: Tensor, positions: Tensor, seen: Tensor) -> None:
        self.kept, self.rows, self.positions, self.seen = kept, rows, positions, seen

    def add(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `transformer.Past`."""
        last = self.kept.shape[3] - 1  # idle rows may stand past the end
        where = (self.rows[:, None], slice(None), self.positions.clamp(max=last))
        self.kept[0][where] = key.transpose(1, 2)
        self.kept[1][where] = value.transpose(1, 2)
        return self.kept[0][self.rows], self.kept[1][self.rows], self.seen
