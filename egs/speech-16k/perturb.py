"""Copies of training sounds: faster or slower, in other rooms, with noise, softer or louder.

    python egs/speech-16k/perturb.py MANIFEST OUT

OUT gets eight copies of each sound that is not marked for validation or test. Their headers say another
rate than the original's, by a factor from 0.7 to 1.4: pitch, formants and speed change together.
"""

import random
from pathlib import Path

import numpy as np
import torch

from vqaudio.audio import read_audio, write_audio
from vqaudio.cli.terminal import progress, run_script
from vqaudio.config import CodecData, Gain, Noise, Reverberation
from vqaudio.corpus.manifest import read_manifest
from vqaudio.training.perturbation import disturb

COPIES = 8
SLOWEST, FASTEST = 0.7, 1.4
OTHERS = CodecData(
    reverberation=Reverberation(share=0.2), noise=Noise(share=0.2), gain=Gain(share=0.5, softest_db=-9.0)
)


def main(manifest: Path, out: Path) -> None:
    sounds = [
        sound for sound in read_manifest(manifest) if sound.fields.get("split", "train") == "train"
    ]
    with progress() as bar:
        task = bar.add_task("perturbing", total=COPIES * len(sounds))
        for copy in range(COPIES):
            chance, others = random.Random(copy), np.random.default_rng(copy)
            for sound in sounds:
                audio, rate = read_audio(sound.path)
                audio = torch.from_numpy(disturb(audio[0].numpy(), rate, OTHERS, others))[None]
                speed = SLOWEST * (FASTEST / SLOWEST) ** chance.random()
                write_audio(out / f"{copy}" / f"{sound.id}.wav", audio, round(rate * speed))
                bar.advance(task)


if __name__ == "__main__":
    run_script(main)
