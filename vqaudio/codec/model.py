"""Codec: sound to Codes and back, on one page."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np
import torch
from torch import Tensor, nn

from vqaudio.audio import mono, resample, stream_audio
from vqaudio.codec.decoder import Decoder
from vqaudio.codec.encoder import Encoder
from vqaudio.codec.heads import LOG_SILENCE, MelSpectrogram, build_head
from vqaudio.codec.hierarchy import Hierarchy
from vqaudio.codec.layers import NO_CONTEXT, refit
from vqaudio.codec.windows import (
    AudioWindow,
    Collected,
    cut,
    default_workers,
    inside,
    ladder,
    return_large_blocks,
    run_ordered,
    rung,
    stretch,
)
from vqaudio.codes import Codes, frames_for
from vqaudio.config import CodecConfig
from vqaudio.errors import UserError
from vqaudio.fingerprint import fingerprint

Sound = str | Path | Tensor | np.ndarray
MOST_CHANNELS = 64  # of a recording; more are samples, in an array that is the wrong way round


@dataclass
class CodecOutput:
    """What the codec gives in training.

    Args:
        audio: `[B, 1, T]`; None where the head predicts a spectrogram.
        spectrogram: log-mel `[B, bands, F]`, to be compared with `codec.head.target(audio)`; None
            where the head gives sound.
        codes: per level, coarsest first, int64 `[B, Q, F_l]`; empty in the warm start.
        losses: scalars by name.
    """

    audio: Tensor | None
    spectrogram: Tensor | None
    codes: list[Tensor]
    losses: dict[str, Tensor] = field(default_factory=dict)


class Codec(nn.Module):
    """VQ-VAE-2 for sound: encoder, hierarchy of bottlenecks, decoder, head.

    Args:
        config: everything that shapes it.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate = config.sample_rate
        self.hops = [level.hop for level in config.levels]
        self.encoder = Encoder(config.front, config.levels, config.sample_rate)
        self.hierarchy = Hierarchy(config.levels)
        channels = config.levels[-1].channels
        width, units = (
            (config.head.channels[0], 0)
            if config.head.kind == "upsample"
            else (config.head.channels, config.head.units)
        )
        self.decoder = Decoder(channels, width, self.hops[-1] // config.head.hop, units)
        self.head = build_head(config.head, config.sample_rate)

    # --- what it is ---

    @property
    def codebook_sizes(self) -> list[list[int]]:
        """Codes of each quantizer of each level, coarsest first."""
        return [list(level.bottleneck.codebook_sizes) for level in self.hierarchy.levels]

    @property
    def frame_rates(self) -> list[float]:
        """Frames a second of each level, coarsest first."""
        return [self.sample_rate / hop for hop in self.hops]

    @property
    def bitrate(self) -> float:
        """Bits a second when every code is written with the same number of bits."""
        bits = [sum(np.log2(size) for size in sizes) for sizes in self.codebook_sizes]
        return float(sum(rate * b for rate, b in zip(self.frame_rates, bits, strict=True)))

    @property
    def context_seconds(self) -> float:
        """Sound that a code depends on, before and after its own frame together."""
        context = self.encoder.audio_context(self.hierarchy.encode_contexts())
        return (context.left + context.right) / self.sample_rate

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the configuration and the weights, in hexadecimal digits."""
        return fingerprint(self, self.config.model_dump())

    # --- training ---

    def forward(
        self, audio: Tensor, quantize: bool = True, keep_levels: Tensor | None = None
    ) -> CodecOutput:
        """Whole sounds through the codec, as in training.

        Args:
            audio: `[B, 1, T]`, `T` a multiple of the coarsest hop.
            quantize: False passes features on unquantized, for the warm start.
            keep_levels: int `[B]`, how many levels, from the coarsest, each sound is decoded from.
        """
        if audio.shape[2] % self.hops[0]:
            raise ValueError(
                f"{audio.shape[2]} samples are no multiple of the coarsest hop {self.hops[0]}"
            )
        none = [NO_CONTEXT] * len(self.hops)
        padded = refit(audio, NO_CONTEXT, self.encoder.audio_context(none))
        wanted = self.decoder.context_before(self.head.context)
        cascade = self.hierarchy(self.encoder(padded, none), wanted, quantize, keep_levels)
        frames = self._frames(cascade.state)
        if isinstance(self.head, MelSpectrogram):
            frames = refit(frames, self.head.context, NO_CONTEXT)
            return CodecOutput(None, self.head(frames), cascade.codes, cascade.losses)
        return CodecOutput(self.head(frames), None, cascade.codes, cascade.losses)

    def _frames(self, state: Tensor) -> Tensor:
        """The finest state to what the head reads, with exactly its context."""
        context = self.decoder.context_before(self.head.context).finer(self.decoder.factor)
        return refit(self.decoder(state), context.after(self.decoder.units), self.head.context)

    # --- sound to codes ---

    @overload
    def encode(
        self, sound: Sound, sample_rate: int | None = None, workers: int | None = None
    ) -> Codes: ...

    @overload
    def encode(
        self, sound: list[Sound], sample_rate: int | None = None, workers: int | None = None
    ) -> list[Codes]: ...

    def encode(
        self,
        sound: Sound | list[Sound],
        sample_rate: int | None = None,
        workers: int | None = None,
    ) -> Codes | list[Codes]:
        """Codes of a sound, or of each of a list of them.

        The codes depend on the sound alone, bit for bit, not on the list or the workers.

        Args:
            sound: a path, or float samples `[T]` or `[C, T]` within [-1, 1]; or a list of those.
                Channels are mixed down.
            sample_rate: of samples that are not at the codec's; they are resampled.
            workers: windows encoded at once, a thread each; by default one a core.

        Raises:
            UserError: a file cannot be read, or samples are empty or not finite.
        """
        if isinstance(sound, list):
            return list(self._encode_all(sound, sample_rate, workers))
        return next(self._encode_all([sound], sample_rate, workers))

    def _encode_all(
        self, sounds: list[Sound], sample_rate: int | None, workers: int | None
    ) -> Iterator[Codes]:
        maker = self.fingerprint
        context = self.encoder.audio_context(self.hierarchy.encode_contexts())
        lengths = ladder(self.hops[0] / self.sample_rate)

        def jobs() -> Iterator[AudioWindow | int]:
            for sound in sounds:
                blocks = _Counted(self._blocks(sound, sample_rate))
                yield from cut(blocks, self.hops[0], context, lengths)
                yield blocks.num_samples

        def work(job: AudioWindow | int) -> list[Tensor] | int:
            return job if isinstance(job, int) else self._encode_window(job)

        collected = Collected()
        for result in run_ordered(work, jobs(), self._workers(workers)):
            if not isinstance(result, int):
                collected.add(result)
                continue
            frames = [frames_for(result, hop) for hop in self.hops]
            levels, collected = collected.take(frames), Collected()
            yield Codes(levels, result, self.sample_rate, self.hops, maker)

    def _blocks(self, sound: Sound, sample_rate: int | None) -> Iterable[Tensor]:
        if isinstance(sound, str | Path):
            return_large_blocks()
            return stream_audio(sound, self.sample_rate)
        audio = torch.as_tensor(sound).cpu()
        if not audio.is_floating_point():
            raise UserError(f"samples of type {audio.dtype}: give floats within -1 to 1")
        audio = audio.float()
        if audio.ndim not in (1, 2) or audio.numel() == 0:
            raise UserError(f"samples of shape {list(audio.shape)}: give [T] or [C, T], not empty")
        if audio.ndim == 2 and audio.shape[0] > MOST_CHANNELS > audio.shape[1]:
            raise UserError(f"samples of shape {list(audio.shape)}: give [C, T], channels first")
        if not audio.isfinite().all():
            raise UserError("samples are not all finite: mend the NaN or infinite ones")
        audio = mono(audio.unsqueeze(0) if audio.ndim == 1 else audio)
        if sample_rate is not None and sample_rate != self.sample_rate:
            audio = resample(audio, sample_rate, self.sample_rate)
        return [audio[0]]

    @torch.no_grad()
    def _encode_window(self, window: AudioWindow) -> list[Tensor]:
        contexts = self.hierarchy.encode_contexts()
        features = self.encoder(window.audio.to(self.device), contexts)
        masks = []
        for context, hop in zip(contexts, self.hops, strict=True):
            ratio = self.hops[0] // hop
            frames = None if window.num_samples is None else frames_for(window.num_samples, hop)
            count = context.left + window.count * ratio + context.right
            masks.append(inside(window.first * ratio - context.left, count, frames).to(self.device))
        codes = self.hierarchy.encode(features, masks)
        return [
            refit(c[0], context, NO_CONTEXT).cpu() for c, context in zip(codes, contexts, strict=True)
        ]

    # --- codes to sound ---

    @overload
    def decode(self, codes: Codes, levels: int | None = None, workers: int | None = None) -> Tensor: ...

    @overload
    def decode(
        self, codes: list[Codes], levels: int | None = None, workers: int | None = None
    ) -> list[Tensor]: ...

    def decode(
        self, codes: Codes | list[Codes], levels: int | None = None, workers: int | None = None
    ) -> Tensor | list[Tensor]:
        """Sound of codes, or of each of a list of them: float32 `[1, codes.num_samples]`.

        Args:
            codes: of this codec; with fewer quantizers a level where the bitrate was cut.
            levels: how many to decode from, from the coarsest; by default all.
            workers: windows decoded at once, a thread each; by default one a core.

        Raises:
            UserError: the codes are another codec's, or `levels` is out of range.
        """
        if isinstance(codes, list):
            return [self.decode(one, levels, workers) for one in codes]
        return torch.cat(list(self.decode_blocks(codes, levels, workers)), dim=1)

    def decode_blocks(
        self, codes: Codes, levels: int | None = None, workers: int | None = None
    ) -> Iterator[Tensor]:
        """Like `decode`, a window at a time, `[1, T]` each, in the memory of a few windows."""
        used = self._checked(codes, levels)
        lengths = ladder(self.hops[0] / self.sample_rate)
        total = codes.levels[0].shape[1]

        def jobs() -> Iterator[tuple[int, int]]:
            first = 0
            while first < total:
                yield first, rung(lengths, total - first)
                first += rung(lengths, total - first)

        def work(job: tuple[int, int]) -> Tensor:
            audio = self._decode_window(used, codes.num_samples, *job)
            return audio[:, : codes.num_samples - job[0] * self.hops[0]]

        return run_ordered(work, jobs(), self._workers(workers))

    def _checked(self, codes: Codes, levels: int | None) -> list[Tensor]:
        count = len(self.hops)
        if codes.codec and codes.codec != self.fingerprint:
            raise UserError(
                f"these codes were made by codec {codes.codec[:12]}, this is {self.fingerprint[:12]}: "
                "decode them with the codec that made them"
            )
        if codes.sample_rate != self.sample_rate or list(codes.hops) != self.hops:
            raise UserError(
                f"codes at hops {list(codes.hops)} are not this codec's, which has {self.hops}"
            )
        if levels is not None and not 1 <= levels <= count:
            raise UserError(f"levels: {levels} is not from 1 to {count}")
        used = [level.to(torch.int64) for level in codes.levels[: levels or count]]
        for index, (level, sizes) in enumerate(zip(used, self.codebook_sizes, strict=False)):
            if not 1 <= level.shape[0] <= len(sizes):
                raise UserError(
                    f"codes: level {index} has {level.shape[0]} quantizers, not 1 to {len(sizes)}"
                )
            if level.min() < 0 or any(q.max() >= s for q, s in zip(level, sizes, strict=False)):
                raise UserError(f"codes: level {index} has a code outside of its codebook, {sizes}")
        return used

    @torch.no_grad()
    def _decode_window(self, levels: list[Tensor], num_samples: int, first: int, count: int) -> Tensor:
        wanted = self.decoder.context_before(self.head.context)
        contexts = self.hierarchy.decode_contexts(wanted)
        pieces, masks = [], []
        for index, (context, hop) in enumerate(zip(contexts, self.hops, strict=True)):
            ratio = self.hops[0] // hop
            start, frames = first * ratio - context.left, context.left + count * ratio + context.right
            masks.append(inside(start, frames, frames_for(num_samples, hop)).to(self.device))
            if index < len(levels):
                pieces.append(stretch(levels[index], start, frames).to(self.device))
        frames_in = self._frames(self.hierarchy.decode(pieces, masks, wanted))
        if not isinstance(self.head, MelSpectrogram):
            return self.head(frames_in)[0].cpu()
        start = first * (self.hops[0] // self.head.hop) - self.head.context.left
        mask = inside(start, frames_in.shape[2], frames_for(num_samples, self.head.hop)).to(self.device)
        log_mel = torch.where(mask > 0, self.head(frames_in), LOG_SILENCE)
        return self.head.griffin_lim(log_mel, start)[0].cpu()

    def _workers(self, workers: int | None) -> int:
        if workers is not None and workers < 1:
            raise UserError(f"workers {workers}: must be at least 1")
        return (workers or default_workers()) if self.device.type == "cpu" else 1


class _Counted:
    """Blocks of samples, with the number of samples that have passed."""

    def __init__(self, blocks: Iterable[Tensor]) -> None:
        self.blocks, self.num_samples = blocks, 0

    def __iter__(self) -> Iterator[Tensor]:
        for block in self.blocks:
            self.num_samples += len(block)
            yield block
