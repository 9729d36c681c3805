"""`encoder.c` as Python sees it: its structures, and the library that it is compiled to on first use."""

import ctypes
from functools import cache
from pathlib import Path

from vqaudio.native import compiled

SOURCE = Path(__file__).with_name("encoder.c")
# As in native/: outputs a panel, most numbers a vector, rows a block.
WIDE, MOST_LANES, BLOCK = 16, 16, 96

_Pointer = ctypes.c_void_p
_Int = ctypes.c_int32
_Long = ctypes.c_long


class Matrix(ctypes.Structure):
    """Weights in panels, and the bias."""

    _fields_ = [("weight", _Pointer), ("bias", _Pointer), ("inputs", _Int), ("outputs", _Int)]


class Norm(ctypes.Structure):
    """A LayerNorm."""

    _fields_ = [
        ("gain", _Pointer),
        ("shift", _Pointer),
        ("epsilon", ctypes.c_float),
        ("channels", _Int),
    ]


class Unit(ctypes.Structure):
    """A residual unit."""

    _fields_ = [
        ("norm", Norm),
        ("conv", Matrix),
        ("mix", Matrix),
        ("kernel", _Int),
        ("left", _Int),
    ]


class Mel(ctypes.Structure):
    """What a log-mel spectrum is made with."""

    _fields_ = [
        *((name, _Pointer) for name in ("window", "roots", "filters", "spans")),
        *((name, ctypes.c_float) for name in ("floor", "shift", "scale")),
        *((name, _Int) for name in ("n", "hop", "bands")),
    ]


# Contracted where a compiler likes it, products and sums would give other bits elsewhere.
FLAGS = ["-ffp-contract=off"]


@cache
def library(*flags: str) -> ctypes.CDLL | None:
    """`encoder.c`, compiled for this machine; None where that cannot be done, which is logged."""
    found = compiled(SOURCE, "torch encodes, more slowly", [*FLAGS, *flags])
    if found is not None:
        for name, arguments in {
            "multiply": [_Pointer, _Pointer, _Long, _Long, _Pointer],
            "unit": [_Pointer, _Pointer, _Long, _Pointer, _Pointer],
            "spectrum": [_Pointer, _Pointer, _Long, _Pointer, _Pointer],
            "normalize": [_Pointer, _Pointer, _Long, _Pointer],
            "shorten": [_Pointer, _Long, ctypes.c_int],
            "bend": [_Pointer, _Long],
            "quantize": [_Pointer, _Pointer, _Long, *[_Pointer] * 4],
        }.items():
            function = getattr(found, name)
            function.argtypes, function.restype = arguments, None
    return found
