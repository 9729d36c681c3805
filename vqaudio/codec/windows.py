"""Fixed-shape windows: whole = chunked = batched = streamed.

A sound is cut into windows of a few fixed lengths, chosen from its own length alone. Each has
the exact receptive field as context, and each runs alone on one thread: the same shapes run the
same kernels, so the codes are the same bits whatever else is being encoded, in whatever order
and by however many workers. The layers in C (`rows.py`) give the same bits whatever the length: for
them the last window is no longer than it must be.
"""

import ctypes
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from vqaudio.codec.layers import Context
from vqaudio.codes import frames_for

Job = TypeVar("Job")
Result = TypeVar("Result")

LONGEST_SECONDS = 20.0
M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


def ladder(frame_seconds: float) -> list[int]:
    """Window lengths in coarsest frames, from 2, each at most one and a half times the last."""
    lengths = [2, 3]
    while lengths[-1] * 1.3 * frame_seconds < LONGEST_SECONDS:
        lengths.append(2 * lengths[-2])
    return lengths


def rung(lengths: Sequence[int], remaining: int) -> int:
    """The shortest window that holds `remaining` frames, or the longest there is."""
    return next((length for length in lengths if length >= remaining), lengths[-1])


@dataclass(frozen=True)
class AudioWindow:
    """A stretch of sound to encode.

    Args:
        first: index of its first coarsest frame.
        count: coarsest frames, without context.
        audio: `[1, 1, context + count * hop]`.
        num_samples: length of the sound, where the window reaches its end; else None.
    """

    first: int
    count: int
    audio: Tensor
    num_samples: int | None

    def __reduce__(self) -> tuple[Any, ...]:
        """As bytes: between processes, torch would put each tensor in shared memory, which is small."""
        return _window, (self.first, self.count, self.audio.numpy(), self.num_samples)


def _window(
    first: int, count: int, audio: np.ndarray[Any, Any], num_samples: int | None
) -> "AudioWindow":
    return AudioWindow(first, count, torch.from_numpy(audio), num_samples)


class Cutter:
    """Cuts samples that come in blocks into windows, holding no more than one window of them.

    Args:
        hop: samples of a coarsest frame.
        context: samples needed around a window.
        lengths: the ladder.
    """

    def __init__(self, hop: int, context: Context, lengths: Sequence[int]) -> None:
        self.hop, self.context, self.lengths = hop, context, lengths
        self._first = 0
        self._pieces = [
            torch.zeros(context.left, dtype=torch.float32)
        ]  # from sample first * hop - context.left on
        self._have = context.left

    def push(self, block: Tensor) -> Iterator[AudioWindow]:
        """Take float32 `[T]`, give the windows that are whole now."""
        self._pieces.append(block)
        self._have += len(block)
        longest = self.lengths[-1]
        while self._have >= self.context.left + longest * self.hop + self.context.right:
            yield self._window(longest, None)

    def finish(self) -> Iterator[AudioWindow]:
        """Give what is left."""
        num_samples = self._first * self.hop + self._have - self.context.left
        while (remaining := frames_for(num_samples, self.hop) - self._first) > 0:
            yield self._window(rung(self.lengths, remaining), num_samples)

    def _window(self, count: int, num_samples: int | None) -> AudioWindow:
        kept = torch.cat(self._pieces) if len(self._pieces) > 1 else self._pieces[0]
        want = self.context.left + count * self.hop + self.context.right
        audio = kept[:want]
        missing = want - len(audio)
        audio = torch.nn.functional.pad(audio, (0, missing)) if missing else audio.clone()
        window = AudioWindow(self._first, count, audio.view(1, 1, -1), num_samples)
        self._pieces = [kept[count * self.hop :]]
        self._have = len(self._pieces[0])
        self._first += count
        return window


def cut(
    blocks: Iterable[Tensor], hop: int, context: Context, lengths: Sequence[int]
) -> Iterator[AudioWindow]:
    """Cut a stream of samples `[T]`, at least one in all, into windows; see `Cutter`."""
    cutter = Cutter(hop, context, lengths)
    for block in blocks:
        yield from cutter.push(block)
    yield from cutter.finish()


class Collected:
    """The codes of one sound's windows, in one growing array a level; of a continuous one, floats.

    Kept as they come, they would lie scattered between the large short-lived tensors of the
    encoder, and the heap could never shrink again.
    """

    def __init__(self) -> None:
        self.levels: list[Tensor] = []
        self.filled: list[int] = []

    def add(self, window: list[Tensor]) -> None:
        """Append int64 `[Q, F_l]`, or float `[D, F_l]`, a level."""
        if not self.levels:
            self.levels = [torch.empty(len(codes), 1 << 14, dtype=_kept_as(codes)) for codes in window]
            self.filled = [0] * len(window)
        for level, codes in enumerate(window):
            have = self.filled[level]
            self.filled[level] = have + codes.shape[1]
            if self.filled[level] > self.levels[level].shape[1]:
                larger = torch.empty(len(codes), 2 * self.filled[level], dtype=_kept_as(codes))
                larger[:, :have] = self.levels[level][:, :have]
                self.levels[level] = larger
            self.levels[level][:, have : self.filled[level]] = codes

    def take(self, frames: list[int]) -> list[Tensor]:
        """The first `F_l` frames of every level, as they were added."""
        found = [level[:, :count] for level, count in zip(self.levels, frames, strict=True)]
        return [codes if codes.is_floating_point() else codes.long() for codes in found]


def _kept_as(codes: Tensor) -> torch.dtype:
    return codes.dtype if codes.is_floating_point() else torch.int32


def inside(start: int, count: int, frames: int | None) -> Tensor:
    """float32 `[count]`, 1 for frames `start + i` that are within `[0, frames)`."""
    index = torch.arange(start, start + count)
    return ((index >= 0) & (index < (frames if frames is not None else start + count))).float()


def stretch(codes: Tensor, start: int, count: int) -> Tensor:
    """Frames `[start, start + count)` of `[Q, F]`, with code 0 where there are none: `[1, Q, count]`."""
    frames = codes.shape[1]
    piece = codes[:, max(start, 0) : max(0, min(start + count, frames))]
    before = min(max(-start, 0), count)
    return torch.nn.functional.pad(piece, (before, count - before - piece.shape[1])).unsqueeze(0)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run what is inside on one thread: the order of a sum depends on the number of them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@cache
def return_large_blocks() -> None:
    """Have glibc give blocks of 256 KiB and more back to the system as soon as they are freed.

    By itself it raises that threshold as it goes, until an encoder's short-lived tensors lie in the
    heap among what is kept: a file of two hours then takes half as much memory again as one of two
    minutes. Other C libraries are left as they are.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 18)


def run_ordered(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Iterator[Result]:
    """`function` of every job, in their order, by one-threaded workers, few jobs ahead at a time."""
    if workers == 1:
        for job in jobs:
            with one_thread():
                result = function(job)
            yield result
        return
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for job in jobs:
                waiting.append(pool.submit(function, job))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            torch.set_num_threads(threads)
