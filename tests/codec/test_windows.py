"""Promise 1: a token depends on the sound alone; promise 3: memory does not grow with its length."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from tests.models import FRONTS, HEADS, coloured_noise, tiny_codec
from vqaudio.codec import passes, windows
from vqaudio.codec.layers import Context
from vqaudio.codec.model import Codec
from vqaudio.codes import Codes
from vqaudio.errors import UserError


@pytest.fixture(scope="module")
def codec() -> Codec:
    return tiny_codec()


@pytest.fixture(scope="module")
def sounds() -> list[Tensor]:
    """200 of mixed lengths, from 0.01 to 30 seconds at 8 kHz."""
    generator = torch.Generator().manual_seed(5)
    lengths = (torch.rand(200, generator=generator) ** 8 * 240_000 + 80).long().tolist()
    torch.manual_seed(1)
    long = coloured_noise(1, 400_000)[0, 0]
    return [
        long[start : start + n].clone() for start, n in zip(range(0, 80_000, 400), lengths, strict=True)
    ]


def test_codes_are_the_same_bits_alone_in_a_batch_permuted_and_by_any_workers(
    codec: Codec, sounds: list[Tensor]
) -> None:
    alone = [codec.encode(sound, workers=1) for sound in sounds]
    order = torch.randperm(len(sounds), generator=torch.Generator().manual_seed(2)).tolist()
    for workers in (1, 2):
        assert codec.encode(sounds, workers=workers) == alone
        permuted = codec.encode([sounds[i] for i in order], workers=workers)
        assert permuted == [alone[i] for i in order]
    torch.set_num_threads(2)
    assert codec.encode(sounds[:50]) == alone[:50]


def test_sound_is_the_same_bits_by_any_workers(codec: Codec, sounds: list[Tensor]) -> None:
    codes = codec.encode(max(sounds, key=len))
    assert torch.equal(codec.decode(codes, workers=1), codec.decode(codes, workers=2))


@pytest.mark.parametrize("frames", [1, 3, 40])
@pytest.mark.parametrize("head", ["istft", "upsample"])  # mel finds phases anew in each window
def test_codes_in_parts_give_the_sound_of_the_whole(head: str, frames: int) -> None:
    codec = tiny_codec(head=head)
    for num_samples in (1, 3001, 20_000):
        codes = codec.encode(coloured_noise(1, num_samples)[0, 0])
        heard: list[int] = []

        def parts(codes: Codes = codes, heard: list[int] = heard) -> Iterator[Codes]:
            for first in range(0, codes.levels[0].shape[1], frames):
                heard.append(first)
                yield part_of(codes, first, first + frames)

        blocks = []
        early = 0
        for block in codec.decode_stream(parts()):
            early += heard[-1] + frames < codes.levels[0].shape[1]
            blocks.append(block)
        whole = codec.decode(codes)
        assert torch.allclose(torch.cat(blocks, dim=1), whole, atol=1e-5)
        assert early > 0 or frames == 40 or num_samples < 20_000  # it sounds before all is written


def part_of(codes: Codes, first: int, last: int) -> Codes:
    """Coarse frames `first ... last - 1`."""
    top = codes.hops[0]
    levels = [
        level[:, first * top // hop : last * top // hop]
        for level, hop in zip(codes.levels, codes.hops, strict=True)
    ]
    samples = min(codes.num_samples, last * top) - first * top
    return Codes(levels, samples, codes.sample_rate, codes.hops, codes.codec)


def test_only_the_last_part_may_end_within_a_coarse_frame(codec: Codec) -> None:
    codes = codec.encode(coloured_noise(1, codec.hops[0] + 1)[0, 0])
    with pytest.raises(UserError, match="within a coarse frame"):
        list(codec.decode_stream([codes, codes]))
    other = Codes(codes.levels, codes.num_samples, codes.sample_rate, codes.hops, "another")
    with pytest.raises(UserError, match="another"):
        list(codec.decode_stream([other]))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("front", FRONTS)
def test_short_windows_give_what_long_windows_give(
    front: str, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = tiny_codec(front, head, levels=3)
    audio = coloured_noise(1, 320 * 21 + 55)[0]
    codes = codec.encode(audio)
    sound = codec.decode(codes)
    assert sound.std() > 1e-4
    for length in (4, 7):
        monkeypatch.setattr(passes, "ladder", lambda _, length=length: [length])
        assert codec.encode(audio) == codes
        torch.testing.assert_close(codec.decode(codes), sound, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            codec.decode(codes, levels=1), torch.cat(list(codec.decode_blocks(codes, levels=1)), dim=1)
        )


def test_windows_cover_a_sound_once_with_silence_around_it() -> None:
    hop, context, lengths = 10, Context(7, 5), [2, 4, 8]
    for num_samples in [1, 9, 10, 11, 39, 40, 41, 74, 75, 76, 80, 81, 85, 100, 159, 160, 161, 321]:
        sound = torch.arange(1.0, num_samples + 1)
        surrounded = torch.cat([torch.zeros(7), sound, torch.zeros(200)])
        for block in (1, 13, 500):
            cut = list(windows.cut(sound.split(block), hop, context, lengths))
            assert cut[0].first == 0
            assert sum(window.count for window in cut) >= -(-num_samples // hop)
            end = 0
            for window in cut:
                assert window.first == end
                assert window.num_samples in (None, num_samples)
                assert window.count in lengths
                end = window.first + window.count
                want = surrounded[window.first * hop : end * hop + 12]
                assert torch.equal(window.audio.flatten(), want)
            assert cut[-1].first * hop < num_samples


def test_only_one_window_of_a_stream_is_held() -> None:
    taken = 0

    def stream() -> Iterator[Tensor]:
        nonlocal taken
        for _ in range(1000):
            taken += 100
            yield torch.zeros(100)

    for window in windows.cut(stream(), 10, Context(30, 30), [4, 50]):
        assert taken <= (window.first + window.count) * 10 + 30 + 100


def test_ladder_climbs_in_steps_of_one_and_a_half_at_most() -> None:
    lengths = windows.ladder(0.08)
    assert lengths[0] == 2
    assert all(b <= 1.5 * a for a, b in pairwise(lengths))
    assert 15 <= lengths[-1] * 0.08 <= 30


def test_threads_are_as_before_afterwards(codec: Codec) -> None:
    torch.set_num_threads(2)
    codec.encode([torch.randn(3000)] * 3, workers=2)
    codec.decode(codec.encode(torch.randn(3000), workers=1), workers=1)
    assert torch.get_num_threads() == 2


MEMORY = """
import resource, sys
import torch
from tests.models import tiny_codec
import vqaudio.codec.inputs as inputs

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

seconds = int(sys.argv[1])
codec = tiny_codec(steps=2)
def blocks(path, rate):
    for _ in range(seconds * rate // 8000):
        yield torch.randn(8000) * 0.1
inputs.stream_audio = blocks
codes = codec.encode("stream", workers=2)
for block in codec.decode_blocks(codes, workers=2):
    pass
print(peak())
"""


def test_memory_is_that_of_a_few_windows_for_any_length() -> None:
    peaks = []
    for seconds in (60, 900):
        run = subprocess.run(
            [sys.executable, "-c", MEMORY, str(seconds)], capture_output=True, text=True, check=True
        )
        peaks.append(int(run.stdout))
    assert peaks[1] < peaks[0] + 15_000  # KiB; the other 840 s would be 26,880 KiB as float32
