"""Sound files that are odd or broken: read right, or refused for the true reason."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.broken import encoded, make_broken, make_locked, run_as_nobody
from tests.sounds import WavMaker, tone
from vqaudio.audio import read_audio, stream_audio, write_audio
from vqaudio.errors import UserError
from vqaudio.sound_files import BLOCK_FRAMES, MOST_CHANNELS, leads_back


def reason_of(path: Path) -> str:
    """Why a file cannot be read; the same for the whole and the stream."""
    reasons = set()
    for read in (read_audio, lambda path: list(stream_audio(path, 8000))):
        with pytest.raises(UserError) as caught:
            read(path)
        reasons.add(str(caught.value))
    [reason] = reasons
    assert reason.isprintable()
    return reason


def test_every_broken_file_gives_its_reason(tmp_path: Path) -> None:
    broken = make_broken(tmp_path / "in")
    reasons = {path: reason_of(path) for path in broken}
    wrong = {reason for path, reason in reasons.items() if broken[path] not in reason}
    assert not wrong
    assert all(reason.startswith(f"{path}: ") for path, reason in reasons.items())


def test_what_may_not_be_read_is_said_to_be_so(public_folder: Path) -> None:
    locked = make_locked(public_folder / "in")
    imports = "from vqaudio.errors import UserError\nfrom vqaudio.sound_files import read_blocks"
    script = (
        "for path in sys.argv[1:]:\n"
        "    try: list(read_blocks(path)); print('read')\n"
        "    except UserError as error: print(error)"
    )
    inside = public_folder / "in" / "locked-folder" / "in-it.wav"
    said = run_as_nobody(imports, script, *locked, inside).splitlines()
    for path, line in zip([*locked, inside], said, strict=True):
        assert line.startswith(f"{path}: cannot be read (Permission denied)")


def test_what_is_not_there(tmp_path: Path, wav: WavMaker) -> None:
    assert "nowhere.wav: no such file" in reason_of(tmp_path / "nowhere.wav")
    assert "no such file" in reason_of(wav() / "below a file.wav")
    assert "no file can have this name" in reason_of(tmp_path / "null\0.wav")
    assert "no file can have this name" in reason_of(tmp_path / "half a character \ud800.wav")
    assert "File name too long" in reason_of(tmp_path / f"{'long' * 100}.wav")


def test_names_that_are_not_utf_8(tmp_path: Path, wav: WavMaker) -> None:
    path = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9 \xff.flac"))
    whole = wav("plain.flac")
    path.write_bytes(whole.read_bytes())
    assert torch.equal(read_audio(path)[0], read_audio(whole)[0])
    assert torch.equal(torch.cat(list(stream_audio(path, 16000))), read_audio(whole)[0][0])
    write_audio(path, tone(), 16000)
    assert read_audio(path)[0].shape == tone().shape
    path.write_bytes(b"no sound")
    assert r"/caf\xe9 \xff.flac: not a sound file" in reason_of(path)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_samples_do_not_depend_on_the_length_of_reads(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"long.{suffix}"
    path.write_bytes(encoded(tmp_path, suffix, seconds=3.3 * BLOCK_FRAMES / 16000))
    with soundfile.SoundFile(path) as file:
        at_once = file.read(dtype="float32")
    audio, _ = read_audio(path)
    assert audio.shape[1] > 3 * BLOCK_FRAMES
    assert torch.equal(audio[0], torch.from_numpy(at_once))


def test_mp3_files_with_something_before_the_sound(tmp_path: Path) -> None:
    content = encoded(tmp_path, "mp3")
    (tmp_path / "plain.mp3").write_bytes(content)
    picture = b"ID3\x03\0\0" + bytes([0, 20, 3, 2]) + bytes((20 << 14) + (3 << 7) + 2)
    fronts = {"noise": np.random.default_rng(0).bytes(3000), "zeros": bytes(3000), "picture": picture}
    for name, front in fronts.items():
        (tmp_path / f"{name}.mp3").write_bytes(front + content)
        assert torch.equal(
            read_audio(tmp_path / f"{name}.mp3")[0], read_audio(tmp_path / "plain.mp3")[0]
        )


def test_flac_of_unknown_length_as_written_into_a_pipe(tmp_path: Path) -> None:
    content = bytearray(encoded(tmp_path, "flac"))
    (tmp_path / "known.flac").write_bytes(content)
    assert content[:8] == b"fLaC\0\0\0\x22"
    content[21] &= 0xF0  # the last 36 bits before the checksum: how many samples there are
    content[22:26] = bytes(4)
    (tmp_path / "unknown.flac").write_bytes(content)
    assert soundfile.info(tmp_path / "unknown.flac").frames > 1 << 60
    known, _ = read_audio(tmp_path / "known.flac")
    assert torch.equal(read_audio(tmp_path / "unknown.flac")[0], known)
    assert torch.equal(torch.cat(list(stream_audio(tmp_path / "unknown.flac", 16000))), known[0])


@pytest.mark.filterwarnings("error")
def test_samples_beyond_all_measure_are_finite(tmp_path: Path) -> None:
    samples = np.full(10, 3e38, np.float32)  # their sum is not
    soundfile.write(tmp_path / "loud.wav", samples, 16000, subtype="FLOAT")
    assert torch.equal(read_audio(tmp_path / "loud.wav")[0][0], torch.from_numpy(samples))


def test_channels_up_to_a_number(wav: WavMaker) -> None:
    most, _ = read_audio(wav("most.wav", channels=MOST_CHANNELS))
    assert most.shape == tone(channels=MOST_CHANNELS).shape
    assert f"{MOST_CHANNELS + 1} channels" in reason_of(wav("more.wav", channels=MOST_CHANNELS + 1))


def test_links_that_lead_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a-b").mkdir()
    links = {"up": "..", "here": ".", "far": tmp_path.parent, "side": "../../a-b", "new": "nowhere"}
    for name, target in links.items():
        (tmp_path / "a" / "b" / name).symlink_to(target)
    monkeypatch.chdir(tmp_path / "a" / "b")
    for parent in (Path(), tmp_path / "a" / "b"):
        assert [name for name in links if leads_back(parent / name)] == ["up", "here", "far"]
    assert not leads_back(tmp_path / "a")
    assert "leads back" not in reason_of(tmp_path / "a" / "b" / "side")
