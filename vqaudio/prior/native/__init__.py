"""`step.c` as Python sees it: its structures, and the library that it is compiled to on first use."""

import ctypes
from functools import cache
from pathlib import Path

from vqaudio.native import compiled

SOURCE = Path(__file__).with_name("step.c")

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
    """`step.c`, compiled for this machine; None where that cannot be done, which is logged."""
    found = compiled(SOURCE, "torch takes the steps, and sampling is slower")
    if found is not None:
        found.apply.argtypes = [_Pointer, ctypes.c_int, _Pointer, ctypes.c_int, _Pointer, _Pointer]
        found.step.argtypes = [*[_Pointer] * 3, ctypes.c_int, _Pointer, _Pointer, Workspace]
        found.apply.restype = found.step.restype = None
        found.key_block.restype = found.value_block.restype = ctypes.c_long
    return found
