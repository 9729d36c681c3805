"""Every measure once more, by other people's implementations or by numpy from its definition."""

import warnings
from collections.abc import Callable

import librosa
import numpy as np
import soxr
import torch
from pesq import pesq
from pystoi import stoi
from torch import Tensor
from torchmetrics.functional.audio import (
    scale_invariant_signal_distortion_ratio,
    signal_distortion_ratio,
)

Array = np.ndarray
Reference = Callable[[Array, Array, int], float]


def _spectrum(audio: Array, n_fft: int, hop: int, ends: str = "constant") -> Array:
    return np.abs(librosa.stft(audio, n_fft=n_fft, hop_length=hop, pad_mode=ends))


def _mel(audio: Array, rate: int, n_fft: int, hop: int, bands: int, ends: str = "constant") -> Array:
    filters = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=bands, dtype=np.float64)
    return filters @ _spectrum(audio, n_fft, hop, ends)


def _mel_distance(a: Array, b: Array, rate: int) -> float:
    logs = [np.log10(np.maximum(_mel(x, rate, 1024, 256, 80), 1e-5)) for x in (a, b)]
    return float(np.abs(logs[0] - logs[1]).mean())


def _dac(pairs: list[tuple[Array, Array]]) -> float:
    total = 0.0
    for a, b in pairs:
        total += np.abs(a - b).mean()
        total += np.abs(np.log10(np.maximum(a, 1e-5) ** 2) - np.log10(np.maximum(b, 1e-5) ** 2)).mean()
    return total


def _stft(a: Array, b: Array, rate: int) -> float:
    return _dac([tuple(_spectrum(x, n, n // 4, "reflect") for x in (a, b)) for n in (2048, 512)])


def _multi_mel(a: Array, b: Array, rate: int) -> float:
    sizes = ((2048, 150), (512, 80))
    return _dac([tuple(_mel(x, rate, n, n // 4, m, "reflect") for x in (a, b)) for n, m in sizes])


def _lsd(a: Array, b: Array, rate: int) -> float:
    decibels = [librosa.amplitude_to_db(_spectrum(x, 2048, 512), amin=1e-5, top_db=None) for x in (a, b)]
    return float(np.sqrt(np.square(decibels[0] - decibels[1]).mean(0)).mean())


def _mcd(a: Array, b: Array, rate: int) -> float:
    logs = [np.log(np.maximum(_mel(x, rate, 1024, 256, 80), 1e-5)) for x in (a, b)]
    # scipy's DCT-II without norm is twice the sum
    cepstra = [librosa.feature.mfcc(S=x, n_mfcc=25, dct_type=2, norm=None)[1:] / 80 for x in logs]
    squares = np.square(cepstra[0] - cepstra[1]).sum(0)
    return float((10 / np.log(10) * np.sqrt(2 * squares)).mean())


def _si_sdr(a: Array, b: Array, rate: int) -> float:
    lags = range(-rate // 20, rate // 20 + 1)
    lag = max(lags, key=lambda n: abs(np.dot(a[max(0, -n) : len(a) - n], b[max(0, n) : len(b) + n])))
    moved = np.zeros_like(b)
    moved[max(0, -lag) : len(b) - lag] = b[max(0, lag) : len(b) + lag]
    pair = (torch.from_numpy(moved), torch.from_numpy(a))
    return scale_invariant_signal_distortion_ratio(*pair, zero_mean=True).item()


def _sdr(a: Array, b: Array, rate: int) -> float:
    return signal_distortion_ratio(torch.from_numpy(b), torch.from_numpy(a), filter_length=512).item()


def _bss_eval(a: Array, b: Array, rate: int) -> float:
    import mir_eval

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mir_eval is to drop it some day
        return float(mir_eval.separation.bss_eval_sources(a[None], b[None])[0][0])


def _tracks(a: Array, b: Array, rate: int) -> list[Array]:
    settings = {"fmin": 65, "fmax": 400, "sr": 16000, "frame_length": 1024, "hop_length": 320}
    single = [soxr.resample(x.astype(np.float32), rate, 16000) for x in (a, b)]
    return [librosa.pyin(x, **settings)[0] for x in single]


def _voiced(a: Array, b: Array, rate: int) -> tuple[Array, Array]:
    first, second = _tracks(a, b, rate)
    both = np.isfinite(first) & np.isfinite(second)
    return first[both], second[both]


def _f0_cents(a: Array, b: Array, rate: int) -> float:
    first, second = (librosa.hz_to_midi(x) * 100 for x in _voiced(a, b, rate))
    return float(np.sqrt(np.square(first - second).mean()))


def _f0_hz(a: Array, b: Array, rate: int) -> float:
    first, second = _voiced(a, b, rate)
    return float(np.sqrt(np.square(first - second).mean()))


def _voicing(a: Array, b: Array, rate: int) -> float:
    first, second = (np.isfinite(x) for x in _tracks(a, b, rate))
    return float((first ^ second).mean())


REFERENCES: dict[str, list[Reference]] = {
    "pesq_wb": [lambda a, b, rate: pesq(rate, a, b, "wb")],
    "pesq_nb": [lambda a, b, rate: pesq(8000, *(soxr.resample(x, rate, 8000) for x in (a, b)), "nb")],
    "stoi": [lambda a, b, rate: stoi(a, b, rate)],
    "estoi": [lambda a, b, rate: stoi(a, b, rate, extended=True)],
    "si_sdr": [_si_sdr],
    "sdr": [_sdr, _bss_eval],
    "mel": [_mel_distance],
    "multi_mel": [_multi_mel],
    "stft": [_stft],
    "lsd": [_lsd],
    "mcd": [_mcd],
    "f0_corr": [lambda a, b, rate: float(np.corrcoef(*_voiced(a, b, rate))[0, 1])],
    "f0_rmse_hz": [_f0_hz],
    "f0_rmse_cents": [_f0_cents],
    "voicing_error": [_voicing],
}


def by_reference(name: str, reference: Tensor, degraded: Tensor, rate: int) -> list[float]:
    """What others make of a measure, of sounds `[T]` at 16 kHz."""
    pair = [audio.double().numpy() for audio in (reference, degraded)]
    if name.startswith("pesq"):
        pair = [audio.astype(np.float32) for audio in pair]
    return [other(*pair, rate) for other in REFERENCES[name]]
