"""The reader for CPUs: `native/step.c`, compiled on first use for the machine that it runs on.

One call a step goes through all layers, so that nothing waits for Python; the bits that a row gives
do not depend on the rows beside it.
"""

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from vqaudio.prior.reader import Precision
    from vqaudio.prior.transformer import Transformer

log = logging.getLogger("vqaudio")
SOURCE = Path(__file__).with_name("native") / "step.c"
FLAGS = ["-O3", "-march=native", "-fno-math-errno", "-shared", "-fPIC"]
NUMBERS_A_WORD = {"float32": 1, "bfloat16": 2, "int8": 4}
# As in native/: vectors a panel, the largest weight in int8, rows of one call.
VECTORS, LARGEST, CHUNK = 4, 63, 64

_Pointer = ctypes.c_void_p
_Int = ctypes.c_int32


class _Linear(ctypes.Structure):
    _fields_ = [
        ("weight", _Pointer),
        *((name, _Int) for name in ("inputs", "outputs")),
    ]


class _Block(ctypes.Structure):
    _fields_ = [
        ("attention_norm", _Pointer),
        ("feed_forward_norm", _Pointer),
        ("to_qkv", _Linear),
        ("to_attention_out", _Linear),
        ("to_gate_and_value", _Linear),
        ("to_feed_forward_out", _Linear),
    ]


class _Model(ctypes.Structure):
    _fields_ = [
        *((name, _Pointer) for name in ("blocks", "norm", "cosine", "sine")),
        *((name, _Int) for name in ("layers", "width", "inner", "kind")),
    ]


class _Cache(ctypes.Structure):
    _fields_ = [
        *((name, _Pointer) for name in ("keys", "values")),
        *((name, _Int) for name in ("sequences", "blocks", "heads", "head_width", "kind")),
    ]


class _Workspace(ctypes.Structure):
    _fields_ = [(name, _Pointer) for name in ("normed", "wide", "narrow", "scores", "bytes")]


@cache
def library() -> ctypes.CDLL | None:
    """`native/step.c`, compiled for this machine; kept in `$XDG_CACHE_HOME/vqaudio` from then on.

    Returns:
        None where there is no C compiler (`$CC`, or cc, gcc or clang), or it fails, which is logged.
    """
    names = (os.environ.get("CC"), "cc", "gcc", "clang")
    compiler = next((path for name in names if name and (path := shutil.which(name))), None)
    if compiler is None:
        return None
    command = [compiler, *FLAGS]
    # What -march=native means here is in the macros that it defines.
    macros = subprocess.run([*command, "-dM", "-E", "-x", "c", os.devnull], capture_output=True)
    sources = b"".join(path.read_bytes() for path in sorted(SOURCE.parent.glob("*.[ch]")))
    key = hashlib.sha256(sources + macros.stdout).hexdigest()[:16]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        return _load(home / "vqaudio" / f"prior-{key}.so", command)
    except OSError:  # a home that cannot be written to
        return _load(Path(tempfile.mkdtemp(prefix="vqaudio-")) / "prior.so", command)


def _load(path: Path, command: list[str]) -> ctypes.CDLL | None:
    if not path.exists():
        log.info("compiling the step of a transformer for this machine, once: %s", path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".so", delete=False) as part:
            made = subprocess.run(
                [*command, "-o", part.name, str(SOURCE)], capture_output=True, text=True
            )
        if made.returncode:
            os.unlink(part.name)
            reason = (made.stderr.strip().splitlines() or ["no reason given"])[-1]
            log.warning("%s: %s fails (%s); sampling is slower", SOURCE, command[0], reason)
            return None
        os.replace(part.name, path)
    found = ctypes.CDLL(str(path))
    found.apply.argtypes = [_Pointer, ctypes.c_int, _Pointer, ctypes.c_int, _Pointer, _Pointer]
    found.step.argtypes = [*[_Pointer] * 3, ctypes.c_int, _Pointer, _Pointer, _Workspace]
    found.apply.restype = found.step.restype = None
    found.key_block.restype = found.value_block.restype = ctypes.c_long
    return found


class CpuReader:
    """A reader on one core; see `reader.Reader` for what it does.

    Args:
        transformer: its weights are copied.
        heads: matrices `[outputs, D]`, copied.
        rows: sequences at most.
        length: positions of each at most.
        precision: of weights, keys and values; int8 rounds what it multiplies them with too.
    """

    def __init__(
        self,
        transformer: "Transformer",
        heads: list[Tensor],
        rows: int,
        length: int,
        precision: "Precision",
    ) -> None:
        found = library()
        assert found is not None, "a CpuReader needs a library; see open_reader"
        self.library = found
        self._kind = NUMBERS_A_WORD[precision]
        self._panel = VECTORS * self.library.lanes()
        self._kept: list[object] = []  # what C has only an address of
        self.width = len(transformer.norm.weight)
        blocks = (_Block * len(transformer.blocks))()
        for ours, theirs in zip(blocks, transformer.blocks, strict=True):
            ours.attention_norm = self._floats(theirs.attention_norm.weight)
            ours.feed_forward_norm = self._floats(theirs.feed_forward_norm.weight)
            ours.to_qkv = self._linear(theirs.attention.to_qkv)
            ours.to_attention_out = self._linear(theirs.attention.to_out)
            ours.to_gate_and_value = self._linear(theirs.feed_forward.to_gate_and_value)
            ours.to_feed_forward_out = self._linear(theirs.feed_forward.to_out)
        self._kept.append(blocks)
        inner = transformer.blocks[0].feed_forward.to_out.in_features
        tables = [
            self._floats(t) for t in (transformer.norm.weight, transformer.cosine, transformer.sine)
        ]
        self._model = _Model(
            ctypes.addressof(blocks),
            *tables,
            *(len(blocks), self.width, inner, self._kind),
        )
        self._heads = [(self._linear(head), head.shape[0]) for head in heads]
        self._cache = self._make_cache(transformer, rows, length)
        self._workspace = self._make_workspace(blocks, inner)
        self.filled = torch.zeros(rows, dtype=torch.int32)

    def read(self, x: Tensor, rows: Tensor) -> Tensor:
        """See `reader.Reader.read`."""
        count, width = x.shape[1:]
        out = x.reshape(-1, width).clone(memory_format=torch.contiguous_format)
        sequences, positions = rows.int(), self.filled[rows]
        if count > 1:
            sequences = sequences.repeat_interleave(count)
            positions = (positions[:, None] + torch.arange(count, dtype=torch.int32)).flatten()
        for first in range(0, len(out), CHUNK):
            part = slice(first, first + CHUNK)
            self.library.step(
                *(ctypes.byref(self._model), ctypes.byref(self._cache)),
                *(out[part].data_ptr(), len(out[part])),
                *(sequences[part].data_ptr(), positions[part].data_ptr(), self._workspace),
            )
        self.filled[rows] += count
        return out.view(x.shape)

    def project(self, hidden: Tensor, head: int) -> Tensor:
        """See `reader.Reader.project`."""
        linear, outputs = self._heads[head]
        hidden = hidden.contiguous()
        y = torch.empty(len(hidden), linear.outputs)
        for first in range(0, len(hidden), CHUNK):
            part = slice(first, first + CHUNK)
            self.library.apply(
                *(ctypes.byref(linear), self._kind, hidden[part].data_ptr(), len(hidden[part])),
                *(y[part].data_ptr(), self._workspace.bytes),
            )
        return y[:, :outputs]

    def forget(self) -> None:
        """See `reader.Reader.forget`."""
        self.filled.zero_()

    def _floats(self, tensor: Tensor) -> int:
        return self._keep(tensor.detach().float().contiguous().clone())

    def _keep(self, tensor: Tensor) -> int:
        self._kept.append(tensor)
        return tensor.data_ptr()

    def _linear(self, matrix: "nn.Linear | Tensor") -> _Linear:
        """Pack a matrix `[outputs, inputs]` as native/product.h has it."""
        weight = (matrix.weight if isinstance(matrix, nn.Linear) else matrix).detach().float()
        weight = F.pad(weight, (0, 0, 0, -len(weight) % self._panel))
        outputs, inputs = weight.shape
        if self._kind == 4:
            return self._rounded(weight)
        packed = weight.bfloat16() if self._kind == 2 else weight
        lanes = self._panel // VECTORS
        parted = packed.view(-1, VECTORS // self._kind, self._kind, lanes, inputs)
        packed = parted.permute(0, 4, 1, 3, 2).contiguous()
        return _Linear(self._keep(packed), inputs, outputs)

    def _rounded(self, weight: Tensor) -> _Linear:
        """A matrix `[whole panels, inputs]` in int8: four inputs a word, then scales and sums."""
        outputs, inputs = weight.shape
        scale = weight.abs().amax(1).clamp(min=1e-30) / LARGEST
        rounded = (weight / scale[:, None]).round_().to(torch.int8)
        sums = rounded.sum(dim=1, dtype=torch.int32)
        packed = F.pad(rounded, (0, -inputs % 8)).view(torch.int32)
        panels = packed.view(-1, self._panel, packed.shape[1]).transpose(1, 2).flatten(1)
        notes = (note.view(torch.int32).view(-1, self._panel) for note in (scale, sums))
        return _Linear(self._keep(torch.cat([panels, *notes], dim=1)), inputs, outputs)

    def _make_cache(self, transformer: "Transformer", rows: int, length: int) -> _Cache:
        blocks = -(-length // self._panel)
        shape = blocks, transformer.heads, transformer.head_width, self._kind
        made = _Cache(None, None, rows, *shape)
        count = len(transformer.blocks) * rows * blocks * transformer.heads
        for name, size in (("keys", self.library.key_block), ("values", self.library.value_block)):
            words = torch.empty(count * size(ctypes.byref(made)), dtype=torch.int32)
            setattr(made, name, self._keep(words))
        return made

    def _make_workspace(self, blocks: "ctypes.Array[_Block]", inner: int) -> _Workspace:
        first = blocks[0]
        wide = max(first.to_qkv.outputs, first.to_gate_and_value.outputs)
        narrow = max(first.to_attention_out.outputs, first.to_feed_forward_out.outputs)
        sizes = (max(self.width, inner), wide, narrow)
        rooms = [self._keep(torch.empty(CHUNK, size)) for size in sizes]
        scores = torch.empty(self._cache.heads, self._cache.blocks * self._panel)
        # The query of a head takes up to 7 bytes beside its own.
        row_bytes = torch.empty(CHUNK * (sizes[0] + 8 * self._cache.heads), dtype=torch.uint8)
        return _Workspace(*rooms, self._keep(scores), self._keep(row_bytes))
