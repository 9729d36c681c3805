"""A sound of a corpus as codes, in pieces that several processes can share."""

import os
import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from vqaudio.audio import stream_audio
from vqaudio.codec.inputs import Counted
from vqaudio.codec.model import Codec
from vqaudio.codec.window_encoder import EXACT, Arithmetic, WindowEncoder, WindowShape
from vqaudio.codec.windows import AudioWindow
from vqaudio.codes import Codes, frames_for
from vqaudio.config import CodecConfig
from vqaudio.corpus.ledger import file_sha256
from vqaudio.corpus.manifest import Sound
from vqaudio.errors import UserError, printable

Levels = list[np.ndarray[Any, Any]]  # per level, integers [Q, F_l] in few bytes
PREFETCHED_BYTES = 1 << 23


@dataclass(frozen=True, slots=True)
class Window:
    """The samples of the window `number` of the input at `position`."""

    position: int
    number: int
    samples: AudioWindow


@dataclass(frozen=True, slots=True)
class Part:
    """The codes of the window `number` of the input at `position`."""

    position: int
    number: int
    levels: Levels


@dataclass(frozen=True, slots=True)
class End:
    """The input at `position` was read: so many windows and samples, and the sha256 of its file."""

    position: int
    windows: int
    num_samples: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the input at `position` has no codes, on one line that every file takes."""

    position: int
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", printable(self.reason))


Piece = Window | Part | End | Failure


@dataclass(frozen=True, slots=True)
class Encoded:
    """All codes of the input at `position`, and the sha256 of its file."""

    position: int
    codes: Codes
    sha256: str


Result = Encoded | Failure
Results = Generator[Result, None, None]
Heard = Callable[[int], None]  # told of frames of the coarsest level that are encoded


@dataclass
class Work:
    """What an engine is to do.

    Args:
        codec: that encodes.
        sounds: all inputs of a run.
        positions: of those to encode, ascending.
        heard: told of frames of the coarsest level that are encoded, for a progress bar.
        arithmetic: see `WindowEncoder`.
    """

    codec: Codec
    sounds: Sequence[Sound]
    positions: Iterator[int]
    heard: Heard
    arithmetic: Arithmetic = EXACT


@dataclass(frozen=True)
class PortableCodec:
    """A codec on its way to another process: configuration, weights and arithmetic, no code."""

    config: CodecConfig
    weights: bytes  # as a safetensors file has them
    arithmetic: Arithmetic
    settings: dict[str, str]

    @classmethod
    def of(cls, work: Work) -> "PortableCodec":
        """What makes the codec of some work again."""
        weights = safetensors.torch.save(work.codec.state_dict())
        settings = WindowEncoder(work.codec, arithmetic=work.arithmetic).settings
        return cls(work.codec.config, weights, work.arithmetic, settings)

    def encoder(self, device: str = "cpu") -> WindowEncoder:
        """The same codec again, ready to encode.

        Raises:
            UserError: this machine encodes by other means, as without a C compiler.
        """
        codec = Codec(self.config).eval()
        codec.load_state_dict(safetensors.torch.load(self.weights))
        encoder = WindowEncoder(codec.to(device), arithmetic=self.arithmetic)
        if encoder.settings != self.settings:
            raise UserError(
                f"workers: encode by {encoder.settings['encoder']}, not by {self.settings['encoder']}; "
                "see to it that all have a C compiler, or none"
            )
        return encoder


def source_of(codec: Codec, sound: Sound) -> Path | Tensor:
    """What `Codec.encode` takes: a file is streamed, a clip of one is held as a whole."""
    if not sound.start_seconds and sound.duration_seconds is None:
        return sound.path
    return torch.cat(list(_samples(codec.sample_rate, sound)))


def _samples(sample_rate: int, sound: Sound) -> Iterator[Tensor]:
    return stream_audio(
        sound.path,
        sample_rate,
        start_seconds=sound.start_seconds,
        duration_seconds=sound.duration_seconds,
    )


def read_sound(
    shape: WindowShape, sample_rate: int, position: int, sound: Sound
) -> Iterator[Window | End | Failure]:
    """Read and resample a sound, a window at a time.

    Yields:
        Its windows and its end, or after some windows the reason why it cannot be read.
    """
    try:
        blocks = Counted(_samples(sample_rate, sound))
        number = -1
        for number, window in enumerate(shape.cut(blocks)):
            yield Window(position, number, window)
        yield End(position, number + 1, blocks.num_samples, _sha256(sound))
    except Exception as error:  # whatever a file does to its readers, the others are read
        yield Failure(position, _reason(sound, error))


def encode_part(encoder: WindowEncoder, window: Window) -> Part:
    """Codes of a window."""
    return encode_all(encoder, [window])[0]


def encode_all(encoder: WindowEncoder, windows: Sequence[Window]) -> list[Part]:
    """Codes of windows of any sounds: on a CPU one by one, on a device those of one length at once."""
    batches: dict[int, list[Window]] = {}
    for number, window in enumerate(windows):
        batches.setdefault(number if encoder.alone else window.samples.count, []).append(window)
    parts = []
    for batch in batches.values():
        found = encoder.encode([window.samples for window in batch])
        for window, levels in zip(batch, found, strict=True):
            parts.append(Part(window.position, window.number, _small(encoder.codec, levels)))
    return parts


class Assembly:
    """Codes of sounds whose parts come in any order, from several processes, some of them twice."""

    def __init__(self, codec: Codec) -> None:
        self.codec, self._maker = codec, codec.fingerprint
        self._parts: dict[int, dict[int, Levels]] = {}
        self._ends: dict[int, End] = {}

    def put(self, piece: Part | End | Failure) -> Encoded | Failure | None:
        """Take a piece in; gives the sound that it completes, or its failure."""
        position = piece.position
        if isinstance(piece, Failure):
            self._drop(position)
            return piece
        if isinstance(piece, End):
            self._ends[position] = piece
        else:
            self._parts.setdefault(position, {})[piece.number] = piece.levels
        end, parts = self._ends.get(position), self._parts.get(position, {})
        if end is None or len(parts) < end.windows:
            return None
        self._drop(position)
        return Encoded(position, self._codes(end, [parts[n] for n in range(end.windows)]), end.sha256)

    def _codes(self, end: End, parts: list[Levels]) -> Codes:
        levels = []
        for level, hop in enumerate(self.codec.hops):
            pieces = [part[level] for part in parts]
            codes = np.concatenate(pieces, axis=1)[:, : frames_for(end.num_samples, hop)]
            levels.append(torch.from_numpy(codes))
        codec = self.codec
        return Codes(levels, end.num_samples, codec.sample_rate, codec.hops, self._maker)

    def _drop(self, position: int) -> None:
        self._parts.pop(position, None)
        self._ends.pop(position, None)


def _sha256(sound: Sound) -> str:
    status = os.stat(sound.path)
    return _sha256_of(sound.path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)  # a file may have many clips
def _sha256_of(path: Path, size: int, changed: int) -> str:
    return file_sha256(path)


def prefetch(sound: Sound) -> None:
    """Ask the system to have the beginning of a file in memory by the time that it is read."""
    if not hasattr(os, "posix_fadvise"):
        return
    with suppress(OSError):  # whoever reads it will say why
        if stat.S_ISREG(os.stat(sound.path).st_mode):
            handle = os.open(sound.path, os.O_RDONLY)
            try:
                os.posix_fadvise(handle, 0, PREFETCHED_BYTES, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(handle)


def _small(codec: Codec, levels: list[Tensor]) -> Levels:
    return [
        codes.numpy().astype(np.int16 if max(sizes) <= 1 << 15 else np.int32)
        for codes, sizes in zip(levels, codec.codebook_sizes, strict=True)
    ]


def _reason(sound: Sound, error: Exception) -> str:
    """One line, which names the file."""
    said = " ".join(str(error).split())
    if isinstance(error, UserError):
        return said
    if isinstance(error, OSError) and error.strerror:
        return f"{sound.path}: {error.strerror}; mend it, or leave it out"
    return f"{sound.path}: cannot be read ({type(error).__name__}: {said}); leave it out"
