"""`vqaudio sample`: new sound from a prior."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from vqaudio.cli.output import output_folder, refuse_tokens
from vqaudio.cli.terminal import err, note, progress, say
from vqaudio.errors import UserError


def sample(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the wav files and their tokens.")],
    prior: Annotated[
        str, typer.Option(metavar="MODEL", help="A shipped name or a model folder.")
    ] = "speech-16k-prior",
    codec: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="Decodes the codes.", show_default="the shipped one, if it made them"
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", metavar="N", help="How many sounds.")] = 1,
    seconds: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="Exact length of each, prompt included.",
            show_default="until the prior ends it",
        ),
    ] = None,
    label: Annotated[str | None, typer.Option(metavar="L", help="One of the prior's labels.")] = None,
    speaker: Annotated[
        str | None, typer.Option(metavar="NAME", help="One of the prior's speakers.")
    ] = None,
    text: Annotated[str | None, typer.Option(metavar="T", help="The words to say.")] = None,
    prompt: Annotated[
        Path | None,
        typer.Option(metavar="AUDIO", help="A sound to go on from; the result begins with it."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="S", help="The same seed gives the same sounds.")] = 0,
    temperature: Annotated[
        float,
        typer.Option(metavar="X", help="Below 1: more likely; above 1: more varied; 0: the likeliest."),
    ] = 1.0,
    top_k: Annotated[int, typer.Option(metavar="K", help="Draw from the K likeliest; 0: from all.")] = 0,
    top_p: Annotated[
        float, typer.Option(metavar="P", help="Draw from the likeliest with this probability together.")
    ] = 1.0,
    min_p: Annotated[
        float,
        typer.Option(metavar="P", help="Draw from those at least this share as likely as the first."),
    ] = 0.0,
    repetition_window: Annotated[
        int,
        typer.Option(
            metavar="W", help="Draw anew what fills over a tenth of the last W frames; 0: never."
        ),
    ] = 0,
    guidance: Annotated[
        float,
        typer.Option(metavar="X", help="Above 1: heed label, speaker and text more; 0: not at all."),
    ] = 1.0,
    precision: Annotated[
        Literal["float32", "bfloat16", "int8"],
        typer.Option(help="On a CPU with a C compiler: lower is faster, and a little worse."),
    ] = "float32",
) -> None:
    """Write new sound that nobody said, and its tokens."""
    from vqaudio.cli.models import codec_of
    from vqaudio.corpus.resynthesis import sound_paths, synthesize
    from vqaudio.corpus.shards import TokenRow, write_shard
    from vqaudio.model_folder import load_prior

    names = [f"sample-{i:03}" for i in range(n)]
    with output_folder(out):
        refuse_tokens(out)
        paths = sound_paths(out, names)
        if there := next(filter(Path.exists, paths), None):
            raise UserError(f"{there}: is there already; choose another --out")
        model = load_prior(prior)
        decoder = codec_of(model.codec.fingerprint, codec, prior)
        with err.status(f"sampling {n} sounds"):
            sounds = model.sample(
                n,
                seconds,
                label=label,
                speaker=speaker,
                text=text,
                prompt=None if prompt is None else decoder.encode(prompt),
                seed=seed,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                min_p=min_p,
                repetition_window=repetition_window,
                guidance=guidance,
                precision=precision,
            )
        said = {"label": label, "speaker": speaker, "text": text}
        fields = {name: value for name, value in said.items() if value is not None}
        rows = [TokenRow(name, codes, fields) for name, codes in zip(names, sounds, strict=True)]
        with progress() as bar:
            for row, path in bar.track(list(zip(rows, paths, strict=True)), description="decoding"):
                synthesize(decoder, row.codes, path)
        write_shard(out / "tokens-00000.parquet", model.codec, rows)
    full = model.layout.longest(model.room(model.conditions(text=text)))
    cut = sum(codes.levels[-1].shape[1] >= full for codes in sounds) if seconds is None else 0
    if cut:
        note(f"{cut} of {n} did not end before the context did")
    say(f"{n} {'sounds' if n > 1 else 'sound'} sampled in {out}")
