"""Batches of tokens: every row once an epoch, as a function of seed and step alone."""

from collections import Counter
from pathlib import Path

import torch

from tests.training.chains import SPEC, write_corpus
from vqaudio.codes import Codes
from vqaudio.config import PriorConfig
from vqaudio.corpus.shards import TokenCorpus, TokenRow, write_shard
from vqaudio.prior.layout import END
from vqaudio.prior.model import PAD, Prior
from vqaudio.training.token_data import TokenBatches


def make_batches(folder: Path, tokens_per_batch: int, context: int = 512, seed: int = 0) -> TokenBatches:
    corpus = TokenCorpus(folder)
    prior = Prior(PriorConfig(layers=1, width=8, heads=1, context=context, labels=corpus.labels), SPEC)
    return TokenBatches(corpus, range(len(corpus)), prior, tokens_per_batch, seed)


def codes_of(seconds: int, seed: int = 0) -> Codes:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 4, (1, -(-seconds // 2)), generator=generator)
    fine = torch.randint(0, 6, (1, seconds), generator=generator)
    return Codes([coarse, fine], seconds, 100, [2, 1], "abc")


def write_rows(folder: Path, splits: list[str]) -> TokenCorpus:
    rows = [
        TokenRow(f"{index}", codes_of(index + 1, index), {"split": split} if split else {})
        for index, split in enumerate(splits)
    ]
    folder.mkdir()
    write_shard(folder / "tokens-00000.parquet", SPEC, rows)
    return TokenCorpus(folder)


def test_an_epoch_has_every_row_once_in_batches_of_like_length(tmp_path: Path) -> None:
    write_corpus(tmp_path / "tokens", 200, labels=3)
    batches = make_batches(tmp_path / "tokens", 400)
    seen: Counter[tuple[int, ...]] = Counter()
    for step in range(batches.batches_per_epoch):
        sequences, labels = batches.batch(step)
        assert (sequences[:, 0] == END).all()
        count = int((sequences[:, 1:] != PAD).sum())
        assert 200 < count < 800
        assert sequences[:, 1:].numel() < 2 * count
        for sequence, label in zip(sequences, labels, strict=True):
            assert sequence[sequence != PAD][-1] == END
            seen[int(label), *sequence[sequence != PAD].tolist()] += 1
    corpus = batches.corpus
    expected = Counter(
        (1 + row % 3, END, *batches.layout.encode(corpus[row].codes).tolist()) for row in range(200)
    )
    assert seen == expected
    later = [batches.batch(step + batches.batches_per_epoch)[0].shape for step in range(5)]
    assert later != [batches.batch(step)[0].shape for step in range(5)]


def test_a_step_does_not_depend_on_the_steps_before(tmp_path: Path) -> None:
    write_corpus(tmp_path / "tokens", 60)
    first, second = (make_batches(tmp_path / "tokens", 300, context=20) for _ in range(2))
    forward = [first.batch(step)[0] for step in range(12)]
    backward = [second.batch(step)[0] for step in reversed(range(12))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forward, backward, strict=True))
    other = make_batches(tmp_path / "tokens", 300, context=20, seed=1)
    assert any(not torch.equal(other.batch(s)[0], batch) for s, batch in enumerate(forward))
    assert any(not torch.equal(first.batch(s, attempt=1)[0], batch) for s, batch in enumerate(forward))


def test_ranks_share_a_step(tmp_path: Path) -> None:
    write_corpus(tmp_path / "tokens", 60)
    batches = make_batches(tmp_path / "tokens", 300)
    whole = Counter(str(row[row != PAD].tolist()) for row in batches.batch(1)[0])
    shared = Counter(
        str(row[row != PAD].tolist()) for rank in range(3) for row in batches.batch(1, rank, 3)[0]
    )
    assert shared == whole


def test_of_a_long_sound_parts_are_seen_that_begin_with_a_coarse_frame(tmp_path: Path) -> None:
    codes = codes_of(61)
    (tmp_path / "tokens").mkdir()
    write_shard(tmp_path / "tokens" / "tokens-00000.parquet", SPEC, [TokenRow("long", codes)])
    batches = make_batches(tmp_path / "tokens", 100, context=20)
    whole = [END, *batches.layout.encode(codes).tolist()]
    starts = set()
    for step in range(300):
        part = batches.batch(step)[0][0].tolist()
        [start] = [s for s in range(0, len(whole), 3) if whole[s : s + 20] == part]
        starts.add(start)
    assert starts == set(range(0, len(whole) - 17, 3))
    assert starts >= {0, max(starts)}
    assert max(starts) + 20 >= len(whole)


def test_batches_are_never_empty_even_of_very_uneven_sounds(tmp_path: Path) -> None:
    corpus = write_rows(tmp_path / "tokens", [""] * 12)
    prior = Prior(PriorConfig(layers=1, width=8, heads=1), SPEC)
    batches = TokenBatches(corpus, [0, 1, 2, 11], prior, 1, seed=0)
    assert batches.batches_per_epoch == 4
    assert sorted(len(batches.batch(step)[0]) for step in range(4)) == [1, 1, 1, 1]
