"""GTZAN, as it is distributed, to a manifest: the genre is the label.

    python egs/gtzan/prepare.py DATA MANIFEST

DATA holds `{genre}/{genre}.{number}.wav` (or `.au`). A hash of the name chooses 5 % of the pieces for
validation and 5 % for the test split.
"""

from collections.abc import Iterator
from pathlib import Path

from vqaudio.cli.prepare import prepare
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.preparing import hashed_split

DAMAGED = "jazz.00054"  # as it is distributed


def sounds(data: Path) -> Iterator[Sound]:
    for path in sorted(data.glob("*/*.[0-9][0-9][0-9][0-9][0-9].*")):
        if path.stem != DAMAGED and path.suffix in (".wav", ".au"):
            fields = {"label": path.parent.name, "split": hashed_split(path.stem)}
            yield Sound(path.stem, path, fields=fields)


if __name__ == "__main__":
    prepare(sounds, expects=["blues/blues.[0-9]*.*", "rock/rock.[0-9]*.*"])
