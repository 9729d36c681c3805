"""The ledger of a token folder: what became of every input, and the checksum of every shard."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vqaudio.audio import AnyPath
from vqaudio.errors import UserError
from vqaudio.files import DISK_FULL, whole_lines

LEDGER_NAME = "ledger.jsonl"


@dataclass(frozen=True)
class Run:
    """What all runs into a folder have in common.

    Args:
        codec: fingerprint of the codec.
        settings: by name, what else decides which codes a sound has.
        count: inputs.
        inputs: sha256 of the list of inputs: ids, clips and fields, in order.
        places: sha256 of the absolute paths of their files.
    """

    codec: str
    settings: dict[str, str]
    count: int
    inputs: str
    places: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one input.

    Args:
        id: of the sound.
        audio: the file that it came from.
        sha256: of that file; empty if it could not be read.
        start_seconds: where the sound begins in it.
        duration_seconds: how long it is; None means to the end.
        shard: name of the shard that holds its codes; empty if it failed.
        row: of that shard, from 0; None if it failed.
        reason: why it failed; empty if it did not.
    """

    id: str
    audio: str = ""
    sha256: str = ""
    start_seconds: float = 0.0
    duration_seconds: float | None = None
    shard: str = ""
    row: int | None = None
    reason: str = ""

    @property
    def done(self) -> bool:
        """Whether a shard holds it."""
        return bool(self.shard)


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard's name and the sha256 of its bytes."""

    name: str
    sha256: str


Line = Run | Entry | Shard


@dataclass
class Ledger:
    """The lines of a ledger: the `run`, `entries` by id, and the sha256 of `shards` by name."""

    run: Run | None = None
    entries: dict[str, Entry] = field(default_factory=dict)
    shards: dict[str, str] = field(default_factory=dict)


def read_ledger(folder: AnyPath) -> Ledger:
    """Read the whole ledger of a token folder; the last line on an input or a shard counts.

    Args:
        folder: that holds `ledger.jsonl`; without it, the ledger is empty.

    Raises:
        UserError: see `ledger_lines`.
    """
    ledger = Ledger()
    for line, _ in ledger_lines(folder):
        if isinstance(line, Run):
            ledger.run = line
        elif isinstance(line, Shard):
            ledger.shards[line.name] = line.sha256
        else:
            ledger.entries[line.id] = line
    return ledger


def ledger_lines(folder: AnyPath) -> Iterator[tuple[Line, bytes]]:
    """Read a ledger line by line, in little memory.

    A last line that was cut off, as when its writer was killed, is passed over.

    Yields:
        What each line says, and its bytes.

    Raises:
        UserError: a line is not one of a ledger; it is named.
    """
    path = Path(folder) / LEDGER_NAME
    for number, line in enumerate(whole_lines(path), start=1):
        try:
            yield _parse(json.loads(line)), line
        except (ValueError, TypeError, KeyError, AttributeError):
            raise UserError(
                f"{path}:{number}: not a line of a ledger; restore it, or choose another folder"
            ) from None


def _parse(values: dict[str, Any]) -> Line:
    if "run" in values:
        return Run(**values["run"])
    if "id" not in values:
        return Shard(values["shard"], values["sha256"])
    status = values.pop("status")
    entry = Entry(**values)
    if entry.done != (status == "done"):
        raise ValueError(status)
    return entry


def to_bytes(line: Line) -> bytes:
    """A line as it stands in the file."""
    values: dict[str, Any]
    if isinstance(line, Run):
        values = {"run": asdict(line)}
    elif isinstance(line, Shard):
        values = {"shard": line.name, "sha256": line.sha256}
    else:
        said = {key: value for key, value in asdict(line).items() if value not in ("", None)}
        if not line.start_seconds:
            del said["start_seconds"]
        values = {"id": line.id, "status": "done" if line.done else "failed"} | said
    return json.dumps(values, ensure_ascii=False).encode() + b"\n"


def append_lines(folder: AnyPath, lines: Iterable[Line]) -> None:
    """Add lines to a ledger, and see to it that they are on the disk: all of them or none.

    Raises:
        UserError: the disk is full.
    """
    path = Path(folder) / LEDGER_NAME
    with path.open("ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        rest = memoryview(b"".join(map(to_bytes, lines)))
        try:
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError as error:
            os.ftruncate(file.fileno(), before)
            if error.errno in DISK_FULL:
                raise UserError(f"{path}: cannot be written ({error.strerror}); make room") from None
            raise


def file_sha256(path: AnyPath) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
