"""Codes <-> bytes, by integer frequencies: range coding with asymmetric numeral systems.

The coder is `constriction`'s (Duda et al. 2015; Bamler 2022, arXiv 2201.01741). It takes
probabilities as floats and deals out 2^24 parts by them; given frequencies less one, as floats that
hold them exactly, it deals out exactly these frequencies.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from constriction import stream
from numpy.typing import NDArray

Integers = NDArray[np.int64]

TOTAL_BITS = 24  # constriction's own
TOTAL = 1 << TOTAL_BITS
BYTES_A_CODE = TOTAL_BITS // 8  # at most, on average over a message
LOGIT_BITS = 10  # logits are in 1/1024 bit

# 2^24, 2^(24 - 1/1024), ... in software arithmetic, which is the same everywhere.
_POWERS = np.array(
    [int(2 ** (TOTAL_BITS - Decimal(part) / (1 << LOGIT_BITS))) for part in range(1 << LOGIT_BITS)],
    np.int64,
)


def frequencies(logits: Integers) -> Integers:
    """Shares of 2^24 by logits, in integers alone.

    Args:
        logits: int64 `[K]`, base 2, in steps of 1/1024.

    Returns:
        int64 `[K]`, each at least 1, with the sum 2^24.
    """
    below = logits.max() - logits
    weights = _POWERS[below & ((1 << LOGIT_BITS) - 1)] >> np.minimum(below >> LOGIT_BITS, 63)
    shares = 1 + weights * (TOTAL - len(weights)) // weights.sum()
    shares[weights.argmax()] += TOTAL - shares.sum()
    return shares


def encode(codes: Sequence[int], shares: Sequence[Integers]) -> bytes:
    """Codes as bytes.

    Args:
        codes: each below the length of its frequencies.
        shares: frequencies of each code, as `frequencies` gives them.
    """
    coder = stream.stack.AnsCoder()
    for code, share in zip(reversed(codes), reversed(shares), strict=True):
        if len(share) > 1:
            coder.encode_reverse(code, _model(share))
    return coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0")


class Decoder:
    """Codes of bytes, one after the other; any bytes give codes, but only whole ones end with them.

    Args:
        data: from `encode`.
    """

    def __init__(self, data: bytes) -> None:
        used = data.rstrip(b"\0")
        words = np.frombuffer(used + bytes(-len(used) % 4), "<u4")
        self._coder = stream.stack.AnsCoder(words.astype(np.uint32))
        self._canonical = used == data

    def read(self, share: Integers) -> int:
        """The next code, by its frequencies."""
        return int(self._coder.decode(_model(share))) if len(share) > 1 else 0

    @property
    def at_end(self) -> bool:
        """Whether all bytes are used up, as they are after the last code."""
        return self._canonical and self._coder.is_empty()


def _model(share: Integers) -> Any:
    return stream.model.Categorical((share - 1).astype(np.float32), lazy=True, perfect=False)
