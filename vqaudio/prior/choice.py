"""How one token is chosen among those that may come."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vqaudio.errors import UserError

MOST_OF_A_WINDOW = 0.1  # a code that fills more than this share of it is drawn anew


@dataclass(frozen=True)
class Choice:
    """How one token is chosen among those that may come.

    Args:
        temperature: below 1 is more likely, above 1 more varied; 0 always takes the likeliest,
            whatever the others say.
        top_k: draw from this many likeliest tokens; 0 from all.
        top_p: draw from the fewest likeliest tokens that have this probability together
            (Holtzman et al. 2019, arXiv 1904.09751).
        min_p: draw from tokens at least this share as likely as the likeliest (Nguyen et al. 2024,
            arXiv 2407.01082).
        repetition_window: a code that fills more than a tenth of the last so many frames of its
            codebook is drawn anew, from all tokens (Chen et al. 2024, arXiv 2406.05370, section
            3.2); 0 never looks back.

    Raises:
        UserError: a number is out of its range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_window: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UserError(f"temperature {self.temperature}: must be 0 (the likeliest) or above")
        if self.top_k < 0:
            raise UserError(f"top_k {self.top_k}: must be 0 (all tokens) or above")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p {self.top_p}: must be above 0 and at most 1")
        if not 0 <= self.min_p <= 1:
            raise UserError(f"min_p {self.min_p}: must be from 0 to 1")
        if self.repetition_window < 0:
            raise UserError(f"repetition_window {self.repetition_window}: must be 0 (none) or above")

    def __call__(self, logits: Tensor, chance: Tensor, recent: Tensor | None = None) -> Tensor:
        """Choose.

        Args:
            logits: float32 `[B, K]`.
            chance: float64 `[B, 2]` in [0, 1): of the first draw, and of one anew.
            recent: int64 `[B, W]`, the last codes; needed with a repetition window.

        Returns:
            int64 `[B]` in [0, K).

        Raises:
            UserError: the logits are not finite, but for tokens that may not come.
        """
        highest = logits.max(dim=-1, keepdim=True).values
        if not bool(highest.isfinite().all()):
            raise UserError("logits: beyond what floats hold; bring guidance nearer to 1")
        if self.temperature == 0:
            return logits.argmax(dim=-1)
        probabilities = ((logits - highest).double() / self.temperature).softmax(dim=-1)
        limited = self.top_k > 0 or self.top_p < 1 or self.min_p > 0
        chosen = (self._draw_limited if limited else _draw)(probabilities, chance[:, 0])
        if self.repetition_window and recent is not None:
            share = (recent == chosen[:, None]).sum(dim=1) / self.repetition_window
            chosen = torch.where(share > MOST_OF_A_WINDOW, _draw(probabilities, chance[:, 1]), chosen)
        return chosen

    def _draw_limited(self, probabilities: Tensor, chance: Tensor) -> Tensor:
        ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
        if self.top_k:
            ordered = ordered[:, : self.top_k]
        total = ordered.cumsum(dim=-1)
        likelier = total - ordered
        kept = (likelier < self.top_p * total[:, -1:]) & (ordered >= self.min_p * ordered[:, :1])
        return order.gather(1, _draw(ordered * kept, chance)[:, None])[:, 0]


def _draw(weights: Tensor, chance: Tensor) -> Tensor:
    """Where the chance falls among weights `[B, K]` laid end to end: int64 `[B]`."""
    total = weights.cumsum(dim=-1)
    # A hair less, so that rounding never leads past the last token that has any weight.
    point = chance * total[:, -1] * (1 - 1e-15)
    return torch.searchsorted(total, point[:, None], right=True)[:, 0]
