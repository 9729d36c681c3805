"""A loss after STOI, a measure of intelligibility: envelopes of speech bands rise and fall together."""

import torch
from torch import Tensor, nn

from vqaudio.features import LOG_FLOOR, magnitude

FRAME_SECONDS, HOP_SECONDS, SEGMENT_SECONDS = 0.0256, 0.0128, 0.384
LOWEST_HZ, BANDS = 150.0, 15
LOUDNESS_RANGE = 1e-4  # of power: quieter segments are left out


class EnvelopeDistance(nn.Module):
    """One minus the correlation of band envelopes over 384 ms, the mean over bands and segments.

    The bands, a third of an octave each from 150 Hz, and the segments are those of STOI (Taal et al.
    2011, doi 10.1109/TASL.2011.2114881, equations 1 to 5), at the sound's own rate and without its
    clipping, so that a gradient flows everywhere.

    Args:
        sample_rate: in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.hop = round(HOP_SECONDS * sample_rate)
        self.n_fft = round(FRAME_SECONDS * sample_rate) // 2 * 2
        self.frames = round(SEGMENT_SECONDS / HOP_SECONDS)
        self.register_buffer("bands", third_octaves(sample_rate, self.n_fft), persistent=False)

    def forward(self, made: Tensor, target: Tensor) -> Tensor:
        """Compare two batches, in fp32 whatever the autocast.

        Args:
            made: `[B, T]` or `[B, 1, T]`; gradients flow into this alone.
            target: the same shape.

        Returns:
            A scalar from 0 to 2; 0 where no sound is as long as a segment.
        """
        made, target = made.flatten(0, -2).float(), target.flatten(0, -2).float()
        with torch.autocast(made.device.type, enabled=False):
            wanted, found = self._segments(target), self._segments(made)
            if not wanted.shape[2]:
                return made.sum() * 0
            power = wanted.square().sum(-1)
            heard = power > LOUDNESS_RANGE * power.amax((1, 2), keepdim=True)
            correlation = (_normal(wanted) * _normal(found)).sum(-1)
            return ((1 - correlation) * heard).sum() / heard.sum().clamp(min=1)

    def _segments(self, audio: Tensor) -> Tensor:
        """Envelopes `[B, bands, S, frames]`, a segment every frame."""
        if audio.shape[1] < self.n_fft + (self.frames - 1) * self.hop:
            return audio.new_zeros(len(audio), BANDS, 0, self.frames)
        power = magnitude(audio, self.n_fft, self.hop).square()
        return (self.get_buffer("bands") @ power + LOG_FLOOR**2).sqrt().unfold(2, self.frames, 1)


def third_octaves(sample_rate: int, n_fft: int) -> Tensor:
    """Which bins each band of a third of an octave adds up: float32 `[15, n_fft // 2 + 1]`."""
    centres = LOWEST_HZ * 2 ** (torch.arange(BANDS) / 3)
    bins = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    low, high = centres[:, None] * 2 ** (-1 / 6), centres[:, None] * 2 ** (1 / 6)
    return ((bins >= low) & (bins < high)).float()


def _normal(segments: Tensor) -> Tensor:
    """Without mean, and of length one."""
    centred = segments - segments.mean(-1, keepdim=True)
    return centred / centred.norm(dim=-1, keepdim=True).clamp(min=LOG_FLOOR)
