"""ESC-50, as it is distributed, to a manifest: the category is the label.

    python egs/esc50/prepare.py DATA MANIFEST

DATA holds `meta/esc50.csv` and `audio/*.wav`. Of its five folds the fifth is the test split and the
fourth validates, so that no recording that clips were cut from is in two splits.
"""

from collections.abc import Iterator
from pathlib import Path

from vqaudio.cli.prepare import prepare
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.preparing import read_rows

FOLDS = {"4": "validation", "5": "test"}


def sounds(data: Path) -> Iterator[Sound]:
    rows = read_rows(data / "meta" / "esc50.csv", ",", columns=4)
    next(rows)  # names of columns
    for name, fold, _, category, *_ in rows:
        fields = {"label": category, "split": FOLDS.get(fold, "train")}
        yield Sound(name.removesuffix(".wav"), data / "audio" / name, fields=fields)


if __name__ == "__main__":
    prepare(sounds, expects=["meta/esc50.csv", "audio/*.wav"])
