"""The constant delay of a codec: by its waveform, or where it keeps none, by its spectrum."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vqaudio.evaluation.pairs import correlation, without_delay
from vqaudio.evaluation.speech import stoi

STEP_SECONDS = 0.001
MOST_SECONDS = 0.2
REFINED_STEPS = 5  # either way
WINDOW_STEPS = 20
CLEAR = 0.5  # correlation of waveforms; an SI-SDR of -5 dB
BANDS_HZ = (100, 3400)  # that every speech codec passes on


def codec_delay(references: Sequence[Tensor], degraded: Sequence[Tensor], sample_rate: int) -> int:
    """The constant delay of a codec, from some sounds that went through it.

    It is where waveforms correlate best, if they do. If not, as of a vocoder, it is where magnitude
    spectra by steps of a millisecond correlate best, and of the milliseconds around that the one with
    the highest mean STOI: the most favourable to the codec.

    Args:
        references: float `[T]` each.
        degraded: what came out, float `[T]`, of any length.
        sample_rate: of all, in Hz.

    Returns:
        Samples, of either sign, up to 0.2 s.

    Raises:
        UserError: pystoi is not installed.
    """
    pairs = list(zip(references, degraded, strict=True))
    most = round(MOST_SECONDS * sample_rate)
    waveforms = torch.stack([correlation(*pair, most) for pair in pairs]).mean(0).abs()
    if waveforms.max() > CLEAR:
        return int(waveforms.argmax()) - most
    return _delay_of_spectra(pairs, sample_rate)


def _delay_of_spectra(pairs: Sequence[tuple[Tensor, Tensor]], sample_rate: int) -> int:
    step, most = round(STEP_SECONDS * sample_rate), round(MOST_SECONDS / STEP_SECONDS)
    total = torch.zeros(2 * most + 1, dtype=torch.float64)
    for first, second in pairs:
        spectra = [_spectra(audio, sample_rate, step) for audio in (first, second)]
        total += correlation(spectra[0], spectra[1], most)
    found = int(total.argmax()) - most

    def clearness(steps: int) -> float:
        aligned = [(a, without_delay(b, steps * step, len(a))) for a, b in pairs]
        return sum(stoi(*pair, sample_rate) or 0.0 for pair in aligned)

    around = range(found - REFINED_STEPS, found + REFINED_STEPS + 1)
    return max(around, key=clearness) * step


def _spectra(audio: Tensor, sample_rate: int, step: int) -> Tensor:
    """Root of the magnitude every `step` samples, its mean over time taken out: `[bins, steps]`."""
    n_fft = WINDOW_STEPS * step
    padded = F.pad(audio.double(), (n_fft // 2, n_fft // 2))
    frames = padded.unfold(0, n_fft, step) * torch.hann_window(n_fft, dtype=torch.float64)
    low, high = (round(hz * n_fft / sample_rate) for hz in BANDS_HZ)
    loudness = torch.fft.rfft(frames).abs()[:, low:high].sqrt().T
    return loudness - loudness.mean(dim=1, keepdim=True)
