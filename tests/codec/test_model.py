"""The codec: forward = decode(encode), lengths, levels, refusals."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models import FRONTS, HEADS, codec_config, coloured_noise, tiny_codec
from tests.sounds import WavMaker
from vqaudio.audio import read_audio
from vqaudio.codec.heads import MelSpectrogram
from vqaudio.codec.model import Codec
from vqaudio.codes import Codes
from vqaudio.errors import UserError


@pytest.fixture(scope="module")
def codec() -> Codec:
    return tiny_codec()


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("front", FRONTS)
def test_encode_and_decode_are_the_forward_pass(front: str, head: str, levels: int) -> None:
    codec = tiny_codec(front, head, levels)
    audio = coloured_noise(3, 320 * 11)
    with torch.no_grad():
        whole = codec(audio)
    coded = codec.encode(list(audio))
    assert isinstance(coded, list)
    for index, codes in enumerate(coded):
        for mine, theirs in zip(codes.levels, whole.codes, strict=True):
            assert torch.equal(mine, theirs[index])
    if isinstance(codec.head, MelSpectrogram):  # what it makes audible is another sound
        assert whole.made.shape == codec.head.target(audio).shape
    else:
        torch.testing.assert_close(torch.stack(codec.decode(coded)), whole.made, atol=1e-4, rtol=1e-4)
    assert whole.made.std() > 1e-4


def test_every_length_comes_back_exactly(codec: Codec) -> None:
    lengths = [*range(1, 3 * codec.hops[0] + 1), *np.random.default_rng(0).integers(1000, 60000, 20)]
    audio = coloured_noise(1, 60000)[0, 0]
    for length in lengths:
        codes = codec.encode(audio[: int(length)], workers=1)
        assert codes.num_samples == length
        assert [level.shape[1] for level in codes.levels] == [-(-length // hop) for hop in codec.hops]
        if length % 97 == 0 or length > 3 * codec.hops[0]:
            assert codec.decode(codes, workers=1).shape == (1, length)


def test_one_sample_decodes_to_one_sample(codec: Codec) -> None:
    codes = codec.encode(torch.tensor([0.3]))
    assert codec.decode(codes).shape == (1, 1)


def test_decoding_again_gives_the_same_bits(codec: Codec) -> None:
    codes = codec.encode(coloured_noise(1, 5000)[0])
    assert torch.equal(codec.decode(codes), codec.decode(codes))


def test_fewer_levels_ignore_the_fine_codes(codec: Codec) -> None:
    codes = codec.encode(coloured_noise(1, 5000)[0])
    other = Codes([codes.levels[0], (codes.levels[1] + 1) % 12], codes.num_samples, 8000, codes.hops)
    assert torch.equal(codec.decode(codes, levels=1), codec.decode(other, levels=1))
    assert not torch.equal(codec.decode(codes), codec.decode(other))
    assert codec.decode(codes, levels=1).shape == (1, 5000)


def test_training_with_kept_levels_is_decoding_from_them(codec: Codec) -> None:
    audio = coloured_noise(2, 320 * 6)
    with torch.no_grad():
        made = codec(audio, keep_levels=torch.tensor([1, 2])).made
    codes = codec.encode(list(audio))
    torch.testing.assert_close(made[0], codec.decode(codes[0], levels=1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(made[1], codec.decode(codes[1]), atol=1e-4, rtol=1e-4)


def test_fewer_quantizers_lower_the_bitrate(codec: Codec) -> None:
    codes = codec.encode(coloured_noise(1, 5000)[0])
    cut = Codes([codes.levels[0][:1], codes.levels[1]], codes.num_samples, 8000, codes.hops, codes.codec)
    assert codec.decode(cut).shape == (1, 5000)
    assert not torch.equal(codec.decode(cut), codec.decode(codes))


def test_rates() -> None:
    codec = Codec(codec_config(levels=2))
    assert codec.hops == [320, 160]
    assert codec.codebook_sizes == [[8, 8], [12]]
    assert codec.frame_rates == [25, 50]
    assert codec.bitrate == pytest.approx(25 * 6 + 50 * np.log2(12))


def test_a_path_an_array_and_a_tensor_are_the_same_sound(codec: Codec, wav: WavMaker) -> None:
    path = wav(seconds=1.3, sample_rate=22050, channels=2)
    audio, rate = read_audio(path)
    codes = codec.encode(path)
    assert codes == codec.encode(str(path)) == codec.encode(audio, sample_rate=rate)
    assert codes == codec.encode(audio.numpy(), sample_rate=rate)
    assert codes.num_samples == pytest.approx(1.3 * 8000, abs=1)


def test_every_weight_is_trained() -> None:
    torch.manual_seed(0)
    codec = Codec(codec_config(levels=3))
    for _ in range(2):
        output = codec(coloured_noise(2, 3200))
    (output.made.abs().mean() + output.losses["commitment"]).backward()
    idle = [n for n, p in codec.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


def test_the_fingerprint_follows_the_weights() -> None:
    codec, same = tiny_codec(steps=2), tiny_codec(steps=2)
    first = codec.fingerprint
    assert first == same.fingerprint
    codec.encode(torch.randn(500))
    assert codec.fingerprint == first
    with torch.no_grad():
        codec.hierarchy.levels[0].bottleneck.codebooks[0].sums[3] += 1e-3
    assert codec.fingerprint != first


@pytest.mark.parametrize(
    ("sound", "word"),
    [
        (torch.zeros(0), "empty"),
        (torch.zeros(1, 2, 3), r"\[1, 2, 3\]"),
        (np.zeros((16000, 2)), "channels first"),
        (torch.tensor([0.1, float("nan")]), "finite"),
        (np.array([np.inf, 0.0]), "finite"),
        (np.array([3000, -3000], np.int16), "int16: give floats"),
        (Path("no/such/sound.wav"), "no/such/sound.wav"),
    ],
)
def test_what_is_no_sound_is_refused(codec: Codec, sound: torch.Tensor, word: str) -> None:
    with pytest.raises(UserError, match=word):
        codec.encode(sound)


def test_no_workers_are_refused(codec: Codec) -> None:
    with pytest.raises(UserError, match="workers 0: must be at least 1"):
        codec.encode(torch.zeros(100), workers=0)


def test_foreign_and_impossible_codes_are_refused(codec: Codec) -> None:
    codes = codec.encode(coloured_noise(1, 2000)[0])
    with pytest.raises(UserError, match="levels: 3 is not from 1 to 2"):
        codec.decode(codes, levels=3)
    with pytest.raises(UserError, match="made by codec 0123"):
        codec.decode(Codes(codes.levels, 2000, 8000, codes.hops, "0123"))
    with pytest.raises(UserError, match="outside of its codebook"):
        codec.decode(Codes([codes.levels[0], codes.levels[1] + 12], 2000, 8000, codes.hops))
    with pytest.raises(UserError, match="hops"):
        codec.decode(Codes([torch.zeros(1, 20, dtype=torch.int64)], 2000, 8000, [100]))
