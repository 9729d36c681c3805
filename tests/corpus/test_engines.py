"""Whatever reads and encodes, and by whatever arithmetic."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest
import torch

from tests.models import waveform_codec
from tests.sounds import WavMaker
from vqaudio.codec import row_encoder
from vqaudio.codec.model import Codec
from vqaudio.codec.window_encoder import EXACT, Arithmetic, WindowEncoder
from vqaudio.corpus import local
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.corpus.encoding import Assembly, End, Failure, Part, Work, encode_part, read_sound
from vqaudio.corpus.flips import is_exact, share_of_flips
from vqaudio.corpus.ledger import read_ledger
from vqaudio.corpus.local import encode_by_workers, encode_here, encode_on_device
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.tokenize import Watch, in_order, tokenize
from vqaudio.errors import UserError


@pytest.fixture(scope="module")
def codec() -> Codec:
    return waveform_codec()


@pytest.fixture
def sounds(wav: WavMaker, tmp_path: Path) -> list[Sound]:
    """Twelve of different lengths, one of several windows, and one that is not there."""
    lengths = [0.05 * n + 0.02 for n in range(11)] + [45.0]
    found = [Sound(f"s{n}", wav(f"in/{n}.wav", seconds, seed=n)) for n, seconds in enumerate(lengths)]
    return [*found[:5], Sound("none", tmp_path / "none.wav"), *found[5:]]


@pytest.mark.parametrize(
    "engine",
    [encode_here, partial(encode_by_workers, workers=2), partial(encode_on_device, workers=2)],
    ids=["here", "workers", "device"],
)
def test_all_engines_give_the_same(codec: Codec, sounds: list[Sound], engine) -> None:
    heard: list[int] = []
    results = list(engine(Work(codec, sounds, iter(range(len(sounds))), heard.append)))
    assert sorted(result.position for result in results) == list(range(len(sounds)))
    for result in results:
        if result.position == 5:
            assert isinstance(result, Failure)
        else:
            whole = codec.encode(sounds[result.position].path)
            assert all((a == b).all() for a, b in zip(result.codes.levels, whole.levels, strict=True))
    frames = sum(r.codes.levels[0].shape[1] for r in results if not isinstance(r, Failure))
    assert sum(heard) == frames


def test_a_device_is_given_windows_of_a_few_lengths_at_once(
    codec: Codec, sounds: list[Sound], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_encoder, "library", lambda: None)  # as torch does it on other devices
    monkeypatch.setattr(WindowEncoder, "alone", False)
    monkeypatch.setattr(row_encoder, "_packed", WeakKeyDictionary())
    batches: list[int] = []
    encode = WindowEncoder.encode

    def spy(self: WindowEncoder, windows):
        batches.append(len(windows))
        assert len({window.count for window in windows}) == 1
        return encode(self, windows)

    monkeypatch.setattr(WindowEncoder, "encode", spy)
    results = list(encode_on_device(Work(codec, sounds * 3, iter(range(39)), lambda _: None), 2))
    assert len(results) == 39
    assert max(batches) > 3
    assert sum(batches) == 3 * (11 + 3)


def test_results_come_in_the_order_of_their_positions() -> None:
    results = [Failure(position, "") for position in (3, 9, 1, 7)]
    assert [result.position for result in in_order(results, [1, 3, 7, 9])] == [1, 3, 7, 9]


def test_parts_may_come_in_any_order_and_twice(codec: Codec, wav: WavMaker) -> None:
    path = wav(seconds=45.0)
    whole = codec.encode(path)
    encoder, assembly = WindowEncoder(codec), Assembly(codec)
    pieces = [
        piece if isinstance(piece, End | Failure) else encode_part(encoder, piece)
        for piece in read_sound(encoder.shape, codec.sample_rate, 7, Sound("a", path))
    ]
    assert sum(isinstance(piece, Part) for piece in pieces) == 3
    for piece in (pieces[-1], pieces[1], pieces[1], pieces[2]):
        assert assembly.put(piece) is None
    found = assembly.put(pieces[0])
    assert found is not None
    assert all((a == b).all() for a, b in zip(found.codes.levels, whole.levels, strict=True))


def test_other_arithmetic_is_said_and_kept_apart(
    codec: Codec, sounds: list[Sound], tmp_path: Path
) -> None:
    low = Arithmetic("bfloat16")
    assert not is_exact(codec, low)
    assert is_exact(codec, EXACT)
    assert share_of_flips(codec, sounds, EXACT) == 0
    share = share_of_flips(codec, sounds, low)
    assert 0 < share < 0.6
    tokenize(codec, sounds, tmp_path / "out", arithmetic=low)
    codes = {row.id: row.codes for row in TokenDataset(tmp_path / "out")}
    assert any(codes[sound.id] != codec.encode(sound.path) for sound in sounds if sound.id != "none")
    with pytest.raises(UserError, match="made with precision bfloat16, now it is float32"):
        tokenize(codec, sounds, tmp_path / "out")


def test_a_window_that_kills_its_encoders_fails_its_sound_alone(
    codec: Codec, sounds: list[Sound], monkeypatch: pytest.MonkeyPatch
) -> None:
    give = local._Pool._give

    def deadly(pool: Any, worker: Any) -> bool:
        while not worker.ready:  # it dies of its work, not at its start
            list(pool._take(worker, worker.connection.recv()))
        if pool.shared and not worker.sounds:  # a window comes next, and is never sent back
            worker.process.kill()
            worker.process.join()
        return give(pool, worker)

    monkeypatch.setattr(local._Pool, "_give", deadly)
    several = [*sounds, replace(sounds[-1], id="again")]  # both left to others in part
    results = list(encode_by_workers(Work(codec, several, iter(range(14)), lambda _: None), 4))
    failed = {r.position: r.reason for r in results if isinstance(r, Failure)}
    assert sorted(r.position for r in results) == list(range(14))
    assert 5 in failed
    assert set(failed) <= {5, 12, 13}
    assert all("ends the process that reads it" in failed[p] for p in failed.keys() - {5})


def test_workers_that_cannot_start_are_one_line(wav: WavMaker, tmp_path: Path) -> None:
    wav("in/a.wav")
    script = (
        "import sys\nfrom tests.models import waveform_codec\n"
        "from vqaudio.corpus.manifest import find_sounds\nfrom vqaudio.corpus.tokenize import tokenize\n"
        "tokenize(waveform_codec(), find_sounds([sys.argv[1]]), sys.argv[2], workers=2)\n"
    )
    (tmp_path / "unguarded.py").write_text(script)
    root = Path(__file__).parents[2]
    words = [sys.executable, str(tmp_path / "unguarded.py"), str(tmp_path / "in"), str(tmp_path / "out")]
    env = {**os.environ, "PYTHONPATH": str(root)}
    ran = subprocess.run(words, capture_output=True, text=True, env=env, timeout=300)
    assert ran.returncode == 1
    assert "UserError: workers: " in ran.stderr.splitlines()[-1]
    assert 'start below `if __name__ == "__main__":`' in ran.stderr.splitlines()[-1]


def test_names_that_are_not_utf8_fail_like_others(codec: Codec, tmp_path: Path) -> None:
    name = os.fsdecode(bytes(tmp_path) + b"/caf\xe9.wav")
    summary = tokenize(codec, [Sound("a", name)], tmp_path / "out")
    assert summary.failed == 1
    assert Failure(0, f"{name}: gone").reason.endswith("caf\\xe9.wav: gone")


def test_a_field_with_the_name_of_a_column_is_refused_at_once(
    codec: Codec, wav: WavMaker, tmp_path: Path
) -> None:
    for name in ("sample_rate", "level_1"):
        with pytest.raises(UserError, match=f"field '{name}' of the manifest is a column"):
            tokenize(codec, [Sound("a", wav(), fields={name: "1"})], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_windows_do_not_travel_through_shared_memory(codec: Codec, wav: WavMaker) -> None:
    window = next(WindowEncoder(codec).shape.cut([torch.randn(16000)]))
    packed = ForkingPickler.dumps(window)
    assert len(packed) > window.audio.numel() * 4
    again = ForkingPickler.loads(packed)
    assert (again.first, again.count, again.num_samples) == (0, window.count, 16000)
    assert torch.equal(again.audio, window.audio)


def test_a_folder_is_not_gone_on_with_by_another_encoder(
    codec: Codec, wav: WavMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sounds = [Sound("a", wav())]
    tokenize(codec, sounds, tmp_path / "out")
    monkeypatch.setattr(row_encoder, "library", lambda: None)
    monkeypatch.setattr(row_encoder, "_packed", WeakKeyDictionary())
    with pytest.raises(UserError, match="made with encoder c, now it is torch"):
        tokenize(codec, sounds, tmp_path / "out")


def test_a_failure_stays_on_record_until_it_is_mended(
    codec: Codec, wav: WavMaker, tmp_path: Path
) -> None:
    sounds = [Sound("bad", tmp_path / "bad.wav"), Sound("a", wav())]
    tokenize(codec, sounds, tmp_path / "out")

    def stop(summary: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tokenize(codec, sounds, tmp_path / "out", watch=Watch(began=stop))
    assert not read_ledger(tmp_path / "out").entries["bad"].done
