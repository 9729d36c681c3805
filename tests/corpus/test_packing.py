"""Sequences of one length: all sounds and nothing else, in an order that follows from the seed."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tests.corpus.test_shards import SPEC, make_codes, make_rows
from vqaudio.corpus import PackedTokens, TokenDataset
from vqaudio.corpus.shards import TokenRow, write_shard
from vqaudio.errors import UserError
from vqaudio.prior.layout import Layout
from vqaudio.prior.model import CodecSpec


@pytest.fixture
def dataset(tmp_path: Path) -> TokenDataset:
    rows = make_rows(40)
    write_shard(tmp_path / "tokens-00000.parquet", SPEC, rows[:15])
    write_shard(tmp_path / "tokens-00001.parquet", SPEC, rows[15:])
    return TokenDataset(tmp_path)


def stream(packed: PackedTokens, first: int = 0) -> dict[str, Tensor]:
    parts = [packed[number] for number in range(first, first + len(packed))]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def sounds_in(found: dict[str, Tensor], end: int) -> dict[int, Tensor]:
    """Tokens of each row of a stream, END left out, with all that the stream says checked."""
    sounds = {}
    real = found["rows"] >= 0
    assert not found["tokens"][~real].any()
    assert not real[int(real.sum()) :].any()
    tokens, rows, positions = (found[name][real] for name in ("tokens", "rows", "positions"))
    starts = (positions == 0).nonzero()[:, 0].tolist()
    for start, stop in zip(starts, [*starts[1:], len(tokens)], strict=True):
        assert (rows[start:stop] == rows[start]).all()
        assert positions[start:stop].tolist() == list(range(stop - start))
        assert int(tokens[stop - 1]) == end
        assert (tokens[start : stop - 1] > end).all()
        sounds[int(rows[start])] = tokens[start : stop - 1]
    assert len(sounds) == len(starts)
    return sounds


@pytest.mark.parametrize("length", [1, 7, 64, 100_000])
def test_nothing_is_lost_and_codes_come_back(dataset: TokenDataset, length: int) -> None:
    packed = PackedTokens(dataset, length)
    found = stream(packed)
    assert len(found["tokens"]) - packed.num_tokens < length
    sounds = sounds_in(found, packed.end)
    assert sorted(sounds) == list(range(40))
    layout = Layout("flat", SPEC.hops, SPEC.codebook_sizes)
    assert int(found["tokens"].max()) < packed.vocab_size == layout.vocab_size
    for row, tokens in sounds.items():
        codes = dataset[row].codes
        assert torch.equal(tokens, layout.encode(codes, end=False)[:, 0])


def test_tokens_tell_level_and_quantizer(tmp_path: Path) -> None:
    """By hand: hops 4 and 2, so coarse, fine, fine; offsets 2, then 2 + 16 and 2 + 16 + 8."""
    spec = CodecSpec(100, [4, 2], [[16], [8, 100]], "")
    write_shard(tmp_path / "x.parquet", spec, [TokenRow("a", make_codes(5, spec))])
    dataset = TokenDataset(tmp_path / "x.parquet")
    (coarse,), (first, second) = (level.tolist() for level in dataset[0].codes.levels)
    expected = [2 + coarse[0], 18 + first[0], 26 + second[0], 18 + first[1], 26 + second[1]]
    expected += [2 + coarse[1], 18 + first[2], 26 + second[2], 1, 0]
    assert PackedTokens(dataset, 10)[0]["tokens"].tolist() == expected


def test_the_order_follows_from_seed_and_epoch(dataset: TokenDataset) -> None:
    packed = PackedTokens(dataset, 50, seed=1)
    first, second = stream(packed), stream(packed, len(packed))
    assert sorted(sounds_in(second, packed.end)) == list(range(40))
    assert not torch.equal(first["rows"], second["rows"])
    again = PackedTokens(dataset, 50, seed=1)
    assert torch.equal(again[len(packed) + 3]["tokens"], packed[len(packed) + 3]["tokens"])
    assert torch.equal(again[3]["tokens"], packed[3]["tokens"])
    assert not torch.equal(stream(PackedTokens(dataset, 50, seed=2))["rows"], first["rows"])
    assert list(sounds_in(first, packed.end)) != list(range(40))
    plain = PackedTokens(dataset, 50, rows=[4, 3, 30], seed=None)
    assert list(sounds_in(stream(plain), plain.end)) == [4, 3, 30]
    with pytest.raises(IndexError):
        packed[-1]


def test_a_data_loader_reads_epochs_and_goes_on(dataset: TokenDataset) -> None:
    packed = PackedTokens(dataset, 50)
    steps = 2 * len(packed) + 5
    whole = torch.stack([packed[number]["tokens"] for number in range(steps)])
    shares = []
    for rank in range(2):
        loader = DataLoader(packed, batch_size=4, sampler=range(rank, steps, 2), num_workers=2 * rank)
        shares.append(torch.cat([batch["tokens"] for batch in loader]))
    assert torch.equal(shares[0], whole[::2])
    assert torch.equal(shares[1], whole[1::2])
    rest = DataLoader(packed, batch_size=None, sampler=range(steps - 4, steps))
    assert torch.equal(torch.stack([part["tokens"] for part in rest]), whole[-4:])
    assert len(list(packed)) == len(packed)


def test_hops_that_do_not_nest_have_no_flat_order(tmp_path: Path) -> None:
    spec = CodecSpec(100, [3, 2], [[16], [8]], "")
    write_shard(tmp_path / "x.parquet", spec, [TokenRow("a", make_codes(5, spec))])
    with pytest.raises(UserError, match=r"hops \[3, 2\] are not each a multiple"):
        PackedTokens(TokenDataset(tmp_path / "x.parquet"), 10)
