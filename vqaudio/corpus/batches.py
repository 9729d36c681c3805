"""Batches of token rows: which rows go together, and how they become tensors."""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from vqaudio.corpus import row_groups
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.corpus.shards import TokenRow
from vqaudio.errors import UserError
from vqaudio.prior.layout import PAD

JITTER = 0.1  # of lengths, before rows are sorted by them: other neighbours in each epoch


class CodesBatch(TypedDict):
    """Several sounds, padded at the end.

    ids: of each.
    levels: coarsest first, int64 `[B, Q, F]`, -1 where a sound is over.
    masks: bool `[B, F]` for each level, true where a sound has a frame.
    num_samples: int64 `[B]`.
    fields: what the manifest says of each.
    """

    ids: list[str]
    levels: list[Tensor]
    masks: list[Tensor]
    num_samples: Tensor
    fields: list[dict[str, str]]


def collate(rows: Sequence[TokenRow]) -> CodesBatch:
    """Make a batch of rows; a `collate_fn` for `torch.utils.data.DataLoader`.

    Args:
        rows: at least one, of one codec.
    """
    levels, masks = [], []
    for several in zip(*(row.codes.levels for row in rows), strict=True):
        frames = torch.tensor([codes.shape[1] for codes in several])
        padded = torch.full((len(rows), several[0].shape[0], int(frames.max())), PAD)
        for place, codes in zip(padded, several, strict=True):
            place[:, : codes.shape[1]] = codes
        levels.append(padded)
        masks.append(torch.arange(padded.shape[2]) < frames[:, None])
    return CodesBatch(
        ids=[row.id for row in rows],
        levels=levels,
        masks=masks,
        num_samples=torch.tensor([row.codes.num_samples for row in rows]),
        fields=[row.fields for row in rows],
    )


def by_length(lengths: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """An order of rows by about their length: neighbours are alike, and others each time."""
    return np.argsort(lengths * (1 + JITTER * random.random(len(lengths))), kind="stable")


def shuffled_pools(
    dataset: TokenDataset, rows: NDArray[np.int64], random: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Rows in random order of their row groups, in pools that a process can hold decoded.

    Whoever reads a pool's rows in any order decodes each of its row groups once.

    Args:
        dataset: that has them.
        rows: their numbers.
        random: decides on the order of row groups; within one, rows keep theirs.
    """
    blocks = np.searchsorted(dataset.blocks, rows, side="right") - 1
    place = random.permutation(len(dataset.blocks) - 1)[blocks]
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))  # of the row groups
    sizes = np.add.reduceat(dataset.num_codes, dataset.blocks[:-1])[blocks[order][starts]]
    most = row_groups.CACHE_BYTES // 8  # codes take 2 bytes, or 4; and half of it is enough
    pool = (np.cumsum(sizes) - sizes) // max(1, most)
    return np.split(rows[order], starts[1:][np.diff(pool) > 0])


class LengthBatches(Sampler[list[int]]):
    """Batches of sounds of like length, every row once an epoch: a `batch_sampler` for a DataLoader.

    A batch is full when one more sound would give its padded codes more than `max_codes`. The
    order follows from the seed and the epoch alone. On several ranks each has as many batches as
    the others, of like length at the same step; where their number does not divide by that of the
    ranks, some are halved, and where all have one sound, a few come twice.

    Rows are taken from a pool of row groups at a time, which a process keeps decoded, so that this
    is nearly as fast as reading in order.

    Args:
        dataset: whose rows they are.
        max_codes: most codes of a padded batch, of all levels and quantizers together.
        rows: numbers of the rows to use; all unless given.
        seed: of the order.
        rank: of `world_size` processes that share an epoch.
        world_size: see `rank`.

    Raises:
        UserError: a row alone has more codes than `max_codes`.
    """

    def __init__(
        self,
        dataset: TokenDataset,
        max_codes: int,
        rows: Sequence[int] | NDArray[np.int64] | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.dataset, self.max_codes, self.seed = dataset, max_codes, seed
        if not 0 <= rank < world_size:
            raise UserError(f"rank {rank}: must be from 0 to {world_size - 1} of {world_size}")
        self.rank, self.world_size = rank, world_size
        self.rows = np.arange(len(dataset)) if rows is None else np.asarray(rows, np.int64)
        self._codes = dataset.num_codes
        if len(self.rows) and self._codes[self.rows].max() > max_codes:
            longest = self.rows[self._codes[self.rows].argmax()]
            raise UserError(
                f"max_codes: {max_codes} is too few for {dataset[longest].id}, which has "
                f"{self._codes[longest]} codes; leave such rows out, or allow more"
            )
        self._start = self._given = 0
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next: each has another order."""
        self.epoch = epoch
        self._steps: list[list[NDArray[np.int64]]] | None = None

    def __len__(self) -> int:
        """Batches of one rank in this epoch."""
        return len(self._plan())

    def __iter__(self) -> Iterator[list[int]]:
        start, self._start = self._start, 0
        for number, step in enumerate(self._plan()[start:], start + 1):
            self._given = number
            yield step[self.rank].tolist()

    def state_dict(self, batches: int | None = None) -> dict[str, int]:
        """Where an epoch stands, the same on all ranks; plain numbers.

        Args:
            batches: that were trained on in this epoch. By default all that were asked for, which
                a DataLoader with workers does some batches ahead.
        """
        done = self._given if batches is None else batches
        return {"epoch": self.epoch, "batches": done, **self._identity()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on behind the batches of a state; the epoch after it begins from the start.

        Raises:
            UserError: the state is that of other rows, ranks, sizes or another seed.
        """
        for name, value in self._identity().items():
            if state[name] != value:
                raise UserError(f"{name}: {value}, but {state[name]} in the state to go on from")
        self.set_epoch(state["epoch"])
        self._start = self._given = state["batches"]

    def _identity(self) -> dict[str, int]:
        return {
            "seed": self.seed,
            "world_size": self.world_size,
            "max_codes": self.max_codes,
            "rows": len(self.rows),
        }

    def _plan(self) -> list[list[NDArray[np.int64]]]:
        """Of each step, the rows of every rank."""
        if self._steps is None:
            random = np.random.default_rng([self.seed, self.epoch])
            batches, pools = [], []
            for number, pool in enumerate(shuffled_pools(self.dataset, self.rows, random)):
                several = self._cut(pool[by_length(self._codes[pool], random)])
                batches += several
                pools += [number] * len(several)
            _make_even(batches, pools, self.world_size)
            steps = [batches[i : i + self.world_size] for i in range(0, len(batches), self.world_size)]
            keys = np.array(pools[:: self.world_size]) + random.random(len(steps))
            self._steps = [steps[i] for i in np.argsort(keys)]
        return self._steps

    def _cut(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Rows, one after the other, in batches as large as may be."""
        codes = self._codes[rows]
        batches, start = [], 0
        while start < len(rows):
            window = codes[start : start + self.max_codes // codes[start]]
            padded = np.maximum.accumulate(window) * np.arange(1, len(window) + 1)
            end = start + int(np.searchsorted(padded, self.max_codes, side="right"))
            batches.append(rows[start:end])
            start = end
        return batches


def _make_even(batches: list[NDArray[Any]], pools: list[int], ranks: int) -> None:
    """Halve the largest batches, or else repeat some, until their number divides by the ranks."""
    while batches and len(batches) % ranks:
        largest = max(range(len(batches)), key=lambda i: len(batches[i]))
        if len(batches[largest]) == 1:
            missing = -len(batches) % ranks
            batches += list(islice(cycle(batches[:]), missing))
            pools += pools[-1:] * missing
        else:
            halves = np.array_split(batches[largest], 2)
            batches[largest : largest + 1] = halves
            pools.insert(largest, pools[largest])
