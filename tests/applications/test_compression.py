import io
import tracemalloc
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.sounds import tone
from vqaudio.applications.compression import Compressor, Opened, compress, open_sound
from vqaudio.applications.decompression import Decompressor, Silence
from vqaudio.applications.static_model import StaticModel
from vqaudio.applications.vqa_format import Block, read_header, whole_blocks
from vqaudio.audio import write_audio
from vqaudio.codec.model import Codec
from vqaudio.codes import Codes
from vqaudio.errors import UserError

BLOCK = 8 * 256  # samples: 8 coarse frames
BLOCK_SECONDS = BLOCK / 16000
MOST = 1 << 12


def packed(
    codec: Codec, model: StaticModel, audio: Tensor, piece: int = 1 << 20, seconds: float = BLOCK_SECONDS
) -> bytes:
    file = io.BytesIO()
    compressor = Compressor(codec, model, file, 16000, len(audio), seconds)
    for part in audio.split(piece, dim=1):
        compressor.push(part)
    written = compressor.finish()
    assert written.file_bytes == len(file.getvalue())
    assert written.num_samples == audio.shape[1]
    return file.getvalue()


def opened(codec: Codec, model: StaticModel, data: bytes) -> Decompressor:
    file = io.BytesIO(data)
    return Decompressor(codec, model, read_header(file, "a.vqa"), file, "a.vqa")


def codes_of(codec: Codec, model: StaticModel, data: bytes, channel: int = 0) -> list[Tensor]:
    """Per level, all codes of a channel that is whole."""
    reader = opened(codec, model, data)
    parts = [part for own, part in reader.parts() if own == channel]
    assert not reader.gaps
    return [torch.cat(level, dim=1) for level in zip(*(p.levels for p in parts), strict=True)]


def sound(reader: Decompressor) -> Tensor:
    return torch.cat(list(reader.audio()), dim=1)


def pieces(data: bytes) -> tuple[bytes, list[bytes]]:
    """The header and the blocks of a file."""
    file = io.BytesIO(data)
    header = read_header(file, "a.vqa")
    found = [block.to_bytes(header.seed) for block in whole_blocks(file, header.seed, MOST)]
    assert header.to_bytes() + b"".join(found) == data
    return header.to_bytes(), found


@pytest.mark.parametrize(
    "num_samples",
    [1, 2, 63, 64, 65, 255, 256, 257, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 77],
)
def test_every_length_comes_back(codec: Codec, static: StaticModel, num_samples: int) -> None:
    audio = tone(1.0)[:, :num_samples]
    data = packed(codec, static, audio)
    codes = codec.encode(audio)
    found = codes_of(codec, static, data)
    assert all(torch.equal(a, b) for a, b in zip(found, codes.levels, strict=True))
    heard = sound(opened(codec, static, data))
    assert heard.shape == (1, num_samples)
    assert (heard - codec.decode(codes)).abs().max() < 1e-5


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=8), st.integers(0, 99))
@settings(max_examples=15)
def test_bytes_do_not_depend_on_the_pieces(
    codec: Codec, static: StaticModel, cuts: list[int], seed: int
) -> None:
    audio = tone(1.0, seed=seed)[:, : sum(cuts)]
    file = io.BytesIO()
    compressor = Compressor(codec, static, file, 16000, 1, BLOCK_SECONDS)
    for part in audio.split(
        [min(c, audio.shape[1]) for c in cuts] if sum(cuts) <= 16000 else 999, dim=1
    ):
        compressor.push(part)
    compressor.finish()
    assert file.getvalue() == packed(codec, static, audio)


def test_two_channels_are_two_streams(codec: Codec, static: StaticModel) -> None:
    audio = tone(0.5, channels=2)
    data = packed(codec, static, audio)
    for channel, own in enumerate(audio):
        found = codes_of(codec, static, data, channel)
        wanted = codec.encode(own).levels
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    heard = sound(opened(codec, static, data))
    wanted = torch.cat([codec.decode(codec.encode(own)) for own in audio])
    assert (heard - wanted).abs().max() < 1e-5


def test_blocks_are_ten_seconds_at_most(codec: Codec, static: StaticModel) -> None:
    data = packed(codec, static, torch.zeros(1, 16000 * 21), seconds=60)
    assert read_header(io.BytesIO(data), "").block_frames == 625
    assert len(pieces(data)[1]) == 3


def test_blocks_go_out_as_soon_as_they_are_full(codec: Codec, static: StaticModel) -> None:
    file = io.BytesIO()
    compressor = Compressor(codec, static, file, 16000, 1, BLOCK_SECONDS)
    delay = codec.stream().latency
    compressor.push(tone(1.0)[:, : BLOCK + delay])
    header = read_header(io.BytesIO(file.getvalue()), "")
    whole = io.BytesIO(file.getvalue()[len(header.to_bytes()) :])
    assert [block.number for block in whole_blocks(whole, header.seed, MOST)] == [0]


def test_sound_comes_before_the_file_has_ended(codec: Codec, static: StaticModel) -> None:
    header, blocks = pieces(packed(codec, static, tone(1.0)))

    left = blocks[:4]

    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return left.pop(0)  # and none beyond those that are there

    file = io.BytesIO(header)
    reader = Decompressor(codec, static, read_header(file, ""), Endless(), "")  # type: ignore[arg-type]
    assert next(reader.audio()).shape[1] > 0


def test_memory_does_not_grow_with_length(codec: Codec, static: StaticModel) -> None:
    class Counted(io.RawIOBase):
        def write(self, data: object) -> int:
            return len(data)  # type: ignore[arg-type]

    def peak(seconds: int) -> int:
        piece = tone(0.5)
        compressor = Compressor(codec, static, Counted(), 16000, 1, BLOCK_SECONDS)  # type: ignore[arg-type]
        tracemalloc.start()
        for _ in range(2 * seconds):
            compressor.push(piece)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1)
    assert peak(10) < 1.3 * peak(3)


def test_what_is_damaged_is_silent_and_named(codec: Codec, static: StaticModel) -> None:
    audio = tone(1.0)  # 7 blocks and a part
    header, blocks = pieces(packed(codec, static, audio))
    whole = sound(opened(codec, static, header + b"".join(blocks)))
    blocks[2] = bytes([*blocks[2][:-9], blocks[2][-9] ^ 4, *blocks[2][-8:]])
    blocks[3] = blocks[3][:5]
    blocks[6] = b""
    reader = opened(codec, static, header + b"".join(blocks))
    heard = sound(reader)
    spans = [(gap.from_seconds * 16000, gap.to_seconds) for gap in reader.gaps]
    assert spans == [(2 * BLOCK, 4 * BLOCK / 16000), (6 * BLOCK, 7 * BLOCK / 16000)]
    assert str(reader.gaps[0]) == "channel 1 is damaged from 0.26 s to 0.51 s"
    assert heard.shape == whole.shape
    assert heard[:, 2 * BLOCK : 4 * BLOCK].abs().max() == 0
    assert heard[:, 6 * BLOCK : 7 * BLOCK].abs().max() == 0
    assert (heard[:, :BLOCK] - whole[:, :BLOCK]).abs().max() < 1e-5
    assert heard[:, 4 * BLOCK : 6 * BLOCK].abs().max() > 0


def test_what_is_cut_off_is_named(codec: Codec, static: StaticModel) -> None:
    header, blocks = pieces(packed(codec, static, tone(1.0)))
    reader = opened(codec, static, header + b"".join(blocks[:3]) + blocks[3][:-1])
    assert sound(reader).shape[1] == 3 * BLOCK
    assert [(gap.from_seconds, gap.to_seconds) for gap in reader.gaps] == [(3 * BLOCK_SECONDS, None)]
    assert "from 0.38 s to its end, wherever that was" in str(reader.gaps[0])


def test_one_channel_may_be_damaged(codec: Codec, static: StaticModel) -> None:
    audio = tone(0.5, channels=2)  # 3 blocks and a part, each twice
    header, blocks = pieces(packed(codec, static, audio))
    whole = sound(opened(codec, static, header + b"".join(blocks)))
    for lost in (2, 3, 6, 7):
        reader = opened(codec, static, header + b"".join(b for n, b in enumerate(blocks) if n != lost))
        heard = sound(reader)
        [gap] = reader.gaps
        assert (gap.channel, gap.from_seconds) == (lost % 2, lost // 2 * BLOCK_SECONDS)
        assert gap.to_seconds == min(0.5, (lost // 2 + 1) * BLOCK_SECONDS)
        assert heard.shape == whole.shape
        assert (heard[1 - lost % 2] - whole[1 - lost % 2]).abs().max() < 1e-5


def test_blocks_of_wrong_numbers_are_left_out(codec: Codec, static: StaticModel) -> None:
    data = packed(codec, static, tone(1.0))
    header, blocks = pieces(data)
    seed = read_header(io.BytesIO(data), "").seed
    strangers = [
        Block(0, b"").to_bytes(seed),  # again
        Block(1 << 34, b"").to_bytes(seed),  # years later
        Block(9, b"", 0).to_bytes(zlib.crc32(b"of another file")),
        Block(6, b"", BLOCK).to_bytes(seed),  # longer than its samples
    ]
    for stranger in strangers:
        reader = opened(codec, static, header + b"".join([*blocks[:4], stranger, *blocks[4:]]))
        found = [part for _, part in reader.parts()]
        assert not reader.gaps
        assert all(isinstance(part, Codes) for part in found)
        assert len(found) == len(blocks)


def test_whole_bytes_that_no_codes_give_are_damage(codec: Codec, static: StaticModel) -> None:
    data = packed(codec, static, tone(1.0))
    header, blocks = pieces(data)
    seed = read_header(io.BytesIO(data), "").seed
    for payload in (b"\1" * 9, bytes(range(200)), b"\0"):
        blocks[1] = Block(1, payload).to_bytes(seed)
        reader = opened(codec, static, header + b"".join(blocks))
        kinds = [type(part) for _, part in reader.parts()]
        assert kinds == [Codes, Silence, *[Codes] * (len(blocks) - 2)]
        assert len(reader.gaps) == 1


@given(st.data())
@settings(max_examples=150)
def test_any_damage_is_refused_or_named(codec: Codec, static: StaticModel, data: st.DataObject) -> None:
    audio = tone(0.3)
    whole = packed(codec, static, audio)
    want = [part for _, part in opened(codec, static, whole).parts()]
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, max(0, len(damaged) - 1)))
        end = place + data.draw(st.integers(0, 20))
        damaged[place:end] = data.draw(st.binary(max_size=20))
    try:
        reader = opened(codec, static, bytes(damaged))
        heard = sum(piece.shape[1] for piece in reader.audio())
    except UserError:  # whose text is always one line
        return
    found = [part for _, part in opened(codec, static, bytes(damaged)).parts()]
    if not reader.gaps:
        assert heard == audio.shape[1]
    for part, right in zip(found, want, strict=False):
        assert isinstance(part, Silence) or part == right
    assert any(isinstance(part, Codes) for part in found)
    assert bool(reader.gaps) == (len(found) < len(want) or any(isinstance(p, Silence) for p in found))


def test_nothing_whole_is_refused(codec: Codec, static: StaticModel) -> None:
    header, blocks = pieces(packed(codec, static, tone(0.1)))
    for rest in (b"", blocks[0][:-1], bytes(100)):
        with pytest.raises(UserError, match="a.vqa: damaged, no block of it is whole"):
            sound(opened(codec, static, header + rest))


def test_another_header_is_refused(codec: Codec, static: StaticModel) -> None:
    right = read_header(io.BytesIO(packed(codec, static, tone(0.1))), "")
    for wrong, line in [
        ({"codec": "00000000"}, "a.vqa: of codec 00000000, and this is"),
        ({"model": "00000000"}, "a.vqa: by the static model 00000000, and this is"),
        ({"kind": "prior"}, "a.vqa: by the prior model"),
        ({"sample_rate": 8000}, "a.vqa: a damaged header .*8000 Hz"),
        ({"levels": 3}, "a.vqa: a damaged header .*3 levels"),
        ({"block_frames": 1 << 30}, "a.vqa: a damaged header .*625 at most"),
    ]:
        with pytest.raises(UserError, match=line):
            opened(codec, static, replace(right, **wrong).to_bytes())


@pytest.mark.parametrize(("channels", "kept"), [(1, 1), (2, 2), (3, 1)])
def test_files_keep_up_to_two_channels(tmp_path: Path, channels: int, kept: int) -> None:
    write_audio(tmp_path / "a.wav", tone(0.1, channels=channels), 16000)
    found = open_sound(tmp_path / "a.wav")
    assert (found.sample_rate, found.channels) == (16000, kept)
    assert torch.cat(list(found.pieces), dim=1).shape == (kept, 1600)


def test_other_rates_are_resampled(codec: Codec, static: StaticModel, tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", tone(0.3, 44100), 44100)
    file = io.BytesIO()
    compress(codec, static, open_sound(tmp_path / "a.wav"), file)
    wanted = codec.encode(tmp_path / "a.wav").levels
    found = codes_of(codec, static, file.getvalue())
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_no_sample_is_refused(codec: Codec, static: StaticModel) -> None:
    nothing: Iterator[Tensor] = iter(())
    file = io.BytesIO()
    with pytest.raises(UserError, match=r"a.wav: holds no samples; give a sound"):
        compress(codec, static, Opened("a.wav", 16000, 1, nothing), file)
    assert file.getvalue() == b""
