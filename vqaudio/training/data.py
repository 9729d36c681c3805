"""Training crops: what a step sees follows from the seed and the step's number alone."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqaudio.audio import read_audio
from vqaudio.codes import frames_for
from vqaudio.config import CodecData
from vqaudio.corpus.manifest import Sound
from vqaudio.errors import UserError
from vqaudio.training.perturbation import disturb, trim

MEMORY_BYTES = 1 << 30  # a corpus that fits, as 16-bit samples, is decoded only once
AHEAD = 3  # batches made before they are asked for


class Crops:
    """Batches of fixed length, cut from sounds and filled up with further sounds.

    Crops are numbered through all steps and ranks. Place `p` of crop `n` takes its sound from the
    `p`-th seeded permutation of the corpus for epoch `n // len(sounds)`, so every sound opens one
    crop an epoch; a sound longer than the room left gives a random cut, a shorter one is followed
    by a gap and the next. Nothing depends on what was drawn before, so training resumes anywhere.

    Args:
        sounds: what to cut from.
        sample_rate: of the crops, in Hz.
        config: crop length, crops a batch, gaps and perturbation.
        seed: another seed gives other crops in another order.
        multiple: the crop length is rounded up to a multiple of this many samples.

    Raises:
        UserError: there are no sounds, or one of the files is missing.
    """

    def __init__(
        self,
        sounds: Sequence[Sound],
        sample_rate: int,
        config: CodecData,
        seed: int,
        multiple: int = 1,
    ) -> None:
        if not sounds:
            raise UserError(
                "no sounds to train on; give a manifest with rows outside validation and test"
            )
        for sound in sounds:
            check_there(sound)
        self.sounds = sounds
        self.sample_rate = sample_rate
        self.config = config
        self.seed = seed
        self.length = frames_for(round(config.crop_seconds * sample_rate), multiple) * multiple
        self._gap = round(config.gap_seconds * sample_rate)
        self._pool = balanced(sounds, config.balance, seed) if config.balance else np.arange(len(sounds))
        self._in_memory: dict[int, NDArray[np.int16]] | None = {} if self._fits_memory() else None
        self._orders: dict[tuple[int, int, int], NDArray[np.int64]] = {}

    def batch(self, step: int, rank: int = 0, ranks: int = 1, attempt: int = 0) -> Tensor:
        """The crops of one step on one rank.

        Args:
            step: counted from 0.
            rank: of `ranks` processes that share the step.
            ranks: see `rank`.
            attempt: another number gives other crops, for going on after a batch that broke.

        Returns:
            float32 `[B, 1, T]`.

        Raises:
            UserError: a sound cannot be decoded; it is named.
        """
        first = (step * ranks + rank) * self.config.crops
        crops = [self._crop(first + i, attempt) for i in range(self.config.crops)]
        return torch.from_numpy(np.stack(crops)[:, None])

    def batches(
        self, first: int, last: int, rank: int = 0, ranks: int = 1, attempt: int = 0
    ) -> Iterator[Tensor]:
        """The batches of steps `first` to `last - 1`, made ahead of time by a second thread."""
        waiting: list[Future[Tensor]] = []
        with ThreadPoolExecutor(1, thread_name_prefix="crops") as pool:
            try:
                for step in range(first, last):
                    while len(waiting) < min(AHEAD, last - step):
                        waiting.append(
                            pool.submit(self.batch, step + len(waiting), rank, ranks, attempt)
                        )
                    yield waiting.pop(0).result()
            finally:
                for future in waiting:
                    future.cancel()

    def _crop(self, number: int, attempt: int) -> NDArray[np.float32]:
        random = np.random.default_rng([self.seed, attempt, number])
        epoch, position = divmod(number, len(self._pool))
        crop = np.zeros(self.length, np.float32)
        filled = place = 0
        while filled < self.length:
            index = int(self._order(attempt, epoch, place)[position])
            piece = self._piece(index, self.length - filled, random)
            crop[filled : filled + len(piece)] = piece
            filled += len(piece) + self._gap
            place += 1
        return crop

    def _order(self, attempt: int, epoch: int, place: int) -> NDArray[np.int64]:
        key = (attempt, epoch, place)
        order = self._orders.get(key)
        if order is None:
            if any(old[:2] != key[:2] for old in list(self._orders)):
                self._orders = {}  # the epoch is over
            random = np.random.default_rng([self.seed, *key, len(self._pool)])
            order = self._pool[random.permutation(len(self._pool))]
            self._orders[key] = order
        return order

    def _piece(self, index: int, room: int, random: np.random.Generator) -> NDArray[np.float32]:
        """A sound or a random cut of it, perturbed or not: at least 1, at most `room` samples."""
        perturbation = self.config.perturbation
        speed = 1.0
        if random.random() < perturbation.share:
            low, high = math.log(perturbation.slowest), math.log(perturbation.fastest)
            speed = math.exp(random.uniform(low, high))
        piece = self._cut(index, math.ceil(room * speed), random)
        if speed != 1.0:
            resampled: NDArray[np.float32] = soxr.resample(piece, speed, 1.0)
            piece = resampled if len(resampled) else piece
        return disturb(piece[:room], self.sample_rate, self.config, random)

    def _cut(self, index: int, wanted: int, random: np.random.Generator) -> NDArray[np.float32]:
        """At most `wanted` samples of a sound, from a random place if it is longer."""
        sound = self.sounds[index]
        if self._in_memory is not None:
            samples = self._in_memory.get(index)
            if samples is None:
                whole = self._read(sound, sound.start_seconds, sound.duration_seconds)
                samples = np.rint(whole * 32768).clip(-32768, 32767).astype(np.int16)
                self._in_memory[index] = samples
            start = int(random.integers(max(1, len(samples) - wanted + 1)))
            return samples[start : start + wanted].astype(np.float32) / np.float32(32768)
        spare = duration_seconds(sound) - wanted / self.sample_rate
        if spare <= 0:
            return self._read(sound, sound.start_seconds, sound.duration_seconds)[:wanted]
        start_seconds = sound.start_seconds + spare * random.random()
        return self._read(sound, start_seconds, wanted / self.sample_rate)[:wanted]

    def _read(self, sound: Sound, start: float, duration: float | None) -> NDArray[np.float32]:
        audio, _ = read_audio(
            sound.path, self.sample_rate, start_seconds=start, duration_seconds=duration
        )
        mixed: NDArray[np.float32] = audio.mean(dim=0).numpy()
        trim_db = self.config.trim_db
        return mixed if trim_db is None else trim(mixed, self.sample_rate, trim_db)

    def _fits_memory(self) -> bool:
        room = MEMORY_BYTES / 2 / self.sample_rate
        for sound in self.sounds:
            room -= duration_seconds(sound)
            if room < 0:
                return False
        return True


def balanced(sounds: Sequence[Sound], field: str, seed: int) -> NDArray[np.int64]:
    """Which sounds an epoch is made of, so that all values of a field are heard for as long.

    Args:
        sounds: the corpus.
        field: of the manifest; sounds without it are a group of their own.
        seed: of which sounds of a group come once more than others.

    Returns:
        Indices: those of the longest group once, those of others as often as it takes.
    """
    groups: dict[str | None, list[int]] = {}
    for index, sound in enumerate(sounds):
        groups.setdefault(sound.fields.get(field), []).append(index)
    seconds = {name: sum(duration_seconds(sounds[i]) for i in group) for name, group in groups.items()}
    longest = max(seconds.values())
    chosen: list[int] = []
    for number, (name, group) in enumerate(groups.items()):
        times, rest = divmod(round(len(group) * longest / seconds[name]), len(group))
        random = np.random.default_rng([seed, number])
        chosen += group * times + random.choice(group, rest, replace=False).tolist()
    return np.array(chosen, np.int64)


def duration_seconds(sound: Sound) -> float:
    """Length of a sound, from the manifest or else from the head of its file.

    Raises:
        UserError: the file is not there or is no sound, or the clip begins beyond its end.
    """
    if sound.duration_seconds is not None:
        return sound.duration_seconds
    info = header(sound)
    there = info.frames / info.samplerate
    if sound.start_seconds and sound.start_seconds >= there:
        raise UserError(
            f"{sound.path}: a clip from {sound.start_seconds:g} s on is asked for, but the sound ends "
            f"at {there:g} s; mend start_seconds of {sound.id}"
        )
    return float(there) - sound.start_seconds


def header(sound: Sound) -> Any:
    """What `soundfile.info` says of a sound's file.

    Raises:
        UserError: the file is not there or is no sound.
    """
    check_there(sound)
    try:
        return soundfile.info(sound.path)
    except soundfile.LibsndfileError as error:
        raise UserError(
            f"{sound.path}: not a sound file, or a damaged one ({error.error_string})"
        ) from None


def check_there(sound: Sound) -> None:
    """Refuse a sound whose file is missing."""
    if not sound.path.is_file():
        raise UserError(f"{sound.path}: no such file, but the manifest names it for {sound.id}")
