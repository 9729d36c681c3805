"""`vqaudio demo`: what a codec and a prior do to a sound, on one page."""

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.table import Table

from vqaudio.cli.output import output_folder, refuse_tokens
from vqaudio.cli.terminal import out as console
from vqaudio.cli.terminal import progress, say


def demo(
    audio: Annotated[
        Path | None,
        typer.Argument(metavar="AUDIO", help="A sound file.", show_default="a sentence that ships"),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the page, sounds, pictures and tokens.")
    ] = Path("demo"),
    codec: Annotated[
        str, typer.Option(metavar="MODEL", help="A shipped name or a model folder.")
    ] = "speech-16k",
    prior: Annotated[
        str, typer.Option(metavar="MODEL", help="A shipped name or a model folder.")
    ] = "speech-16k-prior",
) -> None:
    """See and hear the codec and the prior at work on one sound."""
    with progress() as bar, output_folder(out):
        task = bar.add_task("loading")
        from vqaudio.evaluation.demo import PAGE, SENTENCE, STEPS, run_demo
        from vqaudio.model_folder import load_codec, load_prior

        bar.update(task, total=len(STEPS) + 1)
        refuse_tokens(out, replaceable=(out / PAGE).exists())
        models = load_codec(codec), load_prior(prior)

        def on_step(name: str) -> None:
            bar.update(task, description=name, advance=1)

        found = run_demo(*models, audio or SENTENCE, out, on_step, (codec, prior))
        bar.advance(task)
    table = Table(title=f"{(audio or SENTENCE).name}, {found.seconds:.2f} s", box=SIMPLE, padding=0)
    for column in found.levels.columns:
        table.add_column(column, justify="right")
    for row in found.levels.rows:
        table.add_row(*(f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(table)
    say(f"{models[0].bitrate:g} bit/s in all levels together")
    say(f"encoded at {found.encode_speed:.0f} and decoded at {found.decode_speed:.0f} times real time")
    say(f"open {found.page}")
