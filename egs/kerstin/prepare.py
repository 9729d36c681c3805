"""Kerstin: German sentences read by one woman, to a manifest with their texts.

    python egs/kerstin/prepare.py DATA MANIFEST

DATA holds `metadata.csv`, lines of `id|text`, and `audio/{id}.flac`. A hash of the id chooses 5 % of
the sentences for validation and 5 % for the test split.
"""

from collections.abc import Iterator
from pathlib import Path

from vqaudio.cli.prepare import prepare
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.preparing import listed


def sounds(data: Path) -> Iterator[Sound]:
    return listed(data / "metadata.csv", "audio/{}.flac", "text")


if __name__ == "__main__":
    prepare(sounds, expects=["metadata.csv", "audio/*.flac"])
