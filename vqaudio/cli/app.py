"""The program `vqaudio`: a verb a file, and one clear line for what the user can mend."""

import signal
import sys
from collections.abc import Sequence
from itertools import pairwise

import typer

from vqaudio.cli import (
    compress,
    decompress,
    demo,
    evaluate,
    info,
    reconstruct,
    sample,
    score,
    synthesize,
    tokenize,
    train,
    web,
)
from vqaudio.cli.terminal import note, one_line_errors, run_app, show_notices
from vqaudio.errors import UserError

INTERRUPTED = 130
GOING_ON = {
    "evaluate": "; the same command goes on from here",
    "tokenize": "; the same command goes on from here",
    "train": "; the same command with --resume goes on from the last checkpoint",
}

app = typer.Typer(
    name="vqaudio",
    help="Sound as a few hundred integers a second, and back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.add_typer(train.app, name="train")
app.command("tokenize")(tokenize.tokenize)
app.command("synthesize")(synthesize.synthesize)
app.command("reconstruct")(reconstruct.reconstruct)
app.command("sample")(sample.sample)
app.command("compress")(compress.compress)
app.command("decompress")(decompress.decompress)
app.command("evaluate")(evaluate.evaluate)
app.add_typer(score.app, name="score")
app.command("info")(info.info)
app.command("web")(web.web)


def main(args: list[str] | None = None) -> None:
    """Run the program and leave it.

    Args:
        args: the words after `vqaudio`; the command line's own unless given.

    Raises:
        SystemExit: always. 0 when all is done, 3 when some inputs of many failed, 2 when the user
            has something to mend, 130 after Ctrl-C.
    """
    words = sys.argv[1:] if args is None else args
    show_notices()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: queues end jobs by it
    try:
        with one_line_errors():
            _refuse_empty(words)
        run_app(app, words, "vqaudio")
    except SystemExit as left:
        if left.code == INTERRUPTED:
            note("interrupted" + GOING_ON.get("".join(words[:1]), ""))
        raise


def _refuse_empty(words: Sequence[str]) -> None:
    """Refuse an empty word, which as a path would mean the current folder."""
    for before, word in pairwise(["", *words]):
        option, equals, value = word.partition("=") if word.startswith("--") else (before, "=", word)
        if equals and not value:
            name = option if option.startswith("-") else "one of the arguments"
            raise UserError(f"{name}: empty, as an unset shell variable is; give it a value")
