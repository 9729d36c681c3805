"""Windows of sound to codes: by the layers in C, where they give the bits, or by torch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from vqaudio.codec.flow import encode_window
from vqaudio.codec.inputs import check_quantizers
from vqaudio.codec.layers import NO_CONTEXT, Context, refit
from vqaudio.codec.row_encoder import RowEncoder, row_encoder
from vqaudio.codec.windows import AudioWindow, cut, inside, ladder, one_thread
from vqaudio.codes import frames_for

if TYPE_CHECKING:
    from vqaudio.codec.model import Codec

Levels = list[Tensor]


@dataclass(frozen=True)
class Arithmetic:
    """How torch is to reckon; all but the default gives codes that differ here and there.

    Args:
        precision: of the products; sums over codebooks are float32 all the same.
        compiled: by `torch.compile`, which takes a minute for every length of window.
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    compiled: bool = False

    @property
    def exact(self) -> bool:
        """Whether codes are those of `Codec.encode`, bit for bit."""
        return self.precision == "float32" and not self.compiled

    @property
    def settings(self) -> dict[str, str]:
        """By name, as a ledger has them."""
        return {"precision": self.precision, "compiled": "yes" if self.compiled else "no"}


EXACT = Arithmetic()


class WindowShape(NamedTuple):
    """How sounds are cut for an encoder.

    Args:
        hop: samples of a coarsest frame.
        context: samples needed around a window.
        lengths: in coarsest frames, that windows may have, ascending.
    """

    hop: int
    context: Context
    lengths: Sequence[int]

    def cut(self, blocks: Iterable[Tensor]) -> Iterator[AudioWindow]:
        """Cut a sound that comes in blocks of samples `[T]` at the codec's rate."""
        return cut(blocks, *self)


def window_shape(codec: "Codec", encoder: RowEncoder | None) -> WindowShape:
    """The shape of windows for an encoder in C or for torch."""
    context = codec.encoder.audio_context(codec.hierarchy.encode_contexts())
    lengths: Sequence[int] = ladder(codec.hops[0] / codec.sample_rate)
    if encoder is not None:  # whose bits do not depend on the length
        lengths = range(1, lengths[-1] + 1)
    return WindowShape(codec.hops[0], context, lengths)


class WindowEncoder:
    """A codec with its present weights, as windows of sound go through it.

    Args:
        codec: on a CPU, by the layers in C where they can stand for its own.
        quantizers: per level, how many of its codes to make; by default `codec.default_quantizers`.
        arithmetic: what torch does instead, where it is not exact.

    Raises:
        UserError: `quantizers` are out of range.
    """

    def __init__(
        self,
        codec: "Codec",
        quantizers: Sequence[int] | None = None,
        arithmetic: Arithmetic = EXACT,
    ) -> None:
        self.codec, self.arithmetic = codec, arithmetic
        self.kept = check_quantizers(
            codec.default_quantizers if quantizers is None else quantizers, codec.all_codebook_sizes
        )
        self.rows = row_encoder(codec) if self.arithmetic.exact else None
        self.shape = window_shape(codec, self.rows)
        self._levels: Callable[[Tensor, list[Tensor]], Levels] = self._through_torch
        if self.arithmetic.compiled:
            self._levels = torch.compile(self._through_torch, dynamic=False)

    @property
    def settings(self) -> dict[str, str]:
        """What decides, beside the codec, which codes a sound has, by name."""
        settings = {**self.arithmetic.settings, "encoder": "torch" if self.rows is None else "c"}
        if self.kept != [len(sizes) for sizes in self.codec.all_codebook_sizes]:
            settings["quantizers"] = "+".join(map(str, self.kept))
        return settings

    @property
    def alone(self) -> bool:
        """Whether windows are encoded one by one: in a batch their bits could differ."""
        return self.codec.device.type == "cpu"

    def encode(self, windows: Sequence[AudioWindow]) -> list[Levels]:
        """What each level makes of each of some windows, of one sound or of many.

        Args:
            windows: where `alone` holds, one; or any number of the same `count`.

        Returns:
            A window, per level, coarsest first, int64 `[Q, F_l]`, or float `[D, F_l]` of a continuous
            one.
        """
        with one_thread(), torch.no_grad():
            if self.rows is not None:
                return [encode_window(self.rows, window, self.kept) for window in windows]
            device = self.codec.device
            audio = torch.cat([window.audio for window in windows]).to(device)
            masks = [mask.to(device) for mask in self._masks(windows)]
            low = self.arithmetic.precision == "bfloat16"
            with torch.autocast(device.type, torch.bfloat16, enabled=low):
                levels = [codes.cpu() for codes in self._levels(audio, masks)]
            return [list(found) for found in zip(*levels, strict=True)]

    def _through_torch(self, audio: Tensor, masks: list[Tensor]) -> Levels:
        hierarchy = self.codec.hierarchy
        contexts = hierarchy.encode_contexts()
        codes = hierarchy.encode(self.codec.encoder(audio, contexts), masks, self.kept)
        return [refit(found, have, NO_CONTEXT) for found, have in zip(codes, contexts, strict=True)]

    def _masks(self, windows: Sequence[AudioWindow]) -> Levels:
        """Per level `[B, 1, F_l]`, 1 for frames that belong to the sound."""
        masks = []
        hops = self.codec.hops
        for context, hop in zip(self.codec.hierarchy.encode_contexts(), hops, strict=True):
            ratio = hops[0] // hop
            rows = []
            for window in windows:
                frames = None if window.num_samples is None else frames_for(window.num_samples, hop)
                count = context.left + window.count * ratio + context.right
                rows.append(inside(window.first * ratio - context.left, count, frames))
            masks.append(torch.stack(rows).unsqueeze(1))
        return masks
