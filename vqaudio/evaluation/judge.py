"""One sound through all systems and measures: what a worker process does."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vqaudio.audio import write_audio
from vqaudio.codes import Codes
from vqaudio.corpus.manifest import Sound
from vqaudio.errors import UserError, printable
from vqaudio.evaluation.evaluation_folder import ORIGINAL, SOUNDS
from vqaudio.evaluation.makers import Maker, read_original
from vqaudio.evaluation.measures import Measure, find_measures
from vqaudio.evaluation.results import Result

SOUND_FORMAT = ".flac"


@dataclass(frozen=True)
class Bench:
    """All that sounds are judged by.

    Args:
        makers: of the systems.
        sample_rate: at which sounds are compared, in Hz; None leaves each original at its own.
        out: the evaluation folder.
    """

    makers: tuple[Maker, ...]
    sample_rate: int | None
    out: Path


@dataclass(frozen=True)
class Task:
    """A sound, and the names of the systems that it is still to be judged for."""

    sound: Sound
    systems: tuple[str, ...]


@dataclass(frozen=True)
class Keep:
    """A sound whose files are to be kept under `stem`, of the systems named."""

    sound: Sound
    stem: str
    systems: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What a system made of a sound, with the codes of a whole codec."""

    result: Result
    codes: Codes | None = None


_bench: Bench
_measures: Sequence[Measure]


def begin(bench: Bench) -> None:
    """Make this process ready for `judge` and `keep`."""
    global _bench, _measures
    _bench, _measures = bench, find_measures()[0]


def judge(task: Task) -> list[Outcome]:
    """Judge what systems make of a sound; none stops another."""
    try:
        audio, rate = read_original(task.sound, _bench.sample_rate)
    except UserError as error:
        return failed(task, str(error))
    outcomes = []
    for maker in _bench.makers:
        missing = {system.name: system for system in maker.systems if system.name in task.systems}
        try:
            for made in maker.make(task.sound, audio, rate, missing) if missing else ():
                notes = list(made.notes)
                measures = measure(audio, made.audio, rate, missing[made.system].whole, notes)
                seconds = len(audio) / rate
                result = Result(
                    task.sound.id,
                    made.system,
                    seconds,
                    made.payload_bits,
                    measures | dict(made.agreements),
                    notes,
                )
                outcomes.append(Outcome(result, made.codes))
                del missing[made.system]
        except Exception as error:
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            outcomes += failed(Task(task.sound, tuple(missing)), reason)
    return outcomes


def measure(
    reference: Tensor, degraded: Tensor, rate: int, whole: bool, notes: list[str]
) -> dict[str, float | None]:
    """All measures of a sound against another; sounds of unlike length are cut to the shorter.

    Args:
        reference: float `[T]`.
        degraded: float `[T]`.
        rate: of both, in Hz.
        whole: take the costly measures too.
        notes: is told what was cut, and of measures that failed.
    """
    length = min(len(reference), len(degraded))
    if len(reference) != len(degraded):
        notes.append(f"cut to {length} samples, from {len(reference)} and {len(degraded)}")
    values: dict[str, float | None] = {}
    for one in _measures:
        if one.costly and not whole:
            continue
        try:
            value = one.compute(reference[:length], degraded[:length], rate)
            values[one.name] = value if value is not None and math.isfinite(value) else None
        except Exception as error:  # a defect of one measure leaves the others standing
            values[one.name] = None
            notes.append(printable(f"{one.name}: {type(error).__name__}: {error}"))
    return values


def failed(task: Task, reason: str) -> list[Outcome]:
    """What there is to say of a sound that could not be judged."""
    said = printable(reason)
    return [Outcome(Result(task.sound.id, name, reason=said)) for name in task.systems]


def keep(task: Keep) -> list[str]:
    """Write an original and what systems make of it, where that is not there yet.

    Returns:
        A line for each system that failed.
    """
    folder = _bench.out / SOUNDS
    missing = [name for name in task.systems if not _file(folder, name, task.stem).exists()]
    failures = []
    try:
        audio, rate = read_original(task.sound, _bench.sample_rate)
    except UserError as error:
        return [str(error)]
    if not _file(folder, ORIGINAL, task.stem).exists():
        write_audio(_file(folder, ORIGINAL, task.stem), audio[None], rate)
    for maker in _bench.makers:
        wanted = [system.name for system in maker.systems if system.name in missing]
        try:
            for made in maker.make(task.sound, audio, rate, wanted) if wanted else ():
                write_audio(_file(folder, made.system, task.stem), made.audio[None], rate)
        except UserError as error:
            failures.append(str(error))
    return failures


def _file(folder: Path, system: str, stem: str) -> Path:
    return folder / system / f"{stem}{SOUND_FORMAT}"
