"""What a codec and its prior notice in a sound, over time: what anomaly scores are made of."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vqaudio.codec.heads import MelSpectrogram
from vqaudio.codec.inputs import Counted, sound_blocks
from vqaudio.codec.inputs import Sound as AnySound
from vqaudio.codec.layers import Context
from vqaudio.codec.model import Codec, CodecOutput
from vqaudio.codec.windows import AudioWindow, cut, one_thread
from vqaudio.codes import Codes, frames_for
from vqaudio.config import CodecConfig, PriorConfig
from vqaudio.errors import UserError
from vqaudio.features import LogMel
from vqaudio.prior.model import CodecSpec, Prior

PIECE_SECONDS = 8.0  # of a sound that go through the codec at once
QUIETEST, LOUDEST = -120, 20  # levels of samples that are told apart, in decibels
STEPS = 10  # of these levels a decibel
SILENT = -80  # level up to which nothing can be heard
POOLED = 8  # bands, where single ones would say too much of what is said

Series = NDArray[np.float32]


class Resolution(NamedTuple):
    """Of a log-mel spectrum: short windows show when, long ones at which frequency."""

    window_seconds: float
    hop_seconds: float
    bands: int


RESOLUTIONS = {
    "short": Resolution(0.008, 0.002, 16),
    "middle": Resolution(0.040, 0.010, 80),
    "long": Resolution(0.128, 0.040, 128),
}


class Models(NamedTuple):
    """Fingerprints of a codec and of a prior of its codes."""

    codec: str
    prior: str


@dataclass(frozen=True)
class Noticed:
    """What was noticed in one sound: series over time, each at a rate of its own; 70 kB a second.

    Args:
        duration_seconds: of the sound.
        series: arrays `[D, F]` by name.

            - `sound short`, `sound middle`, `sound long`: its log-mel, 8 bands every 2 ms, 8 every 10 ms
              and 128 every 40 ms.
            - `error short`, `error long`: log-mel of the resynthesis less that of the sound, 8 bands
              every 2 ms and 128 every 40 ms.
            - `quantizing L`: length of what is left of level L's features after each quantizer.
            - `bits`: of the prior, for each coarsest frame; and for the same frame when the codes are
              read backwards.
            - `samples`, `samples made`: of each piece, how many samples have which level, in steps of
              0.1 dB; of the sound, and of its resynthesis.
    """

    duration_seconds: float
    series: dict[str, Series]

    @property
    def num_frames(self) -> int:
        """Of the coarsest level."""
        return self.series["bits"].shape[1]

    @property
    def bits_per_second(self) -> float:
        """Of the prior: how unlike its training data the sound is."""
        return float(self.series["bits"][0].sum(dtype=np.float64)) / self.duration_seconds

    @property
    def silent(self) -> bool:
        """Whether no sample is above -80 dB."""
        return not self.series["samples"][(SILENT - QUIETEST) * STEPS :].any()


class Listener:
    """A codec and a prior of its codes, listening.

    A sound goes through the codec in pieces with all the context that these need, on one thread:
    what is noticed depends on the sound alone.

    Args:
        codec: without continuous levels, and with a head that makes samples.
        prior: of this codec's codes.

    Raises:
        UserError: a level has no codes, the head makes spectrograms, or the prior is of another codec.
    """

    def __init__(self, codec: Codec, prior: Prior) -> None:
        codec.check_discrete()
        if isinstance(codec.head, MelSpectrogram):
            raise UserError("codec.head.kind: mel makes no samples to compare; give another codec")
        prior.check_codec(codec.fingerprint)
        self.codec, self.prior = codec.eval(), prior.eval()
        self.models = Models(codec.fingerprint, prior.fingerprint)
        self.piece = max(1, round(PIECE_SECONDS * codec.frame_rates[0]))
        self.spectra = {name: _log_mel(codec, how) for name, how in RESOLUTIONS.items()}
        window = max(spectrum.n_fft for spectrum in self.spectra.values())
        self.around = frames_for(_reach(codec) + window, codec.hops[0])

    def __reduce__(self) -> tuple[Any, ...]:
        """As configuration and bytes: between processes, torch would put tensors in shared memory."""
        weights = [safetensors.torch.save(model.state_dict()) for model in (self.codec, self.prior)]
        return _listener, (self.codec.config, self.prior.config, self.prior.codec, *weights)

    def listen(self, sound: AnySound, sample_rate: int | None = None) -> Noticed:
        """Notice what there is in a sound.

        Args:
            sound: a path, or float samples `[T]` or `[C, T]`; channels are mixed down.
            sample_rate: of samples that are not at the codec's.

        Raises:
            UserError: see `Codec.encode`.
        """
        blocks = Counted(sound_blocks(sound, sample_rate, self.codec.sample_rate))
        found: dict[str, list[Tensor]] = defaultdict(list)
        with one_thread(), torch.no_grad():
            for window in self._windows(blocks):
                for name, part in self._notice(window).items():
                    found[name].append(part)
            series = {name: torch.cat(parts, dim=1) for name, parts in found.items()}
            levels = [series.pop(f"codes {level}") for level in range(len(self.codec.hops))]
            series["bits"] = self._bits(levels, blocks.num_samples)
        arrays = {name: one.float().numpy() for name, one in series.items()}
        return Noticed(blocks.num_samples / self.codec.sample_rate, arrays)

    def _windows(self, blocks: Iterable[Tensor]) -> Iterator[AudioWindow]:
        context = Context(self.around * self.codec.hops[0], self.around * self.codec.hops[0])
        return cut(blocks, self.codec.hops[0], context, [self.piece])

    def _notice(self, window: AudioWindow) -> dict[str, Tensor]:
        """Series `[D, F]` of a window without its context, and its codes."""
        hop, before = self.codec.hops[0], min(self.around, window.first)
        start, samples = before * hop, window.count * hop
        audio = window.audio[..., (self.around - before) * hop :]  # nothing from before the sound
        if window.num_samples is not None:  # nor from behind it
            samples = min(samples, window.num_samples - window.first * hop)
            frames = frames_for(window.num_samples, hop) - window.first
            audio = audio[..., : (before + frames) * hop]
        heard = self.codec(audio)
        kept = {}
        for name, part in (self._spectra(audio, heard.made) | self._codes(heard)).items():
            own_hop = audio.shape[2] // part.shape[2]
            kept[name] = part[0, :, start // own_hop :][:, : frames_for(samples, own_hop)]
        kept["samples"] = _counted(audio[0, 0, start : start + samples])
        kept["samples made"] = _counted(heard.made[0, 0, start : start + samples])
        return kept

    def _spectra(self, audio: Tensor, made: Tensor) -> dict[str, Tensor]:
        """Of a sound and its resynthesis `[1, 1, T]`: `[1, bands, F]`."""
        of = {name: self._mel(name, audio) for name in RESOLUTIONS}
        return {
            "sound short": _pooled(of["short"]),
            "sound middle": _pooled(of["middle"]),
            "sound long": of["long"],
            "error short": _pooled(self._mel("short", made) - of["short"]),
            "error long": self._mel("long", made) - of["long"],
        }

    def _mel(self, name: str, audio: Tensor) -> Tensor:
        spectrum = self.spectra[name]
        around = spectrum.n_fft - spectrum.hop
        return spectrum(F.pad(audio[:, 0], (around // 2, around - around // 2)))

    def _codes(self, heard: CodecOutput) -> dict[str, Tensor]:
        """Of every level `[1, D, F]`: its codes, and by how much they miss what they stand for."""
        found = {}
        for index, level in enumerate(self.codec.hierarchy.levels):
            read = heard.heard[index]
            codes = heard.codes[index][:, : level.bottleneck.default_quantizers]
            stages = range(1, codes.shape[1] + 1)
            left = [read - level.bottleneck.decode(codes[:, :stage]) for stage in stages]
            found[f"codes {index}"] = codes
            found[f"quantizing {index}"] = torch.stack([one.norm(dim=1) for one in left], dim=1)
        return found

    def _bits(self, levels: list[Tensor], num_samples: int) -> Tensor:
        """Bits of each coarsest frame `[2, F]`, of the codes as they are and read backwards."""
        hops, rate, maker = self.codec.hops, self.codec.sample_rate, self.models.codec
        forwards = self.prior.nll(Codes(levels, num_samples, rate, hops, maker)).per_frame
        whole = [len(forwards) * (hops[0] // hop) for hop in hops]  # or frames would not line up
        flipped = [
            torch.cat([level, level[:, -1:].expand(-1, frames - level.shape[1])], dim=1).flip(1)
            for level, frames in zip(levels, whole, strict=True)
        ]
        backwards = self.prior.nll(Codes(flipped, len(forwards) * hops[0], rate, hops, maker)).per_frame
        return torch.stack([forwards, backwards.flip(0)])


def _listener(
    config: CodecConfig, prior_config: PriorConfig, spec: CodecSpec, codec: bytes, prior: bytes
) -> Listener:
    models = Codec(config), Prior(prior_config, spec)
    for model, weights in zip(models, (codec, prior), strict=True):
        model.load_state_dict(safetensors.torch.load(weights))
    return Listener(*models)


def _reach(codec: Codec) -> int:
    """Samples on each side that decide what a codec makes of one."""
    encoder = codec.encoder.audio_context(codec.hierarchy.encode_contexts())
    decoder = codec.hierarchy.decode_contexts(codec.decoder.context_before(codec.head.context))
    frames = zip(decoder, codec.hops, strict=True)
    return max(encoder) + max(max(context) * hop for context, hop in frames)


def _log_mel(codec: Codec, how: Resolution) -> LogMel:
    """A spectrum with whole frames in a coarsest frame."""
    rate, whole = codec.sample_rate, codec.hops[0]
    wanted = how.hop_seconds * rate
    hop = min((d for d in range(1, whole + 1) if whole % d == 0), key=lambda d: abs(d - wanted))
    return LogMel(rate, max(round(how.window_seconds * rate), hop), hop, how.bands)


def _pooled(log_mel: Tensor) -> Tensor:
    """`[1, bands, F]` to means of neighbouring bands `[1, 8, F]`."""
    return F.adaptive_avg_pool1d(log_mel.transpose(1, 2), POOLED).transpose(1, 2)


def _counted(samples: Tensor) -> Tensor:
    """How many samples `[T]` have which level: `[levels, 1]`, those out of range at its ends."""
    decibels = 20 * samples.double().abs().clamp(min=1e-30).log10()
    steps = ((decibels - QUIETEST) * STEPS).long().clamp(0, (LOUDEST - QUIETEST) * STEPS - 1)
    return torch.bincount(steps, minlength=(LOUDEST - QUIETEST) * STEPS)[:, None]
