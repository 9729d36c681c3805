"""New Codes from a prior, token by token."""

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vqaudio.codes import Codes
from vqaudio.errors import UserError
from vqaudio.prior.layout import END
from vqaudio.prior.transformer import Cache

if TYPE_CHECKING:
    from vqaudio.prior.model import Prior

# Sounds are written in groups of exactly this many rows, with idle rows where fewer are wanted:
# a matrix product of another number of rows may round otherwise, and then a sound would depend
# on how many others were asked for.
GROUP = 8


@dataclass(frozen=True)
class Choice:
    """How one token is chosen among those that may come.

    Args:
        temperature: below 1 is more likely, above 1 more varied; 0 always takes the likeliest.
        top_k: draw from this many likeliest tokens; 0 from all.
        top_p: draw from the fewest likeliest tokens that have this probability together
            (Holtzman et al. 2019, arXiv 1904.09751).

    Raises:
        UserError: a number is out of its range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UserError(f"temperature {self.temperature}: must be 0 or above")
        if self.top_k < 0:
            raise UserError(f"top_k {self.top_k}: must be 0 (all tokens) or above")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p {self.top_p}: must be above 0 and at most 1")

    def __call__(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """Choose.

        Args:
            logits: float32 `[B, K]`.
            uniform: float64 `[B]` in [0, 1), the chance in each choice.

        Returns:
            int64 `[B]` in [0, K).
        """
        if self.temperature == 0:
            return logits.argmax(dim=-1)
        probabilities = (logits.double() / self.temperature).softmax(dim=-1)
        probabilities, order = probabilities.sort(dim=-1, descending=True, stable=True)
        if self.top_k:
            probabilities = probabilities[:, : self.top_k]
        total = probabilities.cumsum(dim=-1)
        likelier = total - probabilities
        kept = (likelier < self.top_p * total[:, -1:]).sum(dim=-1, keepdim=True)
        point = uniform[:, None] * total.gather(1, kept - 1)
        return order.gather(1, torch.minimum((total <= point).sum(dim=-1, keepdim=True), kept - 1))[:, 0]


@torch.no_grad()
def sample(
    prior: "Prior", n: int, seconds: float | None, label: str | None, seed: int, choice: Choice
) -> list[Codes]:
    """Draw sounds; the i-th one of a seed is the same whatever `n` is.

    Args:
        prior: which gives the probabilities; in evaluation mode.
        n: how many sounds.
        seconds: exact length, rounded up to whole samples; otherwise each sound ends where the
            prior ends it, or where the context does.
        label: what to say; one of `prior.labels`.
        seed: of all draws.
        choice: of each token.

    Raises:
        UserError: a number is out of range, `seconds` is beyond the context or the label unknown.
    """
    if n < 1:
        raise UserError(f"n {n}: must be at least 1")
    # The context counts what stands before the first code, and END.
    length = prior.layout.complete(prior.config.context - 2)
    num_samples = None
    if seconds is not None:
        num_samples = _samples(seconds, prior.sample_rate)
        if prior.layout.length(num_samples) > length:
            limit = prior.layout.num_samples(length) / prior.sample_rate
            raise UserError(f"seconds {seconds:g}: beyond the context of this prior; at most {limit:g}")
        length = prior.layout.length(num_samples)
    label_index = prior.label_index(label)
    sounds: list[Codes] = []
    for first in range(0, n, GROUP):
        rows = range(first, min(first + GROUP, n))
        uniform = torch.zeros(GROUP, length, dtype=torch.float64)
        for row, sound in enumerate(rows):
            uniform[row] = torch.rand(length, dtype=torch.float64, generator=_generator(seed, sound))
        tokens = _write(prior, label_index, len(rows), uniform.to(prior.device), seconds is None, choice)
        for row in tokens[: len(rows)].cpu():
            ended = (row == END).nonzero()
            row = row[: int(ended[0])] if len(ended) else row
            sounds.append(
                prior.layout.decode(row, prior.sample_rate, prior.codec.fingerprint, num_samples)
            )
    return sounds


def _write(
    prior: "Prior", label_index: int, rows: int, uniform: Tensor, may_end: bool, choice: Choice
) -> Tensor:
    """One group of sounds side by side.

    Args:
        prior: in evaluation mode.
        label_index: of all of them.
        rows: how many of the group are wanted; the others are idle.
        uniform: float64 `[GROUP, N]`, the chance in each choice.
        may_end: whether END may come before N tokens.
        choice: of each token.

    Returns:
        int64 `[GROUP, N]`, END from where a sound ended on.
    """
    length = uniform.shape[1]
    labels = torch.full((GROUP,), label_index, device=prior.device)
    tokens = torch.full((GROUP, length), END, device=prior.device)
    last = tokens[:, 0]
    ended = torch.arange(GROUP, device=prior.device) >= rows
    cache = Cache(prior.transformer, GROUP, length)
    for position in range(length):
        slot = prior.layout.slot(position)
        logits = prior.logits(prior.read(last[:, None], labels, cache)[:, -1], slot)
        if slot.may_end and not (may_end and prior.layout.may_end(position)):
            logits = logits[:, :-1]
        code = choice(logits, uniform[:, position])
        last = torch.where(code == slot.size, END, slot.offset + code).masked_fill(ended, END)
        tokens[:, position] = last
        ended = last == END
        if slot.may_end and ended.all():
            break
    return tokens


def _samples(seconds: float, sample_rate: int) -> int:
    if not (math.isfinite(seconds) and seconds > 0):
        raise UserError(f"seconds {seconds}: must be above 0")
    # 0.07 * 100 lies above 7 by a rounding error that is no sample.
    return max(1, math.ceil(round(seconds * sample_rate, 6)))


def _generator(seed: int, sound: int) -> torch.Generator:
    """The source of chance for one sound of a seed, unlike that of any other sound or seed."""
    digest = hashlib.sha256(f"{seed} {sound}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
