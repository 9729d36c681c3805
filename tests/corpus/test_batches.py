"""Batches of rows: like lengths, every row once, the same on every machine, in step on all ranks."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader

from tests.corpus.test_shards import SPEC, make_codes
from vqaudio.corpus import LengthBatches, TokenDataset, TokenRow, collate, row_groups, shards
from vqaudio.corpus.shards import write_shard
from vqaudio.errors import UserError


@pytest.fixture
def dataset(tmp_path: Path) -> TokenDataset:
    """700 rows of 1 to 40 coarse frames in three shards, in no order of length."""
    lengths = np.random.default_rng(0).integers(1, 320 * 40, 700).tolist()
    rows = [TokenRow(f"s{n}", make_codes(length), {}) for n, length in enumerate(lengths)]
    for shard in range(3):
        write_shard(tmp_path / f"tokens-0000{shard}.parquet", SPEC, rows[shard::3])
    return TokenDataset(tmp_path)


def padded_codes(dataset: TokenDataset, batch: list[int]) -> int:
    return sum(levels.numel() for levels in collate([dataset[number] for number in batch])["levels"])


def test_every_row_comes_once_in_batches_that_are_full_and_not_too_large(dataset: TokenDataset) -> None:
    batches = list(LengthBatches(dataset, 4000))
    assert sorted(number for batch in batches for number in batch) == list(range(700))
    sizes = [padded_codes(dataset, batch) for batch in batches]
    assert max(sizes) <= 4000
    assert np.mean(sizes) > 3500
    assert sum(sizes) < 1.2 * dataset.num_codes.sum()
    lengths = [int(dataset.num_codes[batch].max()) for batch in batches]
    assert lengths != sorted(lengths)
    assert len(LengthBatches(dataset, 4000)) == len(batches)


def test_the_order_follows_from_seed_and_epoch(dataset: TokenDataset) -> None:
    sampler = LengthBatches(dataset, 4000, seed=3)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    second = list(sampler)
    assert {frozenset(batch) for batch in second}.isdisjoint(frozenset(batch) for batch in first)
    again = LengthBatches(dataset, 4000, seed=3)
    again.set_epoch(1)
    assert list(again) == second
    assert list(LengthBatches(dataset, 4000, seed=4)) != first


def test_an_epoch_goes_on_where_it_stopped(dataset: TokenDataset) -> None:
    sampler = LengthBatches(dataset, 4000)
    sampler.set_epoch(2)
    whole = list(sampler)
    running = iter(sampler)
    assert [next(running) for _ in range(5)] == whole[:5]
    later = LengthBatches(dataset, 4000)
    later.load_state_dict(sampler.state_dict())
    assert list(later) == whole[5:]
    assert list(later) == whole
    later.load_state_dict(sampler.state_dict(batches=3))  # where a loader asked for two ahead
    assert list(later) == whole[3:]
    with pytest.raises(UserError, match="max_codes: 5000, but 4000"):
        LengthBatches(dataset, 5000).load_state_dict(sampler.state_dict())


@pytest.mark.parametrize("ranks", [2, 3, 7])
def test_ranks_are_in_step(dataset: TokenDataset, ranks: int) -> None:
    shares = [list(LengthBatches(dataset, 4000, rank=rank, world_size=ranks)) for rank in range(ranks)]
    assert len({len(share) for share in shares}) == 1
    assert sorted(n for share in shares for batch in share for n in batch) == list(range(700))
    assert all(padded_codes(dataset, batch) <= 4000 for share in shares for batch in share)
    for step in zip(*shares, strict=True):
        longest = [int(dataset.num_codes[batch].max()) for batch in step]
        assert max(longest) - min(longest) <= 400  # of 5,000: neighbours in length


def test_rows_that_cannot_be_shared_evenly_come_again(dataset: TokenDataset) -> None:
    rows = dataset.num_codes.argsort()[-5:]
    most = int(dataset.num_codes.max())
    shares = [
        list(LengthBatches(dataset, most, rows=rows, rank=rank, world_size=4)) for rank in range(4)
    ]
    assert [len(share) for share in shares] == [2, 2, 2, 2]
    assert {n for share in shares for batch in share for n in batch} == set(rows.tolist())
    with pytest.raises(UserError, match=rf"max_codes: {most - 1} is too few for s\d+, which has {most}"):
        LengthBatches(dataset, most - 1, rows=rows)
    assert list(LengthBatches(dataset, most, rows=[])) == []


def test_a_row_group_is_decoded_once_an_epoch(
    dataset: TokenDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "ROWS_PER_GROUP", 10)
    write_shard(tmp_path / "small groups.parquet", SPEC, list(dataset))
    dataset = TokenDataset(tmp_path / "small groups.parquet")
    monkeypatch.setattr(row_groups, "CACHE_BYTES", int(dataset.num_codes.sum()))  # a quarter of it
    decoded: list[int] = []
    plain = row_groups.RowGroup.__init__

    def count(self: row_groups.RowGroup, table: pa.Table, num_levels: int) -> None:
        decoded.append(len(table))
        plain(self, table, num_levels)

    monkeypatch.setattr(row_groups.RowGroup, "__init__", count)
    for batch in LengthBatches(dataset, 4000):
        _ = [dataset[number] for number in batch]
    assert len(decoded) == 70
    decoded.clear()
    _ = [dataset[int(number)] for number in np.random.default_rng(0).permutation(len(dataset))]
    assert len(decoded) > 400  # what it would be otherwise


def test_collate_pads_and_masks(dataset: TokenDataset) -> None:
    rows = [dataset[number] for number in (5, 0, 77)]
    batch = collate(rows)
    assert batch["ids"] == [row.id for row in rows]
    assert batch["num_samples"].tolist() == [row.codes.num_samples for row in rows]
    for level, (codes, mask) in enumerate(zip(batch["levels"], batch["masks"], strict=True)):
        assert codes.shape == (3, len(SPEC.codebook_sizes[level]), mask.shape[1])
        for place, (row, present) in enumerate(zip(rows, mask, strict=True)):
            assert torch.equal(codes[place][:, present], row.codes.levels[level])
            assert (codes[place][:, ~present] == -1).all()
        assert mask.any(dim=0).all()


def test_a_data_loader_takes_both(dataset: TokenDataset) -> None:
    sampler = LengthBatches(dataset, 4000)
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=collate, num_workers=2)
    found = [batch["ids"] for batch in loader]
    ids = dataset.ids
    assert found == [[ids[number] for number in batch] for batch in sampler]


@pytest.mark.parametrize("rank", [-1, 2])
def test_a_rank_that_is_not_there(dataset: TokenDataset, rank: int) -> None:
    with pytest.raises(UserError, match=f"rank {rank}: must be from 0 to 1"):
        LengthBatches(dataset, max_codes=1000, rank=rank, world_size=2)
