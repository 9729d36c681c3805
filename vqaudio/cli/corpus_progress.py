"""How a run over a corpus goes, at the terminal: hours done of hours found, speed, failures."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread

import soundfile
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from vqaudio.cli.terminal import err
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.tokenize import Summary, Watch


class _Once(logging.Filter):
    """Lets the first notice of each kind pass, and counts the others: a corpus has many such sounds."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        self.counts[record.msg] += 1
        self.first.setdefault(record.msg, record.getMessage())
        return self.counts[record.msg] == 1


@contextmanager
def notices_once() -> Iterator[None]:
    """Say once what many sounds give a notice of, and at the end of how many more."""
    once, log = _Once(), logging.getLogger("vqaudio")
    log.addFilter(once)
    try:
        yield
    finally:
        log.removeFilter(once)
        for kind, count in once.counts.items():
            if count > 1:
                log.info("%s; and so of %d more", once.first[kind], count - 1)


@contextmanager
def corpus_progress(sounds: Sequence[Sound], quiet: bool = False) -> Iterator[Watch]:
    """Draw a bar where somebody is looking; the hours of a corpus are found out meanwhile.

    Args:
        sounds: of the corpus.
        quiet: draw nothing.
    """
    if quiet or not err.is_terminal:
        yield Watch()
        return
    description, *rest = (
        TextColumn("{task." + name + "}")
        for name in ("description", "fields[hours]", "fields[speed]", "fields[failed]")
    )
    with Progress(
        SpinnerColumn(),
        description,
        BarColumn(),
        *rest,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        speed_estimate_period=120,
    ) as bar:
        task = bar.add_task("tokenizing", total=None, hours="", speed="", failed="")
        shown = bar.tasks[0]
        stop = Event()

        def find_hours(missing: Sequence[int]) -> None:
            found = 0.0
            for number, position in enumerate(missing):
                if stop.is_set():
                    return
                found += _seconds(sounds[position])
                if number % 100 == 0:
                    bar.update(task, hours=f"{found / 3600:.2f} h found")
            bar.update(task, total=found)

        def began(missing: Sequence[int]) -> None:
            Thread(target=find_hours, args=(missing,), daemon=True).start()

        def heard(seconds: float) -> None:
            bar.update(task, advance=seconds)
            of = "" if shown.total is None else f" of {shown.total / 3600:.2f}"
            elapsed = shown.elapsed or 1.0
            bar.update(
                task,
                hours=f"{shown.completed / 3600:.2f}{of} h",
                speed=f"{shown.completed / elapsed:.0f} x real time",
            )

        def done(summary: Summary) -> None:
            if summary.failed:
                bar.update(task, failed=f"[red]{summary.failed} failed")

        try:
            yield Watch(began, heard, done)
        finally:
            stop.set()


def _seconds(sound: Sound) -> float:
    """How long a sound is, by its manifest or its file's header; 0 if that cannot be read."""
    if sound.duration_seconds is not None:
        return sound.duration_seconds
    if not os.path.isfile(sound.path):  # a pipe would keep us waiting
        return 0.0
    try:
        return max(0.0, float(soundfile.info(str(sound.path)).duration) - sound.start_seconds)
    except Exception:  # whoever reads it will say why
        return 0.0
