"""Reconstruction losses: log-mel and STFT distances at several resolutions."""

from typing import Any

import torch
from torch import Tensor, nn

from vqaudio.errors import UserError
from vqaudio.features import LOG_FLOOR, mel_filters

OVERLAP = 4  # frames over every sample: the hop is a quarter of the FFT


class _Magnitude(torch.autograd.Function):
    """Windowed magnitude spectrum with a backward pass of one inverse real FFT.

    The general rule pads the gradient to a complex FFT of full length and scatters the frames
    with an index; both are several times slower on a CPU than this special case. The magnitude
    is `sqrt(power + floor^2)`, whose gradient is finite at silence.
    """

    @staticmethod
    def forward(ctx: Any, audio: Tensor, window: Tensor) -> Tensor:
        n_fft = window.shape[0]
        spectra = torch.fft.rfft(audio.unfold(-1, n_fft, n_fft // OVERLAP) * window)
        power = spectra.real.square() + spectra.imag.square()
        magnitudes = power.add_(LOG_FLOOR**2).sqrt_()
        ctx.save_for_backward(spectra, magnitudes, window)
        return magnitudes

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        spectra, magnitudes, window = ctx.saved_tensors
        n_fft = window.shape[0]
        # the inverse real FFT counts the bins between 0 and Nyquist twice and divides by n_fft
        scale = gradient / magnitudes * (0.5 * n_fft)
        scale[..., 0] *= 2
        scale[..., -1] *= 2
        frames = torch.fft.irfft(spectra * scale, n=n_fft) * window
        batch, count, _ = frames.shape
        hop = n_fft // OVERLAP
        pieces = frames.view(batch, count, OVERLAP, hop)
        blocks = frames.new_zeros(batch, count + OVERLAP - 1, hop)
        for part in range(OVERLAP):
            blocks[:, part : part + count] += pieces[:, :, part]
        return blocks.view(batch, -1), None


class SpectralLoss(nn.Module):
    """Distances of two sounds' spectrograms, averaged over several FFT sizes.

    At each size one Hann-windowed STFT (hop a quarter of it, silence round the sound so that
    every sample is in four frames) serves both terms:

    - `mel`: mean absolute difference of natural-log mel magnitudes, Slaney filters from 0 Hz to
      Nyquist, floored at 1e-5.
    - `stft`: spectral convergence plus mean absolute difference of log magnitudes (Yamamoto, Song,
      Kim 2019, arXiv 1910.11480, equations 4 to 6), the convergence sound by sound so that a quiet
      one counts as much as a loud one.

    Args:
        sample_rate: in Hz.
        fft_sizes: in samples, each a multiple of 4.

    Raises:
        UserError: an FFT size is not a multiple of 4.
    """

    def __init__(self, sample_rate: int, fft_sizes: list[int]) -> None:
        super().__init__()
        self.fft_sizes = fft_sizes
        for n_fft in fft_sizes:
            if n_fft % OVERLAP:
                raise UserError(f"losses.fft_sizes: {n_fft} is not a multiple of {OVERLAP}")
            # more bands than this leave low filters that fall between two bins of a short FFT
            bands = min(80, max(1, n_fft * 5 // 32))
            self.register_buffer(f"window_{n_fft}", torch.hann_window(n_fft), persistent=False)
            self.register_buffer(
                f"filters_{n_fft}",
                mel_filters(sample_rate, n_fft, bands).T.contiguous(),
                persistent=False,
            )

    def forward(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compare two batches, in fp32 whatever the autocast.

        Args:
            output: `[B, T]` or `[B, 1, T]`, what the model made; gradients flow into this alone.
            target: the same shape.

        Returns:
            fp32 scalars `mel` and `stft`.
        """
        output, target = output.flatten(0, -2).float(), target.flatten(0, -2).float()
        mel = output.new_zeros(())
        stft = output.new_zeros(())
        with torch.autocast(output.device.type, enabled=False):
            for n_fft in self.fft_sizes:
                window = self.get_buffer(f"window_{n_fft}")
                filters = self.get_buffer(f"filters_{n_fft}")
                with torch.no_grad():
                    wanted = _Magnitude.apply(surround(target, n_fft), window)
                    wanted_log, wanted_mel = wanted.log(), _log_mel(wanted, filters)
                made = _Magnitude.apply(surround(output, n_fft), window)
                mel = mel + (_log_mel(made, filters) - wanted_mel).abs().mean()
                stft = stft + _convergence(made, wanted) + (made.log() - wanted_log).abs().mean()
        return {"mel": mel / len(self.fft_sizes), "stft": stft / len(self.fft_sizes)}


def surround(audio: Tensor, n_fft: int) -> Tensor:
    """Silence round `[B, T]` such that whole frames hold each sample four times."""
    hop = n_fft // OVERLAP
    before = n_fft - hop
    return nn.functional.pad(audio, (before, before + -audio.shape[-1] % hop))


def _log_mel(magnitudes: Tensor, filters: Tensor) -> Tensor:
    return (magnitudes @ filters).clamp(min=LOG_FLOOR).log()


def _convergence(made: Tensor, wanted: Tensor) -> Tensor:
    """`||wanted - made|| / ||wanted||` of each sound, averaged; pure silence divides by about one."""
    distance = torch.linalg.vector_norm(made - wanted, dim=(1, 2))
    size = torch.linalg.vector_norm(wanted, dim=(1, 2))
    return (distance / size.clamp(min=1.0)).mean()
