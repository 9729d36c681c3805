"""Peak memory of tokenizing: a file of ten hours against two minutes, 100,000 sounds against 1,000.

Run it with `python benchmarks/tokenize_memory.py [MODEL]`; MODEL is a shipped name or folder. Each
corpus is tokenized in a process of its own; what that process held with the model loaded is taken off.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from vqaudio.audio import AudioWriter, read_audio, write_audio

SENTENCE = Path(__file__).parents[1] / "vqaudio" / "assets" / "sentence.flac"
MINUTES = (2, 600)
SOUNDS = (1_000, 100_000)
SHORT_SECONDS = 0.3
RUN = """
import resource, sys
import vqaudio
from vqaudio.corpus.manifest import find_sounds
from vqaudio.corpus.tokenize import tokenize

model, corpus, out = sys.argv[1:]
codec = vqaudio.load(model)
codec.encode("{sentence}")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tokenize(codec, find_sounds([corpus]), out)
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def one_long(minutes: int, folder: Path) -> Path:
    """A FLAC file of so many minutes of speech."""
    sentence, rate = read_audio(SENTENCE)
    sound = folder / f"{minutes}-minutes.flac"
    with AudioWriter(sound, rate) as writer:
        for _ in range(round(minutes * 60 * rate / sentence.shape[1])):
            writer.write(sentence)
    return sound


def many_short(count: int, folder: Path) -> Path:
    """A manifest of so many sounds, which share a few files."""
    sentence, rate = read_audio(SENTENCE)
    length = round(SHORT_SECONDS * rate)
    names = [f"short-{number}.flac" for number in range(sentence.shape[1] // length)]
    for number, name in enumerate(names):
        write_audio(folder / name, sentence[:, number * length :][:, :length], rate)
    manifest = folder / f"{count}-sounds.jsonl"
    with manifest.open("w") as file:
        for number in range(count):
            line = {"id": f"sound-{number:07}", "audio": names[number % len(names)]}
            file.write(json.dumps(line | {"speaker": f"speaker-{number % 100}"}) + "\n")
    return manifest


def peaks_mib(model: str, corpus: Path) -> tuple[float, float]:
    """Peak memory before and after a corpus was tokenized, in MiB."""
    script = RUN.format(sentence=SENTENCE)
    run = [sys.executable, "-c", script, model, str(corpus), str(corpus.with_suffix(".tokens"))]
    printed = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    before, after = (int(word) / 1024 for word in printed.split())
    return before, after


def main() -> None:
    """Print the peaks and their ratios."""
    model = sys.argv[1] if len(sys.argv) > 1 else "speech-16k"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kinds = {
            "minutes in a file": [(n, one_long(n, folder)) for n in MINUTES],
            "sounds listed": [(n, many_short(n, folder)) for n in SOUNDS],
        }
        for kind, corpora in kinds.items():
            for count, corpus in corpora:
                before, after = peaks_mib(model, corpus)
                over = after - before
                print(f"{count:7,} {kind}: {after:6.0f} MiB at the peak, {over:6.0f} over baseline")


if __name__ == "__main__":
    main()
