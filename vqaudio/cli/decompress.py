"""`vqaudio decompress`: a `.vqa` file -> a sound."""

from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from vqaudio.cli.terminal import complain, note
from vqaudio.errors import UserError

STREAM = Path("-")
DAMAGED = ", or fetch the file again, whose header may be damaged"


def decompress(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.vqa",
            help="Of `vqaudio compress`; or - for standard input.",
            show_default=False,
        ),
    ],
    audio: Annotated[
        Path,
        typer.Argument(
            metavar="AUDIO",
            help="The sound file to write: wav, flac, ogg or mp3; or - for a WAV stream to standard "
            "output, while it comes.",
            show_default=False,
        ),
    ],
    codec: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A shipped name or a model folder.",
            show_default="the one that made it",
        ),
    ] = None,
    prior: Annotated[
        str,
        typer.Option(metavar="MODEL", help="The prior of a file that was made with --model prior."),
    ] = "speech-16k-prior",
) -> None:
    """Turn a .vqa file back into sound. What is damaged is silent, and named; then the status is 3."""
    from vqaudio.applications.decompression import Decompressor
    from vqaudio.applications.vqa_format import read_header
    from vqaudio.audio import AudioWriter
    from vqaudio.cli.models import codec_and_folder, load_code_model
    from vqaudio.corpus.pipe import NAME, SoundWriter, standard_streams

    def read(source: BinaryIO, name: str) -> None:
        header = read_header(source, name)
        decoder, folder = codec_and_folder(header.codec, codec, name, DAMAGED)
        model = load_code_model(header.kind, decoder, folder, prior)
        reader = Decompressor(decoder, model, header, source, name)
        if audio == STREAM:
            writer = None
            for samples in reader.audio():
                writer = writer or SoundWriter(
                    standard_streams()[1], decoder.sample_rate, header.channels
                )
                writer.write(samples)
        else:
            with AudioWriter(audio, decoder.sample_rate) as file_writer:
                for samples in reader.audio():
                    file_writer.write(samples)
        if left := reader.bytes_behind():
            note(f"{name}: {left} bytes follow the end of the sound, and are left out")
        for gap in reader.gaps:
            complain(f"{name}: {gap}")
        if reader.gaps:
            raise typer.Exit(3)

    try:
        if file == STREAM:
            read(standard_streams()[0], NAME)
            return
        try:
            source = file.open("rb")
        except OSError as error:
            raise UserError(f"{file}: cannot be read ({error.strerror}); check the path") from None
        with source:
            read(source, str(file))
    except BrokenPipeError:  # nobody listens any more
        return
