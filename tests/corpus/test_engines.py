"""Whatever reads and encodes, and by whatever arithmetic."""

from functools import partial
from pathlib import Path

import pytest

from tests.models import waveform_codec
from tests.sounds import WavMaker
from vqaudio.codec import row_encoder
from vqaudio.codec.model import Codec
from vqaudio.codec.window_encoder import EXACT, Arithmetic, WindowEncoder
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.corpus.encoding import Assembly, End, Failure, Part, Work
from vqaudio.corpus.flips import is_exact, share_of_flips
from vqaudio.corpus.local import encode_by_workers, encode_here, encode_on_device
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.tokenize import in_order, tokenize
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
    monkeypatch.setattr(row_encoder, "_packed", {})
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
    from vqaudio.corpus.encoding import encode_part, read_sound

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
