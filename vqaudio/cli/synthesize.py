"""`vqaudio synthesize`: token shards -> sound files."""

from pathlib import Path
from typing import Annotated

import typer

from vqaudio.cli.output import output_folder
from vqaudio.cli.terminal import progress, say


def synthesize(
    tokens: Annotated[
        list[Path],
        typer.Argument(
            metavar="TOKENS",
            help="Folders of `vqaudio tokenize`, or their Parquet files.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the wav files.")],
    codec: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A shipped name or a model folder.",
            show_default="the one that made them",
        ),
    ] = None,
    levels: Annotated[
        int | None, typer.Option(metavar="N", help="Use the N coarsest levels only.", show_default="all")
    ] = None,
) -> None:
    """Turn token shards back into sound."""
    from vqaudio.cli.models import codec_of
    from vqaudio.corpus.resynthesis import open_tokens, originals, sound_paths
    from vqaudio.corpus.resynthesis import synthesize as synthesize_sound

    corpora = open_tokens(tokens)
    names = [name for corpus in corpora for name in corpus.ids]
    paths = iter(sound_paths(out, names, originals(tokens)))
    total = sum(map(len, corpora))
    with output_folder(out), progress() as bar:
        models = [codec_of(corpus.codec, codec, corpus.paths[0]) for corpus in corpora]
        task = bar.add_task("synthesizing", total=total)
        for corpus, model in zip(corpora, models, strict=True):
            for row in corpus:
                synthesize_sound(model, row.codes, next(paths), levels)
                bar.advance(task)
    say(f"{total} sounds synthesized in {out}")
