"""What the README says of other programs that read token shards, as it stands there."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.corpus.test_shards import SPEC, make_rows
from vqaudio.corpus.ledger import Entry, append_lines
from vqaudio.corpus.shards import TokenRow, write_shard

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[TokenRow]:
    """The rows of a folder `tokens` in the working directory, of two shards and a ledger."""
    monkeypatch.chdir(tmp_path)
    rows = make_rows(12)
    write_shard("tokens/tokens-00000.parquet", SPEC, rows[:8])
    write_shard("tokens/tokens-00001.parquet", SPEC, rows[8:])
    append_lines("tokens", [Entry(row.id, shard="tokens-00000.parquet") for row in rows])
    return rows


def from_the_readme(program: str) -> Any:
    """The value of the one line of the README that calls a program."""
    lines = re.findall(rf"^(\w+) = ({program}\..*?)(?:  #.*)?$", README.read_text(), re.MULTILINE)
    [(_, line)] = lines
    return eval(line, {program: pytest.importorskip(program), "glob": __import__("glob")})


def test_pandas(rows: list[TokenRow]) -> None:
    frame = from_the_readme("pandas")
    assert frame["id"].tolist() == [row.id for row in rows]
    assert [[list(q) for q in codes] for codes in frame["level_1"]] == [
        row.codes.levels[1].tolist() for row in rows
    ]


def test_duckdb(rows: list[TokenRow]) -> None:
    [(seconds,)] = from_the_readme("duckdb").fetchall()
    assert seconds == pytest.approx(sum(row.codes.duration_seconds for row in rows))


def test_datasets(rows: list[TokenRow], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    found = from_the_readme("datasets")
    assert [record["id"] for record in found] == [row.id for row in rows]
    assert [record["level_0"] for record in found] == [row.codes.levels[0].tolist() for row in rows]
