"""Token shards read back: a torch Dataset of sounds, by number and by id."""

import json
import os
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from vqaudio.audio import AnyPath
from vqaudio.codes import Codes
from vqaudio.corpus.ledger import LEDGER_NAME
from vqaudio.corpus.row_groups import RowGroups
from vqaudio.corpus.shards import SHARD_PATTERN, TokenRow, check_sum, read_spec
from vqaudio.errors import UserError


class TokenDataset(Dataset[TokenRow]):
    """The sounds of token shards, read from memory-mapped files as they are asked for.

    Opening reads the end of each file, where its schema and the places of its rows are, so a
    shard that is missing or cut off is refused at once. Of what is read later, every page has a
    checksum; `verify` compares whole files with the ledger. Between rows the dataset holds some
    open files and at most `CACHE_BYTES` of decoded row groups, whatever the size of the corpus,
    and 8 bytes a sound for lengths and 16 for finding ids, once they are asked for.

    It may be given to a `torch.utils.data.DataLoader` with any number of workers, forked or
    spawned; each opens the files anew. Reading one row decodes its row group: read rows in the
    order of `LengthBatches`, `PackedTokens` or their numbers rather than all over the corpus.

    Args:
        paths: folders of `vqaudio tokenize` and Parquet files, one or several; a file that is
            given twice is read once.

    Raises:
        UserError: no shards are there, one is missing or not whole, or two are by different codecs.
    """

    def __init__(self, paths: AnyPath | Sequence[AnyPath]) -> None:
        several = [paths] if isinstance(paths, str | os.PathLike) else paths
        self.paths = [Path(path) for path in several]
        found = {file.resolve(): file for path in self.paths for file in _find_shards(path)}
        self._files = list(found.values())
        if not self._files:
            raise UserError("no folder or file of tokens is given")
        self.spec = read_spec(self._files[0])
        for file in self._files[1:]:
            other = read_spec(file)
            if other != self.spec:
                raise UserError(
                    f"{file}: made by codec {other.fingerprint[:12]}, but {self._files[0].name} by "
                    f"{self.spec.fingerprint[:12]}; keep them in different folders"
                )
        self._groups = RowGroups(self._files, len(self.hops))
        self._num_samples: NDArray[np.int64] | None = None
        self._hashes: tuple[NDArray[np.uint64], NDArray[np.int64]] | None = None

    # --- what there is ---

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
        return self.column("id")

    @property
    def folders(self) -> list[Path]:
        """That shards are in, with their ledgers."""
        return list(dict.fromkeys(file.parent for file in self._files))

    @property
    def blocks(self) -> NDArray[np.int64]:
        """Numbers of the rows at which row groups start, and the number of rows."""
        return self._groups.starts

    @property
    def num_samples(self) -> NDArray[np.int64]:
        """Length of every sound, in samples."""
        if self._num_samples is None:
            columns = self._groups.columns("num_samples")
            self._num_samples = np.concatenate([column.to_numpy() for column in columns])
        return self._num_samples

    @property
    def num_codes(self) -> NDArray[np.int64]:
        """Codes of every sound, of all levels and quantizers together."""
        counts = np.zeros(len(self), np.int64)
        for hop, sizes in zip(self.hops, self.codebook_sizes, strict=True):
            counts += -(-self.num_samples // hop) * len(sizes)
        return counts

    def names(self, column: str) -> list[str]:
        """The different values of a column, sorted; none if no row has one."""
        columns = self._groups.columns(column)
        return sorted({name for values in columns for name in values.unique().to_pylist()} - {None})

    def column(self, name: str) -> list[Any]:
        """One column of all rows, without decoding the others; None where a row lacks it."""
        return [value for column in self._groups.columns(name) for value in column.to_pylist()]

    # --- rows ---

    def __len__(self) -> int:
        return int(self.blocks[-1])

    def __iter__(self) -> Iterator[TokenRow]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int | str) -> TokenRow:
        """A sound by its number, negative ones from the end, or by its id.

        Raises:
            IndexError: there is no row of that number.
            UserError: no row has that id, or several have; or its shard is damaged.
        """
        if isinstance(index, str):
            index = self.number_of(index)
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index = int(index) % len(self)
        block = int(np.searchsorted(self.blocks, index, side="right")) - 1
        name, num_samples, levels, fields = self._groups[block].row(index - int(self.blocks[block]))
        tensors = [
            torch.from_numpy(codes.astype(np.int64).reshape(len(sizes), -1))
            for codes, sizes in zip(levels, self.codebook_sizes, strict=True)
        ]
        codes = Codes(tensors, num_samples, self.sample_rate, self.hops, self.codec)
        return TokenRow(name, codes, fields)

    def number_of(self, sound_id: str) -> int:
        """The number of the row of an id.

        Raises:
            UserError: no row has it, or several have.
        """
        hashes, order = self._sorted_hashes()
        wanted = np.uint64(_hash(sound_id))
        first, last = (int(np.searchsorted(hashes, wanted, side)) for side in ("left", "right"))
        numbers = [int(number) for number in order[first:last] if self[int(number)].id == sound_id]
        if len(numbers) != 1:
            found = f"{len(numbers)} sounds have" if numbers else "no sound has"
            raise UserError(f"{self._where()}: {found} the id {sound_id!r}")
        return numbers[0]

    def check_ids(self) -> None:
        """Refuse rows of the same id, as folders may have between them.

        Raises:
            UserError: two rows have the same id.
        """
        hashes, order = self._sorted_hashes()
        for place in np.flatnonzero(hashes[1:] == hashes[:-1]):
            self.number_of(self[int(order[place])].id)

    def _sorted_hashes(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Hashes of all ids in ascending order, and the number of the row of each."""
        if self._hashes is None:
            names = (name for column in self._groups.columns("id") for name in column.to_pylist())
            hashes = np.fromiter(map(_hash, names), np.uint64, len(self))
            order = np.argsort(hashes, kind="stable")
            self._hashes = hashes[order], order
        return self._hashes

    def _where(self) -> str:
        return ", ".join(map(str, self.paths))

    # --- whole files ---

    def verify(self) -> None:
        """Read every byte of every shard, and compare it with the ledger beside it.

        Of a shard that no ledger knows, all pages are read and their checksums compared.

        Raises:
            UserError: shards are altered or damaged; the first is named, with its mend.
        """
        sums = {folder: _shard_sums(folder) for folder in self.folders}
        broken: list[str] = []
        for number, file in enumerate(self._files):
            try:
                if file.name in sums[file.parent]:
                    check_sum(file, sums[file.parent][file.name])
                else:
                    self._groups.check_pages(number)
            except UserError as error:
                broken.append(str(error))
        if broken:
            others = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
            raise UserError(broken[0] + others)


def _hash(sound_id: str) -> int:
    return int.from_bytes(blake2b(sound_id.encode(), digest_size=8).digest(), "little")


def _find_shards(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such folder or file of tokens")
    files = sorted(path.glob(SHARD_PATTERN))
    for name in sorted(_shard_sums(path)):
        if not (path / name).exists():
            raise UserError(f"{path / name}: missing, though the ledger has it; run tokenize again")
    if not files:
        raise UserError(
            f"{path}: no token shards ({SHARD_PATTERN}) in this folder; see vqaudio tokenize"
        )
    return files


def _shard_sums(folder: Path) -> dict[str, str]:
    """The sha256 of shards by name, from a ledger whose many other lines are passed over."""
    path = folder / LEDGER_NAME
    sums = {}
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                # other lines are of sounds and of the run, or torn
                if not line.startswith((b'{"id"', b'{"run"')) and line.endswith(b"\n"):
                    try:
                        values = json.loads(line)
                        sums[values["shard"]] = values["sha256"]
                    except (ValueError, TypeError, KeyError):
                        raise UserError(
                            f"{path}: not a ledger; restore it, or tokenize into another folder"
                        ) from None
    return sums
