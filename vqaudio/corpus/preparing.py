"""From a data set, as it is distributed, to a manifest: what the recipes' `prepare.py` are made of."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import soundfile

from vqaudio.corpus.manifest import Sound
from vqaudio.errors import UserError

DEPTH = 2  # how far below the folder given a data set is looked for
SHOWN = 5  # names of what was found instead


def find_root(data: Path, expects: Sequence[str]) -> Path:
    """The folder of a data set: the one given, or one at most two below it.

    Raises:
        UserError: what was expected is nowhere, and what was found instead.
    """
    if not data.is_dir():
        raise UserError(f"{data}: no such folder; give that of the data set")
    level = [data]
    for _ in range(DEPTH + 1):
        for folder in level:
            if all(next(folder.glob(pattern), None) for pattern in expects):
                return folder
        level = [below for folder in level for below in sorted(folder.iterdir()) if below.is_dir()]
    names = sorted(entry.name for entry in data.iterdir())
    there = ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
    raise UserError(
        f"{data}: expected {' and '.join(expects)}, found {there or 'nothing'}; give the data set's "
        "folder, unpacked"
    )


def hashed_split(name: str, validation: float = 0.05, test: float = 0.05) -> str:
    """A split for a data set that has none of its own, by a hash of a name: the same on every machine.

    Args:
        name: of a sound, or of what must not be in two splits, such as its speaker or its song.
        validation: share of names in it.
        test: share of names in it.
    """
    place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) / 2**32
    if place < test:
        return "test"
    return "validation" if place < test + validation else "train"


def read_rows(path: Path, separator: str, columns: int) -> Iterator[list[str]]:
    """The lines of a listing, each as at least so many columns.

    Raises:
        UserError: the line that has fewer, or is not UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    for number, line in enumerate(lines, start=1):
        cells = line.split(separator)
        if len(cells) < columns:
            raise UserError(f"{path}:{number}: {len(cells)} columns, not {columns}; fetch it again")
        yield cells


def listed(listing: Path, audio: str, field: str) -> Iterator[Sound]:
    """The sounds of a listing with lines of `id|...|what is said of it`.

    Args:
        listing: the file.
        audio: where the sounds lie beside it, such as `wavs/{}.wav`.
        field: what the last column is in a manifest, such as `text`.
    """
    for name, *_, said in read_rows(listing, "|", 2):
        fields = {field: said.strip(), "split": hashed_split(name)}
        yield Sound(name, listing.parent / audio.format(name), fields=fields)


def measured(sounds: Sequence[Sound]) -> Iterator[Sound]:
    """The sounds with their durations, as they are measured.

    Raises:
        UserError: the first that is missing, or damaged.
    """
    if missing := [sound for sound in sounds if not os.path.exists(sound.audio)]:
        raise UserError(
            f"{missing[0].audio}: missing, as {len(missing)} of {len(sounds)} sounds; is the "
            "download complete?"
        )

    def duration(sound: Sound) -> float:
        if sound.duration_seconds is not None:
            return sound.duration_seconds
        try:
            return float(soundfile.info(sound.audio).duration) - sound.start_seconds
        except (soundfile.SoundFileError, OSError):
            raise UserError(
                f"{sound.audio}: no sound that can be read; is the download complete?"
            ) from None

    with ThreadPoolExecutor() as pool:
        for sound, seconds in zip(sounds, pool.map(duration, sounds), strict=True):
            yield Sound(sound.id, sound.audio, sound.start_seconds, seconds, sound.fields)


def summary(sounds: Sequence[Sound]) -> str:
    """How many of each split, and how long together."""
    counts = Counter(sound.fields.get("split", "train") for sound in sounds)
    minutes = sum(sound.duration_seconds or 0 for sound in sounds) / 60
    parts = ", ".join(f"{count} {split}" for split, count in counts.most_common())
    return f"{parts}, {minutes:.0f} minutes"
