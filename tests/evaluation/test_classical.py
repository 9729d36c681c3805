"""Classical codecs as programs; those that are not installed here are left out."""

import shutil
from pathlib import Path

import pytest
import torch

from vqaudio.audio import read_audio
from vqaudio.errors import UserError
from vqaudio.evaluation.classical import KINDS, find_program, ogg_payload
from vqaudio.evaluation.delays import codec_delay
from vqaudio.evaluation.pairs import delay_of, without_delay
from vqaudio.evaluation.speech import stoi

# kbit/s and STOI between which each must lie on the sentence that ships
KNOWN = {
    "opus:6": (4, 6.5, 0.85),
    "opus:24": (20, 27, 0.98),
    "codec2:1200": (1.19, 1.26, 0.7),
    "codec2:700C": (0.69, 0.85, 0.6),
    "speex:0": (3.9, 4.1, 0.75),
    "speex:3": (9.9, 10.2, 0.88),
}


def needs_programs(text: str) -> None:
    missing = [one for one in KINDS[text.partition(":")[0]].programs if not shutil.which(one)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")


@pytest.mark.parametrize("text", sorted(KNOWN))
def test_a_program_codes_speech_at_its_rate(text: str, sentence: Path) -> None:
    needs_programs(text)
    program = find_program(text)
    assert program is not None
    audio = read_audio(sentence, 16000)[0][0]
    coded = program.code(audio, 16000)
    low, high, clear = KNOWN[text]
    assert low < coded.payload_bits / len(audio) * 16 < high
    delay = codec_delay([audio], [coded.audio], 16000)
    assert (stoi(audio, without_delay(coded.audio, delay, len(audio)), 16000) or 0) > clear


def test_a_program_gives_the_same_every_time_and_takes_a_single_sample(sentence: Path) -> None:
    for text in KNOWN:
        needs_programs(text)
        program = find_program(text)
        assert program is not None
        audio = read_audio(sentence, 16000)[0][0][:8000]
        assert torch.equal(program.code(audio, 16000).audio, program.code(audio, 16000).audio)
        assert program.code(torch.zeros(1), 16000).audio.ndim == 1


def test_the_delay_of_speex_does_not_depend_on_the_length_of_a_sound(sentence: Path) -> None:
    needs_programs("speex:8")
    program = find_program("speex:8")
    assert program is not None
    audio = read_audio(sentence, 16000)[0][0]
    for sound in (audio[:30000], torch.cat([audio, audio])):
        made = program.code(sound, 16000).audio[: len(sound)]
        assert abs(delay_of(sound, made, 500)) <= 2


def test_ogg_payload_counts_packets_but_the_two_first_over_pages() -> None:
    def page(segments: list[int]) -> bytes:
        return b"OggS" + bytes(22) + bytes([len(segments), *segments]) + bytes(sum(segments))

    # headers of 19 and 300 bytes, then packets of 10, 255 and, over two pages, 500
    whole = page([19]) + page([255, 45]) + page([10, 255, 0, 255]) + page([245])
    assert ogg_payload(whole) == 10 + 255 + 500
    assert ogg_payload(whole, packets=2) == 10 + 255


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("opus:fast", "opus takes 6 to 256 kbit/s"),
        ("opus:1", "opus takes 6 to 256"),
        ("codec2:1000", "one of 3200"),
        ("speex:11", "a quality from 0 to 10"),
    ],
)
def test_a_setting_that_is_none_is_refused(text: str, line: str) -> None:
    with pytest.raises(UserError, match=line):
        find_program(text)


def test_a_program_that_is_not_there_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="opusenc is not installed; install opus-tools"):
        find_program("opus:6")
    assert find_program("some/model") is None
