"""Curves, sounds and pictures for TensorBoard."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vqaudio.features import magnitude

PICTURE_FFT, PICTURE_HOP = 1024, 256
PICTURE_RANGE = 9.0  # nepers, about 80 dB, from black to white


class Log:
    """Event files under `folder`, for `tensorboard --logdir`.

    Args:
        folder: where they go.
        first: the step that training goes on from; what an earlier, killed run wrote beyond it
            is hidden.
        wanted: False on all ranks but the first, which write nothing.
    """

    def __init__(self, folder: Path, first: int, wanted: bool = True) -> None:
        # half a second to import, and only training needs it
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=first or None) if wanted else None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """A point on each curve."""
        if self._writer is None:
            return
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def sound(self, step: int, name: str, audio: Tensor, sample_rate: int) -> None:
        """A sound `[T]`, to listen to and as a spectrogram."""
        if self._writer is None:
            return
        audio = audio.detach().float().cpu()
        self._writer.add_audio(f"audio/{name}", audio.clamp(-1, 1)[None], step, sample_rate)
        self._writer.add_image(f"spectrogram/{name}", spectrogram_picture(audio), step)

    def close(self) -> None:
        """Write out what is held back."""
        if self._writer is not None:
            self._writer.close()


def spectrogram_picture(audio: Tensor) -> Tensor:
    """Log-magnitude spectrogram of `[T]` as a grey picture `[1, frequencies, frames]`, 0 to 1.

    Low frequencies are at the bottom; white is the loudest point.
    """
    padded = torch.nn.functional.pad(audio, (PICTURE_FFT // 2, PICTURE_FFT // 2))
    spectrum = magnitude(padded[None], PICTURE_FFT, PICTURE_HOP)[0].clamp(min=1e-5).log()
    return ((spectrum - spectrum.max()) / PICTURE_RANGE + 1).clamp(0, 1).flip(0)[None]
