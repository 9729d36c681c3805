"""The row groups of Parquet shards: decoded as they are asked for, a bounded number kept."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vqaudio.errors import UserError

CACHE_BYTES = 1 << 28  # decoded row groups that a process keeps
OPEN_FILES = 32


class RowGroup:
    """Decoded rows: per level, all codes and where each row starts; the other columns by name.

    Args:
        table: the rows.
        num_levels: how many columns `level_0`, `level_1`, ... there are.
    """

    def __init__(self, table: pa.Table, num_levels: int) -> None:
        names = _level_names(num_levels)
        self.num_bytes = table.nbytes
        self.levels = []
        for name in names:
            outer = table[name].combine_chunks()
            inner = outer.flatten()
            frames = np.concatenate([[0], np.cumsum(inner.value_lengths().to_numpy())])
            quantizers = np.concatenate([[0], np.cumsum(outer.value_lengths().to_numpy())])
            self.levels.append((inner.flatten().to_numpy(zero_copy_only=False), frames[quantizers]))
        self.columns = {
            name: table[name].combine_chunks() for name in table.column_names if name not in names
        }

    def row(self, row: int) -> tuple[str, int, list[NDArray[Any]], dict[str, str]]:
        """Id, length in samples, codes of each level end to end, and fields of one row."""
        plain = {name: column[row].as_py() for name, column in self.columns.items()}
        name, num_samples, _ = plain.pop("id"), plain.pop("num_samples"), plain.pop("sample_rate")
        levels = [values[starts[row] : starts[row + 1]] for values, starts in self.levels]
        return name, num_samples, levels, {key: said for key, said in plain.items() if said is not None}


class RowGroups:
    """The row groups of several files, one after the other; picklable, and whole after a fork.

    Between calls it holds at most `OPEN_FILES` open files and `CACHE_BYTES` of decoded rows.

    Args:
        files: token shards.
        num_levels: of their codes.

    Raises:
        UserError: the end of a file, where its row groups are listed, is damaged.
    """

    def __init__(self, files: Sequence[Path], num_levels: int) -> None:
        self.files, self.num_levels = list(files), num_levels
        self._places: list[tuple[int, int]] = []  # file of each row group, and its number there
        sizes: list[int] = []
        needed = {"id", "num_samples", "sample_rate", *_level_names(num_levels)}
        for number, file in enumerate(self.files):
            footer = _read(file, pq.read_metadata, file, memory_map=True)
            lacking = needed - set(_read(file, footer.schema.to_arrow_schema).names)
            if lacking:
                raise UserError(f"{file}: damaged (no column {sorted(lacking)[0]!r}); make it anew")
            self._places += [(number, group) for group in range(footer.num_row_groups)]
            sizes += [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
        self.starts: NDArray[np.int64] = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._close()

    def _close(self) -> None:
        self._process = os.getpid()
        self._readers: dict[int, pq.ParquetFile] = {}
        self._cache: dict[int, RowGroup] = {}

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("_process", "_readers", "_cache")
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._close()

    def __getitem__(self, number: int) -> RowGroup:
        """A row group, decoded.

        Raises:
            UserError: it is damaged.
        """
        place, inside = self._places[number]
        reader = self._reader(place)  # first: it forgets what is another process's
        rows = self._cache.pop(number, None)
        if rows is None:
            table = _read(self.files[place], reader.read_row_group, inside, use_threads=False)
            rows = RowGroup(table, self.num_levels)
            held = sum(kept.num_bytes for kept in self._cache.values())
            while self._cache and held + rows.num_bytes > CACHE_BYTES:
                held -= self._cache.pop(next(iter(self._cache))).num_bytes  # unused for longest
        self._cache[number] = rows
        return rows

    def columns(self, name: str) -> Iterator[pa.ChunkedArray]:
        """A column of each file in turn, nulls if it has none of that name.

        Raises:
            UserError: it is damaged.
        """
        for number, file in enumerate(self.files):
            reader = self._reader(number)
            if name in reader.schema_arrow.names:
                yield _read(file, reader.read, [name], use_threads=False).column(0)
            else:
                yield pa.chunked_array([pa.nulls(reader.metadata.num_rows)])

    def check_pages(self, number: int) -> None:
        """Read all pages of a file, each of which has a checksum.

        Raises:
            UserError: one is damaged.
        """
        reader = self._reader(number)
        for group in range(reader.num_row_groups):
            _read(self.files[number], reader.read_row_group, group, use_threads=False)

    def _reader(self, number: int) -> pq.ParquetFile:
        if self._process != os.getpid():  # forked: files and what was read of them stay behind
            self._close()
        reader = self._readers.pop(number, None)
        if reader is None:
            file = self.files[number]
            reader = _read(file, pq.ParquetFile, file, memory_map=True, page_checksum_verification=True)
            while len(self._readers) >= OPEN_FILES:
                self._readers.pop(next(iter(self._readers))).close()
        self._readers[number] = reader
        return reader


def _level_names(num_levels: int) -> list[str]:
    return [f"level_{level}" for level in range(num_levels)]


def _read(file: Path, read: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function of pyarrow; what it finds wrong with the file is one line."""
    try:
        return read(*args, **kwargs)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{os.fspath(file)}: damaged ({reason}); make it anew") from None
