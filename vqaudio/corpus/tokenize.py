"""A corpus of sounds -> token shards, so that nothing is lost, hidden or done twice."""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from vqaudio.audio import AnyPath, stream_audio
from vqaudio.codec.model import Codec
from vqaudio.codes import Codes
from vqaudio.corpus.ledger import (
    Entry,
    append_lines,
    file_sha256,
    read_ledger,
    rewrite_ledger,
)
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.shards import SHARD_PATTERN, TokenRow, check_sum, fill_shard, read_spec
from vqaudio.errors import UserError
from vqaudio.files import make_folder, replacing
from vqaudio.prior.model import CodecSpec

SOUNDS_PER_CALL = 16  # short sounds share the workers of one call of the codec
ROWS_PER_SHARD = 1024
CODES_PER_SHARD = 1 << 21  # with the rows, what a kill can cost: some two hours of speech


@dataclass
class Summary:
    """What a run of `tokenize` did.

    Args:
        done: sounds tokenized by this run.
        skipped: sounds that an earlier run had done.
        failed: sounds that could not be tokenized, with the reason.
        seconds: of sound tokenized by this run.
        codes: integers written by this run.
    """

    done: int = 0
    skipped: int = 0
    failed: list[Entry] = field(default_factory=list)
    seconds: float = 0.0
    codes: int = 0


def tokenize(
    codec: Codec,
    sounds: Sequence[Sound],
    out: AnyPath,
    workers: int | None = None,
    on_done: Callable[[Sound, str], None] | None = None,
) -> Summary:
    """Encode sounds into the shards of a token folder, which has a ledger of every one of them.

    A run that was killed, or had failures, is taken up again by calling it once more: sounds in a
    whole shard are passed over, all others are encoded.

    Args:
        codec: the same for all runs into a folder.
        sounds: ids are the names of rows.
        out: the folder; it is made if it is not there.
        workers: see `Codec.encode`.
        on_done: told of every sound that is through, skipped ones too, with the reason of its
            failure or an empty text.

    Returns:
        What happened. Shards and ledger hold it too, once this returns.

    Raises:
        UserError: a level of the codec has no codes, the folder is in use, cannot be written, is
            damaged, holds the tokens of another codec or another sound under the same id.
    """
    codec.check_discrete()
    summary = Summary()
    if len({sound.id for sound in sounds}) < len(sounds):
        raise UserError("two sounds have the same id; name them apart")
    columns = sorted({name for sound in sounds for name in sound.fields})
    spec = CodecSpec(codec.sample_rate, codec.hops, codec.codebook_sizes, codec.fingerprint)
    with _locked(make_folder(out)) as folder:
        shards = _Shards(folder, spec, columns)
        missing = []
        for sound in sounds:
            if shards.has(sound):
                summary.skipped += 1
                _tell(on_done, sound)
            else:
                missing.append(sound)
        try:
            for sound, codes in _encode(codec, missing, workers):
                if isinstance(codes, str):
                    summary.failed.append(shards.fail(sound, codes))
                    _tell(on_done, sound, codes)
                    continue
                shards.add(sound, codes)
                summary.done += 1
                summary.seconds += codes.duration_seconds
                summary.codes += sum(level.numel() for level in codes.levels)
                _tell(on_done, sound)
        finally:  # what is encoded is kept, whatever stopped us
            shards.close()
    return summary


def _tell(on_done: Callable[[Sound, str], None] | None, sound: Sound, reason: str = "") -> None:
    if on_done is not None:
        on_done(sound, reason)


def encode_sound(codec: Codec, sound: Sound, workers: int | None = None) -> Codes:
    """Codes of a sound of a corpus.

    Raises:
        UserError: the sound cannot be read.
    """
    return _encode_several(codec, [sound], workers)[0]


def _encode(
    codec: Codec, sounds: Sequence[Sound], workers: int | None
) -> Iterator[tuple[Sound, Codes | str]]:
    """Codes of every sound, or the reason why there are none."""
    remaining = iter(sounds)
    while several := list(islice(remaining, SOUNDS_PER_CALL)):
        try:
            yield from zip(several, _encode_several(codec, several, workers), strict=True)
            continue
        except (UserError, OSError):
            pass  # one of them cannot be read: alone, each gives its codes or its reason
        for sound in several:
            try:
                yield sound, encode_sound(codec, sound, workers)
            except (UserError, OSError) as error:
                yield sound, " ".join(str(error).split())


def _encode_several(codec: Codec, sounds: list[Sound], workers: int | None) -> list[Codes]:
    codes = codec.encode([source_of(codec, sound) for sound in sounds], workers=workers)
    assert isinstance(codes, list)
    return codes


def source_of(codec: Codec, sound: Sound) -> Path | Tensor:
    """What `Codec.encode` takes: a file is streamed, a clip of one is held as a whole."""
    if not sound.start_seconds and sound.duration_seconds is None:
        return sound.path
    clip = stream_audio(
        sound.path,
        codec.sample_rate,
        start_seconds=sound.start_seconds,
        duration_seconds=sound.duration_seconds,
    )
    return torch.cat(list(clip))


class _Shards:
    """The shards of a folder and its ledger, in step.

    The ledger has a shard's lines before the shard takes its name, so a shard that is there is in
    the ledger, and one in the ledger that is not there was lost: its sounds count as missing.
    """

    def __init__(self, folder: Path, spec: CodecSpec, columns: Sequence[str]) -> None:
        self.folder, self.spec, self.columns = folder, spec, columns
        self.ledger = read_ledger(folder)
        present = {path.name: path for path in sorted(folder.glob(SHARD_PATTERN))}
        for name, path in present.items():
            if name not in self.ledger.shards:
                raise UserError(f"{path}: not in the ledger beside it; move it to a folder of its own")
            check_sum(path, self.ledger.shards[name])
            other = read_spec(path)
            if other != spec:
                raise UserError(
                    f"{path}: made by codec {other.fingerprint[:12]}, this one is "
                    f"{spec.fingerprint[:12]}; choose another folder"
                )
        self.ledger.shards = {n: s for n, s in self.ledger.shards.items() if n in present}
        self.ledger.entries = {
            name: entry
            for name, entry in self.ledger.entries.items()
            if not entry.done or entry.shard in present
        }
        rewrite_ledger(folder, self.ledger)
        self._next = max((int(name[7:-8]) for name in present), default=-1) + 1
        self._rows: list[TokenRow] = []
        self._entries: list[Entry] = []
        self._codes = 0
        self._hashed = ("", "")

    def has(self, sound: Sound) -> bool:
        """Whether a shard holds this sound; not just one of its name."""
        entry = self.ledger.entries.get(sound.id)
        if entry is None or not entry.done:
            return False
        known = self._describe(sound, entry.sha256)
        if replace(known, shard=entry.shard) == entry:
            return True
        # Files may have moved since; then their bytes tell.
        if replace(self._describe(sound), shard=entry.shard, audio=entry.audio) == entry:
            return True
        raise UserError(
            f"{sound.path}: id {sound.id!r} is that of {entry.audio} in {self.folder}; "
            "name them apart, or choose another folder"
        )

    def add(self, sound: Sound, codes: Codes) -> None:
        """Keep a sound's codes for the next shard, and write that when there are enough."""
        self._rows.append(TokenRow(sound.id, codes, sound.fields))
        self._entries.append(self._describe(sound))
        self._codes += sum(level.numel() for level in codes.levels)
        if len(self._rows) >= ROWS_PER_SHARD or self._codes >= CODES_PER_SHARD:
            self._flush()

    def fail(self, sound: Sound, reason: str) -> Entry:
        """Put a failure on record."""
        entry = replace(self._describe(sound, ""), reason=reason)
        append_lines(self.folder, [entry], {})
        self.ledger.entries[entry.id] = entry
        return entry

    def close(self) -> None:
        """Write what is left, and the ledger with one line for every sound and shard."""
        if self._rows:
            self._flush()
        rewrite_ledger(self.folder, self.ledger)

    def _flush(self) -> None:
        name = f"tokens-{self._next:05d}.parquet"
        entries = [replace(entry, shard=name) for entry in self._entries]
        with replacing(self.folder / name) as part:
            fill_shard(part, self.spec, self._rows, self.columns)
            shards = {name: file_sha256(part)}
            append_lines(self.folder, entries, shards)
        self.ledger.shards |= shards
        self.ledger.entries |= {entry.id: entry for entry in entries}
        self._next += 1
        self._rows, self._entries, self._codes = [], [], 0

    def _describe(self, sound: Sound, sha256: str | None = None) -> Entry:
        path = os.path.abspath(sound.path)
        if sha256 is None:
            if self._hashed[0] != path:  # clips of one file come one after the other
                self._hashed = (path, file_sha256(path) if os.path.isfile(path) else "")
            sha256 = self._hashed[1]
        return Entry(sound.id, path, sha256, sound.start_seconds, sound.duration_seconds)


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Have a folder to oneself for as long as the process lives."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UserError(f"{folder}: another run is writing there; wait for it, or stop it") from None
    try:
        yield folder
    finally:
        os.close(handle)
