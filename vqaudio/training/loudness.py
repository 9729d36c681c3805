"""A loss after PESQ, a measure of quality: how loud each band sounds, and what was added to it."""

import torch
from torch import Tensor, nn

from vqaudio.features import spectrum

FRAME_SECONDS = 0.032
BAND_BARK = 0.2
LOWEST_HZ = 80.0
SPEECH_HZ = 325.0, 3250.0  # where levels are measured
LEVEL_DB = 97.0  # in that range, at the ear: then costs are of the size of those of P.862.2
SILENT_DB = 87.0  # of all that is heard clearly: a frame below it says nothing about the bands' levels
STEADY_DB = 30.0  # added to mean powers before they are compared, as is the next
BRIEF_DB = 37.0
ZWICKER = 0.23
DEAD_ZONE = 0.25  # of the softer loudness: a smaller difference is masked
ADDED, ADDED_POWER, ADDED_LEAST, ADDED_MOST = 50.0, 1.2, 3.0, 12.0
LOUDEST = 45.0  # disturbance of a frame
SYMMETRIC, ASYMMETRIC = 0.1, 0.0309  # what a disturbance costs in MOS
SPLIT, SPLIT_POWER = 20, 6  # frames that hang together, and the norm over them


class LoudnessDistance(nn.Module):
    """Points of mean opinion that disturbances of loudness cost, after PESQ without its time alignment.

    After Beerends, Hekstra, Rix and Hollier 2002 (PESQ, part II, Journal of the AES 50) and ITU-T
    P.862.2: both sounds are brought to one level; the steady difference of bands and the brief one of
    frames are taken out where they are small; loudness is Zwicker's; a difference below a quarter of
    the softer loudness is masked; and what was added counts again, by itself. Bands of 0.45 Bark
    (Zwicker and Terhardt 1980, equation 1) and the threshold in quiet (Terhardt 1979, equation 1)
    stand for the tables of P.862.

    Args:
        sample_rate: in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.n_fft = round(FRAME_SECONDS * sample_rate) // 2 * 2
        bins = torch.linspace(0, sample_rate / 2, self.n_fft // 2 + 1, dtype=torch.float64)
        speech = (bins > SPEECH_HZ[0]) & (bins < SPEECH_HZ[1])
        number = (bark(bins) / BAND_BARK).long()
        members = (number == torch.arange(int(number.max()) + 1)[:, None]) & (bins > LOWEST_HZ)
        members = members[members.any(1)].double()
        centres = (members @ bins) / members.sum(1)
        half_bin = sample_rate / self.n_fft / 2
        widths = members @ (bark(bins + half_bin) - bark((bins - half_bin).clamp(min=0)))
        exponents = (
            ZWICKER * (6 / (bark(centres) + 2)).clamp(1, 2) ** 0.15
        )  # softer low tones grow faster
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        self.register_buffer("speech", speech.float(), persistent=False)
        self.register_buffer("bands", members.float(), persistent=False)
        self.register_buffer("threshold", threshold(centres).float(), persistent=False)
        self.register_buffer("widths", widths.float(), persistent=False)
        self.register_buffer("exponents", exponents.float(), persistent=False)

    def forward(self, made: Tensor, target: Tensor) -> Tensor:
        """Compare two batches, in fp32 whatever the autocast.

        Args:
            made: `[B, T]` or `[B, 1, T]`; gradients flow into this alone.
            target: the same shape.

        Returns:
            A scalar of at least 0, the mean over sounds; 0 where none is as long as `SPLIT` frames.
        """
        made, target = made.flatten(0, -2).float(), target.flatten(0, -2).float()
        if made.shape[1] < self.n_fft // 2 * (SPLIT + 1):
            return made.sum() * 0
        with torch.autocast(made.device.type, enabled=False):
            wanted, found = self._aligned(self._heard(target), self._heard(made))
            return self._cost(wanted, found).mean()

    def _heard(self, audio: Tensor) -> Tensor:
        """Power of each band at the ear `[B, F, N]`, of sounds `[B, T]` at one level."""
        power = spectrum(audio, self.n_fft, self.n_fft // 2, self.get_buffer("window"))
        power = power.real.square() + power.imag.square()
        level = (power @ self.get_buffer("speech")).mean(1)[:, None, None]
        return power @ self.get_buffer("bands").T * (_power(LEVEL_DB) / level.clamp(min=1e-6))

    def _aligned(self, wanted: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
        """Without the steady difference of bands and the brief one of frames."""
        clear = wanted * (wanted > 100 * self.get_buffer("threshold"))
        speaks = (clear.sum(2, keepdim=True) > _power(SILENT_DB)).float()
        steady = _power(STEADY_DB)
        clearly = found * (found > 100 * self.get_buffer("threshold"))
        ratio = ((clearly * speaks).mean(1) + steady) / ((clear * speaks).mean(1) + steady)
        wanted = wanted * ratio.clamp(0.01, 100.0)[:, None]
        brief = _power(BRIEF_DB)
        gain = (self._audible(wanted) + brief) / (self._audible(found) + brief)
        gain = torch.cat([gain[:, :1], 0.8 * gain[:, 1:] + 0.2 * gain[:, :-1]], dim=1)
        return wanted, found * gain.clamp(3e-4, 5.0)

    def _cost(self, wanted: Tensor, found: Tensor) -> Tensor:
        """`[B]`, in points."""
        loud_wanted, loud_found = self._loudness(wanted), self._loudness(found)
        masked = DEAD_ZONE * torch.minimum(loud_wanted, loud_found)
        change = loud_found - loud_wanted
        change = change.sign() * (change.abs() - masked).clamp(min=0)
        added = ((found + ADDED) / (wanted + ADDED)).pow(ADDED_POWER)
        added = added.clamp(max=ADDED_MOST) * (added > ADDED_LEAST)
        weight = ((self._audible(wanted) + 1e5) / 1e7).pow(0.04)[..., 0]
        change = change * self.get_buffer("widths")
        all_width = self.get_buffer("widths").sum()
        symmetric = (change.square().sum(2) * all_width).clamp(min=1e-12).sqrt()
        asymmetric = (change * added).abs().sum(2)
        return SYMMETRIC * _over_time(symmetric / weight) + ASYMMETRIC * _over_time(asymmetric / weight)

    def _audible(self, power: Tensor) -> Tensor:
        return (power * (power > self.get_buffer("threshold"))).sum(2, keepdim=True)

    def _loudness(self, power: Tensor) -> Tensor:
        """Sones a Bark (Zwicker and Feldtkeller 1967)."""
        quiet = self.get_buffer("threshold")
        above = (0.5 + 0.5 * power / quiet).clamp(min=1.0)
        exponents = self.get_buffer("exponents")
        return 0.1866 * (2 * quiet).pow(exponents) * (above.pow(exponents) - 1)


def bark(hertz: Tensor) -> Tensor:
    """Critical-band rate (Zwicker and Terhardt 1980, equation 1)."""
    return 13 * torch.atan(0.76e-3 * hertz) + 3.5 * torch.atan((hertz / 7500).square())


def threshold(hertz: Tensor) -> Tensor:
    """Power of the softest tone that is heard (Terhardt 1979, equation 1), 0 dB being 1."""
    k = hertz / 1000
    level = 3.64 * k**-0.8 - 6.5 * torch.exp(-0.6 * (k - 3.3).square()) + 1e-3 * k**4
    return 10 ** (level / 10)


def _over_time(disturbance: Tensor) -> Tensor:
    """A high norm over each third of a second, a lower one over those: `[B, F]` to `[B]`."""
    pieces = disturbance.clamp(min=1e-6, max=LOUDEST).unfold(1, SPLIT, SPLIT // 2)
    return pieces.pow(SPLIT_POWER).mean(2).pow(1 / SPLIT_POWER).square().mean(1).sqrt()


def _power(decibels: float) -> float:
    return float(10 ** (decibels / 10))
