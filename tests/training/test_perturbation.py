"""What is done to training sounds: by how much, how often, and never beyond full scale."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqaudio.config import CodecData, Gain, Noise, Reverberation
from vqaudio.corpus.manifest import Sound
from vqaudio.training.data import Crops, balanced
from vqaudio.training.perturbation import disturb, trim

RATE = 8000


def tone(seconds: float = 1.0, level: float = 0.1) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * 440 * time)).astype(np.float32)


def disturbed(samples: np.ndarray, seed: int = 0, **sections: object) -> np.ndarray:
    return disturb(samples, RATE, CodecData(**sections), np.random.default_rng(seed))


def level_db(samples: np.ndarray) -> float:
    return float(20 * np.log10(np.linalg.norm(samples)))


def test_nothing_named_changes_nothing_and_draws_nothing() -> None:
    random = np.random.default_rng(0)
    assert disturb(tone(), RATE, CodecData(), random) is not None
    assert np.array_equal(disturb(tone(), RATE, CodecData(), random), tone())
    assert random.random() == np.random.default_rng(0).random()


def test_gain_is_what_was_asked_for() -> None:
    gain = Gain(share=1.0, softest_db=-9, loudest_db=-9)
    assert level_db(disturbed(tone(), gain=gain)) == pytest.approx(level_db(tone()) - 9, abs=0.01)


@pytest.mark.parametrize("snr_db", [0.0, 20.0])
def test_noise_is_so_far_below_the_sound(snr_db: float) -> None:
    noise = Noise(share=1.0, lowest_snr_db=snr_db, highest_snr_db=snr_db)
    for seed in range(5):
        added = disturbed(tone(), seed, noise=noise) - tone()
        assert level_db(tone()) - level_db(added) == pytest.approx(snr_db, abs=0.05)


def test_noise_has_all_colours() -> None:
    noise = Noise(share=1.0, lowest_snr_db=0.0, highest_snr_db=0.0)
    shares = []
    for seed in range(20):
        power = np.abs(np.fft.rfft(disturbed(tone(), seed, noise=noise) - tone())) ** 2
        shares.append(power[: len(power) // 10].sum() / power.sum())
    assert min(shares) < 0.3  # white has a tenth there
    assert max(shares) > 0.9


def test_a_room_goes_on_after_the_sound() -> None:
    click = np.zeros(RATE, np.float32)
    click[100] = 0.5
    room = Reverberation(
        share=1.0, shortest_seconds=0.4, longest_seconds=0.4, softest_db=-10, loudest_db=-10
    )
    heard = disturbed(click, reverberation=room)
    assert heard[:100] == pytest.approx(0, abs=1e-6)
    assert heard[100] == pytest.approx(0.5, abs=1e-3)
    echoes = heard[101:]
    assert level_db(echoes) - level_db(click) == pytest.approx(-10, abs=0.1)
    early, late = echoes[:400], echoes[1600:2000]  # 0.2 s apart, half the time that takes 60 dB
    assert level_db(early) - level_db(late) == pytest.approx(30, abs=3)


@pytest.mark.parametrize("length", [1, 2, 500])
def test_nothing_clips_and_lengths_stay(length: int) -> None:
    loud = tone(1.0, 0.99)[:length]
    sections = {
        "gain": Gain(share=1.0, softest_db=6, loudest_db=12),
        "noise": Noise(share=1.0, lowest_snr_db=0, highest_snr_db=3),
        "reverberation": Reverberation(share=1.0),
    }
    for seed in range(10):
        found = disturbed(loud, seed, **sections)
        assert found.dtype == np.float32
        assert len(found) == length
        assert np.abs(found).max() <= 1
        assert np.isfinite(disturbed(np.zeros(length, np.float32), seed, **sections)).all()


def test_share_is_how_often() -> None:
    gain = Gain(share=0.3, softest_db=-6, loudest_db=-6)
    changed = [
        not np.array_equal(disturbed(tone(0.01), seed, gain=gain), tone(0.01)) for seed in range(500)
    ]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.06)


def test_silence_at_the_ends_goes_but_a_little() -> None:
    quiet = np.full(RATE, 1e-4, np.float32)
    sound = np.concatenate([quiet, tone(0.5), quiet, tone(0.5), quiet])
    found = trim(sound, RATE, 40.0)
    assert len(found) == pytest.approx(len(sound) - 2 * RATE + 2 * 0.05 * RATE, abs=0.04 * RATE)
    assert np.abs(found[: RATE // 25]).max() < 0.01
    assert np.array_equal(trim(np.zeros(500, np.float32), RATE, 40.0), np.zeros(500))
    assert len(trim(tone(0.001), RATE, 40.0)) == 8


def test_all_values_of_a_field_are_heard_alike(tmp_path: Path) -> None:
    sounds = []
    for speaker, count, seconds in (("a", 20, 1.0), ("b", 3, 0.5), ("c", 7, 1.0)):
        for number in range(count):
            path = tmp_path / f"{speaker}{number}.wav"
            level = {"a": 0.25, "b": 0.5, "c": 0.75}[speaker]
            soundfile.write(path, np.full(round(seconds * RATE), level), RATE)
            sounds.append(Sound(path.stem, path, fields={"speaker": speaker}))
    chosen = balanced(sounds, "speaker", seed=0)
    assert set(chosen.tolist()) == set(range(len(sounds)))  # nobody is left out
    heard = {"a": 0.0, "b": 0.0, "c": 0.0}
    for index in chosen:
        heard[sounds[index].fields["speaker"]] += 0.5 if sounds[index].fields["speaker"] == "b" else 1.0
    assert heard == pytest.approx({"a": 20, "b": 20, "c": 20}, abs=0.6)
    crops = Crops(sounds, RATE, CodecData(crop_seconds=0.1, crops=8, balance="speaker"), seed=0)
    levels = [float(crop[0, 0]) for step in range(len(chosen) // 8) for crop in crops.batch(step)]
    assert levels.count(0.5) > 1.5 * levels.count(0.25)  # twice as many, of half the length
