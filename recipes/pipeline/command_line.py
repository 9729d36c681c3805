"""Run a recipe of egs/, stage by stage; called by its run.sh.

    egs/<data set>/run.sh [--data DIR] [--out DIR] [--stage NAME] [--stop-stage NAME] [--list]
                          [--nproc N | --gpus N] [key=value ...]

key=value changes a setting: codec.set=[optimization.steps=500]
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from commands import Recipe
from rich.table import Table
from runner import Runner, Stopped
from settings import Settings
from stages import Stage, stages_of

from vqaudio.cli.terminal import complain, out, run_script
from vqaudio.config.reading import read_recipe
from vqaudio.errors import UserError


def main(
    recipe: Annotated[Path, typer.Argument(metavar="", hidden=True)],
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="key=value", help="Changes to settings.yaml: evaluation.sounds=20"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The data set.", show_default="it is downloaded"),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="For everything.", show_default="exp/NAME"),
    ] = None,
    stage: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Begin with: a name or number.")
    ] = None,
    stop_stage: Annotated[str | None, typer.Option(metavar="STAGE", help="End with it.")] = None,
    show: Annotated[bool, typer.Option("--list", help="Show the stages, and do nothing.")] = False,
    nproc: Annotated[int, typer.Option(metavar="N", min=1, help="Processes of a training.")] = 1,
    gpus: Annotated[
        int, typer.Option(metavar="N", min=0, help="GPUs of a training, a process each.")
    ] = 0,
) -> None:
    """Run a recipe; what is complete is passed over."""
    recipe = recipe.resolve()
    settings = read_recipe(Settings, recipe / "settings.yaml", changes)
    if data is not None and not data.is_dir():
        raise UserError(f"--data: {data} is no folder; give that of the data set")
    if gpus:
        _check_gpus(gpus, nproc)
    folder = to or Path("exp") / recipe.name
    stages = stages_of(Recipe(settings, recipe, data, folder, gpus or nproc))
    first = _place(stages, stage, 0, "--stage")
    last = _place(stages, stop_stage, len(stages) - 1, "--stop-stage")
    runner = Runner(stages, folder)
    if show:
        _show(runner, stages)
        return
    if first > last:
        raise UserError(f"--stop-stage: {stages[last].name} comes before {stages[first].name}")
    try:
        runner.run(stages[first : last + 1])
    except Stopped as stopped:
        raise typer.Exit(stopped.status) from None
    except KeyboardInterrupt:
        complain("interrupted; run the same again, to go on")
        raise typer.Exit(130) from None


def _place(stages: Sequence[Stage], said: str | None, default: int, option: str) -> int:
    """The index of a stage that is given by name or number."""
    if said is None:
        return default
    names = [stage.name for stage in stages]
    if said in names:
        return names.index(said)
    if said.isdecimal() and 1 <= int(said) <= len(names):
        return int(said) - 1
    known = ", ".join(f"{number} {name}" for number, name in enumerate(names, start=1))
    raise UserError(f"{option}: {said} is none of {known}")


def _check_gpus(wanted: int, nproc: int) -> None:
    import torch

    if nproc > 1:
        raise UserError("--nproc: give either this or --gpus")
    if (there := torch.cuda.device_count()) < wanted:
        raise UserError(f"--gpus: {wanted} wanted, {there} there; --nproc trains on CPUs")


def _show(runner: Runner, stages: Sequence[Stage]) -> None:
    table = Table("stage", "name", "what it does", "state", "leaves")
    for number, stage in enumerate(stages, start=1):
        leaves = ", ".join(map(str, stage.leaves))
        table.add_row(str(number), stage.name, stage.what, runner.state(stage), leaves)
    out.print(table)


def start() -> None:
    """Read the words of the command line, and run."""
    run_script(main)
