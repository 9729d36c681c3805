"""`vqaudio score` and `vqaudio score fit`: how unlike other sounds a sound is."""

from pathlib import Path
from typing import Annotated, Any

import click
import typer
from typer.core import TyperGroup

from vqaudio.cli.output import output_folder
from vqaudio.cli.terminal import complain, leave_if_failed, progress, say
from vqaudio.errors import UserError

SHOWN = 20  # rows of the table


class _FilesUnlessFit(TyperGroup):
    """Scores files, unless the first word is the name of another command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args[:1] != ["fit"]:
            args = ["files", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_FilesUnlessFit, help="Say how unlike the training data, or normal data, sounds are.")

Inputs = Annotated[
    list[Path],
    typer.Argument(
        metavar="INPUT",
        help="Sound files, folders or manifests. A file named fit is written ./fit.",
        show_default=False,
    ),
]
PriorName = Annotated[str, typer.Option(metavar="MODEL", help="A shipped name or a model folder.")]
CodecName = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL", help="The codec of the prior.", show_default="the shipped one"
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Processes, one core each.", show_default="all cores"),
]


@app.command("files")
def score(
    inputs: Inputs,
    prior: PriorName = "speech-16k-prior",
    codec: CodecName = None,
    detector: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of `vqaudio score fit`: what is normal.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder for scores, curves over time and pictures.", show_default=False
        ),
    ] = None,
    workers: Workers = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each sound.")] = False,
) -> None:
    """Say how unlike the training data sounds are, or with --detector how unlike normal ones.

    Without a detector it is the prior's bits per second: more is more unusual. With one it is the
    negative log10 of the share of normal sounds that would be as unusual: at 2, one in a hundred.
    `vqaudio score fit` makes detectors.
    """
    from vqaudio.applications.anomaly import Detector
    from vqaudio.applications.anomaly_report import judge, table, write_report
    from vqaudio.cli.terminal import out as console

    listener, sounds = _listener(prior, codec), _sounds(inputs)
    normal = None if detector is None else Detector.load(detector, listener.models)
    verdicts, failures = [], []
    with output_folder(out) if out else nullcontext():
        for sound, noticed in _listen(listener, sounds, workers, quiet=as_json):
            if isinstance(noticed, UserError):
                failures.append(str(noticed))
                continue
            verdicts.append(judge(sound, noticed, normal))
            if as_json:
                print(verdicts[-1].line())
        if out:
            write_report(out, verdicts, listener)
    if verdicts and not as_json:
        console.print(table(verdicts))
    leave_if_failed(failures, len(verdicts))


@app.command("fit")
def fit(
    inputs: Inputs,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The detector, a .safetensors file.")],
    prior: PriorName = "speech-16k-prior",
    codec: CodecName = None,
    workers: Workers = None,
) -> None:
    """Learn what is normal from sounds of which all, or nearly all, are."""
    from vqaudio.applications.anomaly import Detector

    listener, sounds = _listener(prior, codec), _sounds(inputs)
    failures, heard = [], {}
    with output_folder(out.parent):
        for sound, noticed in _listen(listener, sounds, workers):
            if isinstance(noticed, UserError):
                failures.append(str(noticed))
            else:
                heard[sound.id] = noticed
        if heard or not failures:
            Detector.fit(heard, listener.models).save(out)
            say(f"{out}: what is normal in {len(heard)} of {len(sounds)} sounds")
    leave_if_failed(failures, len(heard))
