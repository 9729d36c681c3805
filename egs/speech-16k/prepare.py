"""Manifest of open speech: a folder of corpora, each with audio/*.flac, and dev/ to listen to.

python egs/speech-16k/prepare.py DATA OUT.jsonl

DATA/kathleen, kerstin and wakewords are trained on; a few of DATA/dev only validate.
"""

from pathlib import Path

import soundfile

from vqaudio.cli.terminal import run_script
from vqaudio.corpus.manifest import Sound, write_manifest

TRAINING = ("kathleen", "kerstin", "wakewords")
VALIDATION_STEP = {"seen": 20, "unseen": 5}  # every so many of dev/


def main(data: Path, out: Path) -> None:
    """Write the manifest."""
    data = data.expanduser()
    sounds = [
        _sound(path, corpus, "train")
        for corpus in TRAINING
        for path in sorted((data / corpus / "audio").glob("*.flac"))
    ]
    for part, step in VALIDATION_STEP.items():
        paths = sorted((data / "dev" / part).glob("*.flac"))[::step]
        sounds += [_sound(path, part, "validation") for path in paths]
    write_manifest(out, sounds)
    print(
        f"{out}: {len(sounds)} sounds, {sum(s.duration_seconds or 0 for s in sounds) / 60:.0f} minutes"
    )


def _sound(path: Path, corpus: str, split: str) -> Sound:
    fields = {"corpus": corpus, "split": split}
    duration = soundfile.info(path).duration
    return Sound(f"{corpus}-{path.stem}", path.resolve(), duration_seconds=duration, fields=fields)


if __name__ == "__main__":
    run_script(main)
