"""Copies of training sounds in other voices, by the WORLD vocoder: `pip install pyworld`.

    python egs/speech-16k/voices.py MANIFEST OUT

OUT gets four copies of each sound that is not marked for validation or test. Pitch, how lively it is,
formants, speed and microphone are drawn one by one, where perturb.py changes all by one factor: a low
voice need not be a slow one.

Morise, Yokomori, Ozawa 2016: WORLD: a vocoder-based high-quality speech synthesis system for real-time
applications, IEICE Transactions E99-D, 1877.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vqaudio.audio import read_audio, write_audio
from vqaudio.cli.terminal import progress, run_script
from vqaudio.corpus.manifest import Sound, read_manifest
from vqaudio.errors import UserError

Numbers = NDArray[np.float64]
COPIES = 4
PITCH, FORMANTS, SPEED, LIVELINESS = (0.5, 1.5), (0.8, 1.25), (0.75, 1.35), (0.5, 1.6)
BEND = 0.8  # share of the band where formants move by their factor; above it the rest makes room
MICROPHONE_BANDS, MICROPHONE_DB = 6, 4.0  # gains between which the response is interpolated
FRAME_MS = 5.0
LOUDEST = 0.99


@dataclass(frozen=True)
class Voice:
    """A sound as WORLD has it: pitch in Hz `[N]`, 0 where unvoiced, spectra and noise `[N, F]`."""

    pitch: Numbers
    spectra: Numbers
    noise: Numbers


def main(manifest: Path, out: Path) -> None:
    if find_spec("pyworld") is None:
        raise UserError("other voices need pyworld: pip install pyworld")
    sounds = [
        sound for sound in read_manifest(manifest) if sound.fields.get("split", "train") == "train"
    ]
    torch.set_num_threads(1)
    with ProcessPoolExecutor() as pool, progress() as bar:
        work = pool.map(copy, sounds, range(len(sounds)), repeat(out), chunksize=8)
        for _ in bar.track(work, total=len(sounds), description="voices"):
            pass


def copy(sound: Sound, seed: int, out: Path) -> None:
    """Write the copies of one sound."""
    chance = np.random.default_rng(seed)
    audio, rate = read_audio(sound.path)
    voice = analyse(audio[0].double().numpy(), rate)
    for number in range(COPIES):
        samples = torch.from_numpy(speak(voice, rate, chance)).float()
        write_audio(out / f"{number}" / f"{sound.id}.wav", samples[None], rate)


def analyse(samples: Numbers, rate: int) -> Voice:
    """Take a sound `[T]` apart."""
    import pyworld

    rough, times = pyworld.dio(samples, rate, frame_period=FRAME_MS)
    pitch = pyworld.stonemask(samples, rough, times, rate)
    spectra = pyworld.cheaptrick(samples, pitch, times, rate)
    return Voice(pitch, spectra, pyworld.d4c(samples, pitch, times, rate))


def speak(voice: Voice, rate: int, chance: np.random.Generator) -> Numbers:
    """Say it in another voice: `[T']`, within -0.99 and 0.99."""
    import pyworld

    spoken = voice.pitch[voice.pitch > 0]
    median = np.median(spoken) if len(spoken) else 1.0
    lively = chance.uniform(*LIVELINESS)
    pitch = np.where(voice.pitch > 0, voice.pitch / median, 1.0) ** lively * (voice.pitch > 0)
    spectra = _stretched(voice.spectra, _between(FORMANTS, chance)) * _microphone(voice, chance)
    pitch *= median * _between(PITCH, chance)
    frame_ms = FRAME_MS / _between(SPEED, chance)
    samples = pyworld.synthesize(pitch, np.ascontiguousarray(spectra), voice.noise, rate, frame_ms)
    return samples * min(1.0, LOUDEST / max(np.abs(samples).max(initial=0.0), 1e-9))


def _between(bounds: tuple[float, float], chance: np.random.Generator) -> float:
    """A factor, as likely to be above the geometric middle as below."""
    return float(np.exp(chance.uniform(*np.log(bounds))))


def _stretched(spectra: Numbers, factor: float) -> Numbers:
    """Spectra `[N, F]` with formants at other frequencies, and the ends of the band where they were.

    Jaitly, Hinton 2013: vocal tract length perturbation improves speech recognition, equation 1.
    """
    last = spectra.shape[1] - 1
    bend = BEND * min(factor, 1.0) * last
    from_bin = np.interp(np.arange(last + 1), [0, bend, last], [0, bend / factor, last])
    low = np.minimum(from_bin.astype(int), last - 1)
    share = from_bin - low
    logs = np.log(spectra)
    stretched: Numbers = np.exp((1 - share) * logs[:, low] + share * logs[:, low + 1])
    return stretched


def _microphone(voice: Voice, chance: np.random.Generator) -> Numbers:
    """A smooth response over frequency, of power: `[F]`."""
    gains = chance.normal(0.0, MICROPHONE_DB, MICROPHONE_BANDS)
    bins = voice.spectra.shape[1]
    edges = bins * (2.0 ** np.arange(-MICROPHONE_BANDS + 1, 1))
    return 10 ** (np.interp(np.arange(bins), edges, gains) / 10)


if __name__ == "__main__":
    run_script(main)
