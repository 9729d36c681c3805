"""Token shards: what goes in comes out, for others too, and damage is seen."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from vqaudio.codes import Codes, frames_for
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.corpus.shards import ROWS_PER_GROUP, TokenRow, write_shard
from vqaudio.errors import UserError
from vqaudio.prior.model import CodecSpec

SPEC = CodecSpec(16000, [320, 80], [[16], [8, 100000]], "f" * 64)


def make_codes(num_samples: int, spec: CodecSpec = SPEC) -> Codes:
    rng = torch.Generator().manual_seed(num_samples)
    levels = [
        torch.stack([torch.randint(0, n, (frames_for(num_samples, hop),), generator=rng) for n in sizes])
        for hop, sizes in zip(spec.hops, spec.codebook_sizes, strict=True)
    ]
    return Codes(levels, num_samples, spec.sample_rate, spec.hops, spec.fingerprint)


def make_rows(count: int, spec: CodecSpec = SPEC) -> list[TokenRow]:
    return [
        TokenRow(f"s{n}", make_codes(1 + 37 * n, spec), {"label": "ab"[n % 2]}) for n in range(count)
    ]


def test_rows_come_back_in_any_order(tmp_path: Path) -> None:
    rows = make_rows(ROWS_PER_GROUP * 2 + 3)
    write_shard(tmp_path / "tokens-00000.parquet", SPEC, rows[:100])
    write_shard(tmp_path / "tokens-00001.parquet", SPEC, rows[100:])
    corpus = TokenDataset(tmp_path)
    assert len(corpus) == len(rows)
    assert corpus.ids == [row.id for row in rows]
    assert corpus.names("label") == ["a", "b"]
    assert (corpus.sample_rate, corpus.hops, corpus.codebook_sizes, corpus.codec) == tuple(
        asdict(SPEC).values()
    )
    for index in torch.randperm(len(rows)).tolist():
        assert corpus[index] == rows[index]
        assert corpus[index].codes.levels[1].dtype == torch.int64
    assert corpus[-1] == rows[-1]
    assert [row.id for row in corpus] == corpus.ids
    with pytest.raises(IndexError):
        corpus[len(rows)]


def test_memory_of_decoded_groups_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = make_rows(ROWS_PER_GROUP * 4)
    write_shard(tmp_path / "tokens.parquet", SPEC, rows)
    monkeypatch.setattr("vqaudio.corpus.row_groups.CACHE_BYTES", 50_000)
    corpus = TokenDataset(tmp_path / "tokens.parquet")
    assert list(corpus) == rows
    assert len(corpus._groups._cache) < 4
    assert corpus[0] == rows[0]


def test_other_programs_read_them(tmp_path: Path) -> None:
    rows = make_rows(5)
    write_shard(tmp_path / "one.parquet", SPEC, rows)
    table = pq.read_table(tmp_path / "one.parquet")
    assert table.column_names == ["id", "num_samples", "sample_rate", "level_0", "level_1", "label"]
    assert str(table.schema.field("level_0").type.value_type.value_type) == "uint16"
    assert str(table.schema.field("level_1").type.value_type.value_type) == "int32"
    record = table.to_pylist()[3]
    assert record["level_1"] == rows[3].codes.levels[1].tolist()
    header = json.loads(table.schema.metadata[b"vqaudio"])
    assert header["fingerprint"] == SPEC.fingerprint
    assert header["resampler"] == "soxr-hq"


def test_rows_may_lack_fields(tmp_path: Path) -> None:
    rows = [
        TokenRow("a", make_codes(10)),
        TokenRow("b", make_codes(20), {"text": "hello", "level_9": "x"}),
    ]
    write_shard(tmp_path / "x.parquet", SPEC, rows)
    corpus = TokenDataset(tmp_path / "x.parquet")
    assert list(corpus) == rows
    assert corpus.names("label") == []


def test_codes_of_another_codec_are_refused(tmp_path: Path) -> None:
    other = CodecSpec(16000, [320, 80], [[16], [8, 100000]], "0" * 64)
    with pytest.raises(UserError, match="made by codec 000000000000"):
        write_shard(tmp_path / "x.parquet", SPEC, [TokenRow("a", make_codes(99, other))])
    slower = CodecSpec(16000, [640, 80], [[16], [8, 100000]], SPEC.fingerprint)
    with pytest.raises(UserError, match=r"hops \[640, 80\]"):
        write_shard(tmp_path / "x.parquet", SPEC, [TokenRow("a", make_codes(99, slower))])
    assert not list(tmp_path.iterdir())
    write_shard(tmp_path / "tokens-00000.parquet", SPEC, make_rows(1))
    write_shard(tmp_path / "tokens-00001.parquet", other, make_rows(1, other))
    with pytest.raises(UserError, match="tokens-00001.parquet: made by codec 0000"):
        TokenDataset(tmp_path)


def test_a_field_may_not_hide_a_column(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'num_samples'"):
        write_shard(tmp_path / "x.parquet", SPEC, [TokenRow("a", make_codes(5), {"num_samples": "3"})])


def test_damage_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_shard(path, SPEC, make_rows(60))
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])
    with pytest.raises(UserError, match=r"x.parquet: not a whole Parquet file"):
        TokenDataset(path)
    spoiled = bytearray(whole)
    spoiled[len(whole) // 3] ^= 0xFF
    path.write_bytes(spoiled)
    with pytest.raises(UserError, match=r"x.parquet: damaged"):
        list(TokenDataset(path))


def test_what_is_no_shard(tmp_path: Path, unwritable: Path) -> None:
    with pytest.raises(UserError, match="no such folder or file"):
        TokenDataset(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no token shards"):
        TokenDataset(tmp_path / "empty")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(UserError, match=r"text.parquet: not a whole Parquet file"):
        TokenDataset(tmp_path / "text.parquet")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "foreign.parquet")
    with pytest.raises(UserError, match=r"foreign.parquet: no token shard"):
        TokenDataset(tmp_path / "foreign.parquet")
    with pytest.raises(UserError, match="in the way"):
        write_shard(unwritable / "x.parquet", SPEC, make_rows(1))


@pytest.mark.parametrize("module", ["folder", "shards", "dataset", "tokenize"])
def test_memory_of_a_long_sound_goes_back_to_the_system(module: str) -> None:
    script = (
        f"import vqaudio.corpus.{module}, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "ARROW_DEFAULT_MEMORY_POOL"}
    run = [sys.executable, "-c", script]
    assert subprocess.run(run, env=environment, capture_output=True, text=True).stdout == "system\n"
