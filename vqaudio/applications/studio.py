"""What can be tried with a codec and a prior: a sound at each bitrate, new sound, two compared."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from vqaudio.audio import AnyPath, mix, resample, write_audio
from vqaudio.codec.model import Codec
from vqaudio.codes import Codes
from vqaudio.errors import UserError
from vqaudio.evaluation.code_plot import save_codes
from vqaudio.evaluation.plots import save_spectrograms
from vqaudio.evaluation.report import Part, Picture, Player
from vqaudio.evaluation.spectral import mel_distance
from vqaudio.prior.model import Prior
from vqaudio.prior.sampler import Options
from vqaudio.sound_files import read_blocks

LONGEST_SECONDS = 30.0  # of a sound that is given
PATIENCE_SECONDS = 120.0  # of one new sound in the making
QUIETEST = 1e-4  # peak of what can be heard at all: -80 dB


@dataclass(frozen=True)
class Rate:
    """A bitrate that one encoding can be cut down to.

    Args:
        bits_per_second: of the codes that are decoded.
        quantizers: per level that is decoded, coarsest first, how many of its codebooks.
        whole: whether the finest of these levels is decoded with the codebooks it has unless told.
    """

    bits_per_second: float
    quantizers: Sequence[int]
    whole: bool

    @property
    def title(self) -> str:
        """What is decoded, in a few words."""
        finest, count = len(self.quantizers) - 1, self.quantizers[-1]
        cut = "" if self.whole else f"{count} codebook{'s' if count > 1 else ''} of "
        levels = [*(f"level {level}" for level in range(finest)), f"{cut}level {finest}"]
        return f"{self.bits_per_second:g} bit/s: {' + '.join(levels)}"


@dataclass(frozen=True)
class Shown:
    """What came of a request.

    Args:
        parts: to be shown.
        sounds: float32 `[T]` at the codec's sample rate, by title.
    """

    parts: Sequence[Part]
    sounds: dict[str, Tensor]


@dataclass(frozen=True)
class Original:
    """A sound that somebody gives.

    Args:
        audio: float32 `[T]` at the codec's sample rate.
        channels: that it had.
    """

    audio: Tensor
    channels: int

    @property
    def mixed(self) -> str:
        """What was done to it, to be said behind what it is."""
        return f", its {self.channels} channels mixed down to one" if self.channels > 1 else ""


class Studio:
    """A codec and perhaps a prior, to be tried.

    Args:
        codec: of all sounds.
        prior: over its codes; None where there is no new sound to be had.

    Raises:
        UserError: prior and codec do not belong together, or the codec has no codes.
    """

    def __init__(self, codec: Codec, prior: Prior | None = None) -> None:
        if prior is not None:
            prior.check_codec(codec.fingerprint)
        self.codec, self.prior = codec, prior
        self.rates = list(_rates(codec))
        if not self.rates:
            raise UserError("this codec has no codes: all of its levels are continuous")
        self.usual = max(number for number, rate in enumerate(self.rates) if rate.whole)

    def hear(self, path: AnyPath | None, rate: Rate, folder: Path) -> Shown:
        """A sound, its codes, and what they sound like: at a bitrate, and from each level.

        Args:
            path: the sound file.
            rate: one of `rates`.
            folder: for the files that are shown.

        Raises:
            UserError: there is no sound, or none that can be used.
        """
        original = self.read(path)
        audio = original.audio
        name = Path(str(path)).name
        full = [len(sizes) for sizes in self.codec.all_codebook_sizes]
        codes = self.codec.encode(audio[None], quantizers=full)
        sounds = {name: audio}
        players = [self._player(f"The original{original.mixed}", "original", audio, folder)]
        for number, cut in enumerate(self.rates):
            if cut.whole or cut == rate:
                sounds[f"{name}, {cut.title}"] = made = self._cut(codes, cut)
                players.append(self._player(cut.title, f"rate-{number}", made, folder))
        kept = [*rate.quantizers, *[0] * (len(codes.levels) - len(rate.quantizers))]
        save_codes(folder / "codes.png", codes, kept)
        count = sum(n * level.shape[1] for n, level in zip(rate.quantizers, codes.levels, strict=False))
        fewer = 16 * self.codec.sample_rate / rate.bits_per_second
        said = (
            f"{codes.duration_seconds:.2f} seconds are {count} codes at {rate.bits_per_second:g} bit/s, "
            f"{fewer:.0f} times fewer bits than 16-bit samples."
        )
        picture = Picture(
            "The codes: a row a codebook, a colour a code. What is not decoded is dark.",
            folder / "codes.png",
        )
        return Shown([said, *players, picture], sounds)

    def write(
        self, seconds: float, before: AnyPath | None, folder: Path, **how: Unpack[Options]
    ) -> Shown:
        """New sound.

        Args:
            seconds: of it, without what is before it.
            before: a sound file to go on from; as much of its end as the prior holds.
            folder: for the files that are shown.
            how: see `Prior.sample`.

        Raises:
            UserError: there is no prior, a number is out of range, the sound before cannot be used,
                or it takes too long.
        """
        if self.prior is None:
            raise UserError("there is no prior for this codec; start with --prior")
        told = ", ".join(f"{key} {value}" for key, value in how.items() if value is not None)
        caption = f"{seconds:g} new seconds"
        title = f"{caption}, {told}"
        given_seconds = 0.0
        if before is not None:
            original = self.read(before)
            prompt = self._end_of(original.audio, seconds)
            given_seconds = prompt.duration_seconds
            title = f"{Path(before).name} and {title}"
            caption = f"{given_seconds:g} seconds as they were given{original.mixed}, then {caption}"
            how["prompt"] = prompt
        parts = self.prior.sample(1, given_seconds + seconds, stream=True, **how)
        codes = _joined(list(_patiently(parts)))
        audio = self.codec.decode(codes)[0]
        save_codes(folder / "codes.png", codes, given_seconds=given_seconds)
        save_spectrograms(folder / "spectrogram.png", [(caption, audio)], self.codec.sample_rate)
        shown: list[Part] = [
            self._player(caption, "new", audio, folder),
            Picture("Its codes, as the prior wrote them.", folder / "codes.png"),
            Picture("Its mel spectrogram.", folder / "spectrogram.png"),
        ]
        return Shown(shown, {title: audio})

    def compare(
        self, sounds: dict[str, Tensor], first: str | None, second: str | None, folder: Path
    ) -> Shown:
        """Two sounds side by side.

        Args:
            sounds: float32 `[T]` by title.
            first: title of one.
            second: title of the other.
            folder: for the files that are shown.

        Raises:
            UserError: one of them is not there.
        """
        if first not in sounds or second not in sounds:
            raise UserError("nothing to compare yet; choose two sounds after you made some")
        pair = [(title, sounds[title]) for title in (first, second)]
        rate = self.codec.sample_rate
        save_spectrograms(folder / "spectrograms.png", pair, rate)
        lengths = " and ".join(f"{len(audio) / rate:.2f}" for _, audio in pair)
        said = f"They last {lengths} seconds."
        if len(pair[0][1]) == len(pair[1][1]):
            distance = mel_distance(pair[0][1], pair[1][1], rate)
            said = (
                f"Their mel spectra differ by {distance:.3f} on average, "
                f"a factor of {10**distance:.2f} in loudness."
            )
        return Shown(
            [
                *(
                    self._player(f"{letter}: {title}", letter, audio, folder)
                    for letter, (title, audio) in zip("AB", pair, strict=True)
                ),
                said,
                Picture(
                    "A above B: mel spectrograms, on one scale of time.", folder / "spectrograms.png"
                ),
            ],
            {},
        )

    def read(self, path: AnyPath | None) -> Original:
        """A sound that somebody gives.

        Raises:
            UserError: there is none, it cannot be read, is too long, or nothing can be heard in it.
        """
        name = Path(given(path)).name
        try:
            sound, rate = _beginning(given(path), LONGEST_SECONDS + 0.1)
        except UserError as error:  # who dropped the file knows its name, not where it is kept here
            raise UserError(str(error).replace(str(path), name)) from None
        audio = resample(mix(sound), rate, self.codec.sample_rate)[0]
        if len(audio) > LONGEST_SECONDS * self.codec.sample_rate:
            raise UserError(f"{name}: too long; give at most {LONGEST_SECONDS:g} seconds")
        if audio.abs().max() < QUIETEST:
            raise UserError(f"{name}: silence; give a sound in which something can be heard")
        return Original(audio, len(sound))

    def _end_of(self, audio: Tensor, seconds: float) -> Codes:
        """Codes of the end of a sound, whole coarse frames that leave room for some seconds."""
        assert self.prior is not None
        hop, rate = self.codec.hops[0], self.codec.sample_rate
        room = int((self.prior.longest_seconds - seconds) * rate) // hop
        frames = min(len(audio) // hop, room)
        if frames < 1:
            raise UserError(
                f"no room for the sound before {seconds:g} new seconds, or it is shorter than "
                f"{hop / rate:g} seconds; ask for fewer, or give a longer one"
            )
        return self.codec.encode(audio[None, -frames * hop :])

    def _cut(self, codes: Codes, rate: Rate) -> Tensor:
        levels = len(rate.quantizers)
        rest = self.codec.default_quantizers[levels:]
        return self.codec.decode(codes, levels, quantizers=[*rate.quantizers, *rest])[0]

    def _player(self, caption: str, stem: str, audio: Tensor, folder: Path) -> Player:
        path = folder / f"{stem}.flac"
        write_audio(path, audio[None], self.codec.sample_rate)
        return Player(caption, path)


def given(path: AnyPath | None) -> AnyPath:
    """The path, if there is one.

    Raises:
        UserError: there is none.
    """
    if path is None:
        raise UserError("no sound yet; record one, drop a file, or take the sentence that ships")
    return path


def _beginning(path: AnyPath, seconds: float) -> tuple[Tensor, int]:
    """About as much of a sound file, or all of it: float32 `[C, T]`, and its rate in Hz."""
    blocks: list[np.ndarray] = []
    for block, rate in read_blocks(path):
        blocks.append(block)
        if sum(map(len, blocks)) >= seconds * rate:
            break
    return torch.from_numpy(np.concatenate(blocks).T), rate


def _rates(codec: Codec) -> Iterator[Rate]:
    """Codebook after codebook, coarsest first; finer levels go with what is used unless told."""
    before: list[int] = []
    bits_before = 0.0
    for frame_rate, sizes, usual in zip(
        codec.frame_rates, codec.all_codebook_sizes, codec.default_quantizers, strict=True
    ):
        bits = bits_before
        for count, size in enumerate(sizes, start=1):
            bits += frame_rate * log2(size)
            yield Rate(round(bits, 1), (*before, count), count == usual)
            if count == usual:
                bits_before = bits
        before.append(usual)


def _patiently(parts: Iterator[Codes]) -> Iterator[Codes]:
    start = time.monotonic()
    for part in parts:
        yield part
        if time.monotonic() - start > PATIENCE_SECONDS:
            raise UserError(f"given up after {PATIENCE_SECONDS:g} seconds; ask for a shorter sound")


def _joined(parts: Sequence[Codes]) -> Codes:
    """One sound of parts that follow one another."""
    levels = [torch.cat(level, dim=1) for level in zip(*(part.levels for part in parts), strict=True)]
    first = parts[0]
    samples = sum(part.num_samples for part in parts)
    return Codes(levels, samples, first.sample_rate, first.hops, first.codec)
