"""VCTK 0.92, as it is distributed, to a manifest with texts and speakers.

    python egs/vctk/prepare.py DATA MANIFEST

DATA holds `wav48_silence_trimmed/{speaker}/{speaker}_{number}_mic2.flac` and
`txt/{speaker}/{speaker}_{number}.txt`. Of speakers p280 and p315 there is no second microphone or no
text, so they are left out. All speakers are in all splits: a hash of the sentence's number chooses 5 %
for validation and 5 % for the test split.
"""

from collections.abc import Iterator
from pathlib import Path

from vqaudio.cli.prepare import prepare
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.preparing import hashed_split, read_text

AUDIO = "wav48_silence_trimmed/*/*_mic2.flac"
WITHOUT_TEXT = "p315"


def sounds(data: Path) -> Iterator[Sound]:
    for path in sorted(data.glob(AUDIO)):
        speaker, number, _ = path.stem.split("_")
        if speaker == WITHOUT_TEXT:
            continue
        name = f"{speaker}_{number}"
        text = read_text(data / "txt" / speaker / f"{name}.txt")
        yield Sound(name, path, fields={"speaker": speaker, "split": hashed_split(number), "text": text})


if __name__ == "__main__":
    prepare(sounds, expects=[AUDIO, "txt/*/*.txt"])
