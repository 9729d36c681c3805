"""The Free Spoken Digit Dataset, as it is distributed, to a manifest.

    python egs/fsdd/prepare.py DATA MANIFEST

DATA holds `{digit}_{speaker}_{index}.wav`, or a folder below it does. The test split is the data set's
own: index 0-4 of each speaker and digit. Index 5 and 6 are for validation.
"""

from collections.abc import Iterator
from pathlib import Path

from vqaudio.cli.prepare import prepare
from vqaudio.corpus.manifest import Sound

EXPECTS = "[0-9]_*_[0-9]*.wav"


def split_of(index: int) -> str:
    """The split that a recording belongs to, by its number."""
    if index < 5:
        return "test"
    return "validation" if index < 7 else "train"


def sounds(data: Path) -> Iterator[Sound]:
    for path in sorted(data.glob(EXPECTS)):
        digit, speaker, index = path.stem.split("_")
        fields = {"speaker": speaker, "label": digit, "split": split_of(int(index))}
        yield Sound(path.stem, path, fields=fields)


if __name__ == "__main__":
    prepare(sounds, expects=[EXPECTS])
