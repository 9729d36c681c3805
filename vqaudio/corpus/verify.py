"""Proof that a token folder is what its ledger says, and that its tokens are those of its sounds."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from vqaudio.audio import AnyPath
from vqaudio.codec.model import Codec
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.corpus.encoding import source_of
from vqaudio.corpus.ledger import Ledger, read_ledger
from vqaudio.corpus.manifest import Sound
from vqaudio.errors import UserError

ENCODED_AGAIN = 32


@dataclass(frozen=True)
class Verified:
    """How many shards have the right checksum and rows, and how many sounds the same tokens again."""

    shards: int
    rows: int
    encoded_again: int


def verify(
    codec: Codec, sounds: Sequence[Sound], folder: AnyPath, sample: int = ENCODED_AGAIN
) -> Verified:
    """Read all shards of a folder against their checksums, and encode some of its sounds again.

    Args:
        codec: that made the tokens.
        sounds: that they were made of.
        folder: of tokens.
        sample: how many sounds to encode again, drawn anew at every call.

    Raises:
        UserError: a shard is altered or missing, the ledger does not fit it, or a sound has other
            tokens now.
    """
    path = Path(folder)
    ledger = read_ledger(path)
    if not ledger.shards:
        return Verified(0, 0, 0)
    corpus = TokenDataset(path)
    corpus.verify()
    _compare(path, ledger)
    known = {sound.id: sound for sound in sounds}
    chosen = random.sample(range(len(corpus)), min(sample, len(corpus)))
    for index in chosen:
        row = corpus[index]
        if codec.encode(source_of(codec, known[row.id]), workers=1) != row.codes:
            raise UserError(
                f"{known[row.id].path}: has other tokens than in {path}; "
                "the sound or the machine has changed: tokenize into another folder"
            )
    return Verified(len(ledger.shards), len(corpus), len(chosen))


def _compare(path: Path, ledger: Ledger) -> None:
    """See that every row of a shard is the input that the ledger says, and none is missing."""
    rows: dict[str, dict[int | None, str]] = {name: {} for name in ledger.shards}
    for entry in ledger.entries.values():
        if entry.done:
            rows[entry.shard][entry.row] = entry.id
    for name, wanted in rows.items():
        ids = pq.read_table(path / name, columns=["id"], memory_map=True)["id"].to_pylist()
        if [wanted.pop(row, None) for row in range(len(ids))] != ids or wanted:
            raise UserError(
                f"{path / name}: other rows than its ledger says; tokenize into another folder"
            )
