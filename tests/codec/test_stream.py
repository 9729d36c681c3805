"""A stream gives the codes of the whole, bit for bit, as soon as they are certain."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models import coloured_noise, tiny_codec
from vqaudio.codec import row_encoder as packing
from vqaudio.codec.model import Codec
from vqaudio.codec.stream import EncodeStream
from vqaudio.codes import Codes
from vqaudio.errors import UserError

HOP = 320


@pytest.fixture(params=["c", "torch"])
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to encode."""
    if request.param == "torch":
        monkeypatch.setattr(packing, "library", lambda: None)
    return request.param


def sound(samples: int) -> Tensor:
    torch.manual_seed(samples)
    return coloured_noise(1, samples)[0, 0]


def parts_of(stream: EncodeStream, pieces: list[Tensor]) -> list[Codes]:
    found = [*[stream.push(piece) for piece in pieces], stream.finish()]
    return [codes for codes in found if codes is not None]


def assert_whole(codec: Codec, parts: list[Codes], whole: Codes) -> None:
    levels = [torch.cat(level, dim=1) for level in zip(*[part.levels for part in parts], strict=True)]
    samples = sum(part.num_samples for part in parts)
    assert Codes(levels, samples, whole.sample_rate, whole.hops) == whole
    assert {part.codec for part in parts} == {codec.fingerprint}
    assert not any(part.num_samples % HOP for part in parts[:-1])


@pytest.mark.parametrize("rate", [None, 8000, 11025])
@pytest.mark.parametrize("length", [1, 319, 320, 641, 20001])
def test_any_pieces_make_the_whole(by: str, length: int, rate: int | None) -> None:
    codec, audio = tiny_codec(levels=3), sound(length)
    whole = codec.encode(audio, rate)
    chance = random.Random(length)
    cuts = sorted(chance.sample(range(1, length), min(length - 1, 9)))
    assert_whole(codec, parts_of(codec.stream(rate), list(audio.tensor_split(cuts))), whole)
    assert_whole(codec, parts_of(codec.stream(rate), [audio]), whole)
    small = parts_of(codec.stream(rate), list(audio.split(700)))
    assert_whole(codec, small, whole)


def test_windows_of_the_longest_kind_are_given_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "library", lambda: None)
    codec, audio = tiny_codec(levels=1), sound(8000 * 45)
    parts = parts_of(codec.stream(), list(audio.split(8000)))
    assert len(parts) == 3
    assert_whole(codec, parts, codec.encode(audio))


@pytest.mark.parametrize("front", ["mel", "waveform"])
def test_the_latency_is_what_it_says(front: str) -> None:
    codec = tiny_codec(front, levels=2)
    stream, audio = codec.stream(), sound(HOP * 20)
    context = codec.encoder.audio_context(codec.hierarchy.encode_contexts())
    assert stream.latency == context.right
    assert stream.push(audio[: HOP + stream.latency - 1]) is None
    for frame in range(1, 6):  # the sample that makes it certain brings a frame's codes
        codes = stream.push(audio[HOP * frame + stream.latency - 1 :][:1])
        assert codes is not None
        assert codes.num_samples == HOP
        rest = audio[HOP * frame + stream.latency :][: HOP - 1]
        assert stream.push(rest) is None


def test_the_latency_without_the_encoder_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "library", lambda: None)
    codec = tiny_codec(levels=1)
    stream, audio = codec.stream(), sound(8000 * 30)
    first = HOP + stream.latency
    assert stream.push(audio[: first - 1]) is None
    codes = stream.push(audio[first - 1 : first])
    assert codes is not None
    assert codes.num_samples > HOP


def test_channels_and_quantizers_are_those_of_encode(by: str) -> None:
    codec, audio = tiny_codec(), torch.stack([sound(5000), sound(5000).flip(0)])
    whole = codec.encode(audio, quantizers=[1, 1])
    assert_whole(codec, parts_of(codec.stream(quantizers=[1, 1]), list(audio.split(999, dim=1))), whole)
    assert_whole(codec, parts_of(codec.stream(quantizers=[1, 1]), [audio.double().numpy()]), whole)


def test_what_is_no_sound_leaves_a_stream_as_it_was(by: str) -> None:
    codec, audio = tiny_codec(), sound(3000)
    stream = codec.stream(11025)
    parts = [stream.push(audio[:1000])]
    nan, inf = audio[1000:2000].clone(), audio[1000:2000].clone()
    nan[500], inf[3] = float("nan"), float("inf")
    for wrong in (nan, inf, audio[:0], torch.zeros(1, 1, 5), np.zeros(10, np.int16)):
        with pytest.raises(UserError, match="samples"):
            stream.push(wrong)
    parts += [stream.push(audio[1000:]), stream.finish()]
    assert_whole(codec, [part for part in parts if part], codec.encode(audio, 11025))
    with pytest.raises(UserError, match="the stream is finished"):
        stream.push(audio)
    with pytest.raises(UserError, match="the stream is finished"):
        stream.finish()


def test_a_stream_that_nothing_came_to(by: str) -> None:
    assert tiny_codec().stream(44100).finish() is None


def test_a_stream_is_checked_when_it_is_opened() -> None:
    codec = tiny_codec()
    for rate in (0, 999, 1_000_001):
        with pytest.raises(UserError, match=f"sample_rate {rate}: must be from 1000 to 1000000 Hz"):
            codec.stream(rate)
    with pytest.raises(UserError, match="quantizers"):
        codec.stream(quantizers=[3, 3])
    with pytest.raises(UserError, match="continuous"):
        tiny_codec(bottlenecks={0: {"kind": "gaussian", "dim": 4}}).stream()


def test_a_piece_may_be_written_over_when_it_was_taken() -> None:
    codec, audio = tiny_codec(), sound(3000)
    stream, room, parts = codec.stream(), torch.zeros(300), []
    for piece in audio.split(300):
        parts.append(stream.push(room.copy_(piece)))
        room.fill_(9)
    assert_whole(codec, [part for part in [*parts, stream.finish()] if part], codec.encode(audio))


@pytest.mark.parametrize("head", ["istft", "upsample", "mel"])
@pytest.mark.parametrize("levels", [1, 2])
def test_through_a_stream_and_back(head: str, levels: int) -> None:
    codec, audio = tiny_codec(head=head), sound(30 * HOP + 9)
    codes = codec.encode(audio)
    parts = parts_of(codec.stream(), list(audio.split(500)))
    blocks = list(codec.decode_stream(parts, levels))
    assert len(blocks) > 3
    assert torch.allclose(torch.cat(blocks, dim=1), codec.decode(codes, levels), atol=1e-4)
