"""The layers of an encoder in C, over frames in rows: `[F, C]`.

A row's bits depend on what its receptive field holds and on nothing else: not on how many rows are
made at once, nor on where they are cut.
"""

import ctypes
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqaudio.bottleneck.codebook import Codebook
from vqaudio.codec.layers import Conv, ResidualUnit, Upsample
from vqaudio.codec.native import BLOCK, MOST_LANES, WIDE, Matrix, Mel, Norm, Unit
from vqaudio.features import LOG_FLOOR, LogMel


class Span(NamedTuple):
    """Places of rows, from the first to the one after the last."""

    begin: int
    end: int

    def union(self, other: "Span | None") -> "Span":
        """What holds both."""
        return self if other is None else Span(min(self.begin, other.begin), max(self.end, other.end))


class RowLayer:
    """A layer over rows.

    Output row `i` is made of the input rows `[i * stride - left, (i + 1) * stride + right)`, and
    becomes `factor` rows.

    Args:
        library: of `native/`.
        inputs: channels in.
        outputs: channels out.
        stride: input rows an output row.
        left: see above, as `right`.
        factor: see above.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        inputs: int,
        outputs: int,
        stride: int = 1,
        left: int = 0,
        right: int = 0,
        factor: int = 1,
    ) -> None:
        self.library, self.inputs, self.outputs = library, inputs, outputs
        self.stride, self.left, self.right, self.factor = stride, left, right, factor
        self.kernel = left + stride + right
        self._kept: list[Tensor] = []  # what C has only an address of

    def before(self, span: Span) -> Span:
        """The input rows that these output rows are made of."""
        begin, end = span.begin // self.factor, -(-span.end // self.factor)
        return Span(begin * self.stride - self.left, end * self.stride + self.right)

    def __call__(self, x: Tensor, count: int) -> Tensor:
        """The first `count` output rows of float32 `[F, inputs]`: `[count * factor, outputs]`."""
        y = torch.empty(count * self.factor, self.outputs, dtype=torch.float32)
        if count:
            self._run(x, count, y)
        return y

    def _run(self, x: Tensor, count: int, y: Tensor) -> None:
        raise NotImplementedError

    def _keep(self, tensor: Tensor) -> int:
        self._kept.append(tensor.detach().contiguous().clone())
        return self._kept[-1].data_ptr()

    def _matrix(self, weight: Tensor, bias: Tensor | None) -> Matrix:
        """`[outputs, inputs]` in panels, the last filled up with zeros."""
        outputs, inputs = weight.shape
        spare = -outputs % WIDE
        panels = F.pad(weight, (0, 0, 0, spare)).view(-1, WIDE, inputs).transpose(1, 2)
        bias = weight.new_zeros(outputs) if bias is None else bias
        return Matrix(self._keep(panels), self._keep(F.pad(bias, (0, spare))), inputs, outputs)

    def _norm(self, norm: nn.LayerNorm) -> Norm:
        return Norm(self._keep(norm.weight), self._keep(norm.bias), norm.eps, len(norm.weight))


class RowConv(RowLayer):
    """A convolution, of which a pointwise one and an upsampling are kinds."""

    def __init__(self, library: ctypes.CDLL, layer: Conv | Upsample | nn.Conv1d) -> None:
        conv = (
            layer
            if isinstance(layer, nn.Conv1d)
            else layer.expand
            if isinstance(layer, Upsample)
            else layer.conv
        )
        outputs, inputs, _ = conv.weight.shape
        weight, bias = conv.weight.transpose(1, 2).flatten(1), conv.bias
        if isinstance(layer, Conv):
            super().__init__(library, inputs, outputs, layer.stride, layer.left, layer.right)
        elif isinstance(layer, Upsample):
            super().__init__(library, inputs, outputs // layer.factor, factor=layer.factor)
            order = torch.arange(outputs).view(-1, layer.factor).T.flatten()
            weight, bias = weight[order], None if bias is None else bias[order]
        else:
            super().__init__(library, inputs, outputs)
        self.matrix = self._matrix(weight, bias)

    def _run(self, x: Tensor, count: int, y: Tensor) -> None:
        step = self.stride * self.inputs
        self.library.multiply(ctypes.byref(self.matrix), x.data_ptr(), step, count, y.data_ptr())


class RowUnit(RowLayer):
    """A residual unit."""

    def __init__(self, library: ctypes.CDLL, unit: ResidualUnit) -> None:
        channels = len(unit.norm.weight)
        super().__init__(library, channels, channels, 1, unit.left, unit.right)
        self.unit = Unit(
            self._norm(unit.norm),
            self._matrix(unit.conv.conv.weight.transpose(1, 2).flatten(1), unit.conv.conv.bias),
            self._matrix(unit.mix.weight.flatten(1), unit.mix.bias),
            self.kernel,
            self.left,
        )

    def _run(self, x: Tensor, count: int, y: Tensor) -> None:
        room = torch.empty(2 * BLOCK + self.kernel - 1, self.inputs, dtype=torch.float32)
        self.library.unit(ctypes.byref(self.unit), x.data_ptr(), count, y.data_ptr(), room.data_ptr())


class RowMel(RowLayer):
    """Log-mel spectra, plus `shift` and over `scale`, of samples `[T, 1]`."""

    def __init__(self, library: ctypes.CDLL, mel: LogMel, left: int, shift: float, scale: float) -> None:
        n, hop = mel.n_fft, mel.hop
        super().__init__(library, 1, mel.bands, hop, left, n - hop - left)
        angles = torch.arange(n, dtype=torch.float64) * (-2 * math.pi / n)
        roots = torch.stack([angles.cos(), angles.sin()], dim=1).float()
        bins = torch.arange(n // 2 + 1)
        heard = mel.filters > 0
        first = torch.where(heard, bins, n).amin(1).clamp(max=n // 2)
        last = torch.where(heard, bins + 1, 0).amax(1)
        self.mel = Mel(
            *(self._keep(tensor) for tensor in (mel.window, roots, mel.filters)),
            self._keep(torch.stack([first, last], dim=1).int()),
            *(LOG_FLOOR, shift, scale),
            *(n, hop, mel.bands),
        )

    @staticmethod
    def can(mel: LogMel) -> bool:
        """Whether the transform in C has this length."""
        half = mel.n_fft // 2
        for radix in (2, 3, 5):
            while half and half % radix == 0:
                half //= radix
        return mel.n_fft % 2 == 0 and half == 1

    def _run(self, x: Tensor, count: int, y: Tensor) -> None:
        room = torch.empty((5 * self.mel.n // 2 + 1) * MOST_LANES, dtype=torch.float32)
        self.library.spectrum(ctypes.byref(self.mel), x.data_ptr(), count, y.data_ptr(), room.data_ptr())


class RowNorm(RowLayer):
    """A LayerNorm over channels."""

    def __init__(self, library: ctypes.CDLL, norm: nn.LayerNorm) -> None:
        super().__init__(library, len(norm.weight), len(norm.weight))
        self.norm = self._norm(norm)

    def _run(self, x: Tensor, count: int, y: Tensor) -> None:
        self.library.normalize(ctypes.byref(self.norm), x.data_ptr(), count, y.data_ptr())


class RowQuantizer(RowLayer):
    """A stack of codebooks, each for what the one before left over of rows `[F, D]`.

    Args:
        library: of `native/`.
        books: the codebooks.
        unit_length: whether rows are brought to it first.
    """

    def __init__(self, library: ctypes.CDLL, books: Sequence[Codebook], unit_length: bool) -> None:
        super().__init__(library, books[0].dim, books[0].dim)
        self.unit_length = unit_length
        self.books: list[tuple[Matrix, Tensor]] = []
        for book in books:
            vectors = book.centroids.detach().contiguous()
            # In double precision: torch adds in another order on another machine.
            half_norms = vectors.double().square().sum(1).mul(0.5).float()
            scores = self._matrix(vectors, -half_norms)
            self.books.append((scores, vectors.clone()))

    def quantize(self, x: Tensor, stages: int) -> tuple[Tensor, Tensor]:
        """Rows `[F, D]`, which are written over, to int64 `[stages, F]` and what those say, `[F, D]`."""
        rows = len(x)
        codes = torch.empty(stages, rows, dtype=torch.int64)
        said = torch.zeros(rows, self.outputs, dtype=torch.float32)
        if self.unit_length:
            self.library.shorten(x.data_ptr(), rows, self.inputs)
        for found, (scores, vectors) in zip(codes, self.books, strict=False):
            room = torch.empty(BLOCK, scores.outputs, dtype=torch.float32)
            self.library.quantize(
                *(ctypes.byref(scores), vectors.data_ptr(), rows, x.data_ptr(), said.data_ptr()),
                *(found.data_ptr(), room.data_ptr()),
            )
        return codes, said
