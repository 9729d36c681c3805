"""`vqaudio evaluate`: how good is it, in figures."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from vqaudio.cli.output import output_folder
from vqaudio.cli.terminal import leave_if_failed, note, progress, say
from vqaudio.cli.terminal import out as console
from vqaudio.errors import UserError

if TYPE_CHECKING:
    from vqaudio.evaluation.evaluate import Watch
    from vqaudio.evaluation.results import Definition, Summary

CELL, HEAD = 24, 32  # columns of a terminal


def evaluate(
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the figures and some sounds.")
    ] = None,
    codec: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="A shipped name or a model folder.", show_default="speech-16k"
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(metavar="INPUT", help="A manifest, a folder or a sound file; may be repeated."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CODEC",
            help="Beside it on the same sounds: opus:KBIT, codec2:MODE, speex:QUALITY (programs) or "
            "another MODEL; may be repeated.",
        ),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Instead of a codec: a folder of originals.")
    ] = None,
    degraded: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --reference: what became of them.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Processes, one core each.", show_default="all cores"),
    ] = None,
    measures: Annotated[
        bool, typer.Option("--measures", help="Print what is measured here, and nothing else.")
    ] = False,
) -> None:
    """Measure how close decoded sounds come, and what codes cost. Called again, it goes on."""
    from vqaudio.evaluation.measures import agreements, find_measures, of_systems

    if measures:
        found, missing = find_measures()
        _print_definitions([*(one.definition for one in found), *agreements(), *of_systems()])
        for line in missing:
            note(line)
        return
    if out is None:
        raise UserError("--out: name a folder")
    if (reference is None) != (degraded is None):
        raise UserError("--reference and --degraded: give both")
    if reference is not None and (codec or data or against):
        raise UserError("--reference: compares two folders; leave --codec, --data and --against out")
    if reference is None and not data:
        raise UserError(
            "--data: give a manifest, a folder or sound files; or --reference and --degraded"
        )
    from vqaudio.corpus.manifest import find_sounds
    from vqaudio.evaluation.evaluate import evaluate_codec, evaluate_pairs
    from vqaudio.evaluation.evaluation_page import write_evaluation_page

    with output_folder(out), _watch() as watch:
        if reference is not None and degraded is not None:
            summary = evaluate_pairs(reference, degraded, out, workers, watch)
        else:
            sounds = find_sounds(data or [])
            summary = evaluate_codec(codec or "speech-16k", sounds, out, against or [], workers, watch)
        watch.stage("writing the page", 0)
        page = write_evaluation_page(out)
    _print_definitions(summary.definitions)
    _print_summary(summary)
    for line in summary.notices:
        note(line)
    say(f"{summary.sounds} sounds, {summary.seconds:.1f} s; open {page}")
    leave_if_failed(summary.failures, max(one.sounds for one in summary.figures))


@contextmanager
def _watch() -> Iterator["Watch"]:
    """A bar of the sounds done, as long as the run lasts."""
    from vqaudio.evaluation.evaluate import Watch

    with progress() as bar:
        task = bar.add_task("starting", total=None)

        def stage(name: str, steps: int) -> None:
            bar.reset(task, description=name, total=steps or None)

        yield Watch(stage, lambda: bar.advance(task))


def _print_summary(summary: "Summary") -> None:
    """The table of figures, with as many systems side by side as fit."""
    from vqaudio.evaluation.summary_table import summary_table

    across = max(1, (console.width - HEAD) // CELL)
    for start in range(0, len(summary.figures), across):
        found = summary_table(summary, summary.figures[start : start + across])
        shown = f"systems {start + 1} to {start + len(found.columns) - 1} of {len(summary.figures)}"
        table = Table(title=f"means, with their 95 % intervals: {shown}", title_justify="left")
        for number, column in enumerate(found.columns):
            table.add_column(column, justify="right" if number else "left")
        for row in found.rows:
            table.add_row(*map(escape, map(str, row)))
        console.print(table)
    if any("@" in one.system.name for one in summary.figures):
        say("NAME@2+1: the first two quantizers of level 0 and the first of level 1 alone")


def _print_definitions(definitions: "Sequence[Definition]") -> None:
    from vqaudio.evaluation.summary_table import definition_lines

    for line in definition_lines(definitions):
        say(line)
