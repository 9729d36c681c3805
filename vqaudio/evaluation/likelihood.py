"""How many bits a prior needs for codes that it has not seen."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vqaudio.codes import Codes
from vqaudio.errors import UserError
from vqaudio.prior.model import Prior


@dataclass(frozen=True)
class Fit:
    """How well a prior predicts codes.

    Args:
        tokens: codes counted, without the mark of the end.
        bits_per_token: the mark of the end included in the bits.
        nominal_bits_per_token: at full width, `log2(codebook size)`.
        bits_per_second: of sound.
    """

    tokens: int
    bits_per_token: float
    nominal_bits_per_token: float
    bits_per_second: float

    @property
    def share(self) -> float:
        """Bits needed, of the nominal ones."""
        return self.bits_per_token / self.nominal_bits_per_token


def fit(
    prior: Prior, sounds: Sequence[Codes], said: Sequence[Mapping[str, str | None]] | None = None
) -> Fit:
    """Bits that a prior needs for codes it has not seen.

    Args:
        prior: of the codec that made the codes.
        sounds: at least one.
        said: the conditions of each, as `Prior.nll` takes them; by default none.

    Raises:
        UserError: there are no sounds.
    """
    if not sounds:
        raise UserError("no codes to measure a prior by; give at least one sound")
    widths = [[math.log2(size) for size in sizes] for sizes in prior.codec.codebook_sizes]
    bits = nominal = seconds = 0.0
    tokens = 0
    for codes, conditions in zip(sounds, said or [{}] * len(sounds), strict=True):
        bits += prior.nll(codes, **conditions).bits
        seconds += codes.duration_seconds
        for level, width in zip(codes.levels, widths, strict=True):
            tokens += level.numel()
            nominal += level.shape[1] * sum(width)
    return Fit(tokens, bits / tokens, nominal / tokens, bits / seconds)
