"""Are the codebooks alive? How many codes training uses, and how evenly."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ALARM_SHARE = 0.02  # of the way from one code in use to all alike: below it a level says nothing


@dataclass(frozen=True)
class Use:
    """Use of one codebook over a stretch of training.

    Args:
        level: 0 is the coarsest.
        quantizer: within the level, 0 first.
        size: codes there are, `K`.
        used: distinct codes that occurred.
        perplexity: 2 to the entropy in bits of the codes that occurred; 1 to `K`.
    """

    level: int
    quantizer: int
    size: int
    used: int
    perplexity: float

    @property
    def name(self) -> str:
        """Level and quantizer, such as `0.1`."""
        return f"{self.level}.{self.quantizer}"

    @property
    def alarming(self) -> bool:
        """Whether this codebook has stopped carrying information."""
        return self.perplexity < 1 + ALARM_SHARE * (self.size - 1)


class CodebookUse:
    """Counts codes from one log line to the next.

    Args:
        sizes: per level, per quantizer, the codebook's size.
    """

    def __init__(self, sizes: Sequence[Sequence[int]]) -> None:
        self._counts = [[torch.zeros(size) for size in level] for level in sizes]

    def add(self, codes: Sequence[Tensor]) -> None:
        """Count a batch.

        Args:
            codes: per level int64 `[B, Q, F]`; nothing in the warm start.
        """
        for counts, level in zip(self._counts, codes, strict=False):
            for count, indices in zip(counts, level.unbind(1), strict=True):
                count += torch.bincount(indices.flatten(), minlength=len(count)).cpu()

    def take(self) -> list[Use]:
        """What was counted since the last call; codebooks without a code are left out."""
        uses = []
        for level, quantizers in enumerate(self._counts):
            for quantizer, counts in enumerate(quantizers):
                if counts.any():
                    share = counts / counts.sum()
                    perplexity = torch.special.entr(share).sum().exp().item()
                    used = int((counts > 0).sum())
                    uses.append(Use(level, quantizer, len(counts), used, perplexity))
                counts.zero_()
        return uses
