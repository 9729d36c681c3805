"""Labelled words, decoded or sampled: how close they are, and what is recognized in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vqaudio.evaluation.averages import Average, average
from vqaudio.evaluation.generation import (
    am_score,
    frechet_distance,
    inception_score,
    modified_inception_score,
    nearest_distances,
)
from vqaudio.evaluation.recognizer import Recognition
from vqaudio.evaluation.spectral import mel_distance
from vqaudio.evaluation.speech import stoi


@dataclass(frozen=True)
class Resynthesis:
    """How close decoded words are to the originals.

    Args:
        mel_distance: mean over words, see `spectral.mel_distance`.
        stoi: of single words; most are too short for it, which is counted.
        stoi_joined: of all words of a speaker end to end, the mean over speakers.
    """

    mel_distance: float
    stoi: Average
    stoi_joined: Average


@dataclass(frozen=True)
class Hearing:
    """What a recognizer makes of a set of words.

    Args:
        sounds: how many.
        accuracy: share recognized as what they are; None where nothing was asked for.
        frechet: Fréchet distance of features to those of real training words.
        inception: Inception score.
        modified_inception: modified Inception score.
        am: AM score against real training words.
        nearest: median distance of features to the nearest real training word.
        nearest_5_percent: distance that 5 % of the words have or less.
    """

    sounds: int
    accuracy: float | None
    frechet: float
    inception: float
    modified_inception: float
    am: float
    nearest: float
    nearest_5_percent: float


def resynthesis(
    originals: Sequence[Tensor], decoded: Sequence[Tensor], speakers: Sequence[str], sample_rate: int
) -> Resynthesis:
    """Compare decoded words with their originals.

    Args:
        originals: each float `[T]`.
        decoded: each as long as its original.
        speakers: of each; the words of one are also joined for STOI, which drops what lies 40 dB
            under the loudest, and so would drop the quiet speakers of a joint recording.
        sample_rate: of all, in Hz.
    """
    pairs = list(zip(originals, decoded, strict=True))
    joined = []
    for speaker in sorted(set(speakers)):
        own = [pair for pair, name in zip(pairs, speakers, strict=True) if name == speaker]
        reference, degraded = (torch.cat(sounds) for sounds in zip(*own, strict=True))
        joined.append(stoi(reference, degraded, sample_rate))
    distances = [mel_distance(*pair, sample_rate) for pair in pairs]
    singles = average(stoi(*pair, sample_rate) for pair in pairs)
    return Resynthesis(sum(distances) / len(distances), singles, average(joined))


def hearing(heard: Recognition, training: Recognition, truth: Sequence[str] | None = None) -> Hearing:
    """Judge a set of words by what the recognizer made of them.

    Args:
        heard: of the set.
        training: of real words that the recognizer was trained on.
        truth: what each word of the set was meant to be; None where none was asked for.
    """
    distances = nearest_distances(heard.features, training.features)
    return Hearing(
        sounds=len(heard.labels),
        accuracy=None if truth is None else heard.accuracy(truth),
        frechet=frechet_distance(heard.features, training.features),
        inception=inception_score(heard.log_probabilities),
        modified_inception=modified_inception_score(heard.log_probabilities),
        am=am_score(heard.log_probabilities, training.log_probabilities),
        nearest=distances.median().item(),
        nearest_5_percent=distances.quantile(0.05).item(),
    )
