"""`vqaudio score` and `vqaudio score fit`: how unlike other sounds a sound is."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from math import log10
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from vqaudio.cli.output import output_folder
from vqaudio.cli.terminal import leave_if_failed, progress, say
from vqaudio.cli.terminal import out as console
from vqaudio.errors import UserError

if TYPE_CHECKING:
    from vqaudio.applications.anomaly_features import Listener, Noticed
    from vqaudio.applications.anomaly_report import Verdict
    from vqaudio.corpus.manifest import Sound

SHOWN = 20  # rows of the table
SCORE = "score"
SUFFIX = ".safetensors"


class _ScoreUnlessFit(TyperGroup):
    """Is the command `SCORE`, unless the first word is the name of another."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **more: Any) -> Any:
        if args[:1] == ["fit"]:
            return super().make_context(info_name, args, *rest, **more)
        return self.commands[SCORE].make_context(info_name, args, *rest, **more)


app = typer.Typer(
    cls=_ScoreUnlessFit, help="Say how unlike the training data, or normal data, sounds are."
)

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
    typer.Option(metavar="MODEL", help="The codec of the prior.", show_default="the shipped one"),
]
Workers = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Processes, one core each.", show_default="all cores"),
]


@app.command(SCORE)
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
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each sound.")
    ] = False,
) -> None:
    """Say how unlike the training data sounds are, or with --detector how unlike normal ones.

    Without a detector it is the prior's bits per second: more is more unusual. With one it is the
    negative log10 of the share of normal sounds that would be as unusual: at 2, one in a hundred.
    `vqaudio score fit` makes detectors.
    """
    from vqaudio.applications.anomaly import Detector
    from vqaudio.applications.anomaly_report import judge, write_report

    listener = _listener(prior, codec)
    normal = None if detector is None else Detector.load(detector, listener.models)
    verdicts, failures = [], []
    with output_folder(out) if out else nullcontext():
        for sound, noticed in _listen(listener, inputs, workers, as_json):
            if isinstance(noticed, UserError):
                failures.append(str(noticed))
                continue
            verdicts.append(judge(sound, noticed, normal))
            if as_json:
                print(verdicts[-1].line())
        if out and verdicts:
            write_report(out, verdicts, listener)
    if verdicts and not as_json:
        console.print(_table(verdicts))
        if len(verdicts) > SHOWN:
            say(f"the {SHOWN} most unusual of {len(verdicts)}")
        if normal:
            counted = log10(normal.num_sounds)
            say(
                f"surprise is counted from {normal.num_sounds} normal sounds: "
                f"above {counted:.1f}, rarer than one of them, it is extrapolated"
            )
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

    if out.is_dir():
        raise UserError(f"{out}: a folder; name a file for the detector with --out")
    if out.suffix != SUFFIX:
        raise UserError(f"{out}: give it a name that ends in {SUFFIX}")
    listener = _listener(prior, codec)
    failures, heard = [], {}
    with output_folder(out.parent):
        for sound, noticed in _listen(listener, inputs, workers):
            if isinstance(noticed, UserError):
                failures.append(str(noticed))
            elif noticed.silent:
                failures.append(
                    f"{sound.path}: silence, which says nothing of what is normal; leave it out"
                )
            else:
                heard[sound.id] = noticed
        if heard:
            Detector.fit(heard, listener.models).save(out)
            say(f"{out}: what is normal in {len(heard)} of {len(heard) + len(failures)} sounds")
    leave_if_failed(failures, len(heard))


def _listener(prior: str, codec: str | None) -> "Listener":
    from vqaudio.applications.anomaly_features import Listener
    from vqaudio.cli.models import codec_of
    from vqaudio.model_folder import load_prior

    model = load_prior(prior)
    return Listener(codec_of(model.codec.fingerprint, codec, prior), model)


def _listen(
    listener: "Listener", inputs: Sequence[Path], workers: int | None, quiet: bool = False
) -> "Iterator[tuple[Sound, Noticed | UserError]]":
    """Listen to all sounds, with a bar where somebody is looking."""
    from vqaudio.applications.anomaly_run import listen_to
    from vqaudio.cli.corpus_progress import notices_once
    from vqaudio.corpus.manifest import find_sounds
    from vqaudio.corpus.processes import fitting_workers

    sounds = find_sounds(inputs)
    with notices_once(), progress() as bar:
        task = bar.add_task("listening", total=len(sounds), visible=not quiet)
        for found in listen_to(listener, sounds, workers or fitting_workers(sounds)):
            yield found
            bar.advance(task)


def _table(verdicts: "Sequence[Verdict]") -> Table:
    """The most unusual sounds, the most unusual first."""
    ranked = sorted(verdicts, key=lambda verdict: -verdict.score)[:SHOWN]
    views = bool(ranked[0].views)
    table = Table()
    table.add_column("sound", overflow="fold")
    for name in ("seconds", "surprise" if views else "bits/s", *["loudest view"] * views):
        table.add_column(name, justify="right", no_wrap=True)
    for verdict in ranked:
        cells = [f"{verdict.duration_seconds:.1f}", f"{verdict.score:.1f}"]
        if views:
            view, value = verdict.loudest_view
            cells.append(f"{view} {value:.1f}")
        table.add_row(Text(verdict.sound.id), *cells)
    return table
