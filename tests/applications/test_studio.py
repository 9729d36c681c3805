"""What the page's buttons do, without the page."""

from pathlib import Path

import pytest
import torch

from tests.models import waveform_codec
from tests.sounds import WavMaker
from vqaudio.applications.studio import LONGEST_SECONDS, Rate, Studio
from vqaudio.audio import read_audio, resample
from vqaudio.codec.model import Codec
from vqaudio.config import PriorConfig
from vqaudio.errors import UserError
from vqaudio.evaluation.report import Player
from vqaudio.prior.model import CodecSpec, Prior


def prior_of(codec: Codec) -> Prior:
    torch.manual_seed(0)
    spec = CodecSpec(codec.sample_rate, codec.hops, codec.codebook_sizes, codec.fingerprint)
    return Prior(
        PriorConfig(layers=1, width=16, heads=2, context=256, labels=["no", "yes"]), spec
    ).eval()


@pytest.fixture(scope="module")
def studio() -> Studio:
    codec = waveform_codec()  # hops 256 and 64; one codebook of 16, two of 8
    return Studio(codec, prior_of(codec))


def test_rates_grow_codebook_by_codebook(studio: Studio) -> None:
    assert studio.rates == [
        Rate(250, (1,), True),
        Rate(250 + 750, (1, 1), False),
        Rate(250 + 1500, (1, 2), True),
    ]
    assert [rate.title for rate in studio.rates] == [
        "250 bit/s: level 0",
        "1000 bit/s: level 0 + 1 codebook of level 1",
        "1750 bit/s: level 0 + level 1",
    ]
    assert studio.rates[-1].bits_per_second == studio.codec.bitrate


def test_what_is_heard_is_what_the_codec_decodes(studio: Studio, wav: WavMaker, tmp_path: Path) -> None:
    path = wav("buzz.wav")
    shown = studio.hear(path, studio.rates[1], tmp_path)
    codes = studio.codec.encode(path)
    wanted = {
        "buzz.wav": read_audio(path)[0],
        "buzz.wav, 250 bit/s: level 0": studio.codec.decode(codes, 1),
        f"buzz.wav, {studio.rates[1].title}": studio.codec.decode(codes, quantizers=[1, 1]),
        f"buzz.wav, {studio.rates[2].title}": studio.codec.decode(codes),
    }
    assert list(shown.sounds) == list(wanted)
    for title, audio in wanted.items():
        assert torch.equal(shown.sounds[title], audio[0])
    players = [part for part in shown.parts if isinstance(part, Player)]
    assert [player.caption for player in players[1:]] == [rate.title for rate in studio.rates]
    for player, audio in zip(players, wanted.values(), strict=True):
        torch.testing.assert_close(read_audio(player.audio)[0], audio.clamp(-1, 1), atol=1e-4, rtol=0)
    frames = [level.shape[1] for level in codes.levels]
    assert f"{frames[0] + frames[1]} codes at 1000 bit/s" in str(shown.parts[0])


def test_channels_are_mixed_down_on_the_page_not_in_the_log(
    studio: Studio, wav: WavMaker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = wav("two.wav", channels=2, seconds=0.3, sample_rate=8000)
    shown = studio.hear(path, studio.rates[0], tmp_path)
    player = next(part for part in shown.parts if isinstance(part, Player))
    assert player.caption == "The original, its 2 channels mixed down to one"
    audio, rate = read_audio(path)
    assert torch.equal(shown.sounds["two.wav"], resample(audio.mean(0, keepdim=True), rate, 16000)[0])
    shown = studio.write(0.2, path, tmp_path)
    player = next(part for part in shown.parts if isinstance(part, Player))
    assert "as they were given, its 2 channels mixed down to one, then" in player.caption
    assert not caplog.records


def test_new_sound_is_what_the_prior_writes(studio: Studio, tmp_path: Path) -> None:
    assert studio.prior is not None
    how = {"seed": 3, "temperature": 0.8, "top_p": 0.9, "label": "yes"}
    [audio] = studio.write(0.2, None, tmp_path, **how).sounds.values()
    [codes] = studio.prior.sample(1, 0.2, **how)
    assert torch.equal(audio, studio.codec.decode(codes)[0])


def test_a_sound_is_gone_on_from_its_end(studio: Studio, wav: WavMaker, tmp_path: Path) -> None:
    path, rate = wav("long.wav", seconds=2), studio.codec.sample_rate
    assert studio.prior is not None
    [(title, audio)] = studio.write(0.1, path, tmp_path, seed=1).sounds.items()
    given = len(audio) - round(0.1 * rate)
    assert title.startswith("long.wav and 0.1 new seconds")
    assert given % 256 == 0
    assert 0 <= studio.prior.longest_seconds - len(audio) / rate < 256 / rate  # as much as it holds
    end = studio.codec.encode(read_audio(path)[0][:, -given:])
    [codes] = studio.prior.sample(1, len(audio) / rate, prompt=end, seed=1)
    assert codes.levels[0][:, : end.levels[0].shape[1]].equal(end.levels[0])
    assert torch.equal(audio, studio.codec.decode(codes)[0])
    with pytest.raises(UserError, match="no room"):
        studio.write(studio.prior.longest_seconds, path, tmp_path)


def test_whoever_waits_too_long_is_told(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vqaudio.applications.studio.PATIENCE_SECONDS", 0.0)
    with pytest.raises(UserError, match="ask for a shorter sound"):
        studio.write(0.3, None, tmp_path)


def test_two_sounds_are_compared(studio: Studio, tmp_path: Path) -> None:
    sound = 0.1 * torch.randn(4000)
    sounds = {"a": sound, "b": sound / 10, "c": sound[:2000]}
    assert "differ by 1.000 on average, a factor of 10.00" in str(
        studio.compare(sounds, "a", "b", tmp_path).parts
    )
    assert "They last 0.25 and 0.12 seconds." in studio.compare(sounds, "a", "c", tmp_path).parts
    with pytest.raises(UserError, match="nothing to compare yet"):
        studio.compare(sounds, "a", None, tmp_path)


def test_what_cannot_be_used_is_named_without_its_folder(studio: Studio, bad_sound: Path) -> None:
    with pytest.raises(UserError, match=rf"^{bad_sound.name}: ") as refused:
        studio.read(bad_sound)
    assert str(bad_sound.parent) not in str(refused.value)


def test_length_and_loudness_have_limits(studio: Studio, wav: WavMaker) -> None:
    assert len(studio.read(wav("most.wav", seconds=LONGEST_SECONDS)).audio) == LONGEST_SECONDS * 16000
    with pytest.raises(UserError, match=r"over\.wav: too long; give at most 30 seconds"):
        studio.read(wav("over.wav", seconds=LONGEST_SECONDS + 0.01))
    with pytest.raises(UserError, match="no sound yet"):
        studio.read(None)


def test_models_that_do_not_belong_together_are_refused(studio: Studio) -> None:
    with pytest.raises(UserError, match="belong together"):
        Studio(waveform_codec(seed=1), studio.prior)
