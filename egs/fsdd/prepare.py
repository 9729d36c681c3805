"""The Free Spoken Digit Dataset, as it is distributed, to a manifest.

    python egs/fsdd/prepare.py DATA MANIFEST

DATA holds the recordings `{digit}_{speaker}_{index}.wav`, or a folder `recordings` of them. The test
split is the data set's own: index 0-4 of each speaker and digit. Index 5 and 6 are for validation.
"""

import re
from collections import Counter
from pathlib import Path

import soundfile

from vqaudio.cli.terminal import run_script
from vqaudio.corpus.manifest import Sound, write_manifest
from vqaudio.errors import UserError

NAME = re.compile(r"(\d)_([a-z]+)_(\d+)")


def split_of(index: int) -> str:
    """The split that a recording belongs to, by its number."""
    if index < 5:
        return "test"
    return "validation" if index < 7 else "train"


def main(data: Path, manifest: Path) -> None:
    """Write the manifest of the recordings under `data`, and say how many there are."""
    folder = data / "recordings" if (data / "recordings").is_dir() else data
    sounds = []
    for path in sorted(folder.glob("*.wav")):
        name = NAME.fullmatch(path.stem)
        if name is None:
            continue
        digit, speaker, index = name.groups()
        fields = {"speaker": speaker, "label": digit, "split": split_of(int(index))}
        duration = soundfile.info(path).duration
        sounds.append(Sound(path.stem, path, duration_seconds=duration, fields=fields))
    if not sounds:
        raise UserError(
            f"{folder}: no recordings named like 7_jackson_32.wav; give the data set's folder"
        )
    write_manifest(manifest, sounds)
    counts = Counter(sound.fields["split"] for sound in sounds)
    print(", ".join(f"{count} {split}" for split, count in counts.items()), "in", manifest)


if __name__ == "__main__":
    run_script(main)
