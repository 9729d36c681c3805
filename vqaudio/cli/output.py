"""The folder that a verb writes to."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vqaudio.errors import UserError
from vqaudio.files import make_folder


@contextmanager
def output_folder(path: Path) -> Iterator[Path]:
    """Have a folder to write to; what is made here and still empty at the end is removed again.

    Args:
        path: the folder; it is made with its parents if it is not there.

    Yields:
        The folder.

    Raises:
        UserError: it cannot be made or written, which is found out before any work.
    """
    made = [folder for folder in (path, *path.parents) if not os.path.exists(folder)]
    try:
        make_folder(path)
        try:
            tempfile.TemporaryFile(dir=path).close()
        except OSError as error:
            raise UserError(
                f"{path}: cannot be written ({error.strerror}); choose another place"
            ) from None
        yield path
    finally:
        if made:  # by us, and so is all that is in it
            within = [Path(folder) for folder, _, _ in os.walk(path, topdown=False)]
            for folder in [*within, *made[1:]]:
                with suppress(OSError):  # it is not empty
                    folder.rmdir()


def refuse_tokens(folder: Path, replaceable: bool = False) -> None:
    """Keep a verb that writes one file of tokens from writing over others.

    Args:
        folder: that the file is to be written to.
        replaceable: tokens there are the verb's own. Those of a corpus never are.

    Raises:
        UserError: the folder holds tokens.
    """
    from vqaudio.corpus.ledger import LEDGER_NAME
    from vqaudio.corpus.shards import SHARD_PATTERN

    if (folder / LEDGER_NAME).exists():
        raise UserError(f"{folder}: holds the tokens of a corpus; choose another --out")
    if not replaceable and any(folder.glob(SHARD_PATTERN)):
        raise UserError(f"{folder}: holds the tokens of earlier sounds; choose another --out")
