"""`vqaudio compress`: a sound -> a `.vqa` file."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from vqaudio.cli.terminal import note, say
from vqaudio.errors import UserError

STREAM = Path("-")
SUFFIX = ".vqa"
PRIOR = "speech-16k-prior"
LEAST_SECONDS = 1.0  # of which a rate says something, headers and all


def compress(
    audio: Annotated[
        Path,
        typer.Argument(
            metavar="AUDIO",
            help="A sound file; or - for a WAV stream from standard input. One or two channels are "
            "kept, more are mixed down to one.",
            show_default=False,
        ),
    ],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.vqa", help="What to write; or - for standard output.", show_default=False
        ),
    ],
    codec: Annotated[
        str, typer.Option(metavar="MODEL", help="A shipped name or a model folder.")
    ] = "speech-16k",
    model: Annotated[
        Literal["static", "prior"],
        typer.Option(
            help="How likely codes are: by the codec's tables, the same on every machine; or by a "
            "prior too, which is smaller and slower, and which only a machine of the same kind (and "
            "the same version of torch) can decompress: others notice and refuse."
        ),
    ] = "static",
    prior: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="With --model prior: a shipped name or a model folder.",
            show_default=PRIOR,
        ),
    ] = None,
    raw: Annotated[
        int | None,
        typer.Option(
            metavar="RATE", help="With -: 16-bit little-endian mono samples at this rate, no WAV."
        ),
    ] = None,
) -> None:
    """Write a sound as a codec's codes, packed by how likely they are."""
    from vqaudio.applications.compression import compress as compress_sound
    from vqaudio.applications.compression import open_sound, open_stream
    from vqaudio.cli.models import load_code_model
    from vqaudio.corpus.pipe import standard_streams
    from vqaudio.files import replacing
    from vqaudio.model_folder import find_model, load_codec

    if file != STREAM and file.suffix != SUFFIX:
        raise UserError(f"{file}: give it a name that ends in {SUFFIX}, or - for standard output")
    if raw is not None and audio != STREAM:
        raise UserError("--raw: is for - alone; leave it out")
    if prior is not None and model != "prior":
        raise UserError("--prior: is for --model prior alone; leave it out")
    sound = open_stream(standard_streams()[0], raw) if audio == STREAM else open_sound(audio)
    coder = load_codec(codec)
    code_model = load_code_model(model, coder, find_model(codec), prior or PRIOR)
    if file == STREAM:
        try:
            written = compress_sound(coder, code_model, sound, standard_streams()[1])
        except BrokenPipeError:  # nobody listens any more
            return
    else:
        with replacing(file) as part, part.open("wb") as target:
            written = compress_sound(coder, code_model, sound, target)
    seconds = written.num_samples / coder.sample_rate
    said = f"{seconds:.2f} s in {written.file_bytes} bytes ({written.payload_bytes} of them codes)"
    if seconds >= LEAST_SECONDS:
        rate, nominal = 8 * written.file_bytes / seconds, coder.bitrate * sound.channels
        said += f": {rate:.0f} bit/s, {rate / nominal:.1%} of {nominal:.0f}"
    (note if file == STREAM else say)(said)
