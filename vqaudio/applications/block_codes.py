"""Codes of one block <-> bytes, by a model that says how likely each next code is.

Reading undoes writing step by step, so that the coder ends with nothing left if, and but for a chance
of 2^-32 only if, every code had the frequencies that it was written with. That is the check for bytes
that are whole, and were not written so.
"""

from collections.abc import Generator, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

from vqaudio.applications.coder import BYTES_A_CODE, Decoder, Integers, encode

# Level, quantizer and frame of the next code, and its frequencies; the code is sent back.
Walk = Generator[tuple[int, int, int, Integers], int, None]
SLACK_BYTES = 8


class CodeModel(Protocol):
    """A model of codes.

    Attributes:
        kind: as the header names it.
        fingerprint: hexadecimal digits, equal for equal models only.
        rounds: whether its arithmetic rounds, so that another machine may find other frequencies.
    """

    kind: Literal["static", "prior"]
    fingerprint: str
    rounds: bool

    def walk(self, frames: Sequence[int]) -> Walk:
        """Through a block of so many frames a level, in an order that is always the same."""


class MismatchError(Exception):
    """Whole bytes gave other codes than they were made of."""


def write_codes(model: CodeModel, levels: Sequence[Tensor]) -> bytes:
    """A block's codes, int64 `[Q, F]` a level, as bytes."""
    codes, shares = [], []
    walk = model.walk([level.shape[1] for level in levels])
    said = [level.tolist() for level in levels]
    place = next(walk, None)
    while place is not None:
        level, quantizer, frame, share = place
        codes.append(said[level][quantizer][frame])
        shares.append(share)
        place = _go_on(walk, codes[-1])
    return encode(codes, shares)


def read_codes(
    model: CodeModel, quantizers: Sequence[int], frames: Sequence[int], data: bytes
) -> list[Tensor]:
    """The codes of a block, int64 `[Q, F]` a level.

    Args:
        model: that it was written by.
        quantizers: per level.
        frames: per level.
        data: from `write_codes`; any bytes are read in bounded time.

    Raises:
        MismatchError: these are not bytes that this model writes.
    """
    sizes = zip(quantizers, frames, strict=True)
    levels = [torch.zeros(size, dtype=torch.int64) for size in sizes]
    decoder = Decoder(data)
    said = [level.numpy() for level in levels]
    walk = model.walk(frames)
    place = next(walk, None)
    while place is not None:
        level, quantizer, frame, share = place
        code = decoder.read(share)
        said[level][quantizer, frame] = code
        place = _go_on(walk, code)
    if not decoder.at_end:
        raise MismatchError
    return levels


def most_bytes(quantizers: Sequence[int], frames: Sequence[int]) -> int:
    """Bytes that a block of so many codes has at most."""
    return sum(q * f for q, f in zip(quantizers, frames, strict=True)) * BYTES_A_CODE + SLACK_BYTES


def _go_on(walk: Walk, code: int) -> tuple[int, int, int, Integers] | None:
    try:
        return walk.send(code)
    except StopIteration:
        return None
