"""Sound files <-> float32 `[C, T]`, and resampling.

Whole or streamed, a sound passes through the same resampler, so both ways give the same samples.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from vqaudio.errors import UserError
from vqaudio.files import replacing
from vqaudio.sound_files import BLOCK_FRAMES, AnyPath, native_name, read_blocks, reason

__all__ = [
    "BLOCK_FRAMES",
    "RESAMPLER",
    "AnyPath",
    "AudioWriter",
    "mono",
    "read_audio",
    "resample",
    "stream_audio",
    "write_audio",
]

log = logging.getLogger("vqaudio")

RESAMPLER = "soxr-hq"  # named in token shards: other resamplers give other samples
WRITABLE = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS", ".mp3": "MPEG_LAYER_III"}


def read_audio(
    path: AnyPath,
    sample_rate: int | None = None,
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
) -> tuple[Tensor, int]:
    """Read a sound file, or a clip of it, with all its channels.

    Args:
        path: wav, flac, ogg, opus, mp3 or whatever else libsndfile reads.
        sample_rate: resample to this rate, in Hz; None keeps the file's.
        start_seconds: where the clip begins.
        duration_seconds: how long it is; None reads to the end.

    Returns:
        float32 `[C, T]`, in -1 to 1 for files of integers, and its sample rate in Hz.

    Raises:
        UserError: the file is missing, cannot be read, is no sound file, truncated, damaged, without
            samples or not finite, ends before the clip does, or has a sample rate or a number of
            channels beyond reason.
    """
    blocks, rates = zip(*read_blocks(path, start_seconds, duration_seconds), strict=True)
    audio, rate = torch.cat([_channels_first(block) for block in blocks], dim=1), rates[0]
    if sample_rate is not None and sample_rate != rate:
        return resample(audio, rate, sample_rate), sample_rate
    return audio, rate


def stream_audio(
    path: AnyPath,
    sample_rate: int,
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
) -> Iterator[Tensor]:
    """Read a sound file block by block, in memory that does not grow with its length.

    Args:
        path: see `read_audio`.
        sample_rate: of the blocks, in Hz.
        start_seconds: see `read_audio`.
        duration_seconds: see `read_audio`.

    Yields:
        Mono float32 `[T]` blocks; together the samples of `mono(read_audio(path))`, resampled.

    Raises:
        UserError: see `read_audio`; a fault late in a file shows when the stream gets there.
    """
    resampler = None
    for block, rate in read_blocks(path, start_seconds, duration_seconds):
        if resampler is None:
            if block.shape[1] > 1:
                log.warning("%s: %d channels mixed down to one", path, block.shape[1])
            resampler = Resampler(rate, sample_rate)
        samples = resampler.push(mix(_channels_first(block))[0])
        if len(samples):
            yield samples
    if resampler is not None:
        samples = resampler.finish()
        if len(samples):
            yield samples


def mono(audio: Tensor) -> Tensor:
    """Mix channels down by their mean, with a notice in the log when there are several.

    Args:
        audio: `[C, T]`.

    Returns:
        `[1, T]`.
    """
    if audio.shape[0] > 1:
        log.warning("%d channels mixed down to one", audio.shape[0])
    return mix(audio)


def resample(audio: Tensor, source_rate: int, target_rate: int) -> Tensor:
    """Change the sample rate; the samples are those of `stream_audio`, bit for bit.

    Args:
        audio: float32 `[C, T]`.
        source_rate: its sample rate in Hz.
        target_rate: the wanted one in Hz.

    Returns:
        float32 `[C, T * target_rate / source_rate]`, rounded, and never without a sample.

    Raises:
        UserError: a rate is not above 0.
    """
    if source_rate == target_rate:
        return audio
    channels = []
    for channel in audio:
        resampler = Resampler(source_rate, target_rate)
        blocks = [resampler.push(block) for block in channel.split(BLOCK_FRAMES)]
        channels.append(torch.cat([*blocks, resampler.finish()]))
    return torch.stack(channels)


def write_audio(path: AnyPath, audio: Tensor, sample_rate: int) -> None:
    """Write a sound file; it appears when it is complete.

    Args:
        path: its suffix names the format: .wav and .flac (16 bit), .ogg, .mp3.
        audio: float `[C, T]`, clipped to -1 to 1.
        sample_rate: in Hz.

    Raises:
        UserError: no such format, or the place cannot be written.
    """
    with AudioWriter(path, sample_rate) as writer:
        writer.write(audio)


class AudioWriter:
    """Writes a sound file block by block; it appears under its name only when all went well.

    Args:
        path: its suffix names the format, see `write_audio`.
        sample_rate: in Hz.
    """

    def __init__(self, path: AnyPath, sample_rate: int) -> None:
        self.path = Path(path)
        self.sample_rate = sample_rate
        if self.path.suffix.lower() not in WRITABLE:
            raise UserError(f"{path}: cannot write this format; use one of {', '.join(WRITABLE)}")
        self._open = ExitStack()
        self._file: soundfile.SoundFile | None = None

    def __enter__(self) -> Self:
        self._part = self._open.enter_context(replacing(self.path))
        return self

    def write(self, audio: Tensor) -> None:
        """Append samples, `[C, T]`, clipped to -1 to 1; every call has the same channels."""
        if self._file is None:
            self._start(channels=audio.shape[0])
        assert self._file is not None
        samples = audio.detach().cpu().float().clamp(-1, 1).T.numpy()
        # One long write of a compressed format overflows libsndfile's stack; short ones do not.
        try:
            for start in range(0, len(samples), BLOCK_FRAMES):
                self._file.write(samples[start : start + BLOCK_FRAMES])
        except soundfile.LibsndfileError as error:
            raise UserError(
                f"{self.path}: cannot be written ({reason(error)}); make room there"
            ) from None

    def _start(self, channels: int) -> None:
        suffix = self.path.suffix.lower()
        try:
            self._file = soundfile.SoundFile(
                native_name(self._part),
                "w",
                samplerate=self.sample_rate,
                channels=channels,
                subtype=WRITABLE[suffix],
                format=suffix[1:].upper(),
            )
        except soundfile.LibsndfileError as error:
            raise UserError(
                f"{self.path}: {channels} channels at {self.sample_rate} Hz cannot be written in this "
                f"format ({error.error_string}); use .wav"
            ) from None
        self._open.callback(self._file.close)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None and self._file is None:
                self._start(channels=1)  # nothing was written: still a file, of no samples
        finally:
            self._open.__exit__(kind, error, trace)


class Resampler:
    """One channel through soxr, piece by piece; passes samples on untouched at equal rates.

    Args:
        source_rate: of what comes, in Hz.
        target_rate: of what is wanted, in Hz.

    Raises:
        UserError: a rate is not above 0.
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        if min(source_rate, target_rate) <= 0:
            raise UserError(f"sample rate {min(source_rate, target_rate)}: must be above 0 Hz")
        self._stream = None
        if source_rate != target_rate:
            self._stream = soxr.ResampleStream(
                source_rate, target_rate, 1, dtype="float32", quality="HQ"
            )
        self._empty = True

    def push(self, samples: Tensor) -> Tensor:
        """Take `[T]` in, give what is ready."""
        if self._stream is None:
            return samples
        ready = torch.from_numpy(self._stream.resample_chunk(samples.numpy()))
        self._empty &= not len(ready)
        return ready

    def finish(self) -> Tensor:
        """Give what was held back; at least one sample if nothing came before."""
        if self._stream is None:
            return torch.zeros(0, dtype=torch.float32)
        ready = torch.from_numpy(self._stream.resample_chunk(np.zeros(0, np.float32), last=True))
        return torch.zeros(1, dtype=torch.float32) if self._empty and not len(ready) else ready


def _channels_first(block: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(block.T))


def mix(audio: Tensor) -> Tensor:
    """The mean of the channels `[C, T]`: `[1, T]`."""
    return audio if audio.shape[0] == 1 else audio.contiguous().mean(dim=0, keepdim=True)
