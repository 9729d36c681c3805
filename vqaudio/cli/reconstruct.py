"""`vqaudio reconstruct`: sounds through a codec and back."""

from pathlib import Path
from typing import Annotated

import typer

from vqaudio.cli.output import output_folder
from vqaudio.cli.terminal import leave_if_failed, progress, say
from vqaudio.errors import UserError


def reconstruct(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT", help="Sound files, folders or manifests.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the wav files.")],
    codec: Annotated[
        str, typer.Option(metavar="MODEL", help="A shipped name or a model folder.")
    ] = "speech-16k",
    levels: Annotated[
        int | None, typer.Option(metavar="N", help="Use the N coarsest levels only.", show_default="all")
    ] = None,
) -> None:
    """Hear what a codec makes of sounds: encode and decode them."""
    from vqaudio.cli.models import load_codec
    from vqaudio.codec.inputs import check_levels
    from vqaudio.corpus.encoding import source_of
    from vqaudio.corpus.manifest import file_names, find_sounds
    from vqaudio.corpus.resynthesis import sound_paths, write_blocks

    sounds = find_sounds(inputs)
    paths = sound_paths(out, file_names(sounds), [sound.path for sound in sounds])
    failures = []
    with output_folder(out), progress() as bar:
        model = load_codec(codec)
        check_levels(levels, len(model.hops))
        task = bar.add_task("reconstructing", total=len(sounds))
        for sound, path in zip(sounds, paths, strict=True):
            try:
                blocks = model.reconstruct_blocks(source_of(model, sound), levels=levels)
            except UserError as error:
                failures.append(str(error))
            else:
                write_blocks(blocks, path, model.sample_rate)
            bar.advance(task)
    say(f"{len(sounds) - len(failures)} of {len(sounds)} sounds reconstructed in {out}")
    leave_if_failed(failures, len(sounds) - len(failures))
