"""A token folder while it is being filled: its shards and its ledger, in step."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from vqaudio.codes import Codes
from vqaudio.corpus.ledger import (
    LEDGER_NAME,
    Entry,
    Run,
    Shard,
    append_lines,
    file_sha256,
    ledger_lines,
    to_bytes,
)
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.shards import (
    SHARD_PATTERN,
    TokenRow,
    check_columns,
    check_sum,
    fill_shard,
    read_spec,
)
from vqaudio.errors import UserError, printable
from vqaudio.files import replacing
from vqaudio.prior.model import CodecSpec

ROWS_PER_SHARD = 1024
CODES_PER_SHARD = 1 << 21  # four and a half hours of speech in the shipped codec
_MISSING, _FAILED = -1, -2


class TokenFolder:
    """The shards of a folder, and the ledger of what became of every input of a run.

    The ledger has a shard's lines before the shard takes its name, so a shard that is there is in
    the ledger, and one in the ledger that is not there was lost: its sounds count as missing. Rows
    come in the order of the inputs, and shards end where enough has come, so that a run that was
    killed and taken up again leaves the shards of one that was not. Of an input, a number is kept.

    Args:
        folder: the folder, which is ours alone.
        spec: of the codec.
        settings: by name, what else decides which codes a sound has.
        sounds: the inputs of the run.

    Raises:
        UserError: the folder holds what another codec, other settings or other inputs gave, or is
            damaged.
    """

    def __init__(
        self, folder: Path, spec: CodecSpec, settings: dict[str, str], sounds: Sequence[Sound]
    ) -> None:
        self.folder, self.spec, self.sounds = folder, spec, sounds
        self.columns = sorted({name for sound in sounds for name in sound.fields})
        check_columns(self.columns, spec)
        self._positions = {sound.id: index for index, sound in enumerate(sounds)}
        self.run = Run(spec.fingerprint, settings, len(sounds), *_list_digests(sounds))
        self._state = np.full(len(sounds), _MISSING, np.int32)  # or the number of its shard
        self._present = {_number(path.name): path for path in folder.glob(SHARD_PATTERN)}
        self._waiting: list[tuple[int, str, Codes]] = []  # position, sha256 of the file, codes
        self._codes = 0
        self._take_up()

    def missing(self) -> Iterator[int]:
        """Positions of the inputs that no shard holds, in order."""
        return (int(position) for position in np.flatnonzero(self._state < 0))

    @property
    def shards(self) -> list[Path]:
        """The shards that are there, in order."""
        return [self._present[number] for number in sorted(self._present)]

    def add(self, position: int, codes: Codes, sha256: str) -> None:
        """Keep a sound's codes for the next shard, and write that when there are enough."""
        self._waiting.append((position, sha256, codes))
        self._codes += codes.num_codes
        if len(self._waiting) >= ROWS_PER_SHARD or self._codes >= CODES_PER_SHARD:
            self.flush()

    def fail(self, position: int, reason: str) -> None:
        """Put a failure on record."""
        append_lines(self.folder, [_entry(self.sounds[position], reason=reason)])
        self._state[position] = _FAILED

    def flush(self) -> None:
        """Write a shard of what has come since the last one."""
        if not self._waiting:
            return
        # a shard that was lost is made again in its place
        number = next(n for n in range(len(self._present) + 1) if n not in self._present)
        name = f"tokens-{number:05d}.parquet"
        rows, lines = [], []
        for row, (position, sha256, codes) in enumerate(self._waiting):
            sound = self.sounds[position]
            rows.append(TokenRow(sound.id, codes, sound.fields))
            lines.append(_entry(sound, sha256=sha256, shard=name, row=row))
        positions = [position for position, _, _ in self._waiting]
        with replacing(self.folder / name) as part:
            fill_shard(part, self.spec, rows, self.columns)
            append_lines(self.folder, [Shard(name, file_sha256(part)), *lines])
        self._waiting, self._codes = [], 0
        self._present[number] = self.folder / name
        self._state[positions] = number

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Whatever stops what is inside: what has come till then is kept, if the disk takes it."""
        try:
            yield
        except BaseException:
            with suppress(UserError, OSError):
                self.flush()
                self.tidy()
            raise
        self.flush()
        self.tidy()

    def tidy(self) -> None:
        """Rewrite the ledger, with one line for the run, every shard and every input, in order."""
        places = np.full(len(self.sounds), -1, np.int64)  # where the line that counts begins
        shards: dict[str, Shard] = {}
        at = 0
        for line, data in ledger_lines(self.folder):
            if isinstance(line, Shard):
                shards[line.name] = line
            elif isinstance(line, Entry) and self._counts(line, self._positions[line.id]):
                places[self._positions[line.id]] = at
            at += len(data)
        path = self.folder / LEDGER_NAME
        with replacing(path) as part, part.open("wb") as file:
            file.write(to_bytes(self.run))
            for shard in self.shards:
                file.write(to_bytes(shards[shard.name]))
            if path.exists():
                with path.open("rb") as before:
                    for place in places[places >= 0]:
                        before.seek(place)
                        file.write(before.readline())

    def _counts(self, entry: Entry, position: int) -> bool:
        """Whether a line says what became of an input; a shard may be lost, a failure be mended."""
        return self._state[position] == (_number(entry.shard) if entry.done else _FAILED)

    def _take_up(self) -> None:
        """Go on where the runs before ended, if they were for the same."""
        if len(self._positions) < len(self.sounds):
            raise UserError("two sounds have the same id; name them apart")
        before: Run | None = None
        sums: dict[str, str] = {}
        for line, _ in ledger_lines(self.folder):
            if isinstance(line, Run):
                before = line
                self._refuse_other_codec(line)
            elif isinstance(line, Shard):
                sums[line.name] = line.sha256
            elif line.id not in self._positions:
                raise self._other_inputs(f"{line.id!r} is not among them any more")
            else:
                position = self._positions[line.id]
                self._refuse_other_sound(line, self.sounds[position], before)
                self._state[position] = _MISSING if line.done else _FAILED
                if line.done and _number(line.shard) in self._present:
                    self._state[position] = _number(line.shard)
        for path in self.shards:
            if path.name not in sums:
                raise UserError(f"{path}: not in the ledger beside it; move it to a folder of its own")
            check_sum(path, sums[path.name])
            if (other := read_spec(path)) != self.spec:
                raise self._other_codec(path, other.fingerprint)
        if before is not None and before.inputs != self.run.inputs:
            raise self._other_inputs(
                f"there were {before.count}, now {len(self.sounds)}"
                if before.count != len(self.sounds)
                else "their order, clips or fields are others"
            )
        self.tidy()  # a last line that was cut off must be gone before others follow
        if lost := self._lost_lines():
            append_lines(self.folder, lost)
            self.tidy()

    def _lost_lines(self) -> list[Entry]:
        """What a ledger lost of rows that are there, as where it was cut off."""
        lost = []
        for number, path in self._present.items():
            if pq.read_metadata(path).num_rows == (self._state == number).sum():
                continue
            ids = pq.read_table(path, columns=["id"])["id"].to_pylist()
            for row, name in enumerate(ids):
                if name not in self._positions:
                    raise self._other_inputs(f"{name!r} is not among them any more")
                position = self._positions[name]
                if self._state[position] != number:
                    lost.append(_entry(self.sounds[position], shard=path.name, row=row))
                    self._state[position] = number
        return lost

    def _refuse_other_codec(self, before: Run) -> None:
        if before.codec != self.run.codec:
            raise self._other_codec(self.folder, before.codec)
        for name in dict.fromkeys([*self.run.settings, *before.settings]):
            was, now = before.settings.get(name, "not set"), self.run.settings.get(name, "not set")
            if was != now:
                raise UserError(
                    f"{self.folder}: made with {name} {was}, now it is {now}; choose another folder"
                )

    def _refuse_other_sound(self, entry: Entry, sound: Sound, before: Run | None) -> None:
        clip = (entry.start_seconds, entry.duration_seconds)
        moved = before is None or before.places != self.run.places
        if clip == (sound.start_seconds, sound.duration_seconds) and (
            not entry.done
            or not moved
            or entry.audio == _place(sound)
            or (os.path.isfile(sound.path) and file_sha256(sound.path) == entry.sha256)
        ):
            return  # the same bytes elsewhere are the same sound
        raise UserError(
            f"{sound.path}: id {entry.id!r} is that of {entry.audio} in {self.folder}; "
            "name them apart, or choose another folder"
        )

    def _other_codec(self, path: Path, fingerprint: str) -> UserError:
        return UserError(
            f"{path}: made by codec {fingerprint[:12]}, this one is {self.run.codec[:12]}; "
            "choose another folder"
        )

    def _other_inputs(self, what: str) -> UserError:
        return UserError(
            f"{self.folder}: made of other inputs ({what}); give the same ones, or choose another folder"
        )


def _number(shard: str) -> int:
    return int(shard[len("tokens-") : -len(".parquet")])


def _place(sound: Sound) -> str:
    return printable(os.path.abspath(sound.path))


def _entry(sound: Sound, **what: Any) -> Entry:
    entry = Entry(sound.id, _place(sound), "", sound.start_seconds, sound.duration_seconds)
    return replace(entry, **what)


def _list_digests(sounds: Sequence[Sound]) -> tuple[str, str]:
    """Digests of what the sounds are, and of where their files are."""
    inputs, places = hashlib.sha256(), hashlib.sha256()
    for sound in sounds:
        said = [sound.id, sound.start_seconds, sound.duration_seconds, sorted(sound.fields.items())]
        inputs.update(json.dumps(said).encode())
        places.update(_place(sound).encode() + b"\0")
    return inputs.hexdigest(), places.hexdigest()
