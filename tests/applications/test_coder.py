import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqaudio.applications.coder import LOGIT_BITS, TOTAL, Decoder, Integers, encode, frequencies

logits = st.lists(st.integers(-(1 << 40), 1 << 40), min_size=1, max_size=300).map(
    lambda values: np.array(values, np.int64)
)


@given(logits)
def test_frequencies_are_whole_and_add_up(values: Integers) -> None:
    shares = frequencies(values)
    assert shares.dtype == np.int64
    assert shares.min() >= 1
    assert shares.sum() == TOTAL


def test_frequencies_are_those_of_the_logits() -> None:
    values = np.random.default_rng(0).integers(-8 << LOGIT_BITS, 0, 1000)
    wanted = 2.0 ** (values / (1 << LOGIT_BITS))
    assert np.allclose(frequencies(values) / TOTAL, wanted / wanted.sum(), rtol=0.02, atol=1e-6)


def message(seed: int, sizes: list[int]) -> tuple[list[int], list[Integers]]:
    rng = np.random.default_rng(seed)
    shares = [frequencies(rng.integers(-20 << LOGIT_BITS, 0, size)) for size in sizes]
    codes = [int(rng.choice(len(share), p=share / TOTAL)) for share in shares]
    return codes, shares


@given(st.integers(0, 1 << 30), st.lists(st.sampled_from([1, 2, 3, 8, 1024]), max_size=60))
def test_what_is_written_is_read(seed: int, sizes: list[int]) -> None:
    codes, shares = message(seed, sizes)
    decoder = Decoder(encode(codes, shares))
    assert [decoder.read(share) for share in shares] == codes
    assert decoder.at_end


def by_hand(data: bytes, shares: list[Integers]) -> list[int]:
    """Asymmetric numeral systems as the papers have them: a state of 64 bits, words of 32."""
    data += bytes(-len(data) % 4)
    words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
    state = 0
    while words and state < 1 << 32:
        state = state << 32 | words.pop()
    codes = []
    for share in shares:
        ends = np.cumsum(share)
        low = state % TOTAL
        code = int(np.searchsorted(ends, low, side="right"))
        state = int(share[code]) * (state // TOTAL) + low - int(ends[code] - share[code])
        if state < 1 << 32 and words:
            state = state << 32 | words.pop()
        codes.append(code)
    assert state == 0
    assert not words
    return codes


@pytest.mark.parametrize("size", [2, 3, 1000, 1 << 16])
def test_what_is_dealt_out_is_exactly_the_frequencies(size: int) -> None:
    codes, shares = message(size, [size] * 100)
    assert by_hand(encode(codes, shares), shares) == codes


def test_bytes_are_as_many_as_the_frequencies_say() -> None:
    codes, shares = message(1, [1024] * 500)
    bits = sum(-np.log2(share[code] / TOTAL) for code, share in zip(codes, shares, strict=True))
    assert bits / 8 - 1 < len(encode(codes, shares)) < bits / 8 + 5


def test_a_certain_code_takes_no_bytes() -> None:
    assert encode([0] * 100, [frequencies(np.array([5]))] * 100) == b""


@given(st.binary(max_size=40))
def test_any_bytes_give_codes(data: bytes) -> None:
    _, shares = message(0, [1024] * 30)
    decoder = Decoder(data)
    codes = [decoder.read(share) for share in shares]
    assert all(0 <= code < 1024 for code in codes)
    assert decoder.at_end == (encode(codes, shares) == data)


def test_bytes_are_the_same_everywhere() -> None:
    shares = [
        frequencies(np.arange(8) * 37 * (i % 5) - 1000 * (np.arange(8) == i % 8)) for i in range(24)
    ]
    codes = [i * i % 8 for i in range(24)]
    assert encode(codes, shares).hex() == "73ae908be18a2c5e5a00082601"
