"""The reader for CPUs: one call of the C in `native/` takes a step through all layers.

Nothing waits for Python, and the bits that a row gives do not depend on the rows beside it.
"""

import ctypes
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqaudio.prior.native import Block, Cache, Linear, Model, Workspace, library

if TYPE_CHECKING:
    from vqaudio.prior.reader import Precision
    from vqaudio.prior.transformer import Transformer

NUMBERS_A_WORD = {"float32": 1, "bfloat16": 2, "int8": 4}
# As in native/: vectors a panel, the largest weight in int8, rows of one call.
VECTORS, LARGEST, CHUNK = 4, 63, 64


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
        self.width, self.length = len(transformer.norm.weight), length
        blocks = (Block * len(transformer.blocks))()
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
        self._model = Model(
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
        assert int(self.filled[rows].max()) + count <= self.length, "C writes where it is told to"
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

    def _linear(self, matrix: "nn.Linear | Tensor") -> Linear:
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
        return Linear(self._keep(packed), inputs, outputs)

    def _rounded(self, weight: Tensor) -> Linear:
        """A matrix `[whole panels, inputs]` in int8: four inputs a word, then scales and sums."""
        outputs, inputs = weight.shape
        scale = weight.abs().amax(1).clamp(min=1e-30) / LARGEST
        rounded = (weight / scale[:, None]).round_().to(torch.int8)
        sums = rounded.sum(dim=1, dtype=torch.int32)
        packed = F.pad(rounded, (0, -inputs % 8)).view(torch.int32)
        panels = packed.view(-1, self._panel, packed.shape[1]).transpose(1, 2).flatten(1)
        notes = (note.view(torch.int32).view(-1, self._panel) for note in (scale, sums))
        return Linear(self._keep(torch.cat([panels, *notes], dim=1)), inputs, outputs)

    def _make_cache(self, transformer: "Transformer", rows: int, length: int) -> Cache:
        blocks = -(-length // self._panel)
        shape = blocks, transformer.heads, transformer.head_width, self._kind
        made = Cache(None, None, rows, *shape)
        count = len(transformer.blocks) * rows * blocks * transformer.heads
        sizes = (size(ctypes.byref(made)) for size in (self.library.key_block, self.library.value_block))
        self.rooms = [torch.empty(count * size, dtype=torch.int32) for size in sizes]
        made.keys, made.values = (room.data_ptr() for room in self.rooms)
        return made

    def _make_workspace(self, blocks: "ctypes.Array[Block]", inner: int) -> Workspace:
        first = blocks[0]
        wide = max(first.to_qkv.outputs, first.to_gate_and_value.outputs)
        narrow = max(first.to_attention_out.outputs, first.to_feed_forward_out.outputs)
        sizes = (max(self.width, inner), wide, narrow)
        rooms = [self._keep(torch.empty(CHUNK, size)) for size in sizes]
        scores = torch.empty(self._cache.heads, self._cache.blocks * self._panel)
        # The query of a head takes up to 7 bytes beside its own.
        row_bytes = torch.empty(CHUNK * (sizes[0] + 8 * self._cache.heads), dtype=torch.uint8)
        return Workspace(*rooms, self._keep(scores), self._keep(row_bytes))
