"""MUSDB18-HQ, as it is distributed, to a manifest of pieces of about 30 seconds.

    python egs/musdb18/prepare.py DATA MANIFEST

DATA holds `train/{song}/mixture.wav` and `test/{song}/mixture.wav`. The test split is the data set's
own; a hash of its name chooses whether a song of the others is for validation, as one in ten is.
"""

from collections.abc import Iterator
from pathlib import Path

from vqaudio.cli.prepare import prepare
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.preparing import hashed_split, measured, pieces

SECONDS = 30.0


def songs(data: Path) -> Iterator[Sound]:
    for path in sorted(data.glob("t*/*/mixture.wav")):
        part, song, _ = path.relative_to(data).parts
        split = "test" if part == "test" else hashed_split(song, validation=0.1, test=0.0)
        yield Sound(song, path, fields={"split": split})


def sounds(data: Path) -> Iterator[Sound]:
    for song in measured(list(songs(data))):
        yield from pieces(song, SECONDS)


if __name__ == "__main__":
    prepare(sounds, expects=["train/*/mixture.wav", "test/*/mixture.wav"])
