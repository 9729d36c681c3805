"""The table of measures: what each is called, what it is, and what computes it.

A measure is a callable on (reference, degraded, sample_rate), float `[T]` each, that gives a number,
or None where it has nothing to judge. Others than these come from installed packages: an entry point
of the group `vqaudio.measures` that names a `Measure`.
"""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, version
from importlib.util import find_spec

from torch import Tensor

from vqaudio.audio import resample
from vqaudio.errors import printable
from vqaudio.evaluation.pitch import f0_correlation, f0_rmse_cents, f0_rmse_hz, voicing_error
from vqaudio.evaluation.results import Definition
from vqaudio.evaluation.spectral import (
    log_spectral_distance,
    mel_cepstral_distortion,
    mel_distance,
    multi_mel_distance,
    stft_distance,
)
from vqaudio.evaluation.speech import pesq, stoi
from vqaudio.evaluation.waveform import sdr, si_sdr

GROUP, OWN = "vqaudio.measures", "vqaudio"
WIDE, NARROW = 16_000, 8_000
# taken of whole systems only, so that a curve of four points costs little more than its end
COSTLY = {"pesq_nb", "sdr", "f0_corr", "f0_rmse_hz", "f0_rmse_cents", "voicing_error"}
Compute = Callable[[Tensor, Tensor, int], float | None]


@dataclass(frozen=True)
class Measure:
    """How to judge one sound by another.

    Args:
        definition: what the figure is.
        compute: gives it.
        costly: taken of whole systems only, not along a rate-distortion curve.
    """

    definition: Definition
    compute: Compute
    costly: bool = False

    @property
    def name(self) -> str:
        """The key in results."""
        return self.definition.name


def package(name: str) -> str:
    """A package with its version."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name}, not installed"


def versions() -> dict[str, str]:
    """Versions of all that takes part in a measurement, by name."""
    names = ("vqaudio", "torch", "numpy", "soxr", "librosa", "pesq", "pystoi")
    found = {name: package(name).removeprefix(f"{name} ") for name in names}
    return found | {"python": platform.python_version()}


def pesq_wide(reference: Tensor, degraded: Tensor, sample_rate: int) -> float | None:
    """`pesq` of the wide band, at 16 kHz; None for sounds that have no more than a narrow one."""
    if sample_rate < WIDE:
        return None
    return pesq(*_at(WIDE, reference, degraded, sample_rate), WIDE, "wb")


def pesq_narrow(reference: Tensor, degraded: Tensor, sample_rate: int) -> float | None:
    """`pesq` of the narrow band, at 8 kHz as telephones have it; at 16 kHz it is another figure."""
    return pesq(*_at(NARROW, reference, degraded, sample_rate), NARROW, "nb")


def estoi(reference: Tensor, degraded: Tensor, sample_rate: int) -> float | None:
    """`stoi`, extended."""
    return stoi(reference, degraded, sample_rate, extended=True)


def built_in() -> list[Measure]:
    """The measures of this package, in the order of columns."""
    by = package
    rows = [
        (pesq_wide, "pesq_wb", "PESQ-WB", "", "higher", WIDE, by("pesq"),
         "Perceptual evaluation of speech quality, wide band (ITU-T P.862.2), 1.0 to 4.6.",
         "Codec-SUPERB: pesq, pesq-wb; VERSA: pesq"),
        (pesq_narrow, "pesq_nb", "PESQ-NB", "", "higher", NARROW, by("pesq"),
         "Perceptual evaluation of speech quality, telephone band (ITU-T P.862.1), 1.0 to 4.6.",
         "VERSA: pesq, of sounds at 8 kHz"),
        (stoi, "stoi", "STOI", "", "higher", 10_000, by("pystoi"),
         "Short-time objective intelligibility (Taal et al. 2011), up to 1.",
         "Codec-SUPERB: stoi; VERSA: stoi"),
        (estoi, "estoi", "ESTOI", "", "higher", 10_000, by("pystoi"),
         "Extended STOI (Jensen and Taal 2016), which modulated noise does not flatter.",
         "VERSA: estoi"),
        (si_sdr, "si_sdr", "SI-SDR", "dB", "higher", None, by(OWN),
         "Scale-invariant signal-to-distortion ratio, means and one delay of up to 50 ms taken out.",
         "VERSA: si_snr, without the delay"),
        (sdr, "sdr", "SDR", "dB", "higher", None, by(OWN),
         "Signal-to-distortion ratio of BSS Eval: a filter of 512 taps counts as signal.",
         "VERSA: sdr, sar and ci_sdr, which are one for one source; its sir is infinite"),
        (mel_distance, "mel", "mel distance", "", "lower", WIDE, by(OWN),
         "Mean absolute difference of log10 magnitudes in 80 mel bands, 64 ms windows every 16 ms.",
         ""),
        (multi_mel_distance, "multi_mel", "multi-res. mel", "", "lower", None, by(OWN),
         "Difference of mel magnitudes and of log10 of their squares, windows of 2048 and 512 samples.",
         "Codec-SUPERB: mel"),
        (stft_distance, "stft", "multi-res. STFT", "", "lower", None, by(OWN),
         "Difference of magnitudes and of log10 of their squares, windows of 2048 and 512 samples.",
         "Codec-SUPERB: stft"),
        (log_spectral_distance, "lsd", "LSD", "dB", "lower", WIDE, by(OWN),
         "Log-spectral distance: RMS over bins, mean over windows of 2048 samples every 512.",
         ""),
        (mel_cepstral_distortion, "mcd", "MCD", "dB", "lower", WIDE, by(OWN),
         "Mel-cepstral distortion, orders 1 to 24 of the DCT of 80 log mel bands, no time alignment.",
         "VERSA: mcd, there of WORLD's envelope"),
        (f0_correlation, "f0_corr", "F0 correlation", "", "higher", WIDE, by("librosa"),
         "Pearson's correlation of F0 (pYIN, 65 to 400 Hz) where both sounds are voiced.",
         "Codec-SUPERB: f0corr, by Praat; VERSA: f0corr, by WORLD"),
        (f0_rmse_hz, "f0_rmse_hz", "F0 RMSE, Hz", "Hz", "lower", WIDE, by("librosa"),
         "RMS difference of F0 where both sounds are voiced.",
         "VERSA: f0rmse, by WORLD"),
        (f0_rmse_cents, "f0_rmse_cents", "F0 RMSE, cents", "cents", "lower", WIDE, by("librosa"),
         "RMS difference of F0 in hundredths of a semitone, so that high and low voices compare.",
         ""),
        (voicing_error, "voicing_error", "voicing error", "", "lower", WIDE, by("librosa"),
         "Share of frames that are voiced in one of both sounds only.",
         ""),
    ]  # fmt: skip
    return [
        Measure(
            Definition(name, title, unit, better, rate, definition, computed_by, also_called),
            compute,
            costly=name in COSTLY,
        )
        for compute, name, title, unit, better, rate, computed_by, definition, also_called in rows
    ]


def agreements() -> list[Definition]:
    """What is asked of a codec's own codes, sound by sound."""
    rows = [
        ("reencoded", "codes kept, again", "Share of codes that encoding the decoded sound gives back."),
        (
            "shifted",
            "codes kept, shift",
            "Share of codes that stay when one sample of silence is put first.",
        ),
        ("quieter", "codes kept, -6 dB", "Share of codes that stay when the sound is 6 dB quieter."),
    ]
    by = package(OWN)
    return [Definition(name, title, "", "higher", None, text, by) for name, title, text in rows]


def of_systems() -> list[Definition]:
    """What is asked of a whole system, over all sounds."""
    rows = [
        ("nominal_bits_per_second", "nominal bitrate", "bit/s", "lower",
         "Every code at full width; of programs the payload that they wrote, without container."),
        ("effective_bits_per_second", "effective bitrate", "bit/s", "lower",
         "Entropy of the codes, each codebook by its own frequencies, corrected by Miller and Madow."),
        ("tokens_per_second", "token rate", "codes/s", "lower", "Codes for a second of sound."),
        ("used", "codes used", "", "higher", "Distinct codes that came, codebook by codebook."),
        ("perplexity", "perplexity", "codes", "higher",
         "2 to the entropy of a codebook's frequencies: as many equally frequent codes."),
        ("shared", "shared information", "bit", "",
         "Mutual information of a coarse and a fine code, less that of coarse codes in random order."),
        ("encode_rtf", "real-time factor, encoding", "", "lower",
         "Seconds of one core to encode a second of sound, on one thread, the best of three."),
        ("decode_rtf", "real-time factor, decoding", "", "lower",
         "Seconds of one core to decode a second of sound, on one thread, the best of three."),
        ("peak_memory_bytes", "peak memory", "bytes", "lower",
         "Resident, of a new process that loads the codec, encodes and decodes 10 s or less."),
        ("parameters", "parameters", "", "lower", "Numbers that were learned."),
        ("encode_macs_per_second", "multiply-adds, encoding", "1/s", "lower",
         "To encode a second of sound: of convolutions, matrices, mel filters and codebook searches; "
         "Fourier transforms, norms and what windows overlap are not counted."),
        ("decode_macs_per_second", "multiply-adds, decoding", "1/s", "lower",
         "To decode a second of sound, counted as for encoding."),
    ]  # fmt: skip
    by = package(OWN)
    return [
        Definition(name, title, unit, better, None, text, by) for name, title, unit, better, text in rows
    ]


def find_measures() -> tuple[list[Measure], list[str]]:
    """All measures that can be taken here, and a line on each that cannot.

    Returns:
        This package's and those of plug-ins; and why some are missing.
    """
    found, missing = [], []
    for measure in built_in():
        needs = measure.definition.computed_by.split()[0].rstrip(",")
        if find_spec(needs) is None:
            missing.append(
                f"{measure.definition.title}: needs {needs}; install vqaudio with the extra `eval`"
            )
        else:
            found.append(measure)
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            plugin = point.load()
            if not isinstance(plugin, Measure):
                raise TypeError(f"is a {type(plugin).__name__}, not a Measure")
            if plugin.name in {measure.name for measure in found}:
                raise ValueError(f"there is a measure {plugin.name} already")
        except Exception as error:  # whatever a foreign package does at import
            missing.append(printable(f"plug-in {point.name} of {point.value}: {error}"))
        else:
            found.append(plugin)
    return found, missing


def _at(rate: int, reference: Tensor, degraded: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    first, second = (resample(x[None], sample_rate, rate)[0] for x in (reference, degraded))
    return first, second
