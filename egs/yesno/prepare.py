"""YesNo, as it is distributed, to a manifest with what is said.

    python egs/yesno/prepare.py DATA MANIFEST

DATA holds `0_1_0_0_1_1_1_0.wav` and 59 more: eight times the Hebrew for no (0) or yes (1). Of ten one is
in the test split and one for validation.
"""

from collections.abc import Iterator
from pathlib import Path

from vqaudio.cli.prepare import prepare
from vqaudio.corpus.manifest import Sound

EXPECTS = "[01]_[01]_[01]_[01]_[01]_[01]_[01]_[01].wav"
HELD_OUT = {0: "test", 5: "validation"}


def sounds(data: Path) -> Iterator[Sound]:
    for number, path in enumerate(sorted(data.glob(EXPECTS))):
        text = path.stem.replace("0", "no").replace("1", "yes").replace("_", " ")
        yield Sound(path.stem, path, fields={"text": text, "split": HELD_OUT.get(number % 10, "train")})


if __name__ == "__main__":
    prepare(sounds, expects=[EXPECTS])
