"""Samples that come in pieces to codes that are given as soon as they are certain."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from vqaudio.audio import Resampler, mix
from vqaudio.codec.flow import Flow
from vqaudio.codec.inputs import check_samples
from vqaudio.codec.row_encoder import RowEncoder
from vqaudio.codec.window_encoder import WindowEncoder
from vqaudio.codec.windows import AudioWindow, Cutter
from vqaudio.codes import Codes, frames_for
from vqaudio.errors import UserError
from vqaudio.sound_files import SAMPLE_RATES

if TYPE_CHECKING:
    from vqaudio.codec.model import Codec


MOST = 1 << 18  # samples that go through all layers together


class Source(Protocol):
    """What makes codes of samples at the codec's rate: per level int64 `[Q, F]` of the next frames."""

    step: int  # coarse frames that come at a time

    def push(self, samples: Tensor) -> list[Tensor]:
        """Take `[T]`, give what is ready."""

    def finish(self, num_samples: int) -> list[Tensor]:
        """Give what is left of a sound of this length."""


class EncodeStream:
    """The codes of one sound while its samples come, the same bits as `Codec.encode` gives.

    Args:
        codec: with its present weights.
        sample_rate: of the samples; None where they are at the codec's.
        quantizers: per level, how many of its codes to make; by default `codec.default_quantizers`.

    Raises:
        UserError: the rate or `quantizers` are out of range.
    """

    def __init__(
        self, codec: "Codec", sample_rate: int | None = None, quantizers: Sequence[int] | None = None
    ) -> None:
        lowest, highest = SAMPLE_RATES
        if sample_rate is not None and not lowest <= sample_rate <= highest:
            raise UserError(f"sample_rate {sample_rate}: must be from {lowest} to {highest} Hz")
        encoder = WindowEncoder(codec, quantizers)
        self._source: Source = (
            _Windows(encoder) if encoder.rows is None else _Rows(encoder.rows, encoder.kept)
        )
        self._hops, self._rate, self._maker = codec.hops, codec.sample_rate, codec.fingerprint
        self._context = codec.encoder.audio_context(codec.hierarchy.encode_contexts()).right
        self._resampler = Resampler(sample_rate or codec.sample_rate, codec.sample_rate)
        self._pieces: list[Tensor] = []  # samples that are not yet enough for a frame
        self._levels: list[Tensor] = []  # codes that go beyond the last whole coarse frame
        self._come = self._given = 0  # samples at the codec's rate, and coarse frames
        self._begun = self._finished = False

    @property
    def latency(self) -> int:
        """Samples at the codec's rate after the end of a coarse frame until its codes come, at most.

        With the encoder in C every frame has this latency; without it, codes come by windows and
        only a window's first frame has it. What a resampler holds back comes on top.
        """
        return (self._source.step - 1) * self._hops[0] + self._context

    def push(self, samples: Tensor | np.ndarray) -> Codes | None:
        """Take the next samples.

        Args:
            samples: float `[T]` or `[C, T]` within [-1, 1], of any number; channels are mixed down.

        Returns:
            The codes that became certain, of whole coarse frames, as `decode_stream` takes them; None
            if there are none.

        Raises:
            UserError: the samples are empty, not finite or not floats, or the stream was finished;
                it stays as it was.
        """
        self._check_open()
        samples = self._resampler.push(mix(check_samples(samples))[0])
        self._begun = True
        # The caller may write on the piece's memory.
        self._pieces.append(samples.clone())
        self._come += len(samples)
        step = self._source.step
        ready = max(0, (self._come - self._context) // self._hops[0]) // step * step
        if ready <= self._given:
            return None
        self._take(self._source.push(self._waiting()))
        return self._codes(ready, ready * self._hops[0])

    def finish(self) -> Codes | None:
        """Say that the sound has ended.

        Returns:
            The codes that are left; None if there are none.

        Raises:
            UserError: the stream was finished before.
        """
        self._check_open()
        self._finished = True
        if not self._begun:
            return None
        self._pieces.append(self._resampler.finish())
        self._come += len(self._pieces[-1])
        frames = frames_for(self._come, self._hops[0])
        if frames <= self._given:
            return None
        self._take(self._source.push(self._waiting()))
        self._take(self._source.finish(self._come))
        return self._codes(frames, self._come)

    def _check_open(self) -> None:
        if self._finished:
            raise UserError("the stream is finished: open another one with codec.stream()")

    def _waiting(self) -> Tensor:
        waiting, self._pieces = torch.cat(self._pieces), []
        return waiting

    def _take(self, found: list[Tensor]) -> None:
        if found:
            have = self._levels or [codes[:, :0] for codes in found]
            self._levels = [torch.cat(pair, dim=1) for pair in zip(have, found, strict=True)]

    def _codes(self, last: int, end: int) -> Codes:
        """Codes of the coarse frames before `last` that were not given yet, up to the sample `end`."""
        num_samples = end - self._given * self._hops[0]
        counts = [frames_for(num_samples, hop) for hop in self._hops]
        given = [codes[:, :count] for codes, count in zip(self._levels, counts, strict=True)]
        self._levels = [codes[:, count:] for codes, count in zip(self._levels, counts, strict=True)]
        self._given = last
        return Codes(given, num_samples, self._rate, self._hops, self._maker)


class _Rows:
    """By the layers in C, which keep what they need of the past."""

    step = 1

    def __init__(self, encoder: RowEncoder, kept: list[int]) -> None:
        self.flow, self.hop = Flow(encoder, kept), encoder.hops[0]

    def push(self, samples: Tensor) -> list[Tensor]:
        found = [self.flow.push(piece) for piece in samples.split(MOST)]
        return [torch.cat(level, dim=1) for level in zip(*found, strict=True)]

    def finish(self, num_samples: int) -> list[Tensor]:
        self.flow.end(num_samples, frames_for(num_samples, self.hop))
        return self.flow.push(torch.zeros(0, dtype=torch.float32))


class _Windows:
    """By torch, in the windows that a whole sound is encoded in."""

    def __init__(self, encoder: WindowEncoder) -> None:
        self.encoder, self.cutter = encoder, Cutter(*encoder.shape)
        self.step = self.cutter.lengths[-1]

    def push(self, samples: Tensor) -> list[Tensor]:
        return self._encode(list(self.cutter.push(samples)))

    def finish(self, num_samples: int) -> list[Tensor]:
        return self._encode(list(self.cutter.finish()))

    def _encode(self, windows: list[AudioWindow]) -> list[Tensor]:
        found = [self.encoder.encode([window])[0] for window in windows]
        return [torch.cat(level, dim=1) for level in zip(*found, strict=True)]
