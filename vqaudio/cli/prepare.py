"""The script that a recipe's `prepare.py` is: `python prepare.py DATA MANIFEST`."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from vqaudio.cli.terminal import progress, run_script, say
from vqaudio.corpus.manifest import Sound, write_manifest
from vqaudio.corpus.preparing import find_root, listed, measured, summary
from vqaudio.errors import UserError


def prepare(sounds: Callable[[Path], Iterable[Sound]], expects: Sequence[str]) -> None:
    """Look for a data set, and write the manifest of its sounds.

    Args:
        sounds: told the folder in which all of `expects` is, gives the sounds; durations are measured
            where it gives none.
        expects: patterns of files and folders that the data set has, such as `wavs/*.wav`.
    """

    def main(data: Path, manifest: Path) -> None:
        found = list(sounds(find_root(data.expanduser(), expects)))
        if not found:
            raise UserError(f"{data}: none of its sounds is for this recipe; is the data set complete?")
        with progress() as bar:
            complete = list(bar.track(measured(found), total=len(found), description="measuring"))
        write_manifest(manifest, complete)
        say(f"{manifest}: {summary(complete)}")

    run_script(main)


def prepare_listed(listing: str, audio: str, field: str) -> None:
    """Look for a data set that lists its sounds in lines of `id|what`, and write their manifest.

    Args:
        listing: the file of lines.
        audio: the path of a sound, with `{}` for its id.
        field: of the manifest, for what a line says last.
    """
    prepare(lambda data: listed(data / listing, audio, field), expects=[listing, audio.format("*")])
