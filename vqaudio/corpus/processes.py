"""Worker processes that start fast: forked from one that has imported what they need."""

import multiprocessing
import os
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import forkserver
from typing import Any

from vqaudio.cores import default_workers
from vqaudio.corpus.manifest import Sound

WORK = "vqaudio.corpus.local"
LITTLE_BYTES = 1 << 23  # some minutes of sound


def context() -> Any:
    """How this machine starts processes, without what the threads of this one have in hand."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["__main__", WORK])
    return found


def warm_up() -> None:
    """Begin the imports of workers to come beside one's own."""
    if context().get_start_method() == "forkserver":
        forkserver.ensure_running()


def fitting_workers(sounds: Sequence[Sound]) -> int:
    """Workers for a corpus: all cores, but one where starting more would take longer than the work."""
    size = 0
    for sound in sounds:
        with suppress(OSError):
            size += os.path.getsize(sound.path)
        if size > LITTLE_BYTES:
            return default_workers()
    return 1
