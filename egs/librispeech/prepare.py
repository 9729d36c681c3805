"""LibriSpeech, as it is distributed, to a manifest with texts and speakers.

    python egs/librispeech/prepare.py DATA MANIFEST

DATA holds `{subset}/{speaker}/{chapter}/{id}.flac` and, beside them, `{speaker}-{chapter}.trans.txt`
with lines of `id text`. Subsets dev-* validate, test-* are the test split; all others are trained on.
"""

from collections.abc import Iterator
from pathlib import Path

from vqaudio.cli.prepare import prepare
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.preparing import read_rows

EXPECTS = ["train-*/*/*/*.trans.txt", "dev-clean/*/*/*.trans.txt", "test-clean/*/*/*.trans.txt"]
SPLITS = {"dev": "validation", "test": "test"}


def sounds(data: Path) -> Iterator[Sound]:
    for listing in sorted(data.glob("*-*/*/*/*.trans.txt")):
        subset, speaker, _, _ = listing.relative_to(data).parts
        said = {"speaker": speaker, "split": SPLITS.get(subset.partition("-")[0], "train")}
        for name, *words in read_rows(listing, " ", columns=2):
            yield Sound(name, listing.parent / f"{name}.flac", fields={**said, "text": " ".join(words)})


if __name__ == "__main__":
    prepare(sounds, expects=EXPECTS)
