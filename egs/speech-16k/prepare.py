"""Manifest of open speech: a folder of corpora, each with audio/*.flac, and dev/ to listen to.

python egs/speech-16k/prepare.py DATA OUT.jsonl

DATA/kathleen, kerstin and wakewords are trained on; a few of DATA/dev only validate.
"""

from collections.abc import Iterator
from pathlib import Path

from vqaudio.cli.prepare import prepare
from vqaudio.corpus.manifest import Sound

TRAINING = ("kathleen", "kerstin", "wakewords")
VALIDATION_STEP = {"seen": 20, "unseen": 5}  # every so many of dev/


def sounds(data: Path) -> Iterator[Sound]:
    for corpus in TRAINING:
        for path in sorted((data / corpus / "audio").glob("*.flac")):
            yield _sound(path, corpus, "train")
    for part, step in VALIDATION_STEP.items():
        for path in sorted((data / "dev" / part).glob("*.flac"))[::step]:
            yield _sound(path, part, "validation")


def _sound(path: Path, corpus: str, split: str) -> Sound:
    return Sound(f"{corpus}-{path.stem}", path.resolve(), fields={"corpus": corpus, "split": split})


if __name__ == "__main__":
    prepare(sounds, expects=[f"{corpus}/audio/*.flac" for corpus in TRAINING])
