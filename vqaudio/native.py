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
    command = [compiler, *FLAGS, *flags]
    # What -march=native means here is in the macros that it defines.
    macros = subprocess.run([*command, "-dM", "-E", "-x", "c", os.devnull], capture_output=True)
    sources = b"".join(path.read_bytes() for path in sorted(source.parent.glob("*.[ch]")))
    key = hashlib.sha256(sources + " ".join(flags).encode() + macros.stdout).hexdigest()[:16]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = home / "vqaudio" / f"{source.stem}-{key}.so"
    try:
        if kept.exists():
            return ctypes.CDLL(str(kept))
    except OSError:
        log.warning("%s: damaged; compiling it again", kept)
    with tempfile.TemporaryDirectory(prefix="vqaudio-") as folder:
        made = Path(folder) / kept.name
        log.info("compiling %s for this machine, once: %s", source.name, kept)
        try:
            subprocess.run([*command, "-o", made, source], capture_output=True, text=True, check=True)
            found = ctypes.CDLL(str(made))  # stays loaded when the file is gone
        except subprocess.CalledProcessError as error:
            reasons = [line for line in error.stderr.splitlines() if "error" in line]
            reason = (reasons or ["no reason given"])[0]
            log.warning("%s: %s fails (%s): %s", source, compiler, reason, without)
            return None
        except OSError as error:
            log.warning("%s: does not load (%s): %s", made, error, without)
            return None
        with suppress(OSError):  # a home that cannot be written to
            kept.parent.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(f".{os.getpid()}")  # other processes may be at it too
            shutil.copyfile(made, part)
            os.replace(part, kept)
    return found
