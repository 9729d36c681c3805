"""Files that appear whole or not at all."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vqaudio.errors import UserError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder and its parents, if they are not there.

    Raises:
        UserError: something else has that name, or nothing may be written there.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be made a folder ({error.strerror}); choose another place"
        ) from None
    return folder


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file that appears whole.

    Raises:
        UserError: see `replacing`.
    """
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file under a temporary name in its folder; it takes its name when all went well.

    The temporary name is always the same, so what a killed run left is written over by the next.

    Args:
        path: the file to write; its folder is made if it is not there.

    Yields:
        The name to write to.

    Raises:
        UserError: the place cannot be written, or the disk is full.
    """
    path = Path(path)
    part = make_folder(path.parent) / f".{path.name}.part"
    try:
        part.touch()
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise UserError(f"{path}: cannot be written ({error.strerror}); make room") from None
        raise
    try:
        os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


@contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[int]:
    """Make a folder and have it to oneself.

    Args:
        folder: where nobody else is to write.

    Yields:
        A file descriptor: as long as this process has it open, or one that it was passed on to, nobody
        else has the folder.

    Raises:
        UserError: it cannot be made, or another run has it.
    """
    path = make_folder(folder)
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UserError(f"{path}: another run is writing there; wait for it, or stop it") from None
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def in_turn(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Do something while no other process does it: those that name the same folder wait.

    Args:
        folder: is there; nothing is written to it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def whole_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, with their ends; a last one that its writer did not finish is passed over.

    Args:
        path: of a file that is appended to; where there is none, there are no lines.
    """
    if path.exists():
        with path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))


def _sync_folder(folder: Path) -> None:
    """See to it that a new name in a folder outlives a power cut, where folders can be opened."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
