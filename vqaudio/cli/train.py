"""`vqaudio train codec` and `vqaudio train prior`."""

from pathlib import Path
from typing import Annotated

import typer

from vqaudio.cli.output import output_folder

app = typer.Typer(help="Fit a codec to sounds, or a prior to their tokens.", no_args_is_help=True)

Recipe = Annotated[Path, typer.Argument(metavar="RECIPE", help="What to train: see recipes/.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="key=value", help="Changes to the recipe: optimization.steps=2000"),
]
Out = Annotated[
    Path, typer.Option(metavar="DIR", help="Folder for the model, its log and its training state.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")]


@app.command("codec")
def train_codec(
    recipe: Recipe,
    out: Out,
    data: Annotated[Path, typer.Option(metavar="MANIFEST", help="The sounds to learn from.")],
    overrides: Overrides = None,
    resume: Resume = False,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Begin with the weights of this codec, and with its discriminators where it has some; "
            "the recipe's codec: must be its own, and the warm start falls away.",
        ),
    ] = None,
) -> None:
    """Fit a codec to the sounds of a manifest."""
    from vqaudio.config import CodecRecipe, read_recipe

    if start is not None:
        from vqaudio.model_folder import load_codec

        load_codec(start)  # a name that is wrong is so whatever the recipe and the data are
    config = read_recipe(CodecRecipe, recipe, overrides)
    from vqaudio.training.fit_codec import fit_codec

    with output_folder(out):
        fit_codec(config, data, out, resume, start)


@app.command("prior")
def train_prior(
    recipe: Recipe,
    out: Out,
    tokens: Annotated[
        list[Path],
        typer.Option(metavar="DIR", help="Token shards of `vqaudio tokenize`; may be given again."),
    ],
    overrides: Overrides = None,
    resume: Resume = False,
    codec: Annotated[
        str,
        typer.Option(metavar="MODEL", help="That made the tokens; read with data.code_vectors."),
    ] = "speech-16k",
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Begin with the weights of this prior; the recipe's prior: must be its own.",
        ),
    ] = None,
) -> None:
    """Fit a prior to the tokens of a corpus."""
    from vqaudio.config import PriorRecipe, read_recipe

    if start is not None:
        from vqaudio.model_folder import load_prior

        load_prior(start)  # a name that is wrong is so whatever the recipe and the tokens are
    config = read_recipe(PriorRecipe, recipe, overrides)
    from vqaudio.training.fit_prior import fit_prior

    with output_folder(out):
        fit_prior(config, tokens, out, resume, codec, start)
