"""`vqaudio tokenize`: sounds -> token shards."""

import json
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vqaudio.cli.output import output_folder
from vqaudio.cli.terminal import complain, note, say
from vqaudio.errors import UserError


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
    device: Annotated[str, typer.Option(metavar="NAME", help="Where to encode: cpu, cuda, ...")] = "cpu",
    precision: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="bfloat16 is faster on some devices.")
    ] = "float32",
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="By torch.compile. With this, bfloat16 or a device some tokens are others; the summary "
            "says how many.",
        ),
    ] = False,
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
    from vqaudio.corpus.manifest import find_sounds
    from vqaudio.corpus.processes import fitting_workers, warm_up

    sounds = find_sounds(inputs)
    if engine == "local":
        workers = workers or fitting_workers(sounds)
        if workers > 1:
            warm_up()  # before the long imports, so that both run at once
    from vqaudio.cli.corpus_progress import corpus_progress, notices_once
    from vqaudio.cli.models import on_device
    from vqaudio.codec.window_encoder import Arithmetic
    from vqaudio.corpus.flips import is_exact, share_of_flips
    from vqaudio.corpus.ledger import LEDGER_NAME
    from vqaudio.corpus.summary import write_summary
    from vqaudio.corpus.tokenize import tokenize as tokenize_sounds
    from vqaudio.corpus.verify import verify as verify_tokens
    from vqaudio.model_folder import load_codec

    with output_folder(out):
        model = on_device(load_codec(codec), device)
        arithmetic = Arithmetic(precision, compiled)
        how: dict[str, Any] = {"engine": engine, "workers": workers, "device": device}
        how |= arithmetic.settings
        if not is_exact(model, arithmetic):
            if verify:
                raise UserError("--verify: proves tokens of float32 on a CPU alone; leave it out")
            how["flipped_codes"] = share_of_flips(model, sounds, arithmetic)
        began = time.monotonic()
        with notices_once(), corpus_progress(sounds, quiet=as_json) as watch:
            summary = tokenize_sounds(model, sounds, out, workers, strict, engine, arithmetic, watch)
        took = time.monotonic() - began
        report = write_summary(out, model, summary, took, how)
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
    if "flipped_codes" in how:
        tell(f"{how['flipped_codes']:.2%} of the codes are not those of float32 on a CPU")
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
