"""The bytes of a `.vqa` file: a header, and blocks that are each read without the others.

    header   "VQA", version, kind + 2 * (channels - 1); 4 bytes each of the fingerprints of codec and
             model; sample rate, levels, coarsest frames a block
    block    number; 2 * bytes of payload + 1 if it is the channel's last; if it is, its samples;
             payload; CRC-32 of all this, begun with that of the header

Numbers after the fixed bytes are LEB128. Blocks of several channels take turns, and their numbers
go on through all of them. A block of which a byte is wrong is passed over, and the next one is found
by its own CRC, so nothing needs a mark.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal, Protocol

from vqaudio.errors import UserError

MAGIC, VERSION = b"VQA", 1
KINDS: tuple[Literal["static", "prior"], ...] = ("static", "prior")
MOST_CHANNELS = 2
SHORT = 4  # bytes of a fingerprint
CRC_BYTES = 4
LEAST_BLOCK = 2 + CRC_BYTES
MOST_DIGITS = 5  # bytes of a number, up to 2^35
LONGEST_SECONDS = 10


class Source(Protocol):
    """Bytes to be read."""

    def read(self, most: int, /) -> bytes:
        """Some of them, `most` at most; none at the end."""
        ...


@dataclass(frozen=True)
class Header:
    """What a file is and what decodes it.

    Args:
        kind: of the model of its codes.
        channels: 1 or 2.
        codec: first 8 hexadecimal digits of the codec's fingerprint.
        model: the same, of the model.
        sample_rate: in Hz.
        levels: of the codec.
        block_frames: frames of the coarsest level in every block but a channel's last.
    """

    kind: Literal["static", "prior"]
    channels: int
    codec: str
    model: str
    sample_rate: int
    levels: int
    block_frames: int

    def to_bytes(self) -> bytes:
        """As a file begins."""
        kind = KINDS.index(self.kind) + len(KINDS) * (self.channels - 1)
        names = bytes.fromhex(self.codec + self.model)
        numbers = (self.sample_rate, self.levels, self.block_frames)
        return MAGIC + bytes([VERSION, kind]) + names + b"".join(map(_number, numbers))

    @property
    def seed(self) -> int:
        """What the CRC of each block begins with."""
        return zlib.crc32(self.to_bytes())


@dataclass(frozen=True)
class Block:
    """A piece of one channel.

    Args:
        number: counted through all channels.
        payload: its codes.
        last_samples: of a channel's last block, whose length is its own; else None.
        passed_over: bytes before it that were no block.
    """

    number: int
    payload: bytes
    last_samples: int | None = None
    passed_over: int = 0

    def to_bytes(self, seed: int) -> bytes:
        """As it stands in a file whose header has this seed."""
        last = self.last_samples is not None
        head = _number(self.number) + _number(2 * len(self.payload) + last)
        head += _number(self.last_samples) if self.last_samples is not None else b""
        body = head + self.payload
        return body + zlib.crc32(body, seed).to_bytes(CRC_BYTES, "little")


def read_header(source: BinaryIO, name: str) -> Header:
    """The header of a file, of which no more is read.

    Args:
        source: at its start; it need not seek.
        name: for errors.

    Raises:
        UserError: it is no `.vqa` file, is of another version, or ends within its header.
    """
    start = _exactly(source, len(MAGIC) + 2, name)
    if start[: len(MAGIC)] != MAGIC:
        raise UserError(f"{name}: not a .vqa file; give one that vqaudio compress wrote")
    version, kind = start[len(MAGIC) :]
    if version != VERSION:
        raise UserError(
            f"{name}: .vqa of version {version}, and this program reads version {VERSION}; "
            "use the one that wrote it"
        )
    if kind >= len(KINDS) * MOST_CHANNELS:
        raise UserError(f"{name}: a damaged header (kind {kind}); fetch the file again")
    names = _exactly(source, 2 * SHORT, name).hex()
    rate, levels, frames = (_read_number(source, name) for _ in range(3))
    if not rate or not levels or not frames:
        raise UserError(f"{name}: a damaged header (a zero in it); fetch the file again")
    channels, which = divmod(kind, len(KINDS))
    codec, model = names[: 2 * SHORT], names[2 * SHORT :]
    return Header(KINDS[which], channels + 1, codec, model, rate, levels, frames)


def whole_blocks(source: Source, seed: int, most: int) -> Iterator[Block]:
    """The whole blocks after a header, each as soon as it is there, in the memory of a few.

    Args:
        source: behind the header; it need not seek.
        seed: of the header.
        most: bytes of a payload; what claims more is no block.
    """
    longest = most + 3 * MOST_DIGITS + CRC_BYTES
    read = getattr(source, "read1", source.read)  # what is there, and no waiting for more
    buffer, start, passed_over, ended = b"", 0, 0, False
    while not ended or start < len(buffer):
        try:
            block, start = _parse(buffer, start, seed, most, passed_over)
        except EOFError:
            if not ended:
                more = read(longest)
                buffer, start, ended = buffer[start:] + more, 0, not more
                continue
        except ValueError:
            pass
        else:
            yield block
            passed_over = 0
            continue
        start += 1
        passed_over += 1


def _parse(buffer: bytes, start: int, seed: int, most: int, passed_over: int) -> tuple[Block, int]:
    """A block and where it ends; ValueError where there is none, EOFError where more is needed."""
    number, place = _parse_number(buffer, start)
    size, place = _parse_number(buffer, place)
    samples = None
    if size & 1:
        samples, place = _parse_number(buffer, place)
    end = place + (size >> 1)
    if size >> 1 > most:
        raise ValueError
    if end + CRC_BYTES > len(buffer):
        raise EOFError
    if zlib.crc32(buffer[start:end], seed) != int.from_bytes(buffer[end : end + CRC_BYTES], "little"):
        raise ValueError
    return Block(number, buffer[place:end], samples, passed_over), end + CRC_BYTES


def _parse_number(buffer: bytes, start: int) -> tuple[int, int]:
    value = 0
    for digit in range(MOST_DIGITS):
        if start + digit >= len(buffer):
            raise EOFError
        byte = buffer[start + digit]
        value |= (byte & 127) << 7 * digit
        if byte < 128:
            return value, start + digit + 1
    raise ValueError


def _number(value: int) -> bytes:
    found = bytearray()
    while value >= 128:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _read_number(source: BinaryIO, name: str) -> int:
    found = b""
    while len(found) < MOST_DIGITS:
        found += _exactly(source, 1, name)
        if found[-1] < 128:
            return _parse_number(found, 0)[0]
    raise UserError(f"{name}: a damaged header (a number in it has no end); fetch the file again")


def _exactly(source: BinaryIO, count: int, name: str) -> bytes:
    found = b""
    while len(found) < count and (more := source.read(count - len(found))):
        found += more
    if len(found) < count:
        raise UserError(f"{name}: empty, or ends within its header; fetch it again")
    return found
