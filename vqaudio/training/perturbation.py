"""What may be done to a training sound so that few hours stand for more: rooms, noise, loudness."""

import numpy as np
from numpy.typing import NDArray

from vqaudio.config import CodecData, Gain, Noise, Reverberation

Samples = NDArray[np.float32]
FRAME_SECONDS, MARGIN_SECONDS = 0.02, 0.05  # of silence that is looked for, and that is left
TAIL_LEVEL = 3.0  # a room's sound decays by 60 dB in its time: by exp(-3 ln 10 t)


def disturb(
    samples: Samples, sample_rate: int, config: CodecData, random: np.random.Generator
) -> Samples:
    """A sound in another room, with noise, louder or softer, each by chance as the recipe says.

    Args:
        samples: `[T]`.
        sample_rate: in Hz.
        config: what is done, and how often; what it does not name draws no number.
        random: what all chance comes from.

    Returns:
        float32 `[T]`, within -1 and 1 if `samples` are.
    """
    room, noise, gain = config.reverberation, config.noise, config.gain
    if room is not None and random.random() < room.share:
        samples = _in_a_room(samples, sample_rate, room, random)
    if noise is not None and random.random() < noise.share:
        samples = _with_noise(samples, noise, random)
    if gain is not None and random.random() < gain.share:
        samples = _louder(samples, gain, random)
    return samples


def trim(samples: Samples, sample_rate: int, below_db: float) -> Samples:
    """Leave out silence at both ends, but for 50 ms.

    Args:
        samples: `[T]`.
        sample_rate: in Hz.
        below_db: how far below the loudest 20 ms is silence.

    Returns:
        `[T']`, all of it where nothing is louder than nothing.
    """
    size = max(1, round(FRAME_SECONDS * sample_rate))
    whole = len(samples) // size * size
    power = np.square(samples[:whole], dtype=np.float64).reshape(-1, size).mean(axis=1)
    loud = np.flatnonzero(power > power.max(initial=0.0) * 10 ** (-below_db / 10))
    if not len(loud):
        return samples
    margin = round(MARGIN_SECONDS * sample_rate)
    return samples[max(0, loud[0] * size - margin) : (loud[-1] + 1) * size + margin]


def _in_a_room(
    samples: Samples, sample_rate: int, config: Reverberation, random: np.random.Generator
) -> Samples:
    """The sound and its echoes: noise that decays by 60 dB in the room's time."""
    decay_seconds = random.uniform(config.shortest_seconds, config.longest_seconds)
    level_db = random.uniform(config.softest_db, config.loudest_db)
    time = np.arange(1, max(2, round(decay_seconds * sample_rate))) / sample_rate
    echoes = random.standard_normal(len(time)) * np.exp(-TAIL_LEVEL * np.log(10) * time / decay_seconds)
    echoes *= 10 ** (level_db / 20) / np.linalg.norm(echoes)
    response = np.concatenate([[1.0], echoes])
    size = len(samples) + len(response) - 1
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)[: len(samples)]
    return _within(wet.astype(np.float32))


def _with_noise(samples: Samples, config: Noise, random: np.random.Generator) -> Samples:
    """Noise from white to brown, so far below the sound."""
    below_db = random.uniform(config.lowest_snr_db, config.highest_snr_db)
    steepness = random.uniform(0.0, 1.0)  # amplitude falls by f^-steepness: 0 is white, 1 brown
    spectrum = np.fft.rfft(random.standard_normal(len(samples)))
    spectrum[1:] /= np.arange(1, len(spectrum)) ** steepness
    noise = np.fft.irfft(spectrum, len(samples)) if len(samples) > 1 else np.zeros(1)
    size = float(np.linalg.norm(noise))
    scale = float(np.linalg.norm(samples)) * 10 ** (-below_db / 20) / size if size else 0.0
    return _within((samples + scale * noise).astype(np.float32))


def _louder(samples: Samples, config: Gain, random: np.random.Generator) -> Samples:
    gain_db = random.uniform(config.softest_db, config.loudest_db)
    return _within(samples * np.float32(10 ** (gain_db / 20)))


def _within(samples: Samples) -> Samples:
    """The sound softer, where it would clip."""
    peak = np.abs(samples).max(initial=0.0)
    return samples / peak if peak > 1 else samples
