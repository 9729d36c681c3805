"""The codec: forward = decode(encode), lengths, levels, refusals."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models import FRONTS, HEADS, LEVELS, codec_config, coloured_noise, tiny_codec
from tests.sounds import WavMaker
from vqaudio.audio import read_audio
from vqaudio.codec.heads import MelSpectrogram
from vqaudio.codec.layers import NO_CONTEXT, Context
from vqaudio.codec.model import Codec
from vqaudio.codes import Codes
from vqaudio.config import CodecConfig
from vqaudio.errors import UserError


@pytest.fixture(scope="module")
def codec() -> Codec:
    return tiny_codec()


@pytest.mark.parametrize(
    ("front", "head", "levels", "encoders"),
    [
        *product(FRONTS, HEADS, [1, 2, 3], ["shared"]),
        *product(FRONTS, ["istft"], [2, 3], ["independent"]),
    ],
)
def test_encode_and_decode_are_the_forward_pass(
    front: str, head: str, levels: int, encoders: str
) -> None:
    codec = tiny_codec(front, head, levels, encoders=encoders)
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


def test_quantizers_are_cut_when_encoding_as_when_training_with_fewer() -> None:
    codec = tiny_codec(levels=3)
    sound = coloured_noise(1, 5000)[0]
    whole, cut = codec.encode(sound), codec.encode(sound, quantizers=[1, 1, 2])
    assert [len(level) for level in whole.levels] == [2, 1, 3]
    assert [len(level) for level in cut.levels] == [1, 1, 2]
    # the first quantizer of the coarsest level reads what it would have read
    assert torch.equal(cut.levels[0], whole.levels[0][:1])
    # what finer levels read is conditioned on what was kept: not the first rows of the whole
    assert not torch.equal(cut.levels[2], whole.levels[2][:2])
    assert codec.encode(sound, quantizers=[2, 1, 3]) == whole
    fewer = codec.decode(whole, quantizers=[1, 1, 3])
    rows = [whole.levels[0][:1], *whole.levels[1:]]
    assert torch.equal(fewer, codec.decode(Codes(rows, 5000, 8000, whole.hops, whole.codec)))
    assert torch.equal(codec.decode(cut, quantizers=[2, 1, 3]), codec.decode(cut))


def test_quantizers_beyond_the_default_raise_the_bitrate_and_are_made_when_told() -> None:
    coarse = {**LEVELS[0]["bottleneck"], "default_quantizers": 1}
    codec = tiny_codec(bottlenecks={0: coarse})
    assert codec.codebook_sizes == [[8], [12]]
    assert codec.all_codebook_sizes == [[8, 8], [12]]
    assert codec.bitrate == pytest.approx(8000 / 320 * 3 + 8000 / 160 * np.log2(12))
    assert codec.highest_bitrate == pytest.approx(codec.bitrate + 8000 / 320 * 3)
    sound = coloured_noise(1, 4800)[0]
    usual, more = codec.encode(sound), codec.encode(sound, quantizers=[2, 1])
    assert [len(level) for level in usual.levels] == [1, 1]
    assert [len(level) for level in more.levels] == [2, 1]
    assert torch.equal(usual.levels[0], more.levels[0][:1])
    stream = codec.stream()
    parts = [stream.push(sound), stream.finish()]
    assert [len(level) for part in parts if part for level in part.levels] == [1, 1] * 2
    assert not torch.equal(codec.decode(more), codec.decode(usual))
    assert torch.equal(codec.reconstruct(sound), codec.decode(usual))
    assert torch.equal(codec.reconstruct(sound, quantizers=[2, 1]), codec.decode(more))
    with torch.no_grad():  # as in validation
        made = codec(sound[None]).made[0]
    torch.testing.assert_close(codec.reconstruct(sound), made, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("quantizers", "word"),
    [
        ([1], "not one number for each of 2"),
        ([1, 1, 1], "not one number for each of 2"),
        ([0, 1], "quantizers: 0 at level 0 is not from 1 to 2"),
        ([1, 2], "quantizers: 2 at level 1 is not from 1 to 1"),
        ([3, 1], "quantizers: 3 at level 0"),
        ([-1, 1], "quantizers: -1 at level 0"),
    ],
)
def test_quantizers_that_are_not_there_are_refused(
    codec: Codec, quantizers: list[int], word: str
) -> None:
    sound = torch.zeros(1000)
    codes = codec.encode(sound)
    with pytest.raises(UserError, match=word):
        codec.encode(sound, quantizers=quantizers)
    with pytest.raises(UserError, match=word):
        codec.decode(codes, quantizers=quantizers)
    with pytest.raises(UserError, match=word):
        codec.reconstruct(sound, quantizers=quantizers)


def test_reconstruction_is_decoding_what_was_encoded(codec: Codec) -> None:
    sound = coloured_noise(1, 5000)[0]
    codes = codec.encode(sound)
    assert torch.equal(codec.reconstruct(sound), codec.decode(codes))
    assert torch.equal(codec.reconstruct(sound, levels=1), codec.decode(codes, levels=1))
    cut = codec.encode(sound, quantizers=[1, 1])
    assert torch.equal(codec.reconstruct(sound, quantizers=[1, 1]), codec.decode(cut))
    with pytest.raises(UserError, match="levels: 3 is not from 1 to 2"):
        codec.reconstruct(sound, levels=3)


GAUSSIAN = {"kind": "gaussian", "dim": 5}


@pytest.mark.parametrize("encoders", ["shared", "independent"])
@pytest.mark.parametrize("continuous", [[0], [1], [0, 1]])
def test_continuous_levels_are_reconstructed_as_in_the_forward_pass(
    continuous: list[int], encoders: str
) -> None:
    codec = tiny_codec(encoders=encoders, bottlenecks=dict.fromkeys(continuous, GAUSSIAN))
    audio = coloured_noise(2, 320 * 9)
    with torch.no_grad():
        whole = codec(audio)
        coarse = codec(audio, keep_levels=torch.tensor([1, 1])).made
    assert len(whole.codes) == 2 - len(continuous)
    for sound, made, made_coarse in zip(audio, whole.made, coarse, strict=True):
        torch.testing.assert_close(codec.reconstruct(sound), made, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(codec.reconstruct(sound, levels=1), made_coarse, atol=1e-4, rtol=1e-4)
    assert codec.reconstruct(audio[0, :, :1001]).shape == (1, 1001)
    with pytest.raises(UserError, match=f"levels.{continuous[0]}.bottleneck.kind: gaussian"):
        codec.encode(audio[0])


@pytest.mark.parametrize("encoders", ["shared", "independent"])
def test_coarse_outputs_are_decoded_from_the_coarse_codes(encoders: str) -> None:
    codec = tiny_codec(levels=3, encoders=encoders)
    audio = coloured_noise(2, 320 * 6)
    with torch.no_grad():
        output = codec(audio, coarse=True)
        assert codec(audio).coarse == []
    codes = codec.encode(list(audio))
    assert len(output.coarse) == 2
    for levels, made in enumerate(output.coarse, 1):
        torch.testing.assert_close(
            torch.stack(codec.decode(codes, levels=levels)), made, atol=1e-4, rtol=1e-4
        )
    assert not torch.allclose(output.coarse[0], output.coarse[1], atol=1e-4)
    assert not torch.allclose(output.coarse[1], output.made, atol=1e-4)


@pytest.mark.parametrize("head", ["istft", "mel"])
def test_what_was_said_renders_to_what_was_made(head: str) -> None:
    codec = tiny_codec(head=head, bottlenecks={1: GAUSSIAN}).train()
    audio = coloured_noise(2, 320 * 6)
    with torch.no_grad():
        output = codec(audio, keep_levels=torch.tensor([1, 2]))
        assert torch.equal(codec.render(output.said, torch.tensor([1, 2])), output.made)
        assert not torch.equal(codec.render(output.said)[0], output.made[0])
        assert torch.equal(codec.render(output.said)[1], output.made[1])
    assert [said.shape for said in output.said] == [(2, 6, 6), (2, 5, 12)]
    assert len(output.health) == 2
    assert "kl_bits" in output.health[1]


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("levels", [2, 3])
def test_independent_encoders_share_nothing(front: str, levels: int) -> None:
    codec = tiny_codec(front, levels=levels, encoders="independent")
    none = [NO_CONTEXT] * levels
    context = codec.encoder.audio_context(none)
    audio = coloured_noise(1, context.left + 3200 + context.right)
    for level in range(levels):
        codec.zero_grad()
        codec.encoder(audio, none)[level].sum().backward()
        reached = {name for name, p in codec.encoder.named_parameters() if p.grad is not None}
        assert {name.split(".")[1] for name in reached} == {str(level)}


@pytest.mark.parametrize("encoders", ["shared", "independent"])
@pytest.mark.parametrize("front", FRONTS)
def test_the_context_of_the_encoders_is_exact(front: str, encoders: str) -> None:
    codec = tiny_codec(front, levels=3, encoders=encoders)
    wanted = [Context(2, 1), Context(3, 4), Context(0, 9)]
    context = codec.encoder.audio_context(wanted)
    frames, coarsest = 2, codec.hops[0]
    audio = coloured_noise(1, context.left + frames * coarsest + context.right)
    features = codec.encoder(audio, wanted)
    counts = [
        want.left + frames * coarsest // hop + want.right
        for want, hop in zip(wanted, codec.hops, strict=True)
    ]
    assert [f.shape[2] for f in features] == counts
    # with more sound around it the same frames come out, so that nothing beyond was needed
    wider = [
        Context(want.left + 2 * coarsest // hop, want.right)
        for want, hop in zip(wanted, codec.hops, strict=True)
    ]
    more = codec.encoder.audio_context(wider)
    longer = torch.cat([torch.randn(1, 1, more.left - context.left), audio], dim=2)
    assert more.right == context.right
    for mine, theirs in zip(features, codec.encoder(longer, wider), strict=True):
        torch.testing.assert_close(theirs[..., -mine.shape[2] :], mine, atol=1e-4, rtol=1e-4)
    # and the outermost samples are needed, but for those where the window of the mel front is near 0
    for end in (slice(0, 4), slice(-4, None)):
        changed = audio.clone()
        changed[..., end] += 1.0
        others = codec.encoder(changed, wanted)
        assert any(not torch.equal(mine, theirs) for mine, theirs in zip(features, others, strict=True))


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


def test_the_fingerprint_takes_no_notice_of_a_default_that_is_spelled_out() -> None:
    spelled = CodecConfig.model_validate(codec_config().model_dump())
    torch.manual_seed(0)
    one = Codec(codec_config())
    other = Codec(spelled)
    other.load_state_dict(one.state_dict())
    assert one.fingerprint == other.fingerprint
    level = spelled.levels[0].model_copy(update={"dropout": 0.5})  # no weight is another
    third = Codec(spelled.model_copy(update={"levels": [level, *spelled.levels[1:]]}))
    third.load_state_dict(one.state_dict())
    assert third.fingerprint != one.fingerprint


@pytest.mark.parametrize(
    ("sound", "word"),
    [
        (torch.zeros(0), "empty"),
        (torch.zeros(1, 2, 3), r"\[1, 2, 3\]"),
        (np.zeros((16000, 2)), "channels first"),
        (np.zeros((33, 16000)), "32 at most"),
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
