"""The one exception that a user is meant to see."""

import re
from collections.abc import Sequence

NAMED = 3  # differences in a message, of however many there are

# Control characters, and what Python makes of bytes in file names that are not UTF-8.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class UserError(ValueError):
    """What the user gave cannot be used.

    The message is one line that names the file or key and the mend. The command line prints it
    and exits with status 2; any other exception is a defect of this package.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    r"""A text on one line that every file and terminal takes.

    Line ends and other control characters are written as escapes such as `\n`, and so are the bytes
    of file names that are not UTF-8, such as `\xff`.
    """
    return _UNPRINTABLE.sub(_escape, text)


def some_of(differences: Sequence[str]) -> str:
    """The first three, and how many more there are: so many as a line can hold."""
    more = f" and {len(differences) - NAMED} more" if len(differences) > NAMED else ""
    return "; ".join(differences[:NAMED]) + more


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte, as os.fsdecode gives it
        return f"\\x{code - 0xDC00:02x}"
    return match[0].encode("unicode_escape").decode()
