"""What the verbs share at the terminal: consoles, notices, progress bars."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from vqaudio.errors import UserError

out = Console(emoji=False)  # results; a path may hold :key: as it is
err = Console(stderr=True, emoji=False)  # the rest, so that a pipe behind the results stays clean

UsageError: Any = typer.BadParameter.__base__  # all that is wrong with the words; typer exports one kind


class _Notices(logging.Handler):
    """What the library logs, a line each, without tearing a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        note(f"{record.levelname.lower()}: {record.getMessage()}")


def show_notices() -> None:
    """Print what the library logs."""
    logger = logging.getLogger("vqaudio")
    logger.setLevel(logging.INFO)
    logger.handlers = [_Notices()]


def progress() -> Progress:
    """A bar of things done out of all, drawn only where somebody is looking."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
    )


def say(line: str) -> None:
    """Print one line of result, as it is."""
    out.print(line, markup=False, highlight=False, soft_wrap=True)


def note(line: str) -> None:
    """Print one line beside the results."""
    err.print(line, markup=False, highlight=False, soft_wrap=True)


def complain(message: str) -> None:
    """Print one line of error."""
    note(f"error: {' '.join(message.splitlines())}")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what the user can mend into one line, and exit status 2."""
    try:
        yield
    except UserError as error:
        complain(str(error))
        sys.exit(2)
    except UsageError as error:
        if message := " ".join(error.format_message().split()):  # or it was help, which is shown
            wrong = message.replace("Value error, ", "").rstrip(".")
            complain(f"{wrong}; see {error.ctx.command_path} --help" if error.ctx else wrong)
        sys.exit(2)
    except UnicodeEncodeError as error:
        complain(f"{error.object!r}: not UTF-8; write or name it so")
        sys.exit(2)
    except OSError as error:  # a full disk, a folder without permission: nothing of ours is wrong
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        sys.exit(2)


def run_app(app: typer.Typer, words: Sequence[str] | None = None, name: str | None = None) -> NoReturn:
    """Run a program, and leave with its exit status.

    Args:
        app: the program.
        words: its arguments; the command line's own unless given.
        name: what it is called by; how it was started unless given.
    """
    with one_line_errors():
        sys.exit(app(words, prog_name=name, standalone_mode=False) or 0)
    raise AssertionError("left already")


def run_script(main: Callable[..., None]) -> NoReturn:
    """Run a script with its arguments from the command line, one a parameter of `main`."""
    show_notices()
    script = typer.Typer(add_completion=False)
    script.command()(main)
    run_app(script)


def leave_if_failed(failures: Sequence[str], done: int) -> None:
    """End a verb of many inputs.

    Args:
        failures: the reason for each input that failed.
        done: inputs that did not.

    Raises:
        typer.Exit: with status 3 if some failed, and 2 if there is nothing else.
    """
    for reason in failures:
        complain(reason)
    if failures:
        raise typer.Exit(3 if done else 2)
