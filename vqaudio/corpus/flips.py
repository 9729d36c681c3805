"""How many codes are others than `Codec.encode` gives on a CPU, where a run is not exact."""

import copy
import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice

from vqaudio.codec.model import Codec
from vqaudio.codec.window_encoder import EXACT, Arithmetic
from vqaudio.corpus.encoding import Encoded, Work
from vqaudio.corpus.local import encode_here
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.processes import LITTLE_BYTES

SOUNDS = 16


def is_exact(codec: Codec, arithmetic: Arithmetic) -> bool:
    """Whether codes are those of `Codec.encode` on a CPU, bit for bit."""
    return arithmetic.exact and codec.device.type == "cpu"


def share_of_flips(codec: Codec, sounds: Sequence[Sound], arithmetic: Arithmetic) -> float:
    """Of the first sounds of a corpus, the share of codes that are not those of exact arithmetic.

    Args:
        codec: on the device that it is to encode on.
        sounds: of the corpus; those that cannot be read do not count.
        arithmetic: that it is to encode with.
    """
    codec.check_discrete()
    few = list(islice((sound for sound in sounds if _is_small(sound)), SOUNDS))
    flipped = total = 0
    pairs = zip(
        _encode(copy.deepcopy(codec).cpu(), few, EXACT),
        _encode(codec, few, arithmetic),
        strict=True,
    )
    for exact, other in pairs:
        for codes, other_codes in zip(exact.codes.levels, other.codes.levels, strict=True):
            flipped += int((codes != other_codes).sum())
            total += codes.numel()
    return flipped / total if total else 0.0


def _is_small(sound: Sound) -> bool:
    with suppress(OSError):
        return os.path.getsize(sound.path) < LITTLE_BYTES
    return False


def _encode(codec: Codec, sounds: Sequence[Sound], arithmetic: Arithmetic) -> list[Encoded]:
    work = Work(codec, sounds, iter(range(len(sounds))), lambda frames: None, arithmetic)
    return [result for result in encode_here(work) if isinstance(result, Encoded)]
