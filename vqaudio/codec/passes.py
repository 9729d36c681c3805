"""Whole sounds through a codec, a window at a time, by as many workers as are wanted."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vqaudio.codec.heads import LOG_SILENCE, MelSpectrogram
from vqaudio.codec.inputs import Counted, Sound, sound_blocks
from vqaudio.codec.layers import Context
from vqaudio.codec.window_encoder import WindowEncoder
from vqaudio.codec.windows import (
    AudioWindow,
    Collected,
    inside,
    ladder,
    one_thread,
    run_ordered,
    rung,
    stretch,
)
from vqaudio.codes import Codes, frames_for
from vqaudio.cores import default_workers
from vqaudio.errors import UserError

if TYPE_CHECKING:
    from vqaudio.codec.model import Codec


def encode_sounds(
    codec: "Codec",
    sounds: Sequence[Sound],
    sample_rate: int | None = None,
    workers: int | None = None,
    quantizers: Sequence[int] | None = None,
) -> Iterator[tuple[list[Tensor], int]]:
    """What each level makes of each sound; see `Codec.encode` for the arguments.

    Yields:
        Per level, coarsest first, int64 `[Q, F_l]`, or float `[D, F_l]` of a continuous one; and the
        true length of the sound in samples.
    """
    encoder = WindowEncoder(codec, quantizers)

    def jobs() -> Iterator[AudioWindow | int]:
        for sound in sounds:
            blocks = Counted(sound_blocks(sound, sample_rate, codec.sample_rate))
            yield from encoder.shape.cut(blocks)
            yield blocks.num_samples

    def work(job: AudioWindow | int) -> list[Tensor] | int:
        return job if isinstance(job, int) else encoder.encode([job])[0]

    collected = Collected()
    for result in run_ordered(work, jobs(), _threads(codec, workers)):
        if not isinstance(result, int):
            collected.add(result)
            continue
        frames = [frames_for(result, hop) for hop in codec.hops]
        levels, collected = collected.take(frames), Collected()
        yield levels, result


def decode_levels(
    codec: "Codec", levels: Sequence[Tensor], num_samples: int, workers: int | None = None
) -> Iterator[Tensor]:
    """The sound of what `encode_sounds` gave, or the first few of its levels: `[1, T]` a window."""
    lengths = ladder(codec.hops[0] / codec.sample_rate)
    total = levels[0].shape[1]

    def jobs() -> Iterator[tuple[int, int]]:
        first = 0
        while first < total:
            yield first, rung(lengths, total - first)
            first += rung(lengths, total - first)

    def work(job: tuple[int, int]) -> Tensor:
        audio = _decode_window(codec, levels, num_samples, *job)
        return audio[:, : num_samples - job[0] * codec.hops[0]]

    return run_ordered(work, jobs(), _threads(codec, workers))


def decode_parts(codec: "Codec", parts: Iterable[Codes], levels: int | None = None) -> Iterator[Tensor]:
    """The sound of codes that come in parts, as soon as what follows a frame is known: `[1, T]` each.

    What is behind the decoder's context is forgotten, so an endless stream takes no more memory.

    Raises:
        UserError: a part before the last one ends within a coarse frame.
    """
    lengths = ladder(codec.hops[0] / codec.sample_rate)
    wanted = codec.decoder.context_before(codec.head.context)
    contexts = [
        Context(
            frames_for(context.left * hop, codec.hops[0]), frames_for(context.right * hop, codec.hops[0])
        )
        for context, hop in zip(codec.hierarchy.decode_contexts(wanted), codec.hops, strict=True)
    ]
    behind, ahead = (max(side) for side in zip(*contexts, strict=True))
    used = codec.hops[:levels]
    kept: list[Tensor] = []
    first = start = num_samples = 0  # the next frame to sound, and the first whose codes are kept

    def window(count: int) -> Tensor:
        with one_thread():
            audio = _decode_window(codec, kept, num_samples, first, count, start)
        return audio[:, : num_samples - first * codec.hops[0]]

    for part in parts:
        if num_samples % codec.hops[0]:
            raise UserError(
                f"codes: a part ends after {num_samples} samples, within a coarse frame of "
                f"{codec.hops[0]}, and is not the last one"
            )
        if first - behind > start:
            over, start = first - behind - start, first - behind
            kept = [k[:, over * (codec.hops[0] // hop) :] for k, hop in zip(kept, used, strict=True)]
        come = part.levels[:levels]
        kept = [
            torch.cat(pair, dim=1) for pair in zip(kept or [k[:, :0] for k in come], come, strict=True)
        ]
        num_samples += part.num_samples
        ready = num_samples // codec.hops[0] - ahead
        while ready - first >= lengths[0]:
            count = max(length for length in lengths if length <= ready - first)
            yield window(count)
            first += count
    while first < (last := frames_for(num_samples, codec.hops[0])):
        count = rung(lengths, last - first)
        yield window(count)
        first += count


@torch.no_grad()
def _decode_window(
    codec: "Codec", levels: Sequence[Tensor], num_samples: int, first: int, count: int, have: int = 0
) -> Tensor:
    """Coarse frames `[first, first + count)`, of codes that begin at the coarse frame `have`."""
    wanted = codec.decoder.context_before(codec.head.context)
    contexts = codec.hierarchy.decode_contexts(wanted)
    pieces, masks = [], []
    for index, (context, hop) in enumerate(zip(contexts, codec.hops, strict=True)):
        ratio = codec.hops[0] // hop
        start, frames = first * ratio - context.left, context.left + count * ratio + context.right
        masks.append(inside(start, frames, frames_for(num_samples, hop)).to(codec.device))
        if index < len(levels):
            pieces.append(stretch(levels[index], start - have * ratio, frames).to(codec.device))
    x = codec.frames(codec.hierarchy.decode(pieces, masks, wanted))
    if not isinstance(codec.head, MelSpectrogram):
        return codec.head(x)[0].cpu()
    start = first * (codec.hops[0] // codec.head.hop) - codec.head.context.left
    mask = inside(start, x.shape[2], frames_for(num_samples, codec.head.hop)).to(codec.device)
    log_mel = torch.where(mask > 0, codec.head(x), LOG_SILENCE)
    return codec.head.griffin_lim(log_mel, start)[0].cpu()


def _threads(codec: "Codec", workers: int | None) -> int:
    if workers is not None and workers < 1:
        raise UserError(f"workers {workers}: must be at least 1")
    return (workers or default_workers()) if codec.device.type == "cpu" else 1
