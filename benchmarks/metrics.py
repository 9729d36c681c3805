"""Every measure of `vqaudio evaluate` against other implementations, on sounds through a codec.

    pip install -e '.[test]'
    python -m benchmarks.metrics FOLDER [--codec speech-16k] [--sounds 20]

Prints the largest relative difference of each over the sounds.
"""

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import vqaudio
from tests.evaluation.references import by_reference
from vqaudio.corpus.manifest import find_sounds
from vqaudio.evaluation.makers import read_original
from vqaudio.evaluation.measures import built_in


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--codec", default="speech-16k")
    parser.add_argument("--sounds", type=int, default=20)
    args = parser.parse_args()
    codec = vqaudio.load(args.codec)
    assert isinstance(codec, vqaudio.Codec)
    table = Table("measure", "sounds", "largest relative difference", "computed by")
    sounds = [
        read_original(sound, codec.sample_rate)[0] for sound in find_sounds([args.folder])[: args.sounds]
    ]
    made = [codec.decode(codec.encode(sound))[0] for sound in sounds]
    for measure in built_in():
        worst, count = 0.0, 0
        for sound, other in zip(sounds, made, strict=True):
            ours = measure.compute(sound, other, codec.sample_rate)
            if ours is None:
                continue
            count += 1
            for theirs in by_reference(measure.name, sound, other, codec.sample_rate):
                worst = max(worst, abs(ours - theirs) / abs(theirs))
        table.add_row(measure.name, str(count), f"{worst:.1e}", measure.definition.computed_by)
    Console().print(table)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
