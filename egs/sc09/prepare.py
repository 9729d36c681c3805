"""SC09, the ten digits of Speech Commands 0.02 as they are distributed, to a manifest.

    python egs/sc09/prepare.py DATA MANIFEST

DATA holds `{word}/{speaker}_nohash_{number}.wav`, and the splits in `validation_list.txt` and
`testing_list.txt`. Thousands of speakers said a few digits each, so the manifest does not name them.
"""

from collections.abc import Iterator
from pathlib import Path

from vqaudio.cli.prepare import prepare
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.preparing import read_text

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}


def sounds(data: Path) -> Iterator[Sound]:
    splits = {
        name: split for split, listing in LISTS.items() for name in read_text(data / listing).split()
    }
    found = {f"{digit}/{path.name}" for digit in DIGITS for path in (data / digit).glob("*.wav")}
    listed = {name for name in splits if name.partition("/")[0] in DIGITS}
    for name in sorted(found | listed):  # what is listed and not there is missing
        fields = {"label": name.partition("/")[0], "split": splits.get(name, "train")}
        yield Sound(name.removesuffix(".wav"), data / name, fields=fields)


if __name__ == "__main__":
    prepare(sounds, expects=[*LISTS.values(), *(f"{digit}/*.wav" for digit in DIGITS)])
