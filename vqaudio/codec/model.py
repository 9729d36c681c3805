"""Codec: sound to Codes and back, on one page."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import torch
from torch import Tensor, nn

from vqaudio.codec.decoder import Decoder
from vqaudio.codec.encoder import Encoder, IndependentEncoders
from vqaudio.codec.heads import MelSpectrogram, build_head
from vqaudio.codec.hierarchy import Hierarchy
from vqaudio.codec.inputs import Sound, check_codes, check_levels, check_quantizers
from vqaudio.codec.layers import NO_CONTEXT, refit
from vqaudio.codec.passes import decode_levels, decode_parts, encode_sounds
from vqaudio.codec.stream import EncodeStream
from vqaudio.codes import Codes
from vqaudio.config import CodecConfig
from vqaudio.errors import UserError
from vqaudio.fingerprint import fingerprint


@dataclass
class CodecOutput:
    """What the codec gives in training.

    Args:
        made: audio `[B, 1, T]`, or log-mel `[B, bands, F]` where the head predicts a spectrogram, to
            be compared with `codec.head.target(audio)`.
        coarse: the same from the coarsest level alone, from the two coarsest, and so on, but not
            from all; empty unless asked for.
        codes: per level, coarsest first, int64 `[B, Q, F_l]`; without continuous levels, and empty
            in the warm start.
        losses: scalars by name.
        heard: per level, coarsest first, `[B, inputs, F_l]`: what its bottleneck read.
        said: per level, coarsest first, `[B, D_l, F_l]`: what `render` makes this of.
        health: scalars by name, per level, that only the log wants.
    """

    made: Tensor
    coarse: list[Tensor]
    codes: list[Tensor]
    losses: dict[str, Tensor]
    heard: list[Tensor]
    said: list[Tensor]
    health: list[dict[str, Tensor]]


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
        encoder = Encoder if config.encoders == "shared" else IndependentEncoders
        self.encoder = encoder(config.front, config.levels, config.sample_rate)
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
    def all_codebook_sizes(self) -> list[list[int]]:
        """Codes of each quantizer of each level, coarsest first; a lower bitrate leaves out the last."""
        return [list(level.bottleneck.codebook_sizes) for level in self.hierarchy.levels]

    @property
    def default_quantizers(self) -> list[int]:
        """How many quantizers of each level are used unless told, coarsest first."""
        return [level.bottleneck.default_quantizers for level in self.hierarchy.levels]

    @property
    def codebook_sizes(self) -> list[list[int]]:
        """Codes of each quantizer that is used unless told, per level, coarsest first."""
        pairs = zip(self.all_codebook_sizes, self.default_quantizers, strict=True)
        return [sizes[:count] for sizes, count in pairs]

    @property
    def frame_rates(self) -> list[float]:
        """Frames a second of each level, coarsest first."""
        return [self.sample_rate / hop for hop in self.hops]

    @property
    def bitrate(self) -> float:
        """Bits a second, of the quantizers used unless told, all codes of one written alike."""
        return self._bits_per_second(self.codebook_sizes)

    @property
    def highest_bitrate(self) -> float:
        """Bits a second, likewise, of all quantizers."""
        return self._bits_per_second(self.all_codebook_sizes)

    def _bits_per_second(self, codebook_sizes: list[list[int]]) -> float:
        bits = [sum(np.log2(size) for size in sizes) for sizes in codebook_sizes]
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
        return fingerprint(self, self.config.identity())

    # --- training ---

    def forward(
        self,
        audio: Tensor,
        quantize: bool = True,
        keep_levels: Tensor | None = None,
        coarse: bool = False,
    ) -> CodecOutput:
        """Whole sounds through the codec, as in training.

        Args:
            audio: `[B, 1, T]`, `T` a multiple of the coarsest hop.
            quantize: False passes features on unquantized, for the warm start.
            keep_levels: int `[B]`, how many levels, from the coarsest, each sound is decoded from.
            coarse: decode from the coarse levels alone too.
        """
        if audio.shape[2] % self.hops[0]:
            raise ValueError(
                f"{audio.shape[2]} samples are no multiple of the coarsest hop {self.hops[0]}"
            )
        none = [NO_CONTEXT] * len(self.hops)
        padded = refit(audio, NO_CONTEXT, self.encoder.audio_context(none))
        wanted = self.decoder.context_before(self.head.context)
        cascade = self.hierarchy(self.encoder(padded, none), wanted, quantize, keep_levels)
        counts = range(1, len(self.hops)) if coarse else ()
        return CodecOutput(
            made=self._finish(cascade.state),
            coarse=[
                self.render(cascade.said, torch.full(audio.shape[:1], count, device=audio.device))
                for count in counts
            ],
            codes=cascade.codes,
            losses=cascade.losses,
            heard=cascade.heard,
            said=cascade.said,
            health=cascade.health,
        )

    def keep_codes(self) -> None:
        """From here on, training changes only what makes sound of codes: codes stay bit for bit."""
        self.encoder.requires_grad_(False)
        self.hierarchy.settle()

    def render(self, said: list[Tensor], keep_levels: Tensor | None = None) -> Tensor:
        """What the bottlenecks passed on to sound or spectrogram, as `CodecOutput` has both.

        Args:
            said: per level, coarsest first, `[B, D_l, F_l]`.
            keep_levels: int `[B]`, how many levels, from the coarsest, each sound is decoded from.
        """
        wanted = self.decoder.context_before(self.head.context)
        return self._finish(self.hierarchy.state(said, wanted, keep_levels))

    def _finish(self, state: Tensor) -> Tensor:
        frames = self.frames(state)
        if isinstance(self.head, MelSpectrogram):
            frames = refit(frames, self.head.context, NO_CONTEXT)
        return self.head(frames)

    def frames(self, state: Tensor) -> Tensor:
        """The finest state to what the head reads, with exactly its context."""
        context = self.decoder.context_before(self.head.context).finer(self.decoder.factor)
        return refit(self.decoder(state), context.after(self.decoder.units), self.head.context)

    # --- sound to codes ---

    @overload
    def encode(
        self,
        sound: Sound,
        sample_rate: int | None = None,
        workers: int | None = None,
        quantizers: Sequence[int] | None = None,
    ) -> Codes: ...

    @overload
    def encode(
        self,
        sound: list[Sound],
        sample_rate: int | None = None,
        workers: int | None = None,
        quantizers: Sequence[int] | None = None,
    ) -> list[Codes]: ...

    def encode(
        self,
        sound: Sound | list[Sound],
        sample_rate: int | None = None,
        workers: int | None = None,
        quantizers: Sequence[int] | None = None,
    ) -> Codes | list[Codes]:
        """Codes of a sound, or of each of a list of them.

        The codes depend on the sound alone, bit for bit, not on the list or the workers.

        Args:
            sound: a path, or float samples `[T]` or `[C, T]` within [-1, 1]; or a list of those.
                Channels are mixed down.
            sample_rate: of samples that are not at the codec's; they are resampled.
            workers: windows encoded at once, a thread each; by default one a core.
            quantizers: per level, how many of its codes to make, for another bitrate; by default
                `default_quantizers`.

        Raises:
            UserError: a file cannot be read, samples are empty or not finite, a level has no codes,
                or not as many as asked for.
        """
        self.check_discrete()
        sounds = sound if isinstance(sound, list) else [sound]
        maker = self.fingerprint
        found = [
            Codes(levels, num_samples, self.sample_rate, self.hops, maker)
            for levels, num_samples in encode_sounds(self, sounds, sample_rate, workers, quantizers)
        ]
        return found if isinstance(sound, list) else found[0]

    def stream(
        self, sample_rate: int | None = None, quantizers: Sequence[int] | None = None
    ) -> EncodeStream:
        """Codes of a sound that comes in pieces, as soon as they are certain: the same as of `encode`.

            stream = codec.stream()
            for samples in microphone:
                codes = stream.push(samples)  # or None
            codes = stream.finish()

        Args:
            sample_rate: of samples that are not at the codec's; they are resampled.
            quantizers: per level, how many of its codes to make; by default `default_quantizers`.

        Raises:
            UserError: the rate or `quantizers` are out of range, or a level has no codes.
        """
        self.check_discrete()
        return EncodeStream(self, sample_rate, quantizers)

    def reconstruct(
        self,
        sound: Sound,
        sample_rate: int | None = None,
        levels: int | None = None,
        workers: int | None = None,
        quantizers: Sequence[int] | None = None,
    ) -> Tensor:
        """Sound through the codec, continuous levels and all: float32 `[1, T]` at the codec's rate.

        Args:
            sound: see `encode`, as for the others.
            sample_rate: of samples.
            levels: how many to decode from, from the coarsest; by default all.
            workers: windows at once.
            quantizers: per level, how many of its codes to use; by default `default_quantizers`.

        Raises:
            UserError: a file cannot be read, samples are empty or not finite, or `levels` or
                `quantizers` are out of range.
        """
        blocks = self.reconstruct_blocks(sound, sample_rate, levels, workers, quantizers)
        return torch.cat(list(blocks), dim=1)

    def reconstruct_blocks(
        self,
        sound: Sound,
        sample_rate: int | None = None,
        levels: int | None = None,
        workers: int | None = None,
        quantizers: Sequence[int] | None = None,
    ) -> Iterator[Tensor]:
        """Like `reconstruct`, a window at a time, `[1, T]` each."""
        used = check_levels(levels, len(self.hops))
        [(found, num_samples)] = encode_sounds(self, [sound], sample_rate, workers, quantizers)
        return decode_levels(self, found[:used], num_samples, workers)

    def check_discrete(self) -> None:
        """Refuse to go on where a level has no codes.

        Raises:
            UserError: naming the level.
        """
        for index, level in enumerate(self.config.levels):
            if not self.codebook_sizes[index]:
                raise UserError(
                    f"codec.levels.{index}.bottleneck.kind: {level.bottleneck.kind} is continuous, so "
                    "there are no codes to write or to model; train a codec of another kind"
                )

    # --- codes to sound ---

    @overload
    def decode(
        self,
        codes: Codes,
        levels: int | None = None,
        workers: int | None = None,
        quantizers: Sequence[int] | None = None,
    ) -> Tensor: ...

    @overload
    def decode(
        self,
        codes: list[Codes],
        levels: int | None = None,
        workers: int | None = None,
        quantizers: Sequence[int] | None = None,
    ) -> list[Tensor]: ...

    def decode(
        self,
        codes: Codes | list[Codes],
        levels: int | None = None,
        workers: int | None = None,
        quantizers: Sequence[int] | None = None,
    ) -> Tensor | list[Tensor]:
        """Sound of codes, or of each of a list of them: float32 `[1, codes.num_samples]`.

        Args:
            codes: of this codec; with fewer quantizers a level where the bitrate was cut.
            levels: how many to decode from, from the coarsest; by default all.
            workers: windows decoded at once, a thread each; by default one a core.
            quantizers: per level, how many of its codes to use at most; by default all that are there.

        Raises:
            UserError: the codes are another codec's, or `levels` or `quantizers` are out of range.
        """
        if isinstance(codes, list):
            return [self.decode(one, levels, workers, quantizers) for one in codes]
        return torch.cat(list(self.decode_blocks(codes, levels, workers, quantizers)), dim=1)

    def decode_blocks(
        self,
        codes: Codes,
        levels: int | None = None,
        workers: int | None = None,
        quantizers: Sequence[int] | None = None,
    ) -> Iterator[Tensor]:
        """Like `decode`, a window at a time, `[1, T]` each, in the memory of a few windows."""
        used = check_levels(levels, len(self.hops))
        kept = check_quantizers(quantizers, self.all_codebook_sizes)
        check_codes(codes, self.fingerprint, self.sample_rate, self.hops, self.all_codebook_sizes, used)
        levels_kept = [level[:n].long() for level, n in zip(codes.levels[:used], kept, strict=False)]
        return decode_levels(self, levels_kept, codes.num_samples, workers)

    def decode_stream(self, parts: Iterable[Codes], levels: int | None = None) -> Iterator[Tensor]:
        """Sound of codes that come in parts, while they come: `[1, T]` at a time.

        As `decode` of the whole, but for rounding (some 1e-6), a little behind the codes: a frame
        sounds when those that follow it within the decoder's context are known.

        Args:
            parts: of one sound, each of whole coarse frames but the last, as
                `Prior.sample(stream=True)` and `stream` give them.
            levels: how many to decode from, from the coarsest; by default all.

        Raises:
            UserError: the codes are another codec's, `levels` is out of range, or a part ends within
                a coarse frame.
        """
        maker, sizes = self.fingerprint, self.all_codebook_sizes
        used = check_levels(levels, len(self.hops))

        def checked(codes: Codes) -> Codes:
            check_codes(codes, maker, self.sample_rate, self.hops, sizes, used)
            return codes

        return decode_parts(self, map(checked, parts), used)
