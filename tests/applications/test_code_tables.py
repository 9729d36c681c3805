from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.models import waveform_codec
from vqaudio.applications.code_tables import AROUND, FILE, PAD, PAST, CodeTables, gather, load_tables
from vqaudio.applications.coder import frequencies
from vqaudio.codec.model import Codec
from vqaudio.errors import UserError

FRAMES = [6, 24]


def random_codes(tables: CodeTables, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = tables.padded(FRAMES)
    for level, sizes in enumerate(tables.codebook_sizes):
        for quantizer, size in enumerate(sizes):
            codes[level][quantizer, PAD:-PAD] = rng.integers(0, size, FRAMES[level])
    return codes


def around(codes: list[np.ndarray], level: int, quantizer: int, frame: int) -> list[int]:
    """What `gather` says it gives, one by one; hops are 256 and 64."""

    def at(other: int, book: int, place: int) -> int:
        inside = 0 <= place < FRAMES[other]
        return int(codes[other][book, PAD + place]) if inside else [16, 8][other]

    found = []
    if level == 1:
        found += [at(0, 0, frame // 4 + offset) for offset in range(-AROUND, AROUND + 1)]
    for book in range([1, 2][level]):
        found += [at(level, book, frame + offset) for offset in range(-PAST, 0)]
    return found + [at(level, book, frame) for book in range(quantizer)]


@pytest.mark.parametrize(("level", "quantizer"), [(0, 0), (1, 0), (1, 1)])
def test_contexts_are_the_codes_around(tables: CodeTables, level: int, quantizer: int) -> None:
    codes = random_codes(tables)
    frames = np.arange(FRAMES[level])
    found = gather(codes, tables.hops, level, quantizer, frames)
    assert found.tolist() == [around(codes, level, quantizer, frame) for frame in frames]


@pytest.mark.parametrize(("level", "quantizer"), [(0, 0), (1, 0), (1, 1)])
def test_logits_are_those_of_plain_integers(
    codec_folder: Path, tables: CodeTables, level: int, quantizer: int
) -> None:
    """Python's own integers, which have no rounding and no overflow."""
    stored = load_file(codec_folder / FILE)

    def of(name: str, book: tuple[int, int] = (level, quantizer)) -> list:
        return stored[f"level_{book[0]}.quantizer_{book[1]}.{name}"].tolist()

    books = [(0, 0)] * (2 * AROUND + 1) if level else []
    books += [(level, book) for book in range([1, 2][level]) for _ in range(PAST)]
    books += [(level, book) for book in range(quantizer)]
    codes = random_codes(tables)
    for frame in range(FRAMES[level]):
        read: list[int] = []
        for book, code in zip(books, around(codes, level, quantizer, frame), strict=True):
            vectors = of("vectors", book)
            read += vectors[code] if code < len(vectors) else [0] * len(vectors[0])
        hidden = []
        for unit, shift in enumerate(of("shifts")):
            total = sum(x * row[unit] for x, row in zip(read, of("weights"), strict=True))
            total += of("places")[frame % [1, 4][level]][unit]
            hidden.append(min(max(total >> shift, 0), 255))
        [digits] = of("digits")
        wanted = [
            (sum(h * w for h, w in zip(hidden, row, strict=True)) + bias << 10) >> digits
            for row, bias in zip(of("output"), of("bias"), strict=True)
        ]
        [found] = tables.logits(codes, level, quantizer, np.array([frame]))
        assert found.tolist() == wanted


def test_many_frames_are_as_one_by_one(tables: CodeTables) -> None:
    codes, frames = random_codes(tables), np.arange(FRAMES[1])
    together = tables.logits(codes, 1, 1, frames)
    single = [tables.logits(codes, 1, 1, frames[i : i + 1])[0] for i in frames]
    assert np.array_equal(together, np.stack(single))
    assert not np.array_equal(together[0], together[1])


def test_tables_say_what_is_likely(tables: CodeTables, tokens) -> None:
    """Fewer bits than counts of single codes would take, on what they were fitted to."""
    bits = counted = 0.0
    for row in tokens:
        codes = tables.padded([level.shape[1] for level in row.codes.levels])
        for level, own in enumerate(row.codes.levels):
            codes[level][:, PAD:-PAD] = own.numpy()
        for quantizer, own in enumerate(row.codes.levels[1].numpy()):
            logits = tables.logits(codes, 1, quantizer, np.arange(len(own)))
            bits -= sum(np.log2(frequencies(x)[c] / 2**24) for x, c in zip(logits, own, strict=True))
            shares = np.bincount(own) / len(own)
            counted -= np.log2(shares[own]).sum()
    assert bits < 0.9 * counted


def test_stored_tables_are_the_same(codec: Codec, codec_folder: Path, tables: CodeTables) -> None:
    found = load_tables(codec, codec_folder)
    assert found.fingerprint == tables.fingerprint
    codes = random_codes(tables)
    frames = np.arange(FRAMES[1])
    assert np.array_equal(found.logits(codes, 1, 0, frames), tables.logits(codes, 1, 0, frames))


def test_what_is_no_table_is_one_line(codec: Codec, codec_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="missing; make it with python -m vqaudio.applications.fit_tables"
    ):
        load_tables(codec, tmp_path)
    (tmp_path / FILE).write_bytes(b"not a table")
    with pytest.raises(UserError, match="damaged"):
        load_tables(codec, tmp_path)
    stored = load_file(codec_folder / FILE)
    for name, value in stored.items():
        broken = {**stored, name: value.astype(np.int64)}
        save_file(broken, tmp_path / FILE, {"codec": codec.fingerprint})
        with pytest.raises(UserError, match="damaged"):
            load_tables(codec, tmp_path)
        del broken[name]
        save_file(broken, tmp_path / FILE, {"codec": codec.fingerprint})
        with pytest.raises(UserError, match="damaged"):
            load_tables(codec, tmp_path)
    other = waveform_codec(seed=1)
    with pytest.raises(UserError, match="of codec .*, beside codec"):
        load_tables(other, codec_folder)
