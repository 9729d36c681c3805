"""Sounds that nothing was trained on, for evaluation: a manifest of some of the test split.

python recipes/pipeline/held_out.py MANIFEST OUT.jsonl MOST

Where no sound is marked `test`, those of validation are taken.
"""

from pathlib import Path

from vqaudio.cli.terminal import run_script
from vqaudio.corpus.manifest import read_manifest, write_manifest
from vqaudio.errors import UserError
from vqaudio.training.split import VALIDATION


def main(manifest: Path, out: Path, most: int) -> None:
    sounds = read_manifest(manifest)
    test = [sound for sound in sounds if sound.fields.get("split") == "test"]
    held_out = test or [sound for sound in sounds if sound.fields.get("split") in VALIDATION]
    if not held_out:
        raise UserError(f"{manifest}: no sound has the split test or validation; mark some")
    write_manifest(out, held_out[:: max(1, -(-len(held_out) // most))])


if __name__ == "__main__":
    run_script(main)
