"""Digits and sentences, as they are distributed, to one manifest.

    python egs/bottlenecks/prepare.py DIGITS SENTENCES MANIFEST

DIGITS is the manifest that egs/fsdd/prepare.py makes. SENTENCES is a folder of recordings of one
speaker, of which the first 21 minutes are taken, by name: one to test with, the others to train on.
"""

from dataclasses import replace
from pathlib import Path

from vqaudio.cli.terminal import run_script
from vqaudio.corpus.manifest import Sound, find_sounds, read_manifest, write_manifest
from vqaudio.training.data import duration_seconds

TEST_SECONDS, SECONDS = 60.0, 21 * 60.0


def sentences_of(folder: Path) -> list[Sound]:
    """The first sounds of a folder, with the split of each."""
    taken: list[Sound] = []
    seconds = 0.0
    for sound in find_sounds([folder]):
        duration = duration_seconds(sound)
        if seconds + duration > SECONDS:
            break
        fields = {"speaker": folder.name, "split": "test" if seconds < TEST_SECONDS else "train"}
        name = f"{folder.name}/{sound.id}"
        taken.append(replace(sound, id=name, duration_seconds=duration, fields=fields))
        seconds += duration
    return taken


def main(digits: Path, sentences: Path, manifest: Path) -> None:
    """Write the manifest of both, and say how many sounds it has."""
    found = read_manifest(digits) + sentences_of(sentences)
    write_manifest(manifest, found)
    print(len(found), "sounds in", manifest)


if __name__ == "__main__":
    run_script(main)
