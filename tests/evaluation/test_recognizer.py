"""The recognizer, on three made-up words that differ in how their tones move."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vqaudio.audio import resample
from vqaudio.errors import UserError
from vqaudio.evaluation.recognizer import Recognizer, RecognizerConfig
from vqaudio.evaluation.recognizer_training import recognizer_of, train_recognizer

RATE = 8000


def word(label: str, seed: int) -> torch.Tensor:
    """0.2 s to 0.5 s of a tone that rises, falls or stays, at some pitch, under some noise."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.rand(3, generator=generator)
    length = int((0.2 + 0.3 * place[0]) * RATE)
    ends = {"up": (400, 1600), "down": (1600, 400), "flat": (800, 800)}[label]
    hertz = torch.linspace(ends[0], ends[1], length) * (0.85 + 0.3 * place[1])
    sound = torch.sin(2 * torch.pi * hertz.cumsum(0) / RATE) * torch.hann_window(length)
    return 0.2 * place[2] * sound + 0.001 * torch.randn(length, generator=generator)


def words(count: int, seed: int) -> tuple[list[torch.Tensor], list[str]]:
    labels = [("up", "down", "flat")[i % 3] for i in range(count)]
    return [word(label, seed + i) for i, label in enumerate(labels)], labels


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return train_recognizer(*words(30, seed=1000), RATE, steps=150)


def test_it_learns_words_it_has_not_heard(recognizer: Recognizer) -> None:
    sounds, labels = words(60, seed=0)
    heard = recognizer.recognize(sounds, RATE)
    assert heard.accuracy(labels) >= 0.95
    assert heard.log_probabilities.shape == (60, 3)
    assert heard.log_probabilities.exp().sum(1) == pytest.approx(torch.ones(60), abs=1e-5)
    assert heard.features.shape == (60, recognizer.config.features)


def test_neither_silence_round_a_word_nor_gain_changes_the_answer(recognizer: Recognizer) -> None:
    sounds, labels = words(30, seed=0)
    silences = [(0.8, 0.0), (0.0, 1.5), (0.5, 0.5)]
    for before, after in silences:
        padded = [
            0.01 * torch.cat([torch.zeros(int(before * RATE)), sound, torch.zeros(int(after * RATE))])
            for sound in sounds
        ]
        assert recognizer.recognize(padded, RATE).accuracy(labels) >= 0.95


def test_an_answer_depends_on_the_sound_alone(recognizer: Recognizer) -> None:
    sounds, _ = words(4, seed=0)
    together = recognizer.recognize(sounds, RATE).log_probabilities
    alone = recognizer.recognize(sounds[2:3], RATE).log_probabilities
    assert torch.equal(together[2:3], alone)


def test_other_rates_are_resampled(recognizer: Recognizer) -> None:
    sounds, labels = words(30, seed=0)
    doubled = [resample(sound[None], RATE, 2 * RATE)[0] for sound in sounds]
    assert recognizer.recognize(doubled, 2 * RATE).accuracy(labels) >= 0.95


@pytest.mark.parametrize("length", [1, 10, 800, 16000])
def test_any_length_gives_an_answer(recognizer: Recognizer, length: int) -> None:
    assert recognizer.recognize([torch.zeros(length)], RATE).log_probabilities.isfinite().all()


def test_training_is_repeated_by_its_seed_and_leaves_the_callers_random_state_alone() -> None:
    sounds, labels = words(12, seed=0)
    before = torch.random.get_rng_state()
    first, again, other = (train_recognizer(sounds, labels, RATE, 2, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.output.weight, again.output.weight)
    assert not torch.equal(first.output.weight, other.output.weight)


def test_saved_and_loaded_it_answers_alike(recognizer: Recognizer, tmp_path: Path) -> None:
    recognizer.save(tmp_path / "r")
    loaded = Recognizer.load(tmp_path / "r")
    sounds, _ = words(6, seed=0)
    want, found = (r.recognize(sounds, RATE) for r in (recognizer, loaded))
    assert found.labels == want.labels
    assert torch.equal(found.log_probabilities, want.log_probabilities)


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none"):
        Recognizer.load(tmp_path / "none")
    folder = tmp_path / "r"
    Recognizer(RecognizerConfig(["a", "b"], RATE)).save(folder)
    weights = load_file(folder / "recognizer.safetensors")
    del weights["output.weight"]
    save_file(weights, folder / "recognizer.safetensors")
    with pytest.raises(UserError, match="not a recognizer"):
        Recognizer.load(folder)


def test_the_weights_that_do_best_on_validation_are_kept() -> None:
    sounds, labels = words(12, seed=0)
    turned = [{"up": "down", "down": "flat", "flat": "up"}[label] for label in labels]

    def weights(steps: int, said: list[str] | None) -> torch.Tensor:
        validation = None if said is None else (sounds, said)
        return train_recognizer(sounds, labels, RATE, steps, validation=validation).output.weight

    # what has learned most about the words themselves knows least about wrong labels
    assert torch.equal(weights(40, labels), weights(40, None))
    assert not torch.equal(weights(40, turned), weights(40, None))


def test_a_recognizer_of_something_else_is_not_taken_for_this_one(tmp_path: Path) -> None:
    sounds, labels = words(6, seed=0)
    first = recognizer_of(tmp_path, sounds, labels, RATE, steps=2)
    again = recognizer_of(tmp_path, sounds, labels, RATE, steps=2)
    assert torch.equal(first.output.weight, again.output.weight)
    for said, rate in ((["a", "b"] * 3, RATE), (labels, 2 * RATE)):
        with pytest.raises(UserError, match=str(tmp_path)):
            recognizer_of(tmp_path, sounds, said, rate, steps=2)


def test_one_label_is_nothing_to_learn() -> None:
    with pytest.raises(UserError, match="two labels"):
        train_recognizer([torch.zeros(100)] * 4, ["a"] * 4, RATE)
