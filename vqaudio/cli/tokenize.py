"""`vqaudio tokenize`: sounds -> token shards."""

import json
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from vqaudio.cli.output import output_folder
from vqaudio.cli.terminal import complain, note, say


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
        typer.Option(metavar="N", min=1, help="Processes, one core each.", show_default="all cores"),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="This machine, or a Ray cluster (extra `ray`).")
    ] = "local",
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first sound that fails.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Check all shards afterwards, and that some sounds give the same tokens."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as one line of JSON, and no progress.")
    ] = False,
) -> None:
    """Turn sounds into token shards (Parquet). Called again, it does what is missing."""
    from vqaudio.cli.corpus_progress import corpus_progress, notices_once
    from vqaudio.cli.models import load_codec
    from vqaudio.corpus.ledger import LEDGER_NAME
    from vqaudio.corpus.manifest import find_sounds
    from vqaudio.corpus.summary import write_summary
    from vqaudio.corpus.tokenize import tokenize as tokenize_sounds
    from vqaudio.corpus.verify import verify as verify_tokens

    sounds = find_sounds(inputs)
    with output_folder(out):
        model = load_codec(codec)
        began = time.monotonic()
        with notices_once(), corpus_progress(sounds, quiet=as_json) as watch:
            summary = tokenize_sounds(model, sounds, out, workers, strict, engine, watch)
        took = time.monotonic() - began
        report = write_summary(out, model, summary, took, {"engine": engine, "workers": workers})
    tell = note if as_json else say
    if as_json:
        print(json.dumps(report))
    there = f" ({summary.skipped} of them before)" if summary.skipped else ""
    tell(
        f"{summary.done + summary.skipped} of {summary.inputs} sounds tokenized{there} in {out}: "
        f"{report['hours'] * 3600:.1f} s of sound, {report['tokens']} codes, "
        f"{report['bits_per_second']:.0f} bit/s, "
        f"{report['run']['times_real_time']:.0f} times real time"
    )
    if verify:
        found = verify_tokens(model, sounds, out)
        tell(
            f"verified: {found.shards} shards and {found.rows} rows are as written, "
            f"{found.encoded_again} sounds encoded again give the same tokens"
        )
    if summary.failed:
        tell(f"{summary.failed} failed, for the reasons in {out / LEDGER_NAME}")
        for kind, count in summary.reasons.most_common() if summary.failed > 1 else ():
            tell(f"{count:7} {kind}")
        for reason in summary.examples:
            complain(reason)
        raise typer.Exit(3 if summary.done + summary.skipped else 2)
