"""Token shards: Parquet files with one sound's codes a row."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

# Read by pyarrow when it loads: of all its allocators this one gives back what a long sound took.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
import pyarrow as pa
import pyarrow.parquet as pq

from vqaudio.audio import RESAMPLER, AnyPath
from vqaudio.codes import Codes
from vqaudio.corpus.ledger import file_sha256, read_ledger
from vqaudio.errors import UserError
from vqaudio.files import replacing
from vqaudio.prior.model import CodecSpec

FORMAT_VERSION = 1
SHARD_PATTERN = "tokens-*.parquet"
ROWS_PER_GROUP = 256  # what is decoded to get at one row
CACHE_BYTES = 1 << 28  # decoded groups that a corpus keeps

_METADATA_KEY = b"vqaudio"


@dataclass(frozen=True)
class TokenRow:
    """One sound of a shard: its id, its codes and what the manifest says of it."""

    id: str
    codes: Codes
    fields: dict[str, str] = field(default_factory=dict)


def check_codes(spec: CodecSpec, row: TokenRow) -> None:
    """Refuse codes that are not of this codec.

    Raises:
        UserError: another codec made them, or their rates or codebooks are different.
    """
    codes = row.codes
    if codes.codec and spec.fingerprint and codes.codec != spec.fingerprint:
        raise UserError(
            f"{row.id}: made by codec {codes.codec[:12]}, not {spec.fingerprint[:12]}; "
            "keep the tokens of different codecs in different files"
        )
    shape = [len(level) for level in codes.levels]
    want = [len(sizes) for sizes in spec.codebook_sizes]
    if codes.sample_rate != spec.sample_rate or list(codes.hops) != spec.hops or shape != want:
        raise UserError(
            f"{row.id}: {codes.sample_rate} Hz, hops {list(codes.hops)} and {shape} quantizers, "
            f"where the codec has {spec.sample_rate} Hz, {spec.hops} and {want}"
        )


def write_shard(path: AnyPath, spec: CodecSpec, rows: Sequence[TokenRow]) -> None:
    """Write one Parquet file of tokens; it appears when it is complete.

    Args:
        path: the file.
        spec: of the codec that made the codes.
        rows: at least one.

    Raises:
        UserError: codes are not of this codec, or the file cannot be written.
    """
    with replacing(path) as part:
        fill_shard(part, spec, rows, sorted({name for row in rows for name in row.fields}))


def fill_shard(path: AnyPath, spec: CodecSpec, rows: Sequence[TokenRow], columns: Sequence[str]) -> None:
    """Write the bytes of a shard to a file that the caller makes visible.

    Args:
        path: the file.
        spec: see `write_shard`.
        rows: see `write_shard`.
        columns: the fields of all shards of the folder, so that all have the same columns.
    """
    for row in rows:
        check_codes(spec, row)
    table: dict[str, Any] = {
        "id": pa.array([row.id for row in rows], pa.string()),
        "num_samples": pa.array([row.codes.num_samples for row in rows], pa.int64()),
        "sample_rate": pa.array([row.codes.sample_rate for row in rows], pa.int32()),
    }
    for level, sizes in enumerate(spec.codebook_sizes):
        kind = np.uint16 if max(sizes) <= 1 << 16 else np.int32
        table[f"level_{level}"] = _nested([row.codes.levels[level].cpu().numpy() for row in rows], kind)
    for name in columns:
        if name in table:
            raise UserError(f"field {name!r} of the manifest is a column of token shards; rename it")
        table[name] = pa.array([row.fields.get(name) for row in rows], pa.string())
    header = {"version": FORMAT_VERSION, "resampler": RESAMPLER, **asdict(spec)}
    metadata = {_METADATA_KEY: json.dumps(header)}
    pq.write_table(
        pa.table(table).replace_schema_metadata(metadata),
        path,
        row_group_size=ROWS_PER_GROUP,
        compression="zstd",
        write_page_checksum=True,
    )


def _nested(codes: list[np.ndarray[Any, Any]], kind: type) -> pa.ListArray:
    """`[Q, F]` arrays as one column: a list of Q lists of F integers a row."""
    quantizers = np.array([array.shape[0] for array in codes])
    frames = np.repeat([array.shape[1] for array in codes], quantizers)
    values = np.concatenate([array.astype(kind).ravel() for array in codes])
    inner = pa.ListArray.from_arrays(_offsets(frames), pa.array(values))
    return pa.ListArray.from_arrays(_offsets(quantizers), inner)


def _offsets(lengths: np.ndarray[Any, Any]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def read_spec(path: AnyPath) -> CodecSpec:
    """The codec that made a shard, by the shard's own word.

    Raises:
        UserError: the file is not a token shard, or one of a later version.
    """
    try:
        metadata = pq.read_schema(path, memory_map=True).metadata or {}
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a whole Parquet file ({reason}); make it anew") from None
    if _METADATA_KEY not in metadata:
        raise UserError(f"{path}: no token shard; give what `vqaudio tokenize` wrote")
    header = json.loads(metadata[_METADATA_KEY])
    if header["version"] != FORMAT_VERSION:
        raise UserError(
            f"{path}: format {header['version']}, written by a later vqaudio; update this one"
        )
    return CodecSpec(
        header["sample_rate"], header["hops"], header["codebook_sizes"], header["fingerprint"]
    )


class TokenCorpus(Sequence[TokenRow]):
    """The rows of token shards, read from memory-mapped files as they are asked for.

    Args:
        path: a folder of `vqaudio tokenize`, whose shards are checked against the ledger, or one
            Parquet file.

    Raises:
        UserError: no shards are there, one is missing, altered or not whole, or two are by
            different codecs.
    """

    def __init__(self, path: AnyPath) -> None:
        self.path = Path(path)
        self._files = _find_shards(self.path)
        self.spec = read_spec(self._files[0])
        for file in self._files[1:]:
            other = read_spec(file)
            if other != self.spec:
                raise UserError(
                    f"{file}: made by codec {other.fingerprint[:12]}, but {self._files[0].name} by "
                    f"{self.spec.fingerprint[:12]}; keep them in different folders"
                )
        self._readers = [
            pq.ParquetFile(file, memory_map=True, page_checksum_verification=True)
            for file in self._files
        ]
        # Row number at which each row group starts, over all shards.
        self._groups = [(s, g) for s, r in enumerate(self._readers) for g in range(r.num_row_groups)]
        sizes = [self._readers[s].metadata.row_group(g).num_rows for s, g in self._groups]
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self._cache: dict[int, _Rows] = {}

    @property
    def sample_rate(self) -> int:
        """Of the sounds, in Hz."""
        return self.spec.sample_rate

    @property
    def hops(self) -> list[int]:
        """Samples a frame, per level, coarsest first."""
        return self.spec.hops

    @property
    def codebook_sizes(self) -> list[list[int]]:
        """Per level, per quantizer."""
        return self.spec.codebook_sizes

    @property
    def codec(self) -> str:
        """Fingerprint of the codec that made the codes."""
        return self.spec.fingerprint

    @property
    def ids(self) -> list[str]:
        """Of all rows, in order."""
        return [name for name in self.column("id") if name is not None]

    def names(self, column: str) -> list[str]:
        """The different values of a column, sorted; none if no row has one."""
        return sorted({name for name in self.column(column) if name is not None})

    def column(self, name: str) -> list[Any]:
        """One column of all rows, without decoding the others; None where a row lacks it."""
        values: list[Any] = []
        for file, reader in zip(self._files, self._readers, strict=True):
            if name in reader.schema_arrow.names:
                values.extend(_read(file, lambda r=reader: r.read([name])).column(0).to_pylist())
            else:
                values.extend([None] * reader.metadata.num_rows)
        return values

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __iter__(self) -> Iterator[TokenRow]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> TokenRow:  # type: ignore[override]  # no slices
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        group = int(np.searchsorted(self._starts, index, side="right")) - 1
        rows = self._group(group)
        row = index - int(self._starts[group])
        levels = []
        for (values, starts), sizes in zip(rows.levels, self.codebook_sizes, strict=True):
            codes = values[starts[row] : starts[row + 1]].astype(np.int64)
            levels.append(torch.from_numpy(codes.reshape(len(sizes), -1)))
        plain = {name: column[row] for name, column in rows.columns.items() if column[row] is not None}
        name, num_samples = plain.pop("id"), plain.pop("num_samples")
        del plain["sample_rate"]
        return TokenRow(name, Codes(levels, num_samples, self.sample_rate, self.hops, self.codec), plain)

    def _group(self, group: int) -> "_Rows":
        rows = self._cache.pop(group, None)
        if rows is None:
            shard, inside = self._groups[group]
            reader = self._readers[shard]
            table = _read(self._files[shard], lambda: reader.read_row_group(inside))
            rows = _unpack(table, len(self.hops))
            while self._cache and self._cached_bytes() + rows.num_bytes > CACHE_BYTES:
                self._cache.pop(next(iter(self._cache)))  # the one unused for longest
        self._cache[group] = rows
        return rows

    def _cached_bytes(self) -> int:
        return sum(rows.num_bytes for rows in self._cache.values())


@dataclass(frozen=True)
class _Rows:
    """A decoded row group: plain columns by name; per level, all codes and where each row starts."""

    columns: dict[str, list[Any]]
    levels: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]
    num_bytes: int


def _unpack(table: pa.Table, num_levels: int) -> _Rows:
    names = [f"level_{level}" for level in range(num_levels)]
    levels = []
    for name in names:
        outer = table[name].combine_chunks()
        inner = outer.flatten()
        values = inner.flatten().to_numpy(zero_copy_only=False)
        frames = np.concatenate([[0], np.cumsum(inner.value_lengths().to_numpy())])
        quantizers = np.concatenate([[0], np.cumsum(outer.value_lengths().to_numpy())])
        levels.append((values, frames[quantizers]))
    columns = {name: table[name].to_pylist() for name in table.column_names if name not in names}
    return _Rows(columns, levels, table.nbytes)


def _find_shards(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such folder or file of tokens")
    files = sorted(path.glob(SHARD_PATTERN))
    shards = read_ledger(path).shards
    for name in shards:
        if not (path / name).exists():
            raise UserError(f"{path / name}: missing, though the ledger has it; run tokenize again")
    if not files:
        raise UserError(
            f"{path}: no token shards ({SHARD_PATTERN}) in this folder; see vqaudio tokenize"
        )
    for file in files:
        if file.name in shards:
            check_sum(file, shards[file.name])
    return files


def check_sum(path: Path, sha256: str) -> None:
    """Compare a shard with its checksum.

    Raises:
        UserError: it is not what was written.
    """
    if file_sha256(path) != sha256:
        raise UserError(
            f"{path}: altered since it was written (checksum differs); delete it and run tokenize again"
        )


def _read(file: Path, read: Any) -> pa.Table:
    try:
        return read()
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{os.fspath(file)}: damaged ({reason}); make it anew") from None
