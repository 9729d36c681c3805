"""Read sentences, as the data set is distributed, to a manifest with their texts.

    python egs/kathleen/prepare.py DATA MANIFEST

DATA holds `metadata.csv`, lines of `id|text`, and `audio/{id}.flac` or `audio/{id}.wav`. Of 20
sentences one is for the test split and one for validation.
"""

from collections import Counter
from pathlib import Path

import soundfile

from vqaudio.cli.terminal import run_script
from vqaudio.corpus.manifest import Sound, write_manifest
from vqaudio.errors import UserError

EVERY = 20
HELD_OUT = {0: "test", 10: "validation"}


def main(data: Path, manifest: Path) -> None:
    """Write the manifest of the sentences under `data`, and say how many there are."""
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
    counts = Counter(sound.fields["split"] for sound in sounds)
    print(", ".join(f"{count} {split}" for split, count in counts.items()), "in", manifest)


if __name__ == "__main__":
    run_script(main)
