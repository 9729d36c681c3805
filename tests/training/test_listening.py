"""What is said of sounds before a codec learns from them."""

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqaudio.config import CodecData
from vqaudio.corpus.manifest import Sound
from vqaudio.errors import UserError
from vqaudio.training.data import Crops
from vqaudio.training.listening import listen

RATE = 8000


def crops(folder: Path, level: float, subtype: str = "PCM_16") -> Crops:
    time = np.arange(2 * RATE) / RATE
    samples = (level * np.sin(2 * np.pi * 300 * time)).clip(-1, 1)
    soundfile.write(folder / "sound.wav", samples, RATE, subtype=subtype)
    config = CodecData(crop_seconds=0.5, crops=4)
    return Crops([Sound("sound", folder / "sound.wav")], RATE, config, seed=0)


def test_silence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sound.wav and others: the first 4 crops are silent"):
        listen(crops(tmp_path, 1e-5))


@pytest.mark.parametrize(
    ("level", "subtype", "said"),
    [
        (0.9, "PCM_16", ""),
        (1.5, "PCM_16", "4 of the first 4 crops are clipped"),
        (0.5, "PCM_U8", "8 bits, as 1 of the first 1 sounds"),
    ],
)
def test_other_faults_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, level: float, subtype: str, said: str
) -> None:
    with caplog.at_level(logging.WARNING, "vqaudio"):
        listen(crops(tmp_path, level, subtype))
    assert len(caplog.messages) == bool(said)
    assert said in "".join(caplog.messages)


def test_a_file_that_is_no_sound_is_named(tmp_path: Path) -> None:
    found = crops(tmp_path, 0.5)
    (tmp_path / "text.wav").write_text("no sound")
    found.sounds = [*found.sounds, Sound("text", tmp_path / "text.wav", duration_seconds=1.0)]
    with pytest.raises(UserError, match=r"text\.wav: not a sound file"):
        listen(found)
