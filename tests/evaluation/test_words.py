"""A codec and a prior judged on words."""

import pytest
import torch

from vqaudio.evaluation.recognizer import Recognition
from vqaudio.evaluation.words import hearing, resynthesis

RATE = 8000


def test_quiet_speakers_count_as_much_as_loud_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    envelope = torch.sin(torch.arange(3000) / 400).square()
    words = [torch.randn(3000, generator=generator) * envelope for _ in range(8)]
    loud, quiet = words[:4], [0.001 * word for word in words[4:]]
    spoilt = [0.001 * torch.randn(3000, generator=generator) for _ in quiet]
    speakers = ["a"] * 4 + ["b"] * 4
    judged = resynthesis(loud + quiet, loud + spoilt, speakers, RATE)
    assert judged.stoi_joined.count == 2
    assert judged.stoi_joined.mean < 0.8
    assert resynthesis(loud + quiet, loud + quiet, speakers, RATE).stoi_joined.mean > 0.999


def test_words_too_short_for_stoi_are_counted() -> None:
    words = [torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in (500, 8000)]
    judged = resynthesis(words, [0.1 * word for word in words], ["a", "a"], RATE)
    assert (judged.stoi.count, judged.stoi.failed) == (1, 1)
    assert judged.mel_distance == pytest.approx(1, abs=0.02)


def recognition(labels: list[str], known: list[str]) -> Recognition:
    logits = 30.0 * torch.eye(len(known))[[known.index(label) for label in labels]]
    return Recognition(labels, logits.log_softmax(1), logits)


def test_hearing_real_words_again_is_perfect_and_without_a_truth_has_no_accuracy() -> None:
    known = ["one", "two", "three", "four"]
    training = recognition(known * 5, known)
    same = hearing(training, training, known * 5)
    assert (same.sounds, same.accuracy) == (20, 1)
    assert same.frechet == pytest.approx(0, abs=1e-6)
    assert same.inception == pytest.approx(4, rel=1e-3)
    assert same.am == pytest.approx(0, abs=1e-3)
    worse = hearing(recognition(["one", "two"] * 10, known), training)
    assert worse.accuracy is None
    assert worse.frechet > 1
    assert worse.inception == pytest.approx(2, rel=1e-3)
    assert worse.am > 1
