"""What is judged: codecs, points of their curves, classical programs and folders of sounds."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from vqaudio.audio import mix, read_audio, resample
from vqaudio.codec.model import Codec
from vqaudio.codes import Codes
from vqaudio.corpus.manifest import Sound
from vqaudio.errors import UserError
from vqaudio.evaluation.classical import Program
from vqaudio.evaluation.code_use import agreement
from vqaudio.evaluation.delays import codec_delay
from vqaudio.evaluation.pairs import without_delay
from vqaudio.evaluation.results import System
from vqaudio.model_folder import load_codec, split_point

QUIETER = 10 ** (-6 / 20)
DELAY_SOUNDS = 5  # by which the delay of a program is found
MOST_POINTS = 8  # of a curve; of codecs with more codebooks only whole levels are points


@dataclass(frozen=True)
class Made:
    """What a system made of a sound.

    Args:
        system: its name.
        audio: float `[T]` at the rate of the original.
        payload_bits: that a program wrote.
        codes: of a whole codec.
        agreements: by name, see `measures.agreements`.
        notes: what was done to compare it.
    """

    system: str
    audio: Tensor
    payload_bits: int | None = None
    codes: Codes | None = None
    agreements: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class CodecMaker:
    """A codec and the points of its rate-distortion curve.

    A point uses the codes of the coarsest levels only, and of the last of these the first few
    quantizers; the whole codec is the one that it is unless told.

    Args:
        model: a shipped name or a model folder.
        systems: the whole first.
    """

    model: str
    systems: tuple[System, ...]
    delay: int = 0

    @property
    def codec(self) -> Codec:
        """It itself, loaded once a process."""
        return _codec(self.model)

    def make(self, sound: Sound, audio: Tensor, rate: int, wanted: Collection[str]) -> Iterator[Made]:
        """Encode and decode a sound.

        Args:
            sound: not looked at.
            audio: of it, float `[T]`.
            rate: in Hz.
            wanted: names of systems.

        Raises:
            UserError: see `Codec.encode`.
        """
        codec = self.codec
        if not all(codec.codebook_sizes):
            for system in self._wanted(wanted):
                levels = len(system.quantizers)
                made = codec.reconstruct(audio, rate, levels=levels, workers=1)
                yield Made(system.name, _back(made, codec, audio, rate))
            return
        full = [len(sizes) for sizes in codec.all_codebook_sizes]
        codes = codec.encode(audio, rate, workers=1, quantizers=full)
        for system in self._wanted(wanted):
            levels = len(system.quantizers)
            kept = [*system.quantizers, *full[levels:]]
            # fewer of the last level's are the first of all; of another's, finer codes would be others
            shared = kept[: levels - 1] == full[: levels - 1]
            own = codes if shared else codec.encode(audio, rate, workers=1, quantizers=kept)
            made = codec.decode(own, levels=levels, workers=1, quantizers=kept)
            yield Made(
                system.name,
                _back(made, codec, audio, rate),
                codes=codes if system.whole else None,
                agreements=_agreements(codec, audio, rate, own, made) if system.whole else {},
            )

    def _wanted(self, wanted: Collection[str]) -> list[System]:
        return [system for system in self.systems if system.name in wanted]


@dataclass(frozen=True)
class ProgramMaker:
    """A classical codec, its constant delay taken out.

    Args:
        program: that is run.
        systems: the one that it is.
        delay: in samples at the rate of the sounds.
    """

    program: Program
    systems: tuple[System]
    delay: int = 0

    def make(self, sound: Sound, audio: Tensor, rate: int, wanted: Collection[str]) -> Iterator[Made]:
        """Encode and decode a sound; see `CodecMaker.make`."""
        coded = self.program.code(audio, rate)
        made = without_delay(coded.audio, self.delay, len(audio))
        yield Made(self.systems[0].name, made, payload_bits=coded.payload_bits)


@dataclass(frozen=True)
class FolderMaker:
    """A folder of sounds that somebody else made.

    Args:
        partners: sound files by the ids of their originals.
        systems: the one that it is.
    """

    partners: dict[str, str]
    systems: tuple[System]
    delay: int = 0

    def make(self, sound: Sound, audio: Tensor, rate: int, wanted: Collection[str]) -> Iterator[Made]:
        """Read the partner of a sound; see `CodecMaker.make`. It may have another length."""
        if sound.id not in self.partners:
            raise UserError(f"{sound.path}: no sound of this name in {self.systems[0].model}")
        made, own_rate = read_audio(self.partners[sound.id])
        notes = [] if own_rate == rate else [f"resampled from {own_rate} to {rate} Hz"]
        if made.shape[0] > 1:
            notes.append(f"{made.shape[0]} channels mixed down")
        yield Made(self.systems[0].name, resample(mix(made), own_rate, rate)[0], notes=notes)


Maker = CodecMaker | ProgramMaker | FolderMaker


def codec_maker(model: str, curve: bool) -> CodecMaker:
    """A codec to be judged, with the points of its curve if these are wanted.

    Raises:
        UserError: there is no such model, it is damaged, or it is a prior.
    """
    codec = _codec(model)
    folder, told = split_point(model)
    name = Path(folder).resolve().name if Path(folder).is_dir() else folder
    usual = tuple(count or 1 for count in codec.default_quantizers)
    points = [usual]
    if curve:
        points = _points(tuple(len(sizes) or 1 for sizes in codec.all_codebook_sizes), usual)
    systems = [
        System(
            name if point == usual and not told else f"{name}@{'+'.join(map(str, point))}",
            "codec",
            name,
            whole=point == usual,
            quantizers=point,
            fingerprint=codec.fingerprint,
            sample_rate=codec.sample_rate,
        )
        for point in points
    ]
    return CodecMaker(model, tuple(systems))


def program_maker(program: Program, sounds: Sequence[Sound], sample_rate: int) -> ProgramMaker:
    """A program to be judged, with its delay, which is found on the first few sounds.

    Raises:
        UserError: the program failed, or pystoi is not installed.
    """
    originals = list(islice(readable(sounds, sample_rate), DELAY_SOUNDS))
    made = [program.code(audio, sample_rate).audio for audio in originals]
    system = System(program.name, "program", program.name, version=program.version)
    delay = codec_delay(originals, made, sample_rate) if made else 0
    return ProgramMaker(program, (system,), delay)


def readable(sounds: Sequence[Sound], sample_rate: int) -> Iterator[Tensor]:
    """Those sounds that can be read, float32 `[T]` each."""
    for sound in sounds:
        with suppress(UserError):
            yield read_original(sound, sample_rate)[0]


def read_original(sound: Sound, sample_rate: int | None) -> tuple[Tensor, int]:
    """A sound, mixed down: float32 `[T]`, and its rate in Hz.

    Args:
        sound: of a corpus.
        sample_rate: to be brought to; None keeps the file's.

    Raises:
        UserError: see `read_audio`.
    """
    audio, rate = read_audio(
        sound.path, start_seconds=sound.start_seconds, duration_seconds=sound.duration_seconds
    )
    return resample(mix(audio), rate, sample_rate or rate)[0], sample_rate or rate


_codec = lru_cache(maxsize=8)(load_codec)


def _points(counts: tuple[int, ...], usual: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Quantizers of each level used: the usual, all, and one codebook fewer from point to point."""
    fewer = [usual[:levels] for levels in range(len(usual), 0, -1)]
    if sum(usual) <= MOST_POINTS:
        fewer = [(*end[:-1], count) for end in fewer for count in range(end[-1], 0, -1)]
    return list(dict.fromkeys([usual, counts, *fewer]))


def _back(made: Tensor, codec: Codec, audio: Tensor, rate: int) -> Tensor:
    """What a codec made, at the rate and of the length of the original."""
    return without_delay(resample(made, codec.sample_rate, rate)[0], 0, len(audio))


def _agreements(codec: Codec, audio: Tensor, rate: int, codes: Codes, made: Tensor) -> dict[str, float]:
    """Whether the codes made unless told stay the same, see `measures.agreements`."""
    usual = zip(codes.levels, codec.default_quantizers, strict=True)
    codes = replace(codes, levels=[level[:count] for level, count in usual])
    shifted = torch.nn.functional.pad(audio, (1, 0))[:-1]
    again = {
        "reencoded": codec.encode(made, workers=1),
        "shifted": codec.encode(shifted, rate, workers=1) if len(shifted) else codes,
        "quieter": codec.encode(QUIETER * audio, rate, workers=1),
    }
    return {name: agreement(codes, other) for name, other in again.items()}
