"""What a codec costs: time, memory, parameters, multiply-adds."""

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vqaudio.bottleneck import Bottleneck
from vqaudio.bottleneck.codebook import Codebook
from vqaudio.codec.model import Codec
from vqaudio.codes import frames_for
from vqaudio.evaluation.results import Cost
from vqaudio.features import LogMel
from vqaudio.model_folder import load_codec

ROUNDS = 3


def measure_cost(model: str | Path, audio: Tensor) -> Cost:
    """What a codec costs, measured in a new process.

    Args:
        model: a shipped name or a model folder.
        audio: float `[T]` at the codec's rate, to be timed on.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        try:
            return pool.submit(_measure_here, str(model), audio.numpy()).result()
        except BrokenProcessPool:  # as of too little memory
            return Cost()


def _measure_here(model: str, samples: Any) -> Cost:
    torch.set_num_threads(1)
    codec, audio = load_codec(model), torch.from_numpy(samples)
    seconds = len(audio) / codec.sample_rate
    if all(codec.codebook_sizes):
        codes = codec.encode(audio, workers=1)
        encoding: float | None = _fastest(lambda: codec.encode(audio, workers=1)) / seconds
        decoding: float | None = _fastest(lambda: codec.decode(codes, workers=1)) / seconds
    else:  # what is continuous is not given out between encoder and decoder
        codec.reconstruct(audio, workers=1)
        encoding = decoding = None
    encode, decode = multiply_adds(codec)
    return Cost(
        encode_rtf=encoding,
        decode_rtf=decoding,
        peak_memory_bytes=peak_memory(),
        parameters=sum(parameter.numel() for parameter in codec.parameters()),
        encode_macs_per_second=encode,
        decode_macs_per_second=decode,
    )


def peak_memory() -> int:
    """The most memory that was resident of this process since it began, in bytes."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used if sys.platform == "darwin" else used * 1024
    # not ru_maxrss: of a spawned process, that begins with its parent's
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


@torch.no_grad()
def multiply_adds(codec: Codec) -> tuple[float, float]:
    """Multiply-adds for a second of sound, to encode and to decode.

    Counted from the layers: convolutions, linear layers and mel filters as they are called, and the
    search of every codebook. No layer pads, so that sounds of two lengths, less one another, leave
    exactly what a stretch of sound costs without its ends. Fourier transforms, norms and
    nonlinearities are left out.
    """
    frames = 64  # of the coarsest level
    difference = frames * codec.hops[0] / codec.sample_rate
    encode, decode = (
        (_counted(codec, run, 2 * frames) - _counted(codec, run, frames)) / difference
        for run in (_encode, _decode)
    )
    search = sum(
        rate * book.centroids.numel()
        for rate, level in zip(codec.frame_rates, codec.hierarchy.levels, strict=True)
        for book in _codebooks(level.bottleneck)[: level.bottleneck.default_quantizers]
    )
    return encode + search, decode


def _codebooks(bottleneck: Bottleneck) -> list[Codebook]:
    return [part for part in bottleneck.modules() if isinstance(part, Codebook)]


def _encode(codec: Codec, frames: int) -> None:
    contexts = codec.hierarchy.encode_contexts()
    context = codec.encoder.audio_context(contexts)
    audio = torch.zeros(1, 1, context.left + frames * codec.hops[0] + context.right)
    features = codec.encoder(audio, contexts)
    inside = [torch.ones(1, 1, x.shape[2]) for x in features]
    codec.hierarchy.encode(features, inside, codec.default_quantizers)


def _decode(codec: Codec, frames: int) -> None:
    wanted = codec.decoder.context_before(codec.head.context)
    codes, inside = [], []
    for level, context, hop in zip(
        codec.hierarchy.levels, codec.hierarchy.decode_contexts(wanted), codec.hops, strict=True
    ):
        count = context.left + frames_for(frames * codec.hops[0], hop) + context.right
        said = level.bottleneck.default_quantizers
        codes.append(
            torch.zeros(1, said, count, dtype=torch.int64)
            if said
            else torch.zeros(1, level.bottleneck.dim, count)
        )
        inside.append(torch.ones(count))
    codec.head(codec.frames(codec.hierarchy.decode(codes, inside, wanted)))


def _counted(codec: Codec, run: Callable[[Codec, int], None], frames: int) -> int:
    with _counting(codec) as counts:
        run(codec, frames)
    return sum(counts)


@contextmanager
def _counting(codec: Codec) -> Iterator[list[int]]:
    """Collect the multiply-adds of the layers that are called."""
    counts: list[int] = []

    def count(layer: nn.Module, _: Any, made: Tensor) -> None:
        if isinstance(layer, LogMel):
            counts.append(made.numel() * layer.filters.shape[1])
        elif isinstance(layer, nn.Linear | nn.Conv1d):
            counts.append(made.numel() * layer.weight[0].numel())

    hooks = [module.register_forward_hook(count) for module in codec.modules()]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def _fastest(work: Callable[[], object]) -> float:
    """Processor seconds of the best of a few rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)
