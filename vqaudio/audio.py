"""Sound files <-> float32 `[C, T]`, and resampling.

Whole or streamed, a sound passes through the same resampler, so both ways give the same samples.
"""

import logging
import os
import re
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

AnyPath = str | os.PathLike[str]

log = logging.getLogger("vqaudio")

BLOCK_FRAMES = 65536
RESAMPLER = "soxr-hq"  # named in token shards: other resamplers give other samples
WRITABLE = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS", ".mp3": "MPEG_LAYER_III"}

# A clip may reach this far past the end of its file: manifests round their durations.
CLIP_SLACK_SECONDS = 0.1

# What libsndfile notes about a file whose header promises more than there is. Writers into a pipe
# cannot know the length and leave 2 GiB or more there, which is no damage.
_PROMISED = re.compile(r"^\s*(?:data|SSND|Data Size|riff)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN_LENGTH = 0x7FFF0000

# The header of an MP3 file that counts its frames; without one its length is a guess.
_MP3_COUNT = re.compile(rb"(?:Xing|Info)\x00\x00\x00[\x01-\x0f]")
_MP3_HEAD_BYTES = 1 << 18
_ENDLESS = 1 << 62


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
        UserError: the file is missing, no sound file, truncated, without samples or not finite, or
            ends before the clip does.
    """
    blocks, rates = zip(*_read_blocks(path, start_seconds, duration_seconds), strict=True)
    audio, rate = torch.cat(blocks, dim=1), rates[0]
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
    for block, rate in _read_blocks(path, start_seconds, duration_seconds):
        if resampler is None:
            if block.shape[0] > 1:
                log.warning("%s: %d channels mixed down to one", path, block.shape[0])
            resampler = Resampler(rate, sample_rate)
        samples = resampler.push(mix(block)[0])
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
            reason = _reason(error)
            raise UserError(f"{self.path}: cannot be written ({reason}); make room there") from None

    def _start(self, channels: int) -> None:
        suffix = self.path.suffix.lower()
        try:
            self._file = soundfile.SoundFile(
                self._part,
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
    """One channel through soxr, piece by piece; passes samples on untouched at equal rates."""

    def __init__(self, source_rate: int, target_rate: int) -> None:
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
            return torch.zeros(0)
        ready = torch.from_numpy(self._stream.resample_chunk(np.zeros(0, np.float32), last=True))
        return torch.zeros(1) if self._empty and not len(ready) else ready


def mix(audio: Tensor) -> Tensor:
    """The mean of the channels `[C, T]`: `[1, T]`."""
    return audio if audio.shape[0] == 1 else audio.contiguous().mean(dim=0, keepdim=True)


def _read_blocks(
    path: AnyPath, start_seconds: float, duration_seconds: float | None
) -> Iterator[tuple[Tensor, int]]:
    """Yield float32 `[C, T]` blocks of at most `BLOCK_FRAMES`, never none, and the sample rate."""
    with _open(path) as file:
        if _promises_more(file.extra_info):
            raise UserError(f"{path}: truncated; copy or download it again")
        counted = _is_counted(path, file)
        start, end = _clip_frames(path, file, counted, start_seconds, duration_seconds)
        position = start
        while position < end:
            try:
                if position == start:
                    file.seek(start)
                block = file.read(min(BLOCK_FRAMES, end - position), dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise UserError(
                    f"{path}: damaged ({_reason(error)}); copy or download it again"
                ) from None
            if not len(block):
                if position > start and not counted:
                    return
                raise UserError(f"{path}: truncated after {position} samples; copy or download it again")
            position += len(block)
            if not np.isfinite(block).all():
                raise UserError(f"{path}: holds NaN or infinite samples; write it again without")
            yield torch.from_numpy(np.ascontiguousarray(block.T)), file.samplerate


def _open(path: AnyPath) -> soundfile.SoundFile:
    if not os.path.exists(path):
        raise UserError(f"{path}: no such file; check the path")
    if os.path.isdir(path):
        raise UserError(f"{path}: a folder, where a sound file is needed")
    if not os.path.getsize(path):
        raise UserError(f"{path}: empty; give a sound file")
    try:
        return soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise UserError(
            f"{path}: not a sound file ({_reason(error)}); give wav, flac, ogg or mp3"
        ) from None
    except TypeError:  # a suffix such as .raw, which says nothing about rate and channels
        raise UserError(f"{path}: raw samples without a header; give wav, flac, ogg or mp3") from None


def _reason(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).rstrip(".")


def _promises_more(notes: str) -> bool:
    """Whether libsndfile's notes on a header say that the file was cut short."""
    for promised, found in _PROMISED.findall(notes):
        if int(found) < int(promised) < _UNKNOWN_LENGTH:
            return True
    # An Ogg stream may lack its end mark, but then it does not stop within a page.
    return "lacks an end-of-stream bit" in notes and "Junk after the last page" in notes


def _is_counted(path: AnyPath, file: soundfile.SoundFile) -> bool:
    """Whether `file.frames` is the truth: an MP3 file without the usual header only allows a guess."""
    if file.format != "MP3":
        return True
    with open(path, "rb") as raw:
        return _MP3_COUNT.search(raw.read(_MP3_HEAD_BYTES)) is not None


def _clip_frames(
    path: AnyPath,
    file: soundfile.SoundFile,
    counted: bool,
    start_seconds: float,
    duration_seconds: float | None,
) -> tuple[int, int]:
    """First frame of a clip and the one after its last."""
    rate = file.samplerate
    frames = file.frames if counted else _ENDLESS
    if not file.frames:
        raise UserError(f"{path}: holds no samples; leave it out, or record it again")
    start, end = round(start_seconds * rate), frames
    if duration_seconds is not None:
        end = start + round(duration_seconds * rate)
        if end > frames + CLIP_SLACK_SECONDS * rate:
            raise UserError(
                f"{path}: lasts {frames / rate:.2f} s, but a clip of {duration_seconds:g} s "
                f"at {start_seconds:g} s is asked for"
            )
        end = min(end, frames)
    if not 0 <= start < end:
        raise UserError(f"{path}: no samples in the clip at {start_seconds:g} s")
    return start, end
