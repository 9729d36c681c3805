"""Peak memory of tokenizing a 2-hour file, against that of a 2-minute one.

Run it with `python benchmarks/tokenize_memory.py [MODEL]`; MODEL is a shipped name or folder. Each file
is tokenized in a process of its own; what that process held after its imports is taken off.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from vqaudio.audio import AudioWriter, read_audio

SENTENCE = Path(__file__).parents[1] / "vqaudio" / "assets" / "sentence.flac"
MINUTES = (2, 120)
RUN = """
import resource, sys
import vqaudio
from vqaudio.corpus.manifest import find_sounds
from vqaudio.corpus.tokenize import tokenize

model, sound, out = sys.argv[1:]
load = vqaudio.load
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tokenize(load(model), find_sounds([sound]), out)
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peaks_mib(model: str, minutes: int, folder: Path) -> tuple[float, float]:
    """Peak memory before and after a file of so many minutes was tokenized, in MiB."""
    sentence, rate = read_audio(SENTENCE)
    sound = folder / f"{minutes}-minutes.flac"
    repeats = round(minutes * 60 * rate / sentence.shape[1])
    with AudioWriter(sound, rate) as writer:
        for _ in range(repeats):
            writer.write(sentence)
    run = [sys.executable, "-c", RUN, model, str(sound), str(folder / str(minutes))]
    printed = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    before, after = (int(word) / 1024 for word in printed.split())
    return before, after


def main() -> None:
    """Print the peaks and their ratio."""
    model = sys.argv[1] if len(sys.argv) > 1 else "speech-16k"
    over = []
    with tempfile.TemporaryDirectory() as folder:
        for minutes in MINUTES:
            before, after = peaks_mib(model, minutes, Path(folder))
            over.append(after - before)
            print(
                f"{minutes:4} minutes: {after:6.0f} MiB at the peak, {after - before:6.0f} over baseline"
            )
    print(f"ratio {over[1] / over[0]:.2f}")


if __name__ == "__main__":
    main()
