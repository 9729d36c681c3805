"""The encoder and the hierarchy of a codec in C, packed once for its present weights."""

import ctypes
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from vqaudio.bottleneck import Bottleneck
from vqaudio.bottleneck.grouped import GroupedResidualQuantizer
from vqaudio.bottleneck.residual import ResidualQuantizer
from vqaudio.bottleneck.vector import VectorQuantizer
from vqaudio.codec.encoder import (
    GAIN,
    MEL_SCALE,
    MEL_SHIFT,
    Encoder,
    IndependentEncoders,
    MelFrontEnd,
    WaveformFrontEnd,
)
from vqaudio.codec.hierarchy import HierarchyLevel
from vqaudio.codec.layers import Chain, Conv, ResidualUnit
from vqaudio.codec.native import library
from vqaudio.codec.rows import RowConv, RowLayer, RowMel, RowNorm, RowQuantizer, RowUnit, Span
from vqaudio.codec.windows import one_thread
from vqaudio.fingerprint import version

if TYPE_CHECKING:
    from vqaudio.codec.model import Codec


class Step(NamedTuple):
    """A layer in its place.

    Args:
        layer: what it does.
        silence: `[1, inputs]`, the row that it is given where no sound is heard.
        level: whose features its output is, if it is any's.
    """

    layer: RowLayer
    silence: Tensor
    level: int | None


class RowLevel:
    """One level of the hierarchy.

    Args:
        found: the library.
        level: the module.
    """

    def __init__(self, found: ctypes.CDLL, level: HierarchyLevel) -> None:
        self.norm, self.project_in = RowNorm(found, level.norm), RowConv(found, level.project_in)
        self.project_out = RowConv(found, level.project_out)
        self.stacks = [
            RowQuantizer(found, stack.codebooks, stack.cosine) for stack in _stacks(level.bottleneck)
        ]
        self.steps: list[Step] = []  # what is said and the condition to the finer level's condition
        if level.up is not None:
            layers = [
                RowConv(found, level.merge),
                *_layers(found, level.units),
                RowConv(found, level.up),
            ]
            self.steps = _steps(layers, torch.zeros(1, layers[0].inputs, dtype=torch.float32))

    def read(self, x: Tensor, kept: int) -> tuple[Tensor, Tensor]:
        """Features beside the condition `[F, C]` to int64 `[kept, F]` and what is said, `[F, C']`."""
        x = self.project_in(self.norm(x, len(x)), len(x))
        count = len(self.stacks)
        codes, said = torch.empty(kept, len(x), dtype=torch.int64), torch.zeros_like(x)
        for index, (stack, part) in enumerate(zip(self.stacks, x.chunk(count, dim=1), strict=True)):
            mine = codes[index::count]
            mine[:], heard = stack.quantize(part.contiguous(), len(mine))
            said[:, index * stack.inputs : (index + 1) * stack.inputs] = heard
        return codes, self.project_out(said, len(said)) if self.steps else said


class RowEncoder:
    """What makes codes of samples; `flow.Flow` has the state of one sound's.

    Args:
        found: the library.
        codec: whose weights are copied.
    """

    def __init__(self, found: ctypes.CDLL, codec: "Codec") -> None:
        self.hops = list(codec.hops)
        self.left = codec.encoder.audio_context(codec.hierarchy.encode_contexts()).left
        self.ratios = [codec.hops[0] // hop for hop in codec.hops]
        self.gain = GAIN if codec.config.front.kind == "waveform" else 1
        self.chains = [_steps(*chain) for chain in _chains(found, codec.encoder)]
        self.levels = [RowLevel(found, level) for level in codec.hierarchy.levels]

    def wanted(
        self, first: int, last: int, frames: Sequence[int] | None = None
    ) -> tuple[list[Span], list[Span]]:
        """What levels must quantize, and write, for the codes of coarse frames `[first, last)`.

        Args:
            first: the first coarse frame.
            last: the one after the last.
            frames: of the sound, per level; None if it has no end yet.

        Returns:
            Per level, coarsest first: frames to quantize, and rows of its last step.
        """
        reads: list[Span] = []
        writes: list[Span] = []
        need = Span(0, 0)
        for level, ratio in reversed(list(zip(self.levels, self.ratios, strict=True))):
            read = Span(first * ratio, last * ratio)
            writes.append(need)
            if level.steps:
                for step in reversed(level.steps):
                    need = step.layer.before(need)
                read = read.union(need)
            reads.append(read)
            need = read
        inside = [
            Span(max(span.begin, 0), span.end if frames is None else min(span.end, count))
            for span, count in zip(reads[::-1], frames or [0] * len(reads), strict=True)
        ]
        return inside, writes[::-1]


_packed: "WeakKeyDictionary[nn.Module, tuple[object, RowEncoder | None]]" = WeakKeyDictionary()
_lock = Lock()


def row_encoder(codec: "Codec") -> RowEncoder | None:
    """The encoder of a codec in C, packed anew only when a tensor was written to or replaced.

    Returns:
        None where torch must encode: on a device, in another precision, without a compiler, or where
        a layer or bottleneck is of a kind that is not there in C.
    """
    with _lock:
        now = version(codec)
        if codec not in _packed or _packed[codec][0] != now:
            found = library() if _can(codec) else None
            with one_thread(), torch.no_grad():
                _packed[codec] = now, None if found is None else RowEncoder(found, codec)
        return _packed[codec][1]


def _can(codec: "Codec") -> bool:
    if any(t.device.type != "cpu" or t.dtype != torch.float32 for t in codec.parameters()):
        return False
    fronts = [encoder.front for encoder in _encoders(codec.encoder)]
    return all(isinstance(front, WaveformFrontEnd) or RowMel.can(front.mel) for front in fronts) and all(
        type(level.bottleneck) in (ResidualQuantizer, VectorQuantizer, GroupedResidualQuantizer)
        for level in codec.hierarchy.levels
    )


def _encoders(encoder: Encoder | IndependentEncoders) -> Sequence[Encoder]:
    return encoder.encoders if isinstance(encoder, IndependentEncoders) else [encoder]


def _stacks(bottleneck: Bottleneck) -> Sequence[ResidualQuantizer]:
    if isinstance(bottleneck, GroupedResidualQuantizer):
        return bottleneck.groups
    assert isinstance(bottleneck, ResidualQuantizer)
    return [bottleneck]


def _layers(found: ctypes.CDLL, chain: Chain) -> Iterator[RowLayer]:
    for layer in chain:
        if isinstance(layer, Chain):
            yield from _layers(found, layer)
        elif isinstance(layer, ResidualUnit):
            yield RowUnit(found, layer)
        else:
            assert isinstance(layer, Conv)
            yield RowConv(found, layer)


def _chains(
    found: ctypes.CDLL, module: Encoder | IndependentEncoders
) -> Iterator[tuple[list[RowLayer], Tensor, list[int | None]]]:
    """From samples on, one for all levels or one for each; and whose features come of which layer."""
    for index, encoder in enumerate(_encoders(module)):
        front = encoder.front
        if isinstance(front, MelFrontEnd):
            layers: list[RowLayer] = [RowMel(found, front.mel, front.left, MEL_SHIFT, MEL_SCALE)]
        else:
            layers = list(_layers(found, front.stages))
        levels: list[int | None] = [None] * len(layers)
        for level in reversed(range(len(encoder.stages))):
            stage = list(_layers(found, encoder.stages[level]))
            layers += stage
            given = isinstance(module, Encoder) or level == 0
            levels += [None] * (len(stage) - 1) + [index + level if given else None]
        yield layers, torch.zeros(1, 1, dtype=torch.float32), levels


def _steps(
    layers: Sequence[RowLayer], silence: Tensor, levels: Sequence[int | None] | None = None
) -> list[Step]:
    """Layers one after another, with what each is given where there is nothing but `silence`."""
    steps = []
    for layer, level in zip(layers, levels or [None] * len(layers), strict=True):
        steps.append(Step(layer, silence, level))
        silence = layer(silence.repeat(layer.kernel, 1), 1)[-1:]
    return steps
