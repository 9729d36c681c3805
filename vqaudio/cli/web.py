"""`vqaudio web`: a page to try a codec and a prior."""

from contextlib import suppress
from typing import Annotated

import typer

from vqaudio.cli.terminal import err, note, say


def web(
    codec: Annotated[
        str, typer.Option(metavar="MODEL", help="A shipped name or a model folder.")
    ] = "speech-16k",
    prior: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Writes new sound.",
            show_default="the shipped one, if it reads this codec's codes",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Where to listen; 0.0.0.0 lets others in.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="0 for any that is free.")
    ] = 7860,
) -> None:
    """Open a page to try a codec and a prior in the browser."""
    with err.status("loading"):
        from vqaudio.applications.studio import Studio
        from vqaudio.applications.web import is_loopback, listening, serve, web_app
        from vqaudio.cli.models import shipped_prior
        from vqaudio.model_folder import load_codec, load_prior

        model = load_codec(codec)
        writer = shipped_prior(model) if prior is None else load_prior(prior)
        studio = Studio(model, writer)
    title = codec if prior is None else f"{codec} and {prior}"
    with listening(host, port) as bound, web_app(studio, title, bound) as app:
        if writer is None:
            note("no prior for this codec: the page writes no new sound; give one with --prior")
        if not is_loopback(bound):
            note(f"{host}: whoever reaches this machine can use the page, without a password")
        with suppress(KeyboardInterrupt):
            place = f"[{host}]" if ":" in host else host
            say(f"open http://{place}:{bound.getsockname()[1]}, and end it with Ctrl-C")
            serve(app, bound)
