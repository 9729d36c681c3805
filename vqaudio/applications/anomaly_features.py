"""What a codec and its prior notice in a sound, over time: what anomaly scores are made of."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from vqaudio.codec.heads import MelSpectrogram
from vqaudio.codec.inputs import Counted
from vqaudio.codec.inputs import Sound as Samples
from vqaudio.codec.inputs import sound_blocks
from vqaudio.codec.layers import Context
from vqaudio.codec.model import Codec
from vqaudio.codec.windows import AudioWindow, cut, one_thread
from vqaudio.codes import Codes, frames_for
from vqaudio.config import CodecConfig, PriorConfig
from vqaudio.features import LogMel
from vqaudio.prior.model import CodecSpec, Prior

PIECE_SECONDS = 8.0  # of a sound that go through the codec at once
BANDS, HOP_SECONDS = 80, 0.01


@dataclass(frozen=True)
class Noticed:
    """What was noticed in one sound: series over time, each at a rate of its own.

    Args:
        duration_seconds: of the sound.
        series: float32 `[D, F]` by name. `reconstruction`: log-mel of the resynthesis less that of
            the sound, 80 bands about every 10 ms; `level L`: what level L quantizes; `quantizing L`:
            length of what is left of that after each of its quantizers; `bits`: of the prior, for
            each coarsest frame of the codes, and for the same frame when they are read backwards.
    """

    duration_seconds: float
    series: dict[str, Tensor]

    @property
    def bits_per_second(self) -> float:
        """Of the prior: how unlike its training data the sound is."""
        return self.series["bits"][0].double().sum().item() / self.duration_seconds


class Listener:
    """A codec and a prior of its codes, listening.

    A sound goes through the codec in pieces with all the context that these need, on one thread:
    what is noticed depends on the sound alone.

    Args:
        codec: without continuous levels.
        prior: of this codec's codes.

    Raises:
        UserError: a level has no codes, or the prior is of another codec.
    """

    def __init__(self, codec: Codec, prior: Prior) -> None:
        codec.check_discrete()
        self.codec, self.prior = codec.eval(), prior.eval()
        finest = codec.hops[-1]
        least = min(finest, round(HOP_SECONDS * codec.sample_rate))
        self.mel_hop = next(hop for hop in range(least, finest + 1) if finest % hop == 0)
        self.log_mel = LogMel(codec.sample_rate, 4 * self.mel_hop, self.mel_hop, BANDS)
        self.piece = max(1, round(PIECE_SECONDS * codec.sample_rate / codec.hops[0]))
        self.around = _context_frames(codec)

    def __reduce__(self) -> tuple[Any, ...]:
        """As configuration and bytes: between processes, torch would put tensors in shared memory."""
        weights = [safetensors.torch.save(model.state_dict()) for model in (self.codec, self.prior)]
        return _listener, (self.codec.config, self.prior.config, self.prior.codec, *weights)

    def listen(self, sound: Samples, sample_rate: int | None = None) -> Noticed:
        """Notice what there is in a sound.

        Args:
            sound: a path, or float samples `[T]` or `[C, T]`; channels are mixed down.
            sample_rate: of samples that are not at the codec's.

        Raises:
            UserError: see `Codec.encode`.
        """
        codec = self.codec
        blocks = Counted(sound_blocks(sound, sample_rate, codec.sample_rate))
        found: dict[str, list[Tensor]] = defaultdict(list)
        with one_thread(), torch.no_grad():
            for window in self._windows(blocks):
                for name, part in self._notice(window).items():
                    found[name].append(part)
            series = {name: torch.cat(parts, dim=1) for name, parts in found.items()}
            levels = [series.pop(f"codes {level}") for level in range(len(codec.hops))]
            series["bits"] = self._bits(levels, blocks.num_samples)
        return Noticed(blocks.num_samples / codec.sample_rate, series)

    def _windows(self, blocks: Iterable[Tensor]) -> Iterator[AudioWindow]:
        context = Context(self.around * self.codec.hops[0], self.around * self.codec.hops[0])
        return cut(blocks, self.codec.hops[0], context, [self.piece])

    def _notice(self, window: AudioWindow) -> dict[str, Tensor]:
        """Series `[D, F]` of a window, without those of its context, and its codes."""
        hop, first = self.codec.hops[0], min(self.around, window.first)
        audio = window.audio[..., (self.around - first) * hop :]
        count = window.count
        if window.num_samples is not None:  # frames beyond the end are no part of the sound
            frames = frames_for(window.num_samples, hop) - window.first
            audio, count = audio[..., : (first + frames) * hop], min(count, frames)
        total = audio.shape[2] // hop
        return {
            name: part[0, :, first * part.shape[2] // total :][:, : count * part.shape[2] // total]
            for name, part in self._series(audio).items()
        }

    def _series(self, audio: Tensor) -> dict[str, Tensor]:
        """Series `[1, D, F]` of a stretch of sound `[1, 1, T]`, and its codes."""
        heard = self.codec(audio)
        if isinstance(self.codec.head, MelSpectrogram):
            found = {"reconstruction": heard.made - self.codec.head.target(audio)}
        else:
            found = {"reconstruction": self._mel(heard.made) - self._mel(audio)}
        for index, level in enumerate(self.codec.hierarchy.levels):
            read, codes = heard.heard[index], heard.codes[index]
            stages = range(1, codes.shape[1] + 1)
            left = [read - level.bottleneck.decode(codes[:, :stage]) for stage in stages]
            found[f"codes {index}"] = codes
            found[f"level {index}"] = read
            found[f"quantizing {index}"] = torch.stack([one.norm(dim=1) for one in left], dim=1)
        return found

    def _mel(self, audio: Tensor) -> Tensor:
        side = self.log_mel.n_fft - self.mel_hop
        return self.log_mel(F.pad(audio[:, 0], (side // 2, side - side // 2)))

    def _bits(self, levels: list[Tensor], num_samples: int) -> Tensor:
        """Bits of each coarsest frame `[2, F]`, of the codes as they are and read backwards."""
        hops, maker = self.codec.hops, self.codec.fingerprint
        rate, whole = self.codec.sample_rate, frames_for(num_samples, hops[0]) * hops[0]
        there = [level[:, : frames_for(num_samples, hop)] for level, hop in zip(levels, hops, strict=True)]
        forwards = Codes(there, num_samples, rate, hops, maker)
        backwards = Codes([level.flip(1) for level in levels], whole, rate, hops, maker)
        bits = [self.prior.nll(codes).per_frame for codes in (forwards, backwards)]
        return torch.stack([bits[0], bits[1].flip(0)])


def _listener(
    config: CodecConfig, prior_config: PriorConfig, spec: CodecSpec, codec: bytes, prior: bytes
) -> Listener:
    models = Codec(config), Prior(prior_config, spec)
    for model, weights in zip(models, (codec, prior), strict=True):
        model.load_state_dict(safetensors.torch.load(weights))
    return Listener(*models)


def _context_frames(codec: Codec) -> int:
    """Coarsest frames on each side that decide what a codec makes of one."""
    encoder = codec.encoder.audio_context(codec.hierarchy.encode_contexts())
    wanted = codec.decoder.context_before(codec.head.context)
    decoder = codec.hierarchy.decode_contexts(wanted)
    samples = max(encoder) + max(
        max(context) * hop for context, hop in zip(decoder, codec.hops, strict=True)
    )
    return frames_for(samples, codec.hops[0])
