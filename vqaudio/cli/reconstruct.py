"""`vqaudio reconstruct`: sounds through a codec and back."""

from pathlib import Path
from typing import Annotated

import typer

from vqaudio.cli.output import output_folder
from vqaudio.cli.terminal import leave_if_failed, progress, say
from vqaudio.errors import UserError

STREAM = Path("-")


def reconstruct(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            help="Sound files, folders or manifests; or - for a WAV stream from standard input to "
            "standard output, while it comes.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the wav files; - for a stream.")
    ] = None,
    codec: Annotated[
        str, typer.Option(metavar="MODEL", help="A shipped name or a model folder.")
    ] = "speech-16k",
    levels: Annotated[
        int | None, typer.Option(metavar="N", help="Use the N coarsest levels only.", show_default="all")
    ] = None,
    raw: Annotated[
        int | None,
        typer.Option(
            metavar="RATE", help="With -: 16-bit little-endian mono samples at this rate, no WAV."
        ),
    ] = None,
) -> None:
    """Hear what a codec makes of sounds: encode and decode them."""
    from vqaudio.codec.inputs import check_levels
    from vqaudio.corpus.encoding import source_of
    from vqaudio.corpus.manifest import file_names, find_sounds
    from vqaudio.corpus.pipe import reconstruct_stream, standard_streams
    from vqaudio.corpus.resynthesis import sound_paths, write_blocks
    from vqaudio.model_folder import load_codec

    if STREAM in inputs:
        if len(inputs) > 1 or out not in (None, STREAM):
            raise UserError("-: standard input goes to standard output alone; give - and no other --out")
        reconstruct_stream(load_codec(codec), *standard_streams(), raw, levels)
        return
    if raw is not None or out is None or out == STREAM:
        wrong = "--raw: is for - alone; leave it out" if raw is not None else "--out: name a folder"
        raise UserError(wrong)
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
