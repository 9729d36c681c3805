"""LJ Speech, as it is distributed, to a manifest with its normalized texts.

    python egs/ljspeech/prepare.py DATA MANIFEST

DATA holds `metadata.csv`, lines of `id|text|normalized text`, and `wavs/{id}.wav`. A hash of the id
chooses 5 % of the sentences for validation and 5 % for the test split.
"""

from collections.abc import Iterator
from pathlib import Path

from vqaudio.cli.prepare import prepare
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.preparing import listed


def sounds(data: Path) -> Iterator[Sound]:
    return listed(data / "metadata.csv", "wavs/{}.wav", "text")


if __name__ == "__main__":
    prepare(sounds, expects=["metadata.csv", "wavs/*.wav"])
