"""Read sentences, as the data set is distributed, to a manifest with their texts.

    python egs/kathleen/prepare.py DATA MANIFEST

DATA holds `metadata.csv`, lines of `id|text`, and `audio/{id}.flac` or `audio/{id}.wav`. Of 20
sentences one is for the test split and one for validation.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import soundfile

from vqaudio.corpus.manifest import Sound, write_manifest
from vqaudio.errors import UserError

EVERY = 20
HELD_OUT = {0: "test", 10: "validation"}


def prepare(data: Path, manifest: Path) -> list[Sound]:
    """Write the manifest of the sentences under `data`, and return what it says."""
    listing = data / "metadata.csv"
    if not listing.is_file():
        raise UserError(f"{listing}: missing; give the data set's folder")
    sounds = []
    for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines()):
        name, _, text = line.partition("|")
        path = next((p for p in sorted((data / "audio").glob(f"{name}.*"))), None)
        if path is None or not text:
            raise UserError(f"{listing}: line {number + 1}: no text, or no {data / 'audio' / name}.flac")
        fields = {"text": text.strip(), "split": HELD_OUT.get(number % EVERY, "train")}
        duration = soundfile.info(path).duration
        sounds.append(Sound(name, path, duration_seconds=duration, fields=fields))
    write_manifest(manifest, sounds)
    return sounds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("manifest", type=Path)
    arguments = parser.parse_args()
    try:
        found = prepare(arguments.data, arguments.manifest)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    counts = Counter(sound.fields["split"] for sound in found)
    print(", ".join(f"{count} {split}" for split, count in counts.items()), "in", arguments.manifest)
