"""Sound files: what is read, written, resampled and refused."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.sounds import WavMaker, tone
from vqaudio.audio import (
    BLOCK_FRAMES,
    AudioWriter,
    mono,
    read_audio,
    resample,
    stream_audio,
    write_audio,
)
from vqaudio.errors import UserError


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_lossless_round_trip(tmp_path: Path, suffix: str) -> None:
    audio = tone(channels=2)
    path = tmp_path / f"sound{suffix}"
    write_audio(path, audio, 16000)
    again, rate = read_audio(path)
    assert rate == 16000
    assert again.dtype == torch.float32
    assert again.shape == audio.shape
    assert (again - audio).abs().max() < 1.5 / 2**15


@pytest.mark.parametrize("suffix", [".ogg", ".mp3"])
def test_lossy_formats_keep_the_length(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"sound{suffix}"
    write_audio(path, tone(1.0), 16000)
    again, rate = read_audio(path)
    assert (rate, again.shape) == (16000, (1, 16000))
    assert torch.corrcoef(torch.cat([again, tone(1.0)]))[0, 1] > 0.8


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("stereo.wav", {"channels": 2}),
        ("six.wav", {"channels": 6}),
        ("eight bit.wav", {"subtype": "PCM_U8"}),
        ("odd eight bit.wav", {"subtype": "PCM_U8", "seconds": 0.3000625}),
        ("double.wav", {"subtype": "DOUBLE"}),
        ("96k.wav", {"sample_rate": 96000}),
        ("8k.flac", {"sample_rate": 8000}),
        ("44k.ogg", {"sample_rate": 44100}),
        ("sound.mp3", {}),
        ("sound.aiff", {}),
        ("шум 音.flac", {}),
    ],
)
def test_unusual_files_just_work(wav: WavMaker, name: str, options: dict[str, float]) -> None:
    path = wav(name, **options)
    audio, rate = read_audio(path)
    original = tone(**{k: v for k, v in options.items() if k != "subtype"})
    assert audio.shape == original.shape
    assert rate == options.get("sample_rate", 16000)
    assert (audio - original).abs().mean() < 0.05


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_streamed_is_read_and_resampled(wav: WavMaker, rate: int, channels: int) -> None:
    path = wav(seconds=BLOCK_FRAMES * 2.3 / rate, sample_rate=rate, channels=channels)
    blocks = list(stream_audio(path, 16000))
    assert all(block.ndim == 1 and len(block) for block in blocks)
    whole, _ = read_audio(path)
    assert torch.equal(torch.cat(blocks), resample(mono(whole), rate, 16000)[0])
    if channels == 1:
        assert torch.equal(torch.cat(blocks), read_audio(path, 16000)[0][0])


@pytest.mark.parametrize("samples", [1, 2, 3, 5, 100, 1601])
@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_short_sounds_keep_at_least_a_sample(tmp_path: Path, samples: int, rate: int) -> None:
    path = tmp_path / "short.wav"
    write_audio(path, torch.full((1, samples), 0.5), rate)
    length = sum(len(block) for block in stream_audio(path, 16000))
    assert length == read_audio(path, 16000)[0].shape[1]
    assert abs(length - samples * 16000 / rate) <= 1
    assert length >= 1


def test_resampling_keeps_what_is_below_half_the_rate() -> None:
    time = torch.arange(48000, dtype=torch.float64) / 48000
    audio = torch.sin(2 * torch.pi * 1000 * time).float()[None]
    down = resample(audio, 48000, 16000)
    want = torch.sin(2 * torch.pi * 1000 * torch.arange(16000) / 16000)
    assert (down[0] - want)[200:-200].abs().max() < 1e-3
    above = torch.sin(2 * torch.pi * 11000 * time).float()[None]
    assert resample(above, 48000, 16000)[0, 4000:-4000].abs().max() < 1e-3


def test_mixing_down_is_the_mean_and_is_said(caplog: pytest.LogCaptureFixture, wav: WavMaker) -> None:
    stereo = torch.tensor([[0.5, 1.0], [0.0, -1.0]])
    with caplog.at_level(logging.WARNING, logger="vqaudio"):
        assert torch.equal(mono(stereo), torch.tensor([[0.25, 0.0]]))
        assert "2 channels" in caplog.text
        caplog.clear()
        mono(stereo[:1])
        assert not caplog.text
        list(stream_audio(wav("three.wav", channels=3), 16000))
    assert "three.wav: 3 channels" in caplog.text


def test_a_clip_is_a_part_of_the_file(wav: WavMaker) -> None:
    path = wav(seconds=1.0)
    whole, _ = read_audio(path)
    clip, _ = read_audio(path, start_seconds=0.25, duration_seconds=0.5)
    assert torch.equal(clip, whole[:, 4000:12000])
    rest = torch.cat(list(stream_audio(path, 16000, start_seconds=0.25)))
    assert torch.equal(rest, whole[0, 4000:])
    rounded, _ = read_audio(path, start_seconds=0.5, duration_seconds=0.501)
    assert torch.equal(rounded, whole[:, 8000:])


@pytest.mark.parametrize(("start", "duration"), [(2.0, None), (-1.0, None), (0.5, 3.0), (0.5, 0.0)])
def test_a_clip_outside_the_file_is_refused(wav: WavMaker, start: float, duration: float | None) -> None:
    with pytest.raises(UserError, match="tone.wav"):
        read_audio(wav(seconds=1.0), start_seconds=start, duration_seconds=duration)


def test_bad_sounds_are_named_in_one_line(bad_sound: Path) -> None:
    for read in (read_audio, lambda path: list(stream_audio(path, 8000))):
        with pytest.raises(UserError) as caught:
            read(bad_sound)
        assert str(bad_sound) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".aiff"])
def test_truncated_files_of_every_format(wav: WavMaker, tmp_path: Path, suffix: str) -> None:
    whole = wav(f"whole{suffix}", seconds=8.0).read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole[: int(len(whole) * 0.6)])
    with pytest.raises(UserError, match="truncated|damaged"):
        read_audio(cut)


def test_one_nan_far_into_a_file_is_found(tmp_path: Path) -> None:
    samples = np.zeros(BLOCK_FRAMES * 2, np.float32)
    samples[-5] = np.inf
    soundfile.write(tmp_path / "late.wav", samples, 16000, subtype="FLOAT")
    stream = stream_audio(tmp_path / "late.wav", 16000)
    assert len(next(stream)) == BLOCK_FRAMES
    with pytest.raises(UserError, match="NaN or infinite"):
        list(stream)


def test_length_unknown_to_the_header_is_no_damage(wav: WavMaker) -> None:
    path = wav(seconds=0.1)
    data = bytearray(path.read_bytes())
    at = data.find(b"data") + 4
    data[at : at + 4] = b"\xff\xff\xff\xff"  # as programs leave it that write into a pipe
    path.write_bytes(data)
    assert torch.equal(read_audio(path)[0], read_audio(wav("other.wav", seconds=0.1))[0])


def test_mp3_without_a_frame_count_is_read_to_its_end(tmp_path: Path) -> None:
    quiet = torch.zeros(1, 32000)
    write_audio(tmp_path / "a.mp3", torch.cat([quiet, torch.rand(1, 64000) - 0.5, quiet], 1), 16000)
    data = (tmp_path / "a.mp3").read_bytes()
    header = data[:2]
    assert b"Xing" in data or b"Info" in data
    (tmp_path / "b.mp3").write_bytes(data[data.find(header, 4) :])
    audio, _ = read_audio(tmp_path / "b.mp3")
    assert abs(audio.shape[1] - 128000) < 4000


def test_raw_samples_are_refused(tmp_path: Path) -> None:
    (tmp_path / "sound.raw").write_bytes(bytes(1000))
    with pytest.raises(UserError, match="sound.raw: raw samples"):
        read_audio(tmp_path / "sound.raw")


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for minutes in (1, 20):
        path = tmp_path / f"{minutes}.wav"
        with AudioWriter(path, 16000) as writer:
            for _ in range(minutes):
                writer.write(torch.zeros(1, 16000 * 60))
        script = (
            "import resource, sys\n"
            "from vqaudio.audio import stream_audio\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "length = sum(len(block) for block in stream_audio(sys.argv[1], 8000))\n"
            "assert length == 8000 * 60 * int(sys.argv[2])\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
        )
        run = [sys.executable, "-c", script, str(path), str(minutes)]
        peaks.append(int(subprocess.run(run, check=True, capture_output=True, text=True).stdout))
    whole_kib = 20 * 60 * 8000 * 4 / 1024
    assert peaks[1] < peaks[0] + whole_kib / 4


def test_writing_clips(tmp_path: Path) -> None:
    write_audio(tmp_path / "loud.wav", torch.tensor([[3.0, -3.0, 0.0]]), 16000)
    audio, _ = read_audio(tmp_path / "loud.wav")
    assert audio[0].tolist() == pytest.approx([1, -1, 0], abs=1e-4)


def test_a_writer_leaves_nothing_after_an_exception(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    write_audio(path, torch.zeros(1, 10), 16000)
    before = path.read_bytes()

    def write_half() -> None:
        with AudioWriter(path, 16000) as writer:
            writer.write(torch.ones(1, 100))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["sound.wav"]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys, torch; from vqaudio.audio import write_audio\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "write_audio(sys.argv[1], torch.zeros(1, 99999), 16000)"
    )
    path = tmp_path / "long.wav"
    ran = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True)
    assert f"UserError: {path}: cannot be written" in ran.stderr
    assert "make room" in ran.stderr
    assert not list(tmp_path.iterdir())


def test_a_writer_takes_blocks(tmp_path: Path) -> None:
    audio = tone(1.0)
    with AudioWriter(tmp_path / "new folder" / "blocks.wav", 16000) as writer:
        for block in audio.split(999, dim=1):
            writer.write(block)
        assert not (tmp_path / "new folder" / "blocks.wav").exists()
    write_audio(tmp_path / "whole.wav", audio, 16000)
    blocks = (tmp_path / "new folder" / "blocks.wav").read_bytes()
    assert blocks == (tmp_path / "whole.wav").read_bytes()


def test_unknown_formats_and_places_are_refused(tmp_path: Path, unwritable: Path) -> None:
    with pytest.raises(UserError, match=r"sound.xyz.*\.wav"):
        write_audio(tmp_path / "sound.xyz", torch.zeros(1, 10), 16000)
    with pytest.raises(UserError, match="in the way"):
        write_audio(unwritable / "sound.wav", torch.zeros(1, 10), 16000)
    with pytest.raises(UserError, match=r"sound.mp3.*12345 Hz"):
        write_audio(tmp_path / "sound.mp3", torch.zeros(1, 10), 12345)
    (tmp_path / "taken.wav").mkdir()
    with pytest.raises(UserError, match="taken.wav"):
        write_audio(tmp_path / "taken.wav", torch.zeros(1, 10), 16000)
    assert sorted(os.listdir(tmp_path)) == ["in the way", "taken.wav"]


def test_the_shipped_sentence_is_speech_at_16_khz(sentence: Path) -> None:
    audio, rate = read_audio(sentence)
    assert (rate, audio.shape[0]) == (16000, 1)
    assert 3 < audio.shape[1] / rate < 5
    assert 0.1 < audio.abs().max() <= 1


@pytest.mark.parametrize("rate", [0, -3])
def test_no_rate_is_none(rate: int) -> None:
    with pytest.raises(UserError, match=f"sample rate {rate}: must be above 0 Hz"):
        resample(torch.zeros(1, 8), rate, 16000)
