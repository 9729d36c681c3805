"""Faults of a recording, made on good ones: each takes samples `[T]`, their rate and random numbers.

Levels are drawn anew for each sound. Decibels are of power, against the whole sound's.
"""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soxr
import torch

from vqaudio.audio import mono, read_audio, write_audio

Fault = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def hum(audio: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """The mains, 50 or 60 Hz with the next 7 harmonics, 20 to 30 dB below the sound."""
    time = np.arange(len(audio)) / rate
    mains = rng.choice([50.0, 60.0])
    waves = [
        rng.uniform(0.3, 1) / order * np.sin(2 * np.pi * (mains * order * time + rng.random()))
        for order in range(1, 9)
    ]
    return audio + _below(np.sum(waves, axis=0), audio, rng.uniform(20, 30))


def noise(audio: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """White noise for 0.3 to 0.8 s, 5 to 15 dB below the sound while it lasts."""
    made = audio.copy()
    length = min(len(audio), round(rng.uniform(0.3, 0.8) * rate))
    start = rng.integers(len(audio) - length + 1)
    made[start : start + length] += _below(rng.standard_normal(length), audio, rng.uniform(5, 15))
    return made


def clicks(audio: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """One to three clicks, half to all of the sound's peak, that ring for a millisecond."""
    made = audio.copy()
    length = max(1, round(0.005 * rate))
    time = np.arange(length) / rate
    for _ in range(rng.integers(1, 4)):
        ringing = np.cos(2 * np.pi * rng.uniform(1000, 0.4 * rate) * time) * np.exp(-time / 0.001)
        start = rng.integers(max(1, len(audio) - length))
        size = rng.uniform(0.5, 1) * np.abs(audio).max() * rng.choice([-1, 1])
        made[start : start + length] += size * ringing[: len(audio) - start]
    return made


def dropouts(audio: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """One to three gaps of 10 to 40 ms of digital silence, where there is sound."""
    made = audio.copy()
    loud = np.flatnonzero(np.abs(audio) > np.sqrt(np.mean(audio**2)))
    for _ in range(rng.integers(1, 4)):
        length = round(rng.uniform(0.01, 0.04) * rate)
        start = max(0, rng.choice(loud) - length // 2)
        made[start : start + length] = 0
    return made


def clipping(audio: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Clipped 6 to 12 dB below the peak, as loud as before."""
    ceiling = np.abs(audio).max() * 10 ** (-rng.uniform(6, 12) / 20)
    made = audio.clip(-ceiling, ceiling)
    return made * np.sqrt(np.mean(audio**2) / np.mean(made**2))


def reversal(audio: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Backwards."""
    return audio[::-1].copy()


def speed(audio: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """4 to 10 % too fast or too slow, pitch and all, as a tape is."""
    factor = (1 + rng.uniform(0.04, 0.10)) ** rng.choice([-1, 1])
    return soxr.resample(audio, rate, rate / factor)


FAULTS: dict[str, Fault] = {
    "hum": hum,
    "clicks": clicks,
    "dropouts": dropouts,
    "clipping": clipping,
    "reversed": reversal,
    "wrong speed": speed,
    "noise": noise,
}


def _below(wave: np.ndarray, audio: np.ndarray, decibels: float) -> np.ndarray:
    """`wave` at so many decibels below `audio`."""
    return wave * np.sqrt(np.mean(audio**2) / np.mean(wave**2)) * 10 ** (-decibels / 20)


def write_faulty(path: Path, kind: str, made: Path) -> Path:
    """Write a sound with a fault of some kind, whose random numbers hang on the names of both alone."""
    audio, rate = read_audio(path)
    rng = np.random.default_rng(zlib.crc32(f"{kind} {path.stem}".encode()))
    faulty = FAULTS[kind](mono(audio)[0].double().numpy(), rate, rng)
    write_audio(made, torch.from_numpy(faulty).float()[None], rate)
    return made
