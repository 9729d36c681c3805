"""C that is compiled for this machine on first use, and kept."""

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

log = logging.getLogger("vqaudio")
FLAGS = ["-O3", "-march=native", "-fno-math-errno", "-shared", "-fPIC"]


def compiled(source: Path, without: str, flags: Sequence[str] = ()) -> ctypes.CDLL | None:
    """A C file and those beside it, compiled; kept in `$XDG_CACHE_HOME/vqaudio` from then on.

    Args:
        source: the file.
        without: what the user loses without it, for the log.
        flags: of the compiler, beside the usual ones.

    Returns:
        None where there is no C compiler (`$CC`, or cc, gcc or clang), or what it makes does not
        load, which is logged.
    """
    names = (os.environ.get("CC"), "cc", "gcc", "clang")
    compiler = next((path for name in names if name and (path := shutil.which(name))), None)
    if compiler is None:
        log.info("no C compiler (cc) here: %s", without)
        return None
    try:
        return _compiled([compiler, *FLAGS, *flags], source)
    except subprocess.CalledProcessError as error:
        reasons = [line for line in error.stderr.splitlines() if "error" in line]
        log.warning("%s: %s fails (%s): %s", source, compiler, (reasons or ["silently"])[0], without)
    except (
        OSError,
        RuntimeError,
    ) as error:  # no place for temporary files, a library that does not load
        log.warning("%s: cannot be compiled (%s): %s", source, error, without)
    return None


def _compiled(command: list[str], source: Path) -> ctypes.CDLL:
    run = partial(subprocess.run, capture_output=True, text=True, check=True)
    # What -march=native means here is in the macros that it defines.
    macros = run([*command, "-dM", "-E", "-x", "c", os.devnull]).stdout
    sources = b"".join(path.read_bytes() for path in sorted(source.parent.glob("*.[ch]")))
    key = hashlib.sha256(sources + " ".join(command[1:]).encode() + macros.encode()).hexdigest()[:16]
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    kept = Path(home) / "vqaudio" / f"{source.stem}-{key}.so"
    try:
        if kept.exists():
            return ctypes.CDLL(str(kept))
    except OSError:
        log.warning("%s: damaged; compiling it again", kept)
    with tempfile.TemporaryDirectory(prefix="vqaudio-") as folder:
        made = Path(folder) / kept.name
        log.info("compiling %s for this machine, once: %s", source.name, kept)
        run([*command, "-o", made, source])
        found = ctypes.CDLL(str(made))  # stays loaded when the file is gone
        with suppress(OSError):  # a home that cannot be written to
            kept.parent.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(f".{os.getpid()}")  # other processes may be at it too
            shutil.copyfile(made, part)
            os.replace(part, kept)
    return found
