"""LibriTTS, as it is distributed, to a manifest with normalized texts and speakers.

    python egs/libritts/prepare.py DATA MANIFEST

DATA holds `{subset}/{speaker}/{chapter}/{id}.wav`, and beside each `{id}.normalized.txt`. Subsets dev-*
validate, test-* are the test split; all others are trained on.
"""

from collections.abc import Iterator
from pathlib import Path

from vqaudio.cli.prepare import prepare
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.preparing import read_text

EXPECTS = ["train-*/*/*/*.wav", "dev-clean/*/*/*.wav", "test-clean/*/*/*.wav"]
SPLITS = {"dev": "validation", "test": "test"}


def sounds(data: Path) -> Iterator[Sound]:
    for path in sorted(data.glob("*-*/*/*/*.wav")):
        subset, speaker, _, _ = path.relative_to(data).parts
        text = read_text(path.with_suffix(".normalized.txt"))
        fields = {
            "speaker": speaker,
            "split": SPLITS.get(subset.partition("-")[0], "train"),
            "text": text,
        }
        yield Sound(path.stem, path, fields=fields)


if __name__ == "__main__":
    prepare(sounds, expects=EXPECTS)
