"""A sound through a codec while it comes: from one stream of bytes to another, in constant memory."""

import struct
import sys
from collections.abc import Iterator
from typing import BinaryIO, TextIO

import numpy as np
import torch
from torch import Tensor

from vqaudio.audio import BLOCK_FRAMES
from vqaudio.codec.inputs import check_levels
from vqaudio.codec.model import Codec
from vqaudio.codes import Codes
from vqaudio.errors import UserError

NAME = "standard input"
UNKNOWN = 0xFFFFFFFF  # length of a sound whose end the writer of a header cannot know
_UNKNOWN_FROM = 0x7FFF0000  # what other writers leave there, or 0
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_MOST_FORMAT = 40  # bytes that say anything
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")


class SoundReader:
    """A WAV stream, or raw samples, read as they come.

    Args:
        stream: of bytes; it need not seek.
        raw_rate: sample rate of 16-bit little-endian mono samples without a header; None for WAV.

    Raises:
        UserError: it is no WAV stream, or holds numbers of another kind than 16, 24 and 32-bit PCM
            and 32-bit floats.
    """

    def __init__(self, stream: BinaryIO, raw_rate: int | None = None) -> None:
        self._stream = stream
        self.sample_rate, self.channels, self._bits, self._float = raw_rate or 0, 1, 16, False
        self.empty = True
        self._left: int | None = None  # bytes to come; None for all there are
        if raw_rate is None:
            self._read_header()
        elif raw_rate < 1:
            raise UserError(f"--raw {raw_rate}: must be a sample rate, at least 1")

    def blocks(self) -> Iterator[Tensor]:
        """Samples float32 `[C, T]`, each as soon as it is there."""
        frame = self.channels * self._bits // 8
        kept = b""
        while data := self._read_some(BLOCK_FRAMES * frame):
            kept += data
            whole = len(kept) // frame * frame
            if whole:
                self.empty = False
                yield self._samples(kept[:whole])
            kept = kept[whole:]

    def check_whole(self) -> None:
        """Complain of what ended before its header says, or held nothing.

        Raises:
            UserError: it did.
        """
        if self.empty:
            raise UserError(f"{NAME}: holds no samples; give a sound")
        if self._left:
            raise UserError(
                f"{NAME}: truncated, {self._left} bytes before the end in its header; send it whole"
            )

    def _read_some(self, most: int) -> bytes:
        if self._left is not None:
            most = min(most, self._left)
        read = getattr(
            self._stream, "read1", self._stream.read
        )  # what is there, and no waiting for more
        data: bytes = read(most) if most else b""
        if self._left is not None:
            self._left -= len(data)
        return data

    def _samples(self, data: bytes) -> Tensor:
        if self._float:
            found = np.frombuffer(data, "<f4").astype(np.float32)
        elif self._bits == 24:
            wide = np.zeros((len(data) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            found = (wide.reshape(-1).view("<i4") / 2**31).astype(np.float32)
        else:
            numbers = np.frombuffer(data, f"<i{self._bits // 8}")
            found = (numbers / 2 ** (self._bits - 1)).astype(np.float32)
        return torch.from_numpy(np.ascontiguousarray(found.reshape(-1, self.channels).T))

    def _read_header(self) -> None:
        riff, _, wave = struct.unpack("<4sI4s", self._exactly(12))
        if riff not in (b"RIFF", b"RF64") or wave != b"WAVE":
            raise UserError(
                f"{NAME}: not a WAV stream; give one, or raw samples and their rate with --raw"
            )
        while True:
            name, size = struct.unpack("<4sI", self._exactly(8))
            if name == b"data":
                break
            rest = size + size % 2
            if name == b"fmt ":
                self._read_format(self._exactly(min(rest, _MOST_FORMAT)))
                rest -= min(rest, _MOST_FORMAT)
            while rest:  # of what a header also holds: names, dates
                rest -= len(self._exactly(min(rest, BLOCK_FRAMES)))
        if not self.sample_rate:
            raise UserError(f"{NAME}: a WAV stream that does not say its format; write it again")
        self._left = None if size == 0 or size >= _UNKNOWN_FROM else size

    def _read_format(self, body: bytes) -> None:
        if len(body) < 16:
            raise UserError(f"{NAME}: a WAV stream whose format is cut short; write it again")
        kind, self.channels, self.sample_rate, _, _, self._bits = struct.unpack("<HHIIHH", body[:16])
        if kind == _EXTENSIBLE and len(body) >= 26:
            [kind] = struct.unpack("<H", body[24:26])
        self._float = kind == _FLOAT
        if (kind, self._bits) not in ((_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32)):
            raise UserError(
                f"{NAME}: WAV of kind {kind} with {self._bits} bits; give 16, 24 or 32-bit PCM or "
                "32-bit floats"
            )
        if not self.channels or not self.sample_rate:
            raise UserError(f"{NAME}: a WAV stream of no channels or no rate; write it again")

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count and (data := self._stream.read(count - len(found))):
            found += data
        if len(found) < count:
            what = "ends within its header" if found else "empty"
            raise UserError(f"{NAME}: {what}; give a WAV stream, or raw samples with --raw RATE")
        return found


class SoundWriter:
    """Writes a WAV stream of 16 bit whose length the header does not know.

    Args:
        stream: of bytes.
        sample_rate: in Hz.
        channels: of what is written.
    """

    def __init__(self, stream: BinaryIO, sample_rate: int, channels: int = 1) -> None:
        self._stream = stream
        width = 2 * channels
        form = (b"fmt ", 16, _PCM, channels, sample_rate, width * sample_rate, width, 16)
        self._write(_HEADER.pack(b"RIFF", UNKNOWN, b"WAVE", *form, b"data", UNKNOWN))

    def write(self, audio: Tensor) -> None:
        """Append samples `[C, T]`, clipped to -1 to 1; they are on their way when this returns."""
        numbers = (audio.T.clamp(-1, 1) * 32767).round().to(torch.int16).numpy()
        self._write(numbers.astype("<i2").tobytes())

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._stream.write(rest) :]
        self._stream.flush()


def standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """Standard input, and standard output without a buffer that Python would flush at its end.

    Raises:
        UserError: the process was started without them, as by `<&-` in a shell.
    """
    streams: dict[str, TextIO | None] = {"input": sys.stdin, "output": sys.stdout}
    for name, stream in streams.items():
        if stream is None:
            raise UserError(f"standard {name}: closed; give a pipe or a file")
    return sys.stdin.buffer, open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)


def reconstruct_stream(
    codec: Codec,
    source: BinaryIO,
    target: BinaryIO,
    raw_rate: int | None = None,
    levels: int | None = None,
) -> None:
    """A sound through a codec and back while it comes; quietly to its end when nobody listens any more.

    Args:
        codec: both ways.
        source: see `SoundReader`.
        target: of bytes; it need not seek.
        raw_rate: see `SoundReader`.
        levels: how many to decode from, from the coarsest; by default all.

    Raises:
        UserError: see `SoundReader`, `codec.stream` and `codec.decode_stream`; or there is no sample.
    """
    check_levels(levels, len(codec.hops))
    reader = SoundReader(source, raw_rate)
    stream = codec.stream(reader.sample_rate)

    def parts() -> Iterator[Codes]:
        for block in reader.blocks():
            try:
                codes = stream.push(block)
            except UserError as error:
                raise UserError(f"{NAME}: {error}") from None
            if codes is not None:
                yield codes
        if (last := stream.finish()) is not None:
            yield last

    try:
        writer = SoundWriter(target, codec.sample_rate)
        for audio in codec.decode_stream(parts(), levels):
            writer.write(audio)
    except BrokenPipeError:
        return
    reader.check_whole()
