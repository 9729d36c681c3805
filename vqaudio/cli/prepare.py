"""The script that a recipe's `prepare.py` is: `python prepare.py DATA MANIFEST`."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from vqaudio.cli.terminal import progress, run_script, say
from vqaudio.corpus.manifest import Sound, write_manifest
from vqaudio.corpus.preparing import find_root, measured, summary
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
