"""Wake words spoken by volunteers, to a manifest: the word is the label.

    python egs/wakewords/prepare.py DATA MANIFEST

DATA holds `metadata.csv`, lines of `id|word`, and `audio/{id}.flac`. A hash of the id chooses 5 % of the
clips for validation and 5 % for the test split: who spoke them is not told.
"""

from collections.abc import Iterator
from pathlib import Path

from vqaudio.cli.prepare import prepare
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.preparing import listed


def sounds(data: Path) -> Iterator[Sound]:
    return listed(data / "metadata.csv", "audio/{}.flac", "label")


if __name__ == "__main__":
    prepare(sounds, expects=["metadata.csv", "audio/*.flac"])
