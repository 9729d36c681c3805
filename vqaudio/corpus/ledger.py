"""The ledger of a token folder: what became of every input, and the checksum of every shard."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vqaudio.audio import AnyPath
from vqaudio.errors import UserError
from vqaudio.files import replacing

LEDGER_NAME = "ledger.jsonl"


@dataclass(frozen=True)
class Entry:
    """What became of one input.

    Args:
        id: of the sound.
        audio: the file that it came from.
        sha256: of that file; empty if it could not be read.
        start_seconds: where the sound begins in it.
        duration_seconds: how long it is; None means to the end.
        shard: name of the shard that holds its codes; empty if it failed.
        reason: why it failed; empty if it did not.
    """

    id: str
    audio: str = ""
    sha256: str = ""
    start_seconds: float = 0.0
    duration_seconds: float | None = None
    shard: str = ""
    reason: str = ""

    @property
    def done(self) -> bool:
        """Whether a shard holds it."""
        return bool(self.shard)


@dataclass
class Ledger:
    """The lines of a ledger: `entries` by id, and the sha256 of `shards` by name."""

    entries: dict[str, Entry] = field(default_factory=dict)
    shards: dict[str, str] = field(default_factory=dict)


def read_ledger(folder: AnyPath) -> Ledger:
    """Read the ledger of a token folder; the last line on an input or a shard counts.

    A last line that was cut off, as when its writer was killed, is passed over.

    Args:
        folder: that holds `ledger.jsonl`; without it, the ledger is empty.

    Raises:
        UserError: a line is not one of a ledger; it is named.
    """
    path = Path(folder) / LEDGER_NAME
    ledger = Ledger()
    if not path.exists():
        return ledger
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # after the last \n: nothing, or half a line
        try:
            values = json.loads(line)
            if "id" in values:
                status = values.pop("status")
                entry = Entry(**values)
                if entry.done != (status == "done"):
                    raise ValueError(status)
                ledger.entries[entry.id] = entry
            else:
                ledger.shards[values["shard"]] = values["sha256"]
        except (ValueError, TypeError, KeyError):
            raise UserError(
                f"{path}:{number}: not a line of a ledger; restore it, or tokenize into another folder"
            ) from None
    return ledger


def append_lines(folder: AnyPath, entries: Iterable[Entry], shards: dict[str, str]) -> None:
    """Add lines to a ledger, and see to it that they are on the disk.

    Args:
        folder: that holds `ledger.jsonl`.
        entries: of inputs.
        shards: sha256 by name.
    """
    with (Path(folder) / LEDGER_NAME).open("ab") as file:
        file.write(_lines(entries, shards))
        file.flush()
        os.fsync(file.fileno())


def rewrite_ledger(folder: AnyPath, ledger: Ledger) -> None:
    """Replace a ledger as a whole by one that has a line for every input and shard."""
    with replacing(Path(folder) / LEDGER_NAME) as part:
        part.write_bytes(_lines(ledger.entries.values(), ledger.shards))


def file_sha256(path: AnyPath) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lines(entries: Iterable[Entry], shards: dict[str, str]) -> bytes:
    lines: list[dict[str, Any]] = [{"shard": name, "sha256": sha256} for name, sha256 in shards.items()]
    for entry in entries:
        said = {key: value for key, value in asdict(entry).items() if value not in ("", None)}
        lines.append({"id": entry.id, "status": "done" if entry.done else "failed"} | said)
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
