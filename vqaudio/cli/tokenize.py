"""`vqaudio tokenize`: sounds -> token shards."""

from pathlib import Path
from typing import Annotated

import typer

from vqaudio.cli.output import output_folder
from vqaudio.cli.terminal import leave_if_failed, progress, say


def tokenize(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            help="Sound files, folders or manifests. A sound's id is that of its manifest, or else its "
            "path below the folder given, without the suffix; where two would be alike, with it; and "
            "where that is not enough, the path as given.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the shards and their ledger.")],
    codec: Annotated[
        str, typer.Option(metavar="MODEL", help="A shipped name or a model folder.")
    ] = "speech-16k",
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Windows encoded at once; by default one a core."),
    ] = None,
) -> None:
    """Turn sounds into token shards (Parquet). Called again, it does what is missing."""
    from vqaudio.cli.models import load_codec
    from vqaudio.corpus.ledger import LEDGER_NAME
    from vqaudio.corpus.manifest import Sound, find_sounds
    from vqaudio.corpus.tokenize import tokenize as tokenize_sounds

    sounds = find_sounds(inputs)
    with output_folder(out), progress() as bar:
        model = load_codec(codec)
        task = bar.add_task("tokenizing", total=len(sounds))

        def advance(sound: Sound, reason: str) -> None:
            bar.advance(task)

        summary = tokenize_sounds(model, sounds, out, workers, advance)
    there = f" ({summary.skipped} of them before)" if summary.skipped else ""
    say(
        f"{summary.done + summary.skipped} of {len(sounds)} sounds tokenized{there} in {out}: "
        f"{summary.seconds:.1f} s of sound, {summary.codes} codes"
    )
    if summary.failed:
        say(f"{len(summary.failed)} failed, for the reasons in {out / LEDGER_NAME}")
    leave_if_failed([entry.reason for entry in summary.failed], summary.done + summary.skipped)
