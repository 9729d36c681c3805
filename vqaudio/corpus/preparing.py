"""From a data set, as it is distributed, to a manifest: what the recipes' `prepare.py` are made of."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vqaudio.corpus.manifest import Sound
from vqaudio.errors import UserError
from vqaudio.sound_files import sound_seconds

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


def read_text(path: Path) -> str:
    """What a file of text says, such as the transcript of one sound.

    Raises:
        UserError: it is missing, or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except FileNotFoundError:
        raise UserError(f"{path}: missing; is the download complete?") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); see that it can be") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; fetch it again") from None


def read_rows(path: Path, separator: str, columns: int) -> Iterator[list[str]]:
    """The lines of a listing, each as at least so many columns.

    Raises:
        UserError: the file cannot be read, or a line has fewer.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
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
        return sound_seconds(sound.audio) - sound.start_seconds

    with ThreadPoolExecutor() as pool:
        for sound, seconds in zip(sounds, pool.map(duration, sounds), strict=True):
            yield Sound(sound.id, sound.audio, sound.start_seconds, seconds, sound.fields)


def pieces(sound: Sound, seconds: float) -> Iterator[Sound]:
    """A recording as clips of about this length, where it is longer than one and a half.

    Args:
        sound: whose duration is known.
        seconds: that a clip lasts, to a half more or less.
    """
    whole = sound.duration_seconds or 0.0
    count = max(1, round(whole / seconds))
    if count == 1:
        yield sound
        return
    for number in range(count):
        start, name = sound.start_seconds + number * whole / count, f"{sound.id}/{number:04}"
        yield Sound(name, sound.audio, start, whole / count, sound.fields)


def summary(sounds: Sequence[Sound]) -> str:
    """How many of each split, and how long together."""
    counts = Counter(sound.fields.get("split", "train") for sound in sounds)
    minutes = sum(sound.duration_seconds or 0 for sound in sounds) / 60
    parts = ", ".join(f"{count} {split}" for split, count in counts.most_common())
    return f"{parts}, {minutes:.0f} minutes"
