"""`step.c` as Python sees it: its structures, and the library that it is compiled to on first use."""

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

log = logging.getLogger("vqaudio")
SOURCE = Path(__file__).with_name("step.c")
FLAGS = ["-O3", "-march=native", "-fno-math-errno", "-shared", "-fPIC"]

_Pointer = ctypes.c_void_p
_Int = ctypes.c_int32


class Linear(ctypes.Structure):
    """A packed matrix."""

    _fields_ = [
        ("weight", _Pointer),
        *((name, _Int) for name in ("inputs", "outputs")),
    ]


class Block(ctypes.Structure):
    """A layer's weights."""

    _fields_ = [
        ("attention_norm", _Pointer),
        ("feed_forward_norm", _Pointer),
        ("to_qkv", Linear),
        ("to_attention_out", Linear),
        ("to_gate_and_value", Linear),
        ("to_feed_forward_out", Linear),
    ]


class Model(ctypes.Structure):
    """A transformer's weights."""

    _fields_ = [
        *((name, _Pointer) for name in ("blocks", "norm", "cosine", "sine")),
        *((name, _Int) for name in ("layers", "width", "inner", "kind")),
    ]


class Cache(ctypes.Structure):
    """What has been read."""

    _fields_ = [
        *((name, _Pointer) for name in ("keys", "values")),
        *((name, _Int) for name in ("sequences", "blocks", "heads", "head_width", "kind")),
    ]


class Workspace(ctypes.Structure):
    """Rooms for what a step makes."""

    _fields_ = [(name, _Pointer) for name in ("normed", "wide", "narrow", "scores", "bytes")]


@cache
def library() -> ctypes.CDLL | None:
    """`step.c`, compiled for this machine; kept in `$XDG_CACHE_HOME/vqaudio` from then on.

    Returns:
        None where there is no C compiler (`$CC`, or cc, gcc or clang), or what it makes does not
        load, which is logged.
    """
    names = (os.environ.get("CC"), "cc", "gcc", "clang")
    compiler = next((path for name in names if name and (path := shutil.which(name))), None)
    if compiler is None:
        log.info("no C compiler (cc) here: torch takes the steps, and sampling is slower")
        return None
    command = [compiler, *FLAGS]
    # What -march=native means here is in the macros that it defines.
    macros = subprocess.run([*command, "-dM", "-E", "-x", "c", os.devnull], capture_output=True)
    sources = b"".join(path.read_bytes() for path in sorted(SOURCE.parent.glob("*.[ch]")))
    key = hashlib.sha256(sources + macros.stdout).hexdigest()[:16]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = home / "vqaudio" / f"prior-{key}.so"
    try:
        if kept.exists():
            return _open(kept)
    except OSError:
        log.warning("%s: damaged; compiling it again", kept)
    with tempfile.TemporaryDirectory(prefix="vqaudio-") as folder:
        made = Path(folder) / "prior.so"
        log.info("compiling the step of a transformer for this machine, once: %s", kept)
        try:
            subprocess.run([*command, "-o", made, SOURCE], capture_output=True, text=True, check=True)
            found = _open(made)  # stays loaded when the file is gone
        except subprocess.CalledProcessError as error:
            reason = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
            log.warning("%s: %s fails (%s); sampling is slower", SOURCE, compiler, reason)
            return None
        except OSError as error:
            log.warning("%s: does not load (%s); sampling is slower", made, error)
            return None
        with suppress(OSError):  # a home that cannot be written to
            kept.parent.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(f".{os.getpid()}")  # other processes may be at it too
            shutil.copyfile(made, part)
            os.replace(part, kept)
    return found


def _open(path: Path) -> ctypes.CDLL:
    found = ctypes.CDLL(str(path))
    found.apply.argtypes = [_Pointer, ctypes.c_int, _Pointer, ctypes.c_int, _Pointer, _Pointer]
    found.step.argtypes = [*[_Pointer] * 3, ctypes.c_int, _Pointer, _Pointer, Workspace]
    found.apply.restype = found.step.restype = None
    found.key_block.restype = found.value_block.restype = ctypes.c_long
    return found
