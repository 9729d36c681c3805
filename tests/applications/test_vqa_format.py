import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqaudio.applications.vqa_format import Block, Header, read_header, whole_blocks
from vqaudio.errors import UserError

HEADER = Header("static", 1, "0123abcd", "89abcdef", 16000, 2, 125)
SEED = HEADER.seed
MOST = 300

numbers = st.integers(0, (1 << 35) - 1)
names = st.binary(min_size=4, max_size=4).map(bytes.hex)
headers = st.builds(
    Header,
    st.sampled_from(["static", "prior"]),
    st.integers(1, 2),
    names,
    names,
    st.integers(1, 1 << 30),
    st.integers(1, 20),
    st.integers(1, 1 << 20),
)
blocks = st.builds(Block, numbers, st.binary(max_size=MOST), st.none() | numbers)


class Trickle(io.BytesIO):
    """Gives a few bytes at a time, as a network does."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(3, size) if size and size > 0 else 3)

    read1 = read


@given(headers)
def test_headers_come_back(header: Header) -> None:
    file = Trickle(header.to_bytes() + b"more")
    assert read_header(file, "a.vqa") == header
    assert file.getvalue()[file.tell() :] == b"more"


def test_a_header_is_short() -> None:
    assert len(HEADER.to_bytes()) <= 17


@given(st.lists(blocks, max_size=6), st.booleans())
def test_blocks_come_back(written: list[Block], trickle: bool) -> None:
    data = b"".join(block.to_bytes(SEED) for block in written)
    file = Trickle(data) if trickle else io.BytesIO(data)
    assert list(whole_blocks(file, SEED, MOST)) == written


@given(st.lists(blocks, min_size=1, max_size=5), st.data())
def test_what_is_damaged_takes_nothing_else_with_it(written: list[Block], data: st.DataObject) -> None:
    pieces = [block.to_bytes(SEED) for block in written]
    hit = data.draw(st.integers(0, len(pieces) - 1))
    place = data.draw(st.integers(0, len(pieces[hit]) - 1))
    other = data.draw(st.integers(1, 255))
    pieces[hit] = bytes(b ^ other * (i == place) for i, b in enumerate(pieces[hit]))
    found = list(whole_blocks(io.BytesIO(b"".join(pieces)), SEED, MOST))
    wanted = [replace(b, passed_over=0) for n, b in enumerate(written) if n != hit]
    assert [replace(block, passed_over=0) for block in found] == wanted
    if hit < len(written) - 1:
        assert found[hit].passed_over == len(pieces[hit])


@given(st.binary(max_size=2000))
def test_random_bytes_are_no_blocks(data: bytes) -> None:
    assert list(whole_blocks(io.BytesIO(data), SEED, MOST)) == []


def test_blocks_of_another_header_are_none() -> None:
    data = Block(0, b"abc").to_bytes(replace(HEADER, channels=2).seed)
    assert list(whole_blocks(io.BytesIO(data), SEED, MOST)) == []


def test_a_block_is_there_before_the_next_one() -> None:
    pieces = [Block(0, b"abc").to_bytes(SEED)]

    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return pieces.pop()

    assert next(whole_blocks(Endless(), SEED, MOST)) == Block(0, b"abc")  # type: ignore[arg-type]


def test_a_length_beyond_all_blocks_is_not_waited_for() -> None:
    huge = b"\0\xfe\xff\xff\x7f"  # number 0, 2^27 bytes of payload
    found = list(whole_blocks(io.BytesIO(huge + Block(1, b"x").to_bytes(SEED)), SEED, MOST))
    assert found == [Block(1, b"x", passed_over=len(huge))]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", "a.vqa: empty, or ends within"),
        (b"VQ", "a.vqa: empty, or ends within its header"),
        (b"RIFF1234WAVE", "a.vqa: not a .vqa file"),
        (b"VQA\2\0", r"a.vqa: .vqa of version 2, and this program reads version 1"),
        (b"VQA\1\4", r"a.vqa: a damaged header \(kind 4\)"),
        (HEADER.to_bytes()[:-1], "a.vqa: empty, or ends within its header"),
        (HEADER.to_bytes()[:13] + b"\xff" * 9, "a.vqa: a damaged header .*no end"),
        (replace(HEADER, levels=0).to_bytes(), "a.vqa: a damaged header .*zero"),
    ],
)
def test_what_is_no_header_is_one_line(data: bytes, line: str) -> None:
    with pytest.raises(UserError, match=line):
        read_header(io.BytesIO(data), "a.vqa")
