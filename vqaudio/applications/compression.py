"""Sound -> `.vqa`, while it comes."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from vqaudio.applications.block_codes import CodeModel, write_codes
from vqaudio.applications.vqa_format import LONGEST_SECONDS, MOST_CHANNELS, SHORT, Block, Header
from vqaudio.audio import mix
from vqaudio.codec.model import Codec
from vqaudio.codes import Codes
from vqaudio.corpus.pipe import NAME, SoundReader
from vqaudio.errors import UserError
from vqaudio.sound_files import read_blocks

log = logging.getLogger("vqaudio")


@dataclass
class Opened:
    """A sound to be read once.

    Args:
        name: for errors.
        sample_rate: in Hz.
        channels: of the pieces.
        pieces: float32 `[C, T]`.
    """

    name: str
    sample_rate: int
    channels: int
    pieces: Iterator[Tensor]


def open_sound(path: Path) -> Opened:
    """A sound file with its channels, one or two; more are mixed down, with a notice.

    Raises:
        UserError: see `vqaudio.audio.read_audio`.
    """
    blocks = read_blocks(path)
    first, rate = next(blocks)
    pieces = (torch.from_numpy(block.T.copy()) for block, _ in chain([(first, rate)], blocks))
    return _kept(Opened(str(path), rate, first.shape[1], pieces))


def open_stream(source: BinaryIO, raw_rate: int | None = None) -> Opened:
    """The same of a WAV stream or of raw samples.

    Raises:
        UserError: see `SoundReader`.
    """
    reader = SoundReader(source, raw_rate)

    def pieces() -> Iterator[Tensor]:
        yield from reader.blocks()
        reader.check_whole()

    return _kept(Opened(NAME, reader.sample_rate, reader.channels, pieces()))


def _kept(sound: Opened) -> Opened:
    if sound.channels <= MOST_CHANNELS:
        return sound
    log.warning("%s: %d channels mixed down to one", sound.name, sound.channels)
    return Opened(sound.name, sound.sample_rate, 1, map(mix, sound.pieces))


@dataclass
class Written:
    """What was written.

    Args:
        num_samples: of each channel, at the codec's rate.
        payload_bytes: of codes alone.
        file_bytes: of all.
    """

    num_samples: int = 0
    payload_bytes: int = 0
    file_bytes: int = 0


def compress(codec: Codec, model: CodeModel, sound: Opened, target: BinaryIO) -> Written:
    """Write a sound while it comes.

    Args:
        codec: whose codes are written.
        model: of the codes.
        sound: is read to its end.
        target: of bytes; it need not seek.

    Raises:
        UserError: the sound cannot be read, or not to its end.
    """
    try:
        compressor = Compressor(codec, model, target, sound.sample_rate, sound.channels)
        for piece in sound.pieces:
            compressor.push(piece)
        return compressor.finish()
    except UserError as error:
        named = str(error).startswith(f"{sound.name}: ")
        raise UserError(str(error) if named else f"{sound.name}: {error}") from None


class Compressor:
    """Writes a sound while it comes: a block goes out as soon as it is full.

    Args:
        codec: whose codes are written; the same as of `codec.encode` for each channel.
        model: of the codes.
        target: of bytes; it need not seek.
        sample_rate: of the samples, in Hz.
        channels: 1 or 2.
        block_seconds: of a block at most, up to 10.

    Raises:
        UserError: see `codec.stream`.
    """

    def __init__(
        self,
        codec: Codec,
        model: CodeModel,
        target: BinaryIO,
        sample_rate: int,
        channels: int = 1,
        block_seconds: float = LONGEST_SECONDS,
    ) -> None:
        block_samples = int(min(block_seconds, LONGEST_SECONDS) * codec.sample_rate)
        self.header = Header(
            model.kind,
            channels,
            codec.fingerprint[: 2 * SHORT],
            model.fingerprint[: 2 * SHORT],
            codec.sample_rate,
            len(codec.hops),
            max(1, block_samples // codec.hops[0]),
        )
        self.written = Written()
        self._model, self._target, self._number = model, target, 0
        self._streams = [codec.stream(sample_rate) for _ in range(channels)]
        self._waiting = [_Waiting(codec, self.header.block_frames) for _ in range(channels)]

    def push(self, samples: Tensor) -> None:
        """Take the next samples, float `[C, T]` within -1 to 1.

        Raises:
            UserError: see `EncodeStream.push`.
        """
        found = [stream.push(own) for stream, own in zip(self._streams, samples, strict=True)]
        self._take(found)

    def finish(self) -> Written:
        """Write what is left.

        Raises:
            UserError: there was no sample.
        """
        self._take([stream.finish() for stream in self._streams])
        self.written.num_samples += self._waiting[0].num_samples
        if not self.written.num_samples:
            raise UserError("holds no samples; give a sound")
        for channel in self._waiting:
            self._write(channel.take(), channel.num_samples)
        return self.written

    def _take(self, found: Sequence[Codes | None]) -> None:
        for channel, codes in zip(self._waiting, found, strict=True):
            if codes is not None:
                channel.push(codes)
        while all(channel.is_full for channel in self._waiting):
            for channel in self._waiting:
                self._write(channel.take(), None)
            self.written.num_samples += self._waiting[0].block_samples

    def _write(self, levels: list[Tensor], last_samples: int | None) -> None:
        data = b"" if self._number else self.header.to_bytes()
        payload = write_codes(self._model, levels)
        data += Block(self._number, payload, last_samples).to_bytes(self.header.seed)
        self._number += 1
        self.written.payload_bytes += len(payload)
        self.written.file_bytes += len(data)
        rest = memoryview(data)
        while rest:
            rest = rest[self._target.write(rest) :]
        self._target.flush()


class _Waiting:
    """Codes of one channel that fill no block yet."""

    def __init__(self, codec: Codec, block_frames: int) -> None:
        self.block_samples = block_frames * codec.hops[0]
        self.num_samples = 0
        self._sizes = [self.block_samples // hop for hop in codec.hops]
        self._levels = [torch.zeros(len(sizes), 0, dtype=torch.int64) for sizes in codec.codebook_sizes]

    @property
    def is_full(self) -> bool:
        return self.num_samples >= self.block_samples

    def push(self, codes: Codes) -> None:
        pairs = zip(self._levels, codes.levels, strict=True)
        self._levels = [torch.cat(pair, dim=1) for pair in pairs]
        self.num_samples += codes.num_samples

    def take(self) -> list[Tensor]:
        """A block, or what is left."""
        sizes = list(zip(self._levels, self._sizes, strict=True))
        self._levels = [level[:, size:] for level, size in sizes]
        if self.is_full:
            self.num_samples -= self.block_samples
        return [level[:, :size] for level, size in sizes]
