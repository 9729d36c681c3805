"""What a codec is given: sounds as streams of samples, codes and choices checked."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqaudio.audio import mono, resample, stream_audio
from vqaudio.codec.windows import return_large_blocks
from vqaudio.codes import Codes
from vqaudio.errors import UserError
from vqaudio.sound_files import MOST_CHANNELS

Sound = str | Path | Tensor | np.ndarray


def sound_blocks(sound: Sound, sample_rate: int | None, wanted_rate: int) -> Iterable[Tensor]:
    """A sound as blocks of samples `[T]` at the wanted rate, mixed down.

    Args:
        sound: a path, or float samples `[T]` or `[C, T]`.
        sample_rate: of samples; None where they are at the wanted rate.
        wanted_rate: in Hz.

    Raises:
        UserError: the samples are empty, not finite, not floats, or of too many channels; see also
            `stream_audio`.
    """
    if isinstance(sound, str | Path):
        return_large_blocks()
        return stream_audio(sound, wanted_rate)
    audio = mono(check_samples(sound))
    if sample_rate is not None and sample_rate != wanted_rate:
        audio = resample(audio, sample_rate, wanted_rate)
    return [audio[0]]


def check_samples(sound: Tensor | np.ndarray) -> Tensor:
    """Samples `[T]` or `[C, T]` as float32 `[C, T]`.

    Raises:
        UserError: they are empty, not finite, or not floats.
    """
    audio = torch.as_tensor(sound).detach().cpu()
    if not audio.is_floating_point():
        raise UserError(f"samples of type {audio.dtype}: give floats within -1 to 1")
    audio = audio.float()
    if audio.ndim not in (1, 2) or audio.numel() == 0:
        raise UserError(f"samples of shape {list(audio.shape)}: give [T] or [C, T], not empty")
    if audio.ndim == 2 and audio.shape[0] > MOST_CHANNELS:
        raise UserError(
            f"samples of shape {list(audio.shape)}: give [C, T], channels first and "
            f"{MOST_CHANNELS} at most"
        )
    if not audio.isfinite().all():
        raise UserError("samples are not all finite: mend the NaN or infinite ones")
    return audio.unsqueeze(0) if audio.ndim == 1 else audio


class Counted:
    """Blocks of samples, with the number of samples that have passed."""

    def __init__(self, blocks: Iterable[Tensor]) -> None:
        self.blocks, self.num_samples = blocks, 0

    def __iter__(self) -> Iterator[Tensor]:
        for block in self.blocks:
            self.num_samples += len(block)
            yield block


def check_levels(levels: int | None, count: int) -> int:
    """How many levels to decode from; all of the `count` unless told.

    Raises:
        UserError: there are not as many.
    """
    if levels is not None and not 1 <= levels <= count:
        raise UserError(f"levels: {levels} is not from 1 to {count}")
    return levels or count


def check_quantizers(
    quantizers: Sequence[int] | None, codebook_sizes: Sequence[Sequence[int]]
) -> list[int]:
    """How many codes of each level to use; all of them unless told.

    Raises:
        UserError: not one number a level, or a level has not as many.
    """
    there = [len(sizes) for sizes in codebook_sizes]
    if quantizers is None:
        return there
    if len(quantizers) != len(there):
        given = list(quantizers)
        raise UserError(f"quantizers: {given} is not one number for each of {len(there)} levels")
    for level, (wanted, count) in enumerate(zip(quantizers, there, strict=True)):
        if wanted != count and not 1 <= wanted <= count:
            range_ = f"from 1 to {count}" if count else "0, all that a continuous level has"
            raise UserError(f"quantizers: {wanted} at level {level} is not {range_}")
    return list(quantizers)


def check_codes(
    codes: Codes,
    fingerprint: str,
    sample_rate: int,
    hops: Sequence[int],
    codebook_sizes: Sequence[Sequence[int]],
    levels: int,
) -> None:
    """Refuse codes that a codec cannot decode.

    Args:
        codes: of the sound.
        fingerprint: of the codec, as the next three.
        sample_rate: in Hz.
        hops: samples a frame, per level.
        codebook_sizes: per level, per quantizer.
        levels: how many are to be decoded from.

    Raises:
        UserError: they are another codec's.
    """
    if codes.codec and codes.codec != fingerprint:
        raise UserError(
            f"these codes were made by codec {codes.codec[:12]}, this is {fingerprint[:12]}: "
            "decode them with the codec that made them"
        )
    if codes.sample_rate != sample_rate or list(codes.hops) != list(hops):
        raise UserError(f"codes at hops {list(codes.hops)} are not this codec's, which has {list(hops)}")
    for index, (level, sizes) in enumerate(zip(codes.levels[:levels], codebook_sizes, strict=False)):
        if not 1 <= level.shape[0] <= len(sizes):
            raise UserError(
                f"codes: level {index} has {level.shape[0]} quantizers, not 1 to {len(sizes)}"
            )
        if level.min() < 0 or any(q.max() >= s for q, s in zip(level, sizes, strict=False)):
            raise UserError(f"codes: level {index} has a code outside of its codebook, {list(sizes)}")
