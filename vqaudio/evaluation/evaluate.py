"""How good is it: a codec, or a folder of sounds that somebody made of others, judged and compared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from vqaudio.cores import default_workers
from vqaudio.corpus.manifest import Sound, file_names, find_sounds
from vqaudio.corpus.pool import run_tasks
from vqaudio.corpus.resynthesis import sound_paths
from vqaudio.errors import UserError
from vqaudio.evaluation.classical import find_program
from vqaudio.evaluation.cost import measure_cost
from vqaudio.evaluation.evaluation_folder import ORIGINAL, read_per_file, write_summary
from vqaudio.evaluation.journal import Journal, claim, inputs_hash, read_codes
from vqaudio.evaluation.judge import Bench, Keep, Outcome, Task, begin, failed, judge, keep
from vqaudio.evaluation.makers import (
    CodecMaker,
    FolderMaker,
    Maker,
    codec_maker,
    program_maker,
    readable,
)
from vqaudio.evaluation.measures import agreements, find_measures, of_systems, versions
from vqaudio.evaluation.results import Cost, Definition, Figures, Result, Summary, System
from vqaudio.evaluation.summary import code_figures, failures_of, figures_of, heard_sounds, notices_of

Results = Mapping[tuple[str, str], Result]  # by the id of the sound and the name of the system

COST_SECONDS = 10.0


@dataclass(frozen=True)
class Watch:
    """Whom to tell how a run goes.

    Args:
        stage: told what comes next, and of how many steps.
        step: told that one is done.
    """

    stage: Callable[[str, int], None] = lambda name, steps: None
    step: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class _Run:
    """What is to be done."""

    sounds: Sequence[Sound]
    makers: tuple[Maker, ...]
    sample_rate: int | None
    out: Path
    partners: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def bench(self) -> Bench:
        """What worker processes need of it."""
        return Bench(self.makers, self.sample_rate, self.out)

    @property
    def codecs(self) -> bool:
        """Whether there are any."""
        return any(isinstance(maker, CodecMaker) for maker in self.makers)

    @property
    def systems(self) -> list[System]:
        """All of them, what the evaluation is about first."""
        return [system for maker in self.makers for system in maker.systems]


def evaluate_codec(
    model: str,
    sounds: Sequence[Sound],
    out: Path,
    against: Sequence[str] = (),
    workers: int | None = None,
    watch: Watch | None = None,
) -> Summary:
    """Judge a codec, every point of its rate-distortion curve, and others beside it.

    A folder that holds part of this evaluation is completed.

    Args:
        model: a shipped name or a model folder.
        sounds: to be judged on, at the codec's rate.
        out: the folder for what `evaluation_folder` describes.
        against: programs such as `opus:6`, and other models.
        workers: processes, one core each; all cores unless told.
        watch: told how it goes.

    Raises:
        UserError: there is no such model, program or setting, two systems have one name, or the
            folder holds another evaluation.
    """
    main = codec_maker(model, curve=True)
    rate = main.systems[0].sample_rate
    assert rate is not None
    watch = watch or Watch()
    makers: list[Maker] = [main]
    programs = [(text, find_program(text)) for text in against]
    for text, program in programs:
        if program is None:
            makers.append(codec_maker(text, curve=False))
        else:
            watch.stage(f"finding the delay of {program.name}", 0)
            makers.append(program_maker(program, sounds, rate))
    return _evaluate(_Run(sounds, tuple(makers), rate, out), workers, watch)


def evaluate_pairs(
    reference: Path,
    degraded: Path,
    out: Path,
    workers: int | None = None,
    watch: Watch | None = None,
) -> Summary:
    """Judge the sounds of a folder by those of the same names in another.

    Pairs are compared at the rate of the reference; the longer of two is cut to the shorter.

    Args:
        reference: folder of originals.
        degraded: folder of what became of them.
        out: see `evaluate_codec`, as for the others.
        workers: processes.
        watch: told how it goes.

    Raises:
        UserError: a folder has no sounds, no names meet, or the folder holds another evaluation.
    """
    sounds, made = find_sounds([reference]), find_sounds([degraded])
    partners = {sound.id: sound.audio for sound in made}
    ids = {sound.id for sound in sounds}
    if not ids & partners.keys():
        raise UserError(f"{degraded}: no sound has the name of one in {reference}")
    notices = [
        f"{sound.path}: no sound of this name in {reference}" for sound in made if sound.id not in ids
    ]
    name = degraded.resolve().name
    system = System(name, "folder", str(degraded))
    maker = FolderMaker({id: path for id, path in partners.items() if id in ids}, (system,))
    files = tuple(maker.partners.values())
    run = _Run(sounds, (maker,), None, out, files, tuple(notices))
    return _evaluate(run, workers, watch or Watch())


def _evaluate(run: _Run, workers: int | None, watch: Watch) -> Summary:
    measures, missing = find_measures()
    definitions = [measure.definition for measure in measures]
    _refuse_twins(run.systems)
    claim(run.out, _settings(run, definitions))
    workers = min(workers or default_workers(), len(run.sounds))
    _judge_missing(run, workers, watch)

    watch.stage("counting", 0)
    results = {(one.id, one.system): one for one in read_per_file(run.out)}
    if run.codecs:
        definitions += agreements()
    figures = [one for maker in run.makers for one in _figures(run, maker, results, definitions)]
    stems = _stems(run.sounds)
    first = [results[sound.id, run.systems[0].name] for sound in run.sounds]
    ranked_by, heard = heard_sounds(first, definitions, stems)
    ordered = [results[sound.id, system.name] for sound in run.sounds for system in run.systems]
    failures = failures_of(ordered, len(run.systems), run.sounds)
    failures += _keep_sounds(run, {one.id: one.stem for one in heard}, results, workers, watch)
    summary = Summary(
        versions=versions(),
        sample_rate=run.sample_rate,
        sounds=len(run.sounds),
        seconds=sum({one.id: one.seconds for one in ordered if not one.reason}.values()),
        failures=failures,
        notices=[*run.notices, *notices_of(ordered), *missing],
        definitions=definitions + (of_systems() if run.codecs else []),
        figures=figures,
        ranked_by=ranked_by,
        heard=heard,
    )
    write_summary(run.out, summary)
    return summary


def _settings(run: _Run, definitions: Sequence[Definition]) -> dict[str, str]:
    """What decides the figures: a folder is for one of these."""
    settings = {
        "inputs": f"{len(run.sounds)} ({inputs_hash(run.sounds, run.partners)})",
        "sample rate": f"{run.sample_rate} Hz" if run.sample_rate else "that of each reference",
    }
    for maker in run.makers:
        for system in maker.systems:
            about = [system.kind, system.fingerprint[:16], system.version]
            about += [f"delay {maker.delay} samples"] if maker.delay else []
            settings[f"system {system.name}"] = " ".join(filter(None, about))
    return settings | {f"measure {one.name}": one.computed_by for one in definitions}


def _judge_missing(run: _Run, workers: int, watch: Watch) -> None:
    """Judge what no earlier run has judged, or could not."""
    done = {(one.id, one.system) for one in read_per_file(run.out) if not one.reason}
    tasks = []
    for sound in run.sounds:
        names = [one.name for one in run.systems if (sound.id, one.name) not in done]
        if names:
            tasks.append(Task(sound, tuple(names)))
    watch.stage("evaluating", len(run.sounds))
    for _ in range(len(run.sounds) - len(tasks)):
        watch.step()
    with Journal(run.out) as journal:
        for outcomes in run_tasks(judge, tasks, workers, begin, (run.bench,), _crashed):
            for outcome in outcomes:
                journal.add(outcome)
            watch.step()


def _crashed(task: Task) -> list[Outcome]:
    return failed(task, f"{task.sound.path}: ends the process that judges it; leave it out")


def _figures(
    run: _Run, maker: Maker, results: Results, definitions: Sequence[Definition]
) -> list[Figures]:
    """What was found of the systems of a maker."""
    delay = maker.delay / run.sample_rate if run.sample_rate else 0.0
    codec = maker if isinstance(maker, CodecMaker) else None
    cost = _cost(run, codec) if codec else Cost()
    codes = read_codes(run.out, codec.systems[0].name) if codec else {}
    there = [codes[sound.id] for sound in run.sounds if sound.id in codes]
    found = []
    for system in maker.systems:
        of_system = [results[sound.id, system.name] for sound in run.sounds]
        figures = figures_of(system, of_system, definitions, delay, cost if system.whole else Cost())
        if codec:
            said = code_figures(system, there, codec.codec.all_codebook_sizes)
            figures = replace(figures, **said)
        found.append(figures)
    return found


def _cost(run: _Run, maker: CodecMaker) -> Cost:
    """What a codec costs, on the first few seconds that can be read."""
    rate = maker.codec.sample_rate
    audio = torch.zeros(0)
    for original in readable(run.sounds, rate):
        audio = torch.cat([audio, original])[: round(COST_SECONDS * rate)]
        if len(audio) == round(COST_SECONDS * rate):
            break
    return measure_cost(maker.model, audio) if len(audio) else Cost()


def _keep_sounds(
    run: _Run, stems: dict[str, str], results: Results, workers: int, watch: Watch
) -> list[str]:
    """Keep the files of some sounds; a line for each that failed."""
    tasks = []
    for sound in run.sounds:
        if sound.id in stems:
            there = [one.name for one in run.systems if not results[sound.id, one.name].reason]
            tasks.append(Keep(sound, stems[sound.id], tuple(there)))
    watch.stage("keeping sounds", len(tasks))
    failures = []
    for lines in run_tasks(keep, tasks, workers, begin, (run.bench,), _crashed_keeping):
        failures += lines
        watch.step()
    return failures


def _crashed_keeping(task: Keep) -> list[str]:
    return [f"{task.sound.path}: ends the process that keeps it; leave it out"]


def _stems(sounds: Sequence[Sound]) -> dict[str, str]:
    """What to call the files of sounds, by their ids."""
    paths = sound_paths(Path(), file_names(sounds))
    return {sound.id: path.with_suffix("").as_posix() for sound, path in zip(sounds, paths, strict=True)}


def _refuse_twins(systems: Sequence[System]) -> None:
    names = [system.name for system in systems]
    for name in names:
        if names.count(name) > 1 or name == ORIGINAL:
            raise UserError(f"{name}: the name of two systems; rename a model folder, or leave one out")
