"""NSynth, as it is distributed, to a manifest: the family of the instrument is the label.

    python egs/nsynth/prepare.py DATA MANIFEST

DATA holds `nsynth-train`, `nsynth-valid` and `nsynth-test`, each with `examples.json` and `audio/*.wav`:
these are the splits.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from vqaudio.cli.prepare import prepare
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.preparing import read_text
from vqaudio.errors import UserError

SPLITS = {"nsynth-train": "train", "nsynth-valid": "validation", "nsynth-test": "test"}


def sounds(data: Path) -> Iterator[Sound]:
    for part, split in SPLITS.items():
        listing = data / part / "examples.json"
        try:
            notes = json.loads(read_text(listing))
        except json.JSONDecodeError as error:
            raise UserError(f"{listing}: not JSON ({error.msg}); fetch it again") from None
        for name, note in notes.items():
            fields = {"label": note["instrument_family_str"], "split": split}
            fields["pitch"] = str(note["pitch"])
            yield Sound(name, data / part / "audio" / f"{name}.wav", fields=fields)


if __name__ == "__main__":
    prepare(sounds, expects=[f"{part}/examples.json" for part in SPLITS])
