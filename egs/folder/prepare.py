"""Any folder of sound files, at any depth, to a manifest.

    python egs/folder/prepare.py DATA MANIFEST

Recordings longer than 45 seconds become pieces of about 30. What cannot be read is left out, and said.
By a hash of their names a tenth of the files, at least one, are the test split, and as many validate.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from vqaudio.cli.prepare import prepare
from vqaudio.cli.terminal import note
from vqaudio.corpus.manifest import Sound, find_sounds
from vqaudio.corpus.preparing import pieces
from vqaudio.errors import UserError
from vqaudio.sound_files import sound_seconds

SECONDS = 30.0
FEWEST = 3  # files: one for each split


def readable(data: Path) -> Iterator[Sound]:
    """The sounds with their durations."""
    complaints = []
    for sound in find_sounds([data]):
        try:
            seconds = sound_seconds(sound.audio)
        except UserError as error:
            complaints.append(str(error))
            continue
        yield Sound(sound.id, sound.audio, duration_seconds=seconds)
    if complaints:
        note(f"left out, as they cannot be read: {len(complaints)}; the first: {complaints[0]}")


def sounds(data: Path) -> Iterator[Sound]:
    found = list(readable(data))
    if len(found) < FEWEST:
        raise UserError(f"{data}: {len(found)} sounds that can be read; give {FEWEST} or more files")
    by_hash = sorted(found, key=lambda sound: hashlib.sha256(sound.id.encode()).digest())
    held_out = max(1, len(found) // 10)
    splits = ["test"] * held_out + ["validation"] * held_out + ["train"] * len(found)
    for sound, split in zip(by_hash, splits, strict=False):
        whole = Sound(sound.id, sound.audio, 0.0, sound.duration_seconds, {"split": split})
        yield from pieces(whole, SECONDS)


if __name__ == "__main__":
    prepare(sounds, expects=[])
