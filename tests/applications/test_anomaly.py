"""What is noticed in a sound, and how unusual it is by what was fitted to normal ones."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from torch import Tensor

from tests.models import LEVELS, tiny_codec, waveform_codec
from tests.sounds import WavMaker, tone
from vqaudio.applications.anomaly import Detector, View
from vqaudio.applications.anomaly_features import Listener, Models, Noticed
from vqaudio.applications.anomaly_run import listen_to
from vqaudio.applications.anomaly_statistics import Gaussian, Spread, Tail
from vqaudio.codec.inputs import Sound as AnySound
from vqaudio.codec.model import Codec
from vqaudio.config import PriorConfig
from vqaudio.corpus.manifest import Sound
from vqaudio.errors import UserError
from vqaudio.prior.model import CodecSpec, Prior

NORMAL = 24


def prior_of(codec: Codec) -> Prior:
    spec = CodecSpec(codec.sample_rate, codec.hops, codec.codebook_sizes, codec.fingerprint)
    torch.manual_seed(0)
    return Prior(PriorConfig(layers=1, width=16, heads=2, context=256), spec).eval()


@pytest.fixture(scope="module")
def listener() -> Listener:
    codec = waveform_codec()
    return Listener(codec, prior_of(codec))


@pytest.fixture(scope="module")
def normal(listener: Listener) -> dict[str, Noticed]:
    return {str(seed): listener.listen(tone(0.6, seed=seed)) for seed in range(NORMAL)}


@pytest.fixture(scope="module")
def detector(listener: Listener, normal: dict[str, Noticed]) -> Detector:
    return Detector.fit(normal, listener.models)


def test_only_the_codes_that_are_used_unless_told_are_listened_to() -> None:
    codec = tiny_codec(bottlenecks={0: {**LEVELS[0]["bottleneck"], "default_quantizers": 1}})
    noticed = Listener(codec, prior_of(codec)).listen(tone(0.5, 8000), 8000)
    assert noticed.series["quantizing 0"].shape[0] == 1
    bits = prior_of(codec).nll(codec.encode(tone(0.5, 8000), 8000)).per_frame
    assert noticed.series["bits"][0].sum() == pytest.approx(bits.sum().item(), rel=1e-3)


def noisy(audio: Tensor) -> Tensor:
    return audio + 0.1 * torch.randn(audio.shape, generator=torch.Generator().manual_seed(0))


def with_gap(audio: Tensor) -> Tensor:
    return torch.cat([audio[:, :4000], torch.zeros(1, 320), audio[:, 4320:]], dim=1)


def with_click(audio: Tensor) -> Tensor:
    click = torch.zeros_like(audio)
    click[:, 4000:4080:4] = 0.3
    return audio + click


def clipped(audio: Tensor) -> Tensor:
    return audio.clamp(-0.1, 0.1)


def an_octave_up(audio: Tensor) -> Tensor:
    return audio[:, ::2].repeat(1, 2)


@pytest.mark.parametrize("broken", [noisy, with_gap, with_click, clipped, an_octave_up])
def test_what_is_broken_is_more_unusual_than_what_is_not(
    listener: Listener, detector: Detector, broken: Callable[[Tensor], Tensor]
) -> None:
    new = [tone(0.6, seed=100 + n) for n in range(5)]
    usual = [detector.score(listener.listen(audio)).surprise for audio in new]
    unusual = [detector.score(listener.listen(broken(audio))).surprise for audio in new]
    assert np.median(unusual) > max(usual)


def test_surprise_is_finite_where_normal_sounds_are_nearly_copies(listener: Listener) -> None:
    alike = {str(n): listener.listen(tone(0.6) * (1 + 1e-3 * n)) for n in range(8)}
    detector = Detector.fit(alike, listener.models)
    for other in (torch.zeros(1, 9600), noisy(tone(0.6))):
        score = detector.score(listener.listen(other))
        assert np.isfinite([score.surprise, *score.views.values(), *score.curve]).all()


def test_the_curve_shows_where(listener: Listener, detector: Detector) -> None:
    score = detector.score(listener.listen(with_gap(tone(0.6, seed=100))))
    assert len(score.curve) == -(-9600 // 256)
    assert abs(score.curve.argmax() - 4160 // 256) <= 2


def test_bits_are_those_of_the_prior(listener: Listener) -> None:
    audio = tone(0.41)
    wanted = listener.prior.nll(listener.codec.encode(audio))
    noticed = listener.listen(audio)
    assert noticed.bits_per_second == pytest.approx(wanted.bits_per_second, rel=1e-5)
    assert np.allclose(noticed.series["bits"][0], wanted.per_frame.numpy(), atol=1e-4)


@pytest.mark.parametrize("piece", [1, 7])
def test_pieces_do_not_show(listener: Listener, piece: int) -> None:
    audio = noisy(tone(0.7, seed=3))
    whole = listener.listen(audio).series
    others = Listener(listener.codec, listener.prior)
    others.piece = piece
    parts = others.listen(audio).series
    assert whole.keys() == parts.keys()
    for name in whole:
        if name.startswith("samples"):
            assert whole[name].sum() == parts[name].sum() == audio.shape[1]
        else:
            assert np.allclose(whole[name], parts[name], atol=1e-2), name


def test_order_and_workers_do_not_matter(listener: Listener, wav: WavMaker) -> None:
    sounds = [
        Sound(str(seed), wav(f"{seed}.wav", seconds=0.2 + 0.1 * seed, seed=seed)) for seed in range(6)
    ]
    alone = {sound.id: noticed for sound, noticed in listen_to(listener, sounds, 1)}
    together = {sound.id: noticed for sound, noticed in listen_to(listener, sounds[::-1], 2)}
    for sound in sounds:
        one, other = alone[sound.id], together[sound.id]
        assert isinstance(one, Noticed)
        assert isinstance(other, Noticed)
        for name in one.series:
            assert np.array_equal(one.series[name], other.series[name])


class DeadlyListener(Listener):
    """Dies of one sound, as of a file that crashes its reader."""

    def __reduce__(self) -> tuple[Any, ...]:
        return DeadlyListener, (self.codec, self.prior)

    def listen(self, sound: AnySound, sample_rate: int | None = None) -> Noticed:
        if str(sound).endswith("deadly.wav"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().listen(sound, sample_rate)


def test_a_sound_that_kills_its_worker_costs_no_other(listener: Listener, wav: WavMaker) -> None:
    names = ["a", "b", "deadly", "c", "d"]
    sounds = [Sound(name, wav(f"{name}.wav", seconds=0.2)) for name in names]
    deadly = DeadlyListener(listener.codec, listener.prior)
    found = {sound.id: noticed for sound, noticed in listen_to(deadly, sounds, 2)}
    assert list(found) == names
    assert str(found.pop("deadly")).endswith(
        "deadly.wav: ends the process that listens to it; leave it out"
    )
    assert all(isinstance(noticed, Noticed) for noticed in found.values())


def test_a_detector_does_not_depend_on_the_order(
    listener: Listener, normal: dict[str, Noticed], detector: Detector
) -> None:
    other = Detector.fit(dict(reversed(normal.items())), listener.models)
    noticed = listener.listen(tone(0.5, seed=200))
    assert detector.score(noticed).surprise == other.score(noticed).surprise


def test_saved_is_loaded(listener: Listener, detector: Detector, tmp_path: Path) -> None:
    detector.save(tmp_path / "normal.safetensors")
    loaded = Detector.load(tmp_path / "normal.safetensors", listener.models)
    noticed = listener.listen(noisy(tone(0.5, seed=200)))
    one, other = detector.score(noticed), loaded.score(noticed)
    assert (one.surprise, one.views) == (other.surprise, other.views)
    assert np.array_equal(one.curve, other.curve)


def test_other_models_and_other_files_are_refused(
    listener: Listener, detector: Detector, tmp_path: Path
) -> None:
    path = tmp_path / "normal.safetensors"
    detector.save(path)
    for models in (Models("0" * 64, listener.models.prior), Models(listener.models.codec, "0" * 64)):
        with pytest.raises(UserError, match=r"normal\.safetensors: fitted with (codec|prior)"):
            Detector.load(path, models)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="damaged"):
        Detector.load(path, listener.models)
    with pytest.raises(UserError, match="no such file"):
        Detector.load(tmp_path / "none", listener.models)


def test_a_prior_of_another_codec_is_refused(listener: Listener) -> None:
    with pytest.raises(UserError, match="the prior reads codec"):
        Listener(waveform_codec(seed=1), listener.prior)


def test_a_codec_that_makes_spectrograms_is_refused() -> None:
    codec = tiny_codec(head="mel", steps=1)
    with pytest.raises(UserError, match="codec.head.kind"):
        Listener(codec, prior_of(codec))


@pytest.mark.parametrize("audio", [torch.zeros(1, 8000), torch.full((1, 1), 0.1)])
def test_silence_and_one_sample_have_a_score(
    listener: Listener, detector: Detector, audio: Tensor
) -> None:
    score = detector.score(listener.listen(audio))
    assert np.isfinite([score.surprise, *score.views.values(), *score.curve]).all()


def test_what_cannot_be_read_is_a_reason(listener: Listener, bad_sound: Path) -> None:
    [(_, reason)] = listen_to(listener, [Sound("bad", bad_sound)])
    assert isinstance(reason, UserError)
    assert str(bad_sound) in str(reason)


def test_too_few_normal_sounds_are_refused(listener: Listener, normal: dict[str, Noticed]) -> None:
    with pytest.raises(UserError, match="3 normal sounds: too few"):
        Detector.fit({name: normal[name] for name in "012"}, listener.models)


def test_a_gaussian_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((60, 12)) @ rng.standard_normal((12, 12)) + 3
    standard = (vectors - vectors.mean(0)) / vectors.std(0)
    wanted = np.sqrt(LedoitWolf().fit(standard).mahalanobis(standard) / 12)
    assert np.allclose(Gaussian.fit(vectors).distance(vectors), wanted)


@pytest.mark.parametrize("number", [100, 20000])
def test_surprise_is_a_share_of_normal_values(number: int) -> None:
    rng = np.random.default_rng(0)
    tail = Tail.fit(rng.exponential(size=number))
    surprise = tail.surprise(rng.exponential(size=100000))
    for wanted in (0.3, 0.1, 0.01):
        assert np.mean(surprise > -np.log10(wanted)) == pytest.approx(wanted, rel=0.5)
    values = np.linspace(-1, 30, 500)
    assert (np.diff(tail.surprise(values)) >= 0).all()


def test_short_sounds_are_not_more_unusual_than_long_ones() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(5, 100, size=1000).astype(float)
    within = rng.standard_normal((1000, 8)) / np.sqrt(frames[:, None])
    vectors = list((within + 0.1 * rng.standard_normal((1000, 8)))[:, None])
    view, _ = View.fit(vectors[:500], frames[:500])
    pairs = zip(vectors[500:], frames[500:], strict=True)
    surprise = np.array([view.surprise(vector, int(length))[0] for vector, length in pairs])
    short = frames[500:] < 20
    assert surprise[short].mean() == pytest.approx(surprise[~short].mean(), rel=0.3)
    assert view.surprise(vectors[0], 1000)[0] > view.surprise(vectors[0], 5)[0]


@pytest.mark.parametrize("within", [0.0, 0.7, 1.0])
def test_spread_finds_what_falls_with_length(within: float) -> None:
    frames = np.linspace(10, 100, 500)
    typical = 1 / (1 / frames).mean()
    squares = 3 * (1 - within + within * typical / frames)
    spread = Spread.fit(squares, frames)
    assert (spread.within, spread.frames) == pytest.approx((within, typical), abs=1e-6)
    assert spread.of(20) == pytest.approx(np.sqrt(1 - within + within * typical / 20))


def test_spread_of_sounds_of_one_length_is_the_same_for_all() -> None:
    spread = Spread.fit(np.random.default_rng(0).random(20), np.full(20, 250.0))
    assert spread.of(10) == spread.of(1000) == 1
