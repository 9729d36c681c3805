"""Copies of training sounds that are played faster or slower: pitch, formants and speed together.

    python egs/speech-16k/perturb.py MANIFEST OUT

OUT gets four copies of each sound that is not marked for validation or test. Their samples are those
of the original, and their headers say another rate, by a factor from 0.72 to 1.33.
"""

import random
from pathlib import Path

from vqaudio.audio import read_audio, write_audio
from vqaudio.cli.terminal import progress, run_script
from vqaudio.corpus.manifest import read_manifest

COPIES = 4
SLOWEST, FASTEST = 0.72, 1.33


def main(manifest: Path, out: Path) -> None:
    sounds = [
        sound for sound in read_manifest(manifest) if sound.fields.get("split", "train") == "train"
    ]
    with progress() as bar:
        task = bar.add_task("perturbing", total=COPIES * len(sounds))
        for copy in range(COPIES):
            chance = random.Random(copy)
            for sound in sounds:
                audio, rate = read_audio(sound.path)
                path = out / f"{copy}" / f"{sound.id}.wav"
                write_audio(path, audio, int(rate * chance.uniform(SLOWEST, FASTEST)))
                bar.advance(task)


if __name__ == "__main__":
    run_script(main)
