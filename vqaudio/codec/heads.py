"""Frame features to sound: inverse STFT, upsampling convolutions, or mel and Griffin-Lim.

A head reads frames with a context of its own (`context`, in frames) and gives what lies under
the frames between. It is the same linear or convolutional map everywhere, so a sound made in
windows is the sound made whole.
"""

import math
from collections.abc import Sequence
from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn

from vqaudio.codec.layers import NO_CONTEXT, Chain, ChannelNorm, Context, ResidualUnit, Upsample, refit
from vqaudio.config import ISTFTHead, MelHead, UpsampleHead
from vqaudio.features import LOG_FLOOR, LogMel, mel_filters, spectrum

LOG_SILENCE = math.log(LOG_FLOOR)


def overlap_add(frames: Tensor, hop: int) -> Tensor:
    """Sum frames `[B, F, n_fft]` at `hop`, where all of them overlap.

    Returns:
        `[B, (F - n_fft // hop + 1) * hop]`; it starts where frame `n_fft // hop - 1` does.
    """
    overlaps = frames.shape[-1] // hop
    count = frames.shape[1] - overlaps + 1
    pieces = rearrange(frames, "b f (k h) -> k b f h", k=overlaps)
    summed = torch.stack([pieces[k][:, overlaps - 1 - k :][:, :count] for k in range(overlaps)]).sum(0)
    return rearrange(summed, "b f h -> b (f h)")


def hann_pair(n_fft: int, hop: int) -> tuple[Tensor, Tensor]:
    """Hann window and its dual, whose product overlap-adds to one at `hop`."""
    window = torch.hann_window(n_fft, dtype=torch.float64)
    envelope = rearrange(window.square(), "(k h) -> k h", h=hop).sum(0)
    return window.float(), (window / envelope.repeat(n_fft // hop)).float()


class InverseSTFT(nn.Module):
    """Log-magnitude and phase of every bin of every frame (Vocos: Siuzdak 2023, arXiv 2306.00814).

    Frame `f` is centred on samples `[f * hop, (f + 1) * hop)`.
    """

    synthesis: Tensor

    def __init__(self, config: ISTFTHead) -> None:
        super().__init__()
        self.hop, self.n_fft = config.hop, config.n_fft
        side = -(-(config.n_fft - config.hop) // (2 * config.hop))
        self.context = Context(side, side)
        # twice the bin of a full-scale sine, which is n_fft / 4 under a Hann window: louder is a slip
        self.loudest = math.log(config.n_fft / 2)
        self.norm = ChannelNorm(config.channels)
        self.project = nn.Conv1d(config.channels, config.n_fft + 2, 1)
        self.register_buffer("synthesis", hann_pair(config.n_fft, config.hop)[1], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, F + context]` to `[B, 1, F * hop]`, in fp32."""
        with torch.autocast(x.device.type, enabled=False):
            log_magnitude, phase = self.project(self.norm(x.float())).chunk(2, dim=1)
            spectra = torch.polar(log_magnitude.clamp(max=self.loudest).exp(), phase)
            frames = torch.fft.irfft(spectra.transpose(1, 2), self.n_fft) * self.synthesis
            audio = overlap_add(frames, self.hop).unsqueeze(1)
            count = x.shape[2] - self.context.left - self.context.right
            start = self.context.left * self.hop - (self.n_fft - self.hop) + (self.n_fft - self.hop) // 2
            return audio[..., start : start + count * self.hop]


class Upsampling(nn.Module):
    """Frames become more and shorter until they are samples, with residual units between."""

    def __init__(self, config: UpsampleHead) -> None:
        super().__init__()
        widths = [*config.channels[1:], config.channels[-1]]
        stages = zip(config.channels, widths, config.strides, strict=True)
        ups = nn.ModuleList(Upsample(before, after, stride) for before, after, stride in stages)
        units = nn.ModuleList(Chain(ResidualUnit(w, 3), ResidualUnit(w, 7)) for w in widths)
        self.ups = cast(Sequence[Upsample], ups)
        self.units = cast(Sequence[Chain], units)
        self.norm = ChannelNorm(widths[-1])
        self.last = nn.Conv1d(widths[-1], 1, 1)
        self.context = NO_CONTEXT
        for up, chain in zip(self.ups[::-1], self.units[::-1], strict=True):
            self.context = self.context.before(chain).coarser(up.factor)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, F + context]` to `[B, 1, F * hop]`."""
        context = self.context
        for up, chain in zip(self.ups, self.units, strict=True):
            x = chain(up(x))
            context = context.finer(up.factor).after(chain)
        return self.last(self.norm(refit(x, context, NO_CONTEXT)))


class MelSpectrogram(nn.Module):
    """Log-mel frames; `griffin_lim` makes them sound.

    Frame `f` is centred on samples `[f * hop, (f + 1) * hop)`, and lies as the log of the mel
    magnitude spectrogram of `LogMel`.
    """

    inverse: Tensor
    window: Tensor
    synthesis: Tensor

    def __init__(self, config: MelHead, sample_rate: int) -> None:
        super().__init__()
        self.hop, self.n_fft, self.iterations = config.hop, config.n_fft, config.iterations
        self.overlaps = config.n_fft // config.hop
        # an iteration lets every frame hear the frames that overlap it
        side = (self.iterations + 1) * self.overlaps
        self.context = Context(side, side)
        self.norm = ChannelNorm(config.channels)
        self.project = nn.Conv1d(config.channels, config.bands, 1)
        self.mel = LogMel(sample_rate, config.n_fft, config.hop, config.bands)
        filters = mel_filters(sample_rate, config.n_fft, config.bands)
        self.register_buffer("inverse", torch.linalg.pinv(filters), persistent=False)
        window, synthesis = hann_pair(config.n_fft, config.hop)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("synthesis", synthesis, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, F]` to log-mel `[B, bands, F]`, in fp32."""
        with torch.autocast(x.device.type, enabled=False):
            return self.project(self.norm(x.float())) * 3 - 6

    def target(self, audio: Tensor) -> Tensor:
        """`[B, 1, F * hop]` to its log-mel `[B, bands, F]`."""
        side = (self.n_fft - self.hop) // 2
        return self.mel(nn.functional.pad(audio[:, 0], (side, self.n_fft - self.hop - side)))

    def griffin_lim(self, log_mel: Tensor, first_frame: int) -> Tensor:
        """Sound `[B, 1, F * hop]` of `[B, bands, F + context]` (Griffin and Lim 1984).

        Phases start as those of steady sinusoids that are 0 at sample 0 of the sound, so that they
        do not depend on the window; `first_frame` says where the window starts.
        """
        magnitude = (self.inverse @ log_mel.exp()).clamp(min=0).transpose(1, 2)
        frames = torch.arange(magnitude.shape[1], device=log_mel.device) + first_frame
        bins = torch.arange(magnitude.shape[2], device=log_mel.device)
        turns = (frames[:, None] * bins * self.hop) % self.n_fft / self.n_fft
        phase = torch.polar(torch.ones_like(magnitude), (2 * math.pi * turns).expand_as(magnitude))
        edge = (self.overlaps - 1) * self.hop
        for _ in range(self.iterations):
            audio = self._overlapped(magnitude * phase)
            rebuilt = spectrum(nn.functional.pad(audio, (edge, edge)), self.n_fft, self.hop, self.window)
            phase = rebuilt / rebuilt.abs().clamp(min=1e-8)
        audio = self._overlapped(magnitude * phase).unsqueeze(1)
        count = log_mel.shape[2] - self.context.left - self.context.right
        start = self.context.left * self.hop - (self.n_fft - self.hop) + (self.n_fft - self.hop) // 2
        return audio[..., start : start + count * self.hop]

    def _overlapped(self, spectra: Tensor) -> Tensor:
        return overlap_add(torch.fft.irfft(spectra, self.n_fft) * self.synthesis, self.hop)


Head = InverseSTFT | Upsampling | MelSpectrogram


def build_head(config: ISTFTHead | UpsampleHead | MelHead, sample_rate: int) -> Head:
    """The head that a recipe's `kind:` names."""
    if isinstance(config, ISTFTHead):
        return InverseSTFT(config)
    if isinstance(config, UpsampleHead):
        return Upsampling(config)
    return MelSpectrogram(config, sample_rate)
