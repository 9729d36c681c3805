"""`.vqa` -> sound, while it comes; what is damaged becomes silence, and is named."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import BinaryIO

import torch
import torch.nn.functional as F
from torch import Tensor

from vqaudio.applications.block_codes import CodeModel, MismatchError, most_bytes, read_codes
from vqaudio.applications.vqa_format import (
    LEAST_BLOCK,
    LONGEST_SECONDS,
    SHORT,
    Block,
    Header,
    whole_blocks,
)
from vqaudio.codec.model import Codec
from vqaudio.codes import Codes, frames_for
from vqaudio.errors import UserError

MOST_LOST_SECONDS = 3600  # beyond what damaged bytes can have held: a number that says more is wrong
SILENCE_SAMPLES = READ_BYTES = 1 << 16  # at a time


@dataclass
class Gap:
    """Sound of one channel that is lost.

    Args:
        channel: from 0.
        from_seconds: where it begins.
        to_seconds: where it ends; None where that is lost too.
    """

    channel: int
    from_seconds: float
    to_seconds: float | None

    def __str__(self) -> str:
        end = "its end, wherever that was" if self.to_seconds is None else f"{self.to_seconds:.2f} s"
        return f"channel {self.channel + 1} is damaged from {self.from_seconds:.2f} s to {end}"


@dataclass(frozen=True)
class Silence:
    """A block that is lost.

    Args:
        num_samples: that it had.
    """

    num_samples: int


class _Counting:
    """Bytes as they come, counted.

    Args:
        source: of them.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._read = getattr(source, "read1", source.read)
        self.num_bytes = 0

    def read(self, most: int) -> bytes:
        """What is there, or some of it; nothing at the end."""
        found: bytes = self._read(most)
        self.num_bytes += len(found)
        return found


class Decompressor:
    """Reads a sound while it comes.

    Args:
        codec: that the header names.
        model: that the header names.
        header: of the file.
        source: of bytes, behind the header; it need not seek.
        name: for errors.

    Attributes:
        gaps: what is lost of the sound so far.

    Raises:
        UserError: the header is another codec's or model's, or not to be believed.
    """

    def __init__(
        self, codec: Codec, model: CodeModel, header: Header, source: BinaryIO, name: str
    ) -> None:
        _check(header, codec, model, name)
        self.gaps: list[Gap] = []
        self._codec, self._model, self._channels, self._name = codec, model, header.channels, name
        self._quantizers = [len(sizes) for sizes in codec.codebook_sizes]
        self._block_samples = header.block_frames * codec.hops[0]
        most = most_bytes(self._quantizers, self._frames(self._block_samples))
        self._source, self._seed = _Counting(source), header.seed
        self._blocks = whole_blocks(self._source, header.seed, most)
        self._whole = 0
        self._end: int | None = None  # byte behind the header at which all channels have ended

    def audio(self) -> Iterator[Tensor]:
        """The sound, float32 `[C, T]` at a time; as that of `codec.decode_stream` where it is whole.

        Raises:
            UserError: no block is whole, or a model that rounds has found other codes than were
                written.
        """
        queues: list[deque[Codes | Silence]] = [deque() for _ in range(self._channels)]
        parts = self.parts()

        def own(channel: int) -> Iterator[Codes | Silence]:
            while True:
                while not queues[channel]:
                    found = next(parts, None)
                    if found is None:
                        return
                    queues[found[0]].append(found[1])
                yield queues[channel].popleft()

        yield from _side_by_side([self._sound(own(channel)) for channel in range(self._channels)])
        if not self._whole:
            raise UserError(f"{self._name}: damaged, no block of it is whole; fetch it again")

    def _sound(self, parts: Iterator[Codes | Silence]) -> Iterator[Tensor]:
        """The sound of one channel; what is whole sounds as if nothing were around it."""
        for lost, group in groupby(parts, key=lambda part: isinstance(part, Silence)):
            if not lost:
                yield from self._codec.decode_stream(p for p in group if isinstance(p, Codes))
                continue
            for part in group:
                for start in range(0, part.num_samples, SILENCE_SAMPLES):
                    yield torch.zeros(1, min(SILENCE_SAMPLES, part.num_samples - start))

    def parts(self) -> Iterator[tuple[int, Codes | Silence]]:
        """Channel and content of every block in order, those that are lost included.

        Raises:
            UserError: see `audio`.
        """
        expected, end = 0, None  # the next number, and where the sound ends
        place = 0  # in bytes
        room = MOST_LOST_SECONDS * self._codec.sample_rate // self._block_samples
        for block in self._blocks:
            room += block.passed_over // LEAST_BLOCK
            place += block.passed_over + len(block.to_bytes(self._seed))
            lost = block.number - expected
            if not 0 <= lost <= room or not self._may_follow(block, end):
                continue
            room -= lost
            if block.last_samples is not None:
                end = self._start(block.number) + block.last_samples
            for number in range(expected, block.number):
                yield from self._lost(number, end)
            expected = block.number + 1
            try:
                codes = self._read(block)
            except MismatchError:
                yield from self._lost(block.number, end)
            else:
                self._whole += 1
                if codes is not None:
                    yield block.number % self._channels, codes
            if end is not None and expected % self._channels == 0:
                self._end = place
                return
        if end is None:
            for number in range(expected, expected + self._channels):
                self._note(number % self._channels, self._start(number), None)
        else:
            for number in range(expected, -(-expected // self._channels) * self._channels):
                yield from self._lost(number, end)

    def bytes_behind(self) -> int:
        """Bytes that follow the end of the sound, all of which are read; 0 where that end is lost."""
        if self._end is None:
            return 0
        while self._source.read(READ_BYTES):
            pass
        return self._source.num_bytes - self._end

    def _may_follow(self, block: Block, end: int | None) -> bool:
        """Whether a block is as long as it may be."""
        samples = block.last_samples
        if samples is None:
            return end is None
        least = 0 if block.number >= self._channels else 1
        return least <= samples < self._block_samples and end in (
            None,
            self._start(block.number) + samples,
        )

    def _read(self, block: Block) -> Codes | None:
        """The codes of a block; None for the last one of a sound of whole blocks."""
        samples = self._block_samples if block.last_samples is None else block.last_samples
        try:
            levels = read_codes(self._model, self._quantizers, self._frames(samples), block.payload)
        except MismatchError:
            if self._model.rounds:
                raise UserError(
                    f"{self._name}: --model {self._model.kind}: made on another kind of machine, where "
                    "the prior's numbers round otherwise; decompress it there, or compress with "
                    "--model static"
                ) from None
            raise
        if not samples:
            return None
        return Codes(levels, samples, self._codec.sample_rate, self._codec.hops, self._codec.fingerprint)

    def _lost(self, number: int, end: int | None) -> Iterator[tuple[int, Silence]]:
        start, channel = self._start(number), number % self._channels
        stop = start + self._block_samples
        stop = stop if end is None else min(stop, end)
        if stop > start:
            self._note(channel, start, stop)
            yield channel, Silence(stop - start)

    def _note(self, channel: int, start: int, stop: int | None) -> None:
        rate = self._codec.sample_rate
        begin, end = start / rate, None if stop is None else stop / rate
        for gap in self.gaps[-self._channels :]:
            if gap.channel == channel and gap.to_seconds == begin:
                gap.to_seconds = end
                return
        self.gaps.append(Gap(channel, begin, end))

    def _start(self, number: int) -> int:
        return number // self._channels * self._block_samples

    def _frames(self, num_samples: int) -> list[int]:
        return [frames_for(num_samples, hop) for hop in self._codec.hops]


def _check(header: Header, codec: Codec, model: CodeModel, name: str) -> None:
    made, given = header.codec, codec.fingerprint
    if not given.startswith(made):
        raise UserError(
            f"{name}: of codec {made}, and this is {given[: 2 * SHORT]}; give it with --codec"
        )
    if header.kind != model.kind or not model.fingerprint.startswith(header.model):
        raise UserError(
            f"{name}: by the {header.kind} model {header.model}, and this is the {model.kind} model "
            f"{model.fingerprint[: 2 * SHORT]}; give the models that it was made with"
        )
    if (header.sample_rate, header.levels) != (codec.sample_rate, len(codec.hops)):
        raise UserError(
            f"{name}: a damaged header ({header.levels} levels at {header.sample_rate} Hz, where codec "
            f"{made} has {len(codec.hops)} at {codec.sample_rate} Hz); fetch the file again"
        )
    longest = max(1, LONGEST_SECONDS * codec.sample_rate // codec.hops[0])
    if header.block_frames > longest:
        raise UserError(
            f"{name}: a damaged header (blocks of {header.block_frames} frames, {longest} at most); "
            "fetch the file again"
        )


def _side_by_side(channels: list[Iterator[Tensor]]) -> Iterator[Tensor]:
    """Sounds `[1, T]` in pieces of any lengths as one `[C, T]`; what ends early goes on in silence."""
    held = [torch.zeros(1, 0) for _ in channels]
    while True:
        for channel, sound in enumerate(channels):
            while not held[channel].shape[1] and (piece := next(sound, None)) is not None:
                held[channel] = piece
        ready = min((own.shape[1] for own in held if own.shape[1]), default=0)
        if not ready:
            return
        yield torch.cat([F.pad(own[:, :ready], (0, ready - own[:, :ready].shape[1])) for own in held])
        held = [own[:, ready:] for own in held]
