"""Codes: one sound's tokens, coarse to fine, with what is needed to make them sound again."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vqaudio.errors import UserError


def frames_for(num_samples: int, hop: int) -> int:
    """Frames of `hop` samples that cover `num_samples`: the ceiling of their ratio."""
    return -(-num_samples // hop)


@dataclass(frozen=True, eq=False)
class Codes:
    """One sound as integers at several time scales.

    Args:
        levels: coarsest first, each int64 `[Q, F]` with `F = ceil(num_samples / hop)`.
        num_samples: true length of the sound, in samples at `sample_rate`; at least 1.
        sample_rate: in Hz.
        hops: samples a frame, per level, coarsest first.
        codec: fingerprint of the codec that made them; empty if unknown.

    Raises:
        UserError: the shapes do not belong to a sound of this length.
    """

    levels: Sequence[Tensor]
    num_samples: int
    sample_rate: int
    hops: Sequence[int]
    codec: str = ""

    def __post_init__(self) -> None:
        if self.num_samples < 1:
            raise UserError(f"codes: of {self.num_samples} samples; a sound has at least 1")
        if len(self.levels) != len(self.hops):
            raise UserError(f"codes: {len(self.levels)} levels but {len(self.hops)} hops")
        for level, (codes, hop) in enumerate(zip(self.levels, self.hops, strict=True)):
            want = frames_for(self.num_samples, hop)
            if codes.ndim != 2 or codes.shape[1] != want:
                raise UserError(
                    f"codes: level {level} has shape {list(codes.shape)}, but {self.num_samples} "
                    f"samples at hop {hop} make [Q, {want}]"
                )

    @property
    def duration_seconds(self) -> float:
        """Length of the sound in seconds."""
        return self.num_samples / self.sample_rate

    @property
    def num_codes(self) -> int:
        """Integers in all levels."""
        return sum(level.numel() for level in self.levels)

    def __eq__(self, other: object) -> bool:
        """Equal when the integers, the length and the rates are; the codec is not compared."""
        if not isinstance(other, Codes):
            return NotImplemented
        return (
            self.num_samples == other.num_samples
            and self.sample_rate == other.sample_rate
            and tuple(self.hops) == tuple(other.hops)
            and all(torch.equal(a, b) for a, b in zip(self.levels, other.levels, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]  # tensors inside
