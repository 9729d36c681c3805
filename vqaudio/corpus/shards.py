"""Token shards: Parquet files with one sound's codes a row."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vqaudio.audio import RESAMPLER, AnyPath
from vqaudio.codes import Codes
from vqaudio.corpus.ledger import file_sha256
from vqaudio.errors import UserError
from vqaudio.files import replacing
from vqaudio.prior.model import CodecSpec

FORMAT_VERSION = 1
SHARD_PATTERN = "tokens-*.parquet"
ROWS_PER_GROUP = 256  # what is decoded to get at one row

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
    check_columns(columns, spec)
    for name in columns:
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


def check_columns(fields: Sequence[str], spec: CodecSpec) -> None:
    """Refuse fields of a manifest that have the name of a column of shards.

    Raises:
        UserError: naming the field.
    """
    levels = (f"level_{level}" for level in range(len(spec.codebook_sizes)))
    for name in ("id", "num_samples", "sample_rate", *levels):
        if name in fields:
            raise UserError(f"field {name!r} of the manifest is a column of token shards; rename it")


def _nested(codes: list[np.ndarray[Any, Any]], kind: type) -> pa.ListArray:
    """`[Q, F]` arrays as one column: a list of Q lists of F integers a row."""
    quantizers = np.array([array.shape[0] for array in codes])
    frames = np.repeat([array.shape[1] for array in codes], quantizers)
    flat = [_as(kind, array.ravel()) for array in codes]
    values = np.concatenate(flat) if len(flat) > 1 else flat[0]  # one of many hours is not held twice
    inner = pa.ListArray.from_arrays(_offsets(frames), pa.array(values))
    return pa.ListArray.from_arrays(_offsets(quantizers), inner)


def _as(kind: type, codes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Codes, which have no sign, as another kind of integer: the same bytes where it is as wide."""
    return codes.view(kind) if codes.itemsize == np.dtype(kind).itemsize else codes.astype(kind)


def _offsets(lengths: np.ndarray[Any, Any]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def read_spec(path: AnyPath) -> CodecSpec:
    """The codec that made a shard, by the shard's own word.

    Raises:
        UserError: the file is not a token shard, or one of a later version.
    """
    try:
        metadata = pq.read_schema(path, memory_map=True).metadata or {}
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a whole Parquet file ({reason}); make it anew") from None
    if _METADATA_KEY not in metadata:
        raise UserError(f"{path}: no token shard; give what `vqaudio tokenize` wrote")
    try:
        header = json.loads(metadata[_METADATA_KEY])
        version = header.pop("version")
        spec = CodecSpec(
            header["sample_rate"], header["hops"], header["codebook_sizes"], header["fingerprint"]
        )
    except (ValueError, KeyError):
        raise UserError(f"{path}: damaged (the codec's entry cannot be read); make it anew") from None
    if version != FORMAT_VERSION:
        raise UserError(f"{path}: format {version}, written by a later vqaudio; update this one")
    return spec


def check_sum(path: Path, sha256: str) -> None:
    """Compare a shard with its checksum.

    Raises:
        UserError: it is not what was written.
    """
    if file_sha256(path) != sha256:
        raise UserError(
            f"{path}: altered since it was written (checksum differs); delete it and run tokenize again"
        )
