import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.sounds import WavMaker
from vqaudio.config import CodecData, Perturbation
from vqaudio.corpus.manifest import Sound, read_manifest, write_manifest
from vqaudio.errors import UserError
from vqaudio.training import data
from vqaudio.training.data import Crops, duration_seconds

RATE = 8000
CONFIG = CodecData(crop_seconds=0.5, crops=4, gap_seconds=0.02, perturbation=Perturbation(share=0.5))
PLAIN = CodecData(crop_seconds=0.5, crops=4, gap_seconds=0.02)


@pytest.fixture
def sounds(wav: WavMaker) -> list[Sound]:
    """Nine sounds of 0.05 to 1.3 seconds."""
    lengths = np.geomspace(0.05, 1.3, 9)
    return [
        Sound(f"s{i}", wav(f"s{i}.wav", float(length), RATE, seed=i)) for i, length in enumerate(lengths)
    ]


def write(path: Path, samples: np.ndarray) -> Path:
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    return path


def test_same_step_is_the_same_batch_in_another_process(sounds: list[Sound], tmp_path: Path):
    manifest = tmp_path / "sounds.jsonl"
    write_manifest(manifest, sounds)
    script = f"""
import hashlib
from vqaudio.config import CodecData
from vqaudio.corpus.manifest import read_manifest
from vqaudio.training.data import Crops
config = CodecData.model_validate({CONFIG.model_dump()!r})
crops = Crops(read_manifest({str(manifest)!r}), {RATE}, config, seed=3)
print(hashlib.sha256(crops.batch(11).numpy().tobytes()).hexdigest())
"""
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    crops = Crops(read_manifest(manifest), RATE, CONFIG, seed=3)
    for step in (0, 5, 40):  # what came before must not matter
        crops.batch(step)
    here = hashlib.sha256(crops.batch(11).numpy().tobytes()).hexdigest()
    assert here == there.stdout.strip()


def test_batches_made_ahead_are_the_batches_themselves(sounds: list[Sound]):
    crops = Crops(sounds, RATE, CONFIG, seed=0)
    alone = Crops(sounds, RATE, CONFIG, seed=0)
    ahead = list(crops.batches(3, 9))
    assert len(ahead) == 6
    assert all(torch.equal(ahead[i], alone.batch(3 + i)) for i in range(6))


def test_seed_step_rank_and_attempt_each_change_the_batch(sounds: list[Sound]):
    crops = Crops(sounds, RATE, CONFIG, seed=0)
    batches = [
        crops.batch(2),
        crops.batch(3),
        crops.batch(2, rank=1, ranks=2),
        crops.batch(2, attempt=1),
        Crops(sounds, RATE, CONFIG, seed=1).batch(2),
    ]
    assert len({batch.numpy().tobytes() for batch in batches}) == len(batches)


def test_no_crop_is_silent_for_longer_than_a_gap(sounds: list[Sound]):
    short = [sound for sound in sounds if soundfile.info(sound.path).duration < 0.2]
    crops = Crops(short, RATE, CONFIG, seed=0)
    assert len(short) >= 3
    gap = round(CONFIG.gap_seconds * RATE)
    for step in range(5):
        for crop in crops.batch(step)[:, 0]:
            edges = np.flatnonzero(np.append(crop.abs().numpy() > 0, True))
            assert np.diff(edges, prepend=-1).max() <= gap + 5  # a buzz may cross zero now and then


def test_every_sound_opens_one_crop_an_epoch(tmp_path: Path):
    levels = np.arange(1, 9) / 16
    sounds = [Sound(str(v), write(tmp_path / f"{v}.wav", np.full(6000, v, np.float32))) for v in levels]
    crops = Crops(sounds, RATE, PLAIN, seed=0)
    for epoch in range(3):
        first = torch.cat([crops.batch(2 * epoch + i)[:, 0, 0] for i in range(2)])
        assert sorted(first.tolist()) == pytest.approx(levels.tolist())


@pytest.mark.parametrize("room", [0, data.MEMORY_BYTES], ids=["from the file", "in memory"])
def test_a_long_sound_gives_random_cuts_of_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
):
    monkeypatch.setattr(data, "MEMORY_BYTES", room)
    ramp = np.arange(20000) / 32768
    sound = Sound("ramp", write(tmp_path / "ramp.wav", ramp), 0.5, 1.5)
    batch = Crops([sound], RATE, PLAIN, seed=0).batch(0)[:, 0] * 32768
    starts = batch[:, 0]
    assert torch.equal(batch, starts[:, None] + torch.arange(4000))
    assert len(starts.unique()) == 4
    assert starts.min() >= 4000  # within the clip that the manifest names
    assert batch.max() < 16000


def test_crop_length_is_rounded_up_to_the_multiple(sounds: list[Sound]):
    assert Crops(sounds, RATE, PLAIN, seed=0, multiple=1280).batch(0).shape == (4, 1, 5120)


def test_perturbation_moves_the_pitch(tmp_path: Path):
    sine = 0.5 * np.sin(2 * np.pi * 500 * np.arange(4 * RATE) / RATE)
    sound = Sound("sine", write(tmp_path / "sine.wav", sine))
    perturbation = Perturbation(share=1.0, slowest=1.2, fastest=1.2)
    config = CodecData(crop_seconds=1.0, crops=2, perturbation=perturbation)
    spectrum = np.abs(np.fft.rfft(Crops([sound], RATE, config, seed=0).batch(0)[1, 0].numpy()))
    assert abs(int(spectrum.argmax()) - 600) <= 1  # bins of 1 Hz


def test_share_of_perturbation_is_kept(tmp_path: Path):
    flat = Sound("flat", write(tmp_path / "flat.wav", np.full(2 * RATE, 0.25)))
    config = CodecData(
        crop_seconds=0.5, crops=400, perturbation=Perturbation(share=0.25, slowest=0.5, fastest=0.6)
    )
    batch = Crops([flat], RATE, config, seed=0).batch(0)[:, 0]
    untouched = (batch == 0.25).all(dim=1).float().mean().item()
    assert untouched == pytest.approx(0.75, abs=0.08)


def test_a_bad_file_is_named(bad_sound: Path, wav: WavMaker):
    sounds = [Sound("good", wav("good.wav", 1.0)), Sound("bad", bad_sound)]
    with pytest.raises(UserError, match=bad_sound.name):
        Crops(sounds, RATE, PLAIN, seed=0).batch(0)


def test_a_file_that_breaks_later_stops_the_batches(wav: WavMaker):
    path = wav("sound.wav", 1.0)
    crops = Crops([Sound("sound", path)], RATE, PLAIN, seed=0)
    path.write_bytes(b"RIFF")
    with pytest.raises(UserError, match="sound.wav"):
        next(crops.batches(0, 5))


def test_nothing_to_train_on_is_refused():
    with pytest.raises(UserError, match="no sounds to train on"):
        Crops([], RATE, PLAIN, seed=0)


def test_a_clip_that_begins_beyond_the_end_is_named(wav: WavMaker) -> None:
    sound = Sound("late", wav("short.wav", 0.3, 8000), start_seconds=100.0)
    with pytest.raises(UserError, match=r"short\.wav: a clip from 100 s on .* ends at 0\.3 s.* late"):
        duration_seconds(sound)
