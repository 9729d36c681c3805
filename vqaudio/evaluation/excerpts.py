"""Sounds made small enough for a page."""

from collections.abc import Iterable
from pathlib import Path

from vqaudio.audio import read_audio, resample, write_audio

LONGEST_SECONDS = 10.0
MOST_BYTES = 3_000_000  # of all together, before they are a third longer in the page
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


def excerpts(files: Iterable[Path], folder: Path) -> dict[Path, Path]:
    """The first ten seconds of each sound: FLAC, or MP3 where all together would be over 3 MB.

    Browsers decode both without help; MP3 is a quarter as long and hides no fault of a codec at the
    bitrates that are worth a look.

    Args:
        files: sounds.
        folder: for the excerpts.

    Returns:
        The excerpt of each file.

    Raises:
        UserError: a file cannot be read.
    """
    made: dict[Path, Path] = {}
    for suffix in (".flac", ".mp3"):
        made = {file: folder / f"excerpt-{n}{suffix}" for n, file in enumerate(dict.fromkeys(files))}
        for file, path in made.items():
            audio, rate = read_audio(file)
            audio = audio[:, : round(LONGEST_SECONDS * rate)]
            wanted = rate if suffix == ".flac" or rate in MP3_RATES else MP3_RATES[-1]
            write_audio(path, resample(audio, rate, wanted), wanted)
        if sum(path.stat().st_size for path in made.values()) <= MOST_BYTES:
            break
    return made
