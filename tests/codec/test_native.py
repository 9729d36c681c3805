"""The encoder in C: what torch makes, and the same bits however a sound is cut."""

import copy
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vqaudio
from tests.models import coloured_noise, tiny_codec
from vqaudio.audio import read_audio
from vqaudio.codec import row_encoder as packing
from vqaudio.codec.flow import Flow, encode_window
from vqaudio.codec.layers import NO_CONTEXT, Conv, ResidualUnit, Upsample
from vqaudio.codec.model import Codec
from vqaudio.codec.native import library
from vqaudio.codec.row_encoder import RowEncoder, row_encoder
from vqaudio.codec.rows import RowConv, RowMel, RowQuantizer, RowUnit
from vqaudio.codec.window_encoder import window_shape
from vqaudio.codec.windows import AudioWindow, cut, one_thread
from vqaudio.codes import frames_for
from vqaudio.features import LogMel

SENTENCE = Path(vqaudio.__file__).parent / "assets" / "sentence.flac"
COSINE = {1: {"kind": "vector", "codebook_size": 12, "dim": 6, "distance": "cosine"}}
GROUPED = {0: {"kind": "grouped_residual", "codebook_size": 8, "quantizers": 2, "groups": 3, "dim": 6}}
LINEAR = {0: {"kind": "vector", "codebook_size": 12, "dim": 5, "codebook": "linear"}}
CODECS = {
    "mel-1": ("mel", 1, "shared", {}),
    "mel-2-cosine": ("mel", 2, "shared", COSINE),
    "mel-3": ("mel", 3, "shared", {}),
    "waveform-2-linear": ("waveform", 2, "shared", LINEAR),
    "waveform-3-grouped": ("waveform", 3, "independent", GROUPED),
}
each = pytest.mark.parametrize("name", CODECS)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def made(name: str) -> Codec:
    front, levels, encoders, bottlenecks = CODECS[name]
    return tiny_codec(front, "istft", levels, encoders=encoders, bottlenecks=bottlenecks)


def packed(codec: Codec) -> RowEncoder:
    encoder = row_encoder(codec)
    assert encoder is not None
    return encoder


def by_torch(codec: Codec, sound: Tensor) -> list[Tensor]:
    """Codes of samples `[T]`, as they are made where there is no compiler."""
    twin = copy.deepcopy(codec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "library", lambda: None)
        return list(twin.encode(sound).levels)


def speech(rate: int) -> Tensor:
    return read_audio(SENTENCE, rate)[0][0]


def rows_of(x: Tensor) -> Tensor:
    """`[1, C, F]` to `[F, C]`."""
    return x[0].T.contiguous()


# --- layers ---


def test_gelu_has_seven_digits() -> None:
    x = torch.cat([torch.linspace(-30, 30, 100003), torch.randn(1000) * 1e-4])
    y = x.clone()
    library().bend(y.data_ptr(), len(y))
    exact = x.double() * torch.special.ndtr(x.double())
    assert (y - exact).abs().div(x.abs().clamp(min=1e-30)).max() < 2e-7


@pytest.mark.parametrize("channels", [1, 15, 16, 33])
@pytest.mark.parametrize("frames", [1, 5, 13, 97, 250])
def test_layers_are_those_of_torch(channels: int, frames: int) -> None:
    torch.manual_seed(0)
    conv, unit = Conv(channels, 19, 7, 3), ResidualUnit(channels, 4)
    up, point = Upsample(channels, 5, 3), nn.Conv1d(channels, 2, 1)
    for module, layer in (
        (conv, RowConv(library(), conv)),
        (unit, RowUnit(library(), unit)),
        (up, RowConv(library(), up)),
        (point, RowConv(library(), point)),
    ):
        x = torch.randn(1, channels, (frames - 1) * layer.stride + layer.kernel)
        y = layer(rows_of(x), frames)
        assert torch.allclose(y, rows_of(module(x)), atol=2e-6)
        x[0, :, (frames // 2) * layer.stride :] = torch.randn(())  # what lies elsewhere changes no bit
        count = max(0, (frames // 2 * layer.stride - layer.kernel) // layer.stride + 1)
        assert torch.equal(layer(rows_of(x), frames)[: count * layer.factor], y[: count * layer.factor])


@pytest.mark.parametrize(
    ("n_fft", "hop"), [(2, 1), (12, 5), (160, 40), (640, 160), (900, 300), (1024, 256)]
)
def test_spectra_are_those_of_double_precision(n_fft: int, hop: int) -> None:
    mel = LogMel(16000, n_fft, hop, 20 if n_fft > 100 else 1)
    assert RowMel.can(mel)
    x = F.pad(speech(16000)[20000:30000], (n_fft, 0))
    frames = (len(x) - n_fft) // hop + 1
    found = RowMel(library(), mel, 0, 6, 3)(x[:, None].contiguous(), frames)
    spectra = torch.fft.rfft(x.double().unfold(0, n_fft, hop) * mel.window.double()).abs()
    exact = (spectra.clamp(min=1e-5) @ mel.filters.double().T).clamp(min=1e-5).log()
    assert (found - (exact + 6) / 3).abs().max() < 2e-5
    assert torch.allclose(found, (mel(x[None])[0].T + 6) / 3, atol=1e-4)


@pytest.mark.parametrize("n_fft", [1, 7, 14, 161])
def test_other_lengths_are_left_to_torch(n_fft: int) -> None:
    assert not RowMel.can(LogMel(16000, n_fft, 1, 1))


def test_the_first_of_equal_codes_wins() -> None:
    codec = made("mel-1")
    bottleneck = codec.hierarchy.levels[0].bottleneck
    book = bottleneck.codebooks[0]
    book.place(torch.tensor([7]), book.vectors()[2:3], torch.ones(1))
    x = book.vectors()[[2, 7, 1]].clone()
    codes, said = RowQuantizer(library(), [book], False).quantize(x, 1)
    assert codes.tolist() == [[2, 2, 1]]
    assert torch.equal(said, book.vectors()[[2, 2, 1]])
    assert not x.any()


# --- the whole ---


@each
def test_features_are_those_of_torch(name: str) -> None:
    codec = made(name)
    none = [NO_CONTEXT] * len(codec.hops)
    context = codec.encoder.audio_context(none)
    audio = coloured_noise(1, context.left + 10 * codec.hops[0] + context.right)
    wanted = codec.encoder(audio, none)
    encoder = packed(codec)
    for steps in encoder.chains:
        rows, place = audio[0].T * encoder.gain, -context.left
        for step in steps:
            layer = step.layer
            place = -(-(place + layer.left) // layer.stride)
            skip = place * layer.stride - layer.left + context.left if step is steps[0] else 0
            rows = rows[skip:].contiguous()
            rows = layer(rows, (len(rows) - layer.kernel) // layer.stride + 1)
            if step.level is not None:
                theirs = rows_of(wanted[step.level])
                assert torch.allclose(rows[-place:][: len(theirs)], theirs, atol=1e-4)


@each
@pytest.mark.parametrize("length", [1, 319, 6400, 30001])
def test_codes_are_those_of_torch(name: str, length: int) -> None:
    codec = made(name)
    sound = speech(8000)[5000 : 5000 + length]
    for mine, theirs in zip(codec.encode(sound).levels, by_torch(codec, sound), strict=True):
        assert mine.shape == theirs.shape
        assert (mine == theirs).float().mean() > 0.995


def test_codes_of_the_shipped_model_are_those_of_torch() -> None:
    codec, sound = vqaudio.load("speech-16k"), speech(16000)
    for mine, theirs in zip(codec.encode(sound).levels, by_torch(codec, sound), strict=True):
        assert (mine == theirs).float().mean() > 0.995


@each
def test_any_windows_give_the_same_bits(name: str) -> None:
    codec = made(name)
    encoder, sound = packed(codec), coloured_noise(1, 30 * 320 - 77)[0, 0]
    kept = [len(sizes) for sizes in codec.codebook_sizes]
    whole = codec.encode(sound).levels
    coarse, context, _ = window_shape(codec, encoder)
    for length in (1, 2, 7, 29, 40):
        windows = cut(sound.split(500), coarse, context, [length])
        found = [encode_window(encoder, window, kept) for window in windows]
        for level, parts, hop in zip(whole, zip(*found, strict=True), codec.hops, strict=True):
            assert torch.equal(torch.cat(parts, dim=1)[:, : frames_for(len(sound), hop)], level)


@each
def test_any_pieces_and_silence_around_give_the_same_bits(name: str) -> None:
    codec = made(name)
    encoder, sound = packed(codec), coloured_noise(1, 9999)[0, 0]
    kept = [len(sizes) for sizes in codec.codebook_sizes]
    whole = codec.encode(sound).levels
    for size in (1, 33, 1000):
        if size == 1 and name != "mel-2-cosine":
            continue
        flow = Flow(encoder, kept)
        found = [flow.push(piece) for piece in sound.split(size)]
        flow.end(len(sound), frames_for(len(sound), codec.hops[0]))
        found.append(flow.push(sound[:0]))
        for level, parts in zip(whole, zip(*found, strict=True), strict=True):
            assert torch.equal(torch.cat(parts, dim=1), level)


def test_silence_that_is_skipped_is_silence_that_is_computed() -> None:
    """Features at the edges of a sound, against those with zeros pushed around it."""
    codec = made("mel-1")
    encoder, sound = packed(codec), coloured_noise(1, 3200)[0, 0]
    around = 20 * 320
    windows = [
        AudioWindow(0, 10, F.pad(sound, (encoder.left, 4000))[None, None], 3200),
        AudioWindow(20, 10, F.pad(sound, (encoder.left, 4000))[None, None], None),  # nothing is skipped
    ]
    assert around - encoder.left > 0
    first, later = (encode_window(encoder, window, [2]) for window in windows)
    assert torch.equal(first[0], later[0][:, :10])


@pytest.mark.parametrize("flag", ["-DLANES=4"])
def test_any_width_of_vectors_gives_the_same_bits(flag: str) -> None:
    other = library(flag)
    assert other is not None
    for name in ("mel-2-cosine", "waveform-3-grouped"):
        codec = made(name)
        sound = speech(8000)
        mine, theirs = packed(codec), RowEncoder(other, codec)
        rows = sound[:, None].contiguous() * mine.gain
        same = rows
        for a, b in zip(mine.chains[0], theirs.chains[0], strict=True):
            count = (len(rows) - a.layer.kernel) // a.layer.stride + 1
            rows, same = a.layer(rows, count), b.layer(same, count)
            assert torch.equal(rows, same)


def test_threads_change_no_bit() -> None:
    codec, sound = made("mel-2-cosine"), coloured_noise(1, 8000 * 50)[0, 0]
    whole = codec.encode(sound, workers=1)
    assert codec.encode([sound, sound], workers=2) == [whole, whole]
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert codec.encode(sound) == whole
    finally:
        torch.set_num_threads(threads)


# --- when it is used ---


def test_weights_that_change_are_packed_anew() -> None:
    codec, sound = made("mel-2-cosine"), coloured_noise(1, 8000)[0, 0]
    before, encoder = codec.encode(sound), row_encoder(codec)
    assert row_encoder(codec) is encoder
    codec.hierarchy.levels[0].project_in.weight.neg_()
    after = codec.encode(sound)
    assert after != before
    assert after == copy.deepcopy(codec).encode(sound)


def test_what_is_not_there_in_c_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    scalar = {"kind": "scalar", "method": "fsq", "levels": [5, 5, 5]}
    assert row_encoder(tiny_codec(bottlenecks={0: scalar})) is None
    codec = made("mel-1")
    assert row_encoder(copy.deepcopy(codec).double()) is None
    sound = coloured_noise(1, 8000)[0, 0]
    monkeypatch.setattr(packing, "library", lambda: None)
    assert row_encoder(codec) is None
    with one_thread():
        assert codec.encode(sound) == codec.encode([sound], workers=2)[0]


def test_a_window_is_as_long_as_it_must_be() -> None:
    codec = made("mel-1")
    lengths, ladder = (window_shape(codec, encoder)[2] for encoder in (packed(codec), None))
    assert list(lengths) == list(range(1, lengths[-1] + 1))
    assert lengths[-1] == ladder[-1]
    assert all(a < b for a, b in pairwise(ladder))


@pytest.mark.parametrize("other", [torch.bfloat16, torch.float64])
def test_torch_s_default_type_changes_nothing(other: torch.dtype) -> None:
    codec, sound = tiny_codec(), coloured_noise(1, 9000)[0, 0]
    codes = codec.encode(sound)
    before = torch.get_default_dtype()
    torch.set_default_dtype(other)
    try:
        assert codec.encode(sound) == codes
        stream = codec.stream()
        parts = [stream.push(piece) for piece in sound.split(700)] + [stream.finish()]
        assert sum(part.num_samples for part in parts if part) == 9000
    finally:
        torch.set_default_dtype(before)


def test_codecs_made_in_inference_mode_encode_too() -> None:
    sound = coloured_noise(1, 9000)[0, 0]
    codes = tiny_codec().encode(sound)
    with torch.inference_mode():
        copied = copy.deepcopy(tiny_codec())
        assert copied.encode(sound) == codes
    assert copied.encode(sound) == codes
