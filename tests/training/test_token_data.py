"""Batches of tokens: every row once an epoch, as a function of seed and step alone."""

from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

from tests.training.chains import SPEC, write_corpus
from vqaudio.codes import Codes
from vqaudio.config import PriorConfig
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.corpus.shards import TokenRow, write_shard
from vqaudio.prior.conditions import Conditions
from vqaudio.prior.layout import PAD, START
from vqaudio.prior.model import Prior
from vqaudio.prior.stage import Passage
from vqaudio.prior.surroundings import NOTHING, REACH
from vqaudio.training.token_data import TokenBatch, TokenBatches


def make_batches(folder: Path, tokens_per_batch: int, context: int = 512, seed: int = 0) -> TokenBatches:
    corpus = TokenDataset(folder)
    prior = Prior(
        PriorConfig(layers=1, width=8, heads=1, context=context, labels=corpus.names("label")), SPEC
    )
    return TokenBatches(corpus, range(len(corpus)), prior, tokens_per_batch, seed)


def sequences_of(batch: TokenBatch) -> Tensor:
    """The one stage and the one column of a flat layout."""
    [passage] = batch.passages
    return passage.tokens[:, :, 0]


def codes_of(seconds: int, seed: int = 0) -> Codes:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 4, (1, -(-seconds // 2)), generator=generator)
    fine = torch.randint(0, 6, (1, seconds), generator=generator)
    return Codes([coarse, fine], seconds, 100, [2, 1], "abc")


def write_rows(folder: Path, splits: list[str]) -> TokenDataset:
    rows = [
        TokenRow(f"{index}", codes_of(index + 1, index), {"split": split} if split else {})
        for index, split in enumerate(splits)
    ]
    folder.mkdir()
    write_shard(folder / "tokens-00000.parquet", SPEC, rows)
    return TokenDataset(folder)


def test_an_epoch_has_every_row_once_in_batches_of_like_length(tmp_path: Path) -> None:
    write_corpus(tmp_path / "tokens", 200, labels=3)
    batches = make_batches(tmp_path / "tokens", 400)
    seen: Counter[tuple[int, ...]] = Counter()
    for step in range(batches.batches_per_epoch):
        batch = batches.batch(step)
        sequences, labels = sequences_of(batch), batch.conditions.label
        assert (sequences[:, 0] == START).all()
        count = int((sequences[:, 1:] != PAD).sum())
        assert 200 < count < 800
        assert sequences[:, 1:].numel() < 2 * count
        for sequence, label in zip(sequences, labels, strict=True):
            seen[int(label), *sequence[sequence != PAD].tolist()] += 1
    corpus = batches.corpus
    expected = Counter(
        (1 + row % 3, START, *batches.prior.layout.encode(corpus[row].codes)[:, 0].tolist())
        for row in range(200)
    )
    assert seen == expected
    later = [sequences_of(batches.batch(step + batches.batches_per_epoch)).shape for step in range(5)]
    assert later != [sequences_of(batches.batch(step)).shape for step in range(5)]


def test_a_step_does_not_depend_on_the_steps_before(tmp_path: Path) -> None:
    write_corpus(tmp_path / "tokens", 60)
    first, second = (make_batches(tmp_path / "tokens", 300, context=20) for _ in range(2))
    forward = [sequences_of(first.batch(step)) for step in range(12)]
    backward = [sequences_of(second.batch(step)) for step in reversed(range(12))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forward, backward, strict=True))
    other = make_batches(tmp_path / "tokens", 300, context=20, seed=1)
    assert any(not torch.equal(sequences_of(other.batch(s)), batch) for s, batch in enumerate(forward))
    assert any(
        not torch.equal(sequences_of(first.batch(s, attempt=1)), batch)
        for s, batch in enumerate(forward)
    )


def test_ranks_share_a_step(tmp_path: Path) -> None:
    write_corpus(tmp_path / "tokens", 60)
    batches = make_batches(tmp_path / "tokens", 300)
    whole = Counter(str(row[row != PAD].tolist()) for row in sequences_of(batches.batch(1)))
    shared = Counter(
        str(row[row != PAD].tolist())
        for rank in range(3)
        for row in sequences_of(batches.batch(1, rank, 3))
    )
    assert shared == whole


def test_of_a_long_sound_parts_are_seen_that_begin_with_a_coarse_frame(tmp_path: Path) -> None:
    codes = codes_of(61)
    (tmp_path / "tokens").mkdir()
    write_shard(tmp_path / "tokens" / "tokens-00000.parquet", SPEC, [TokenRow("long", codes)])
    batches = make_batches(tmp_path / "tokens", 100, context=20)
    whole = [START, *batches.prior.layout.encode(codes)[:, 0].tolist()]
    starts = set()
    for step in range(300):
        part = sequences_of(batches.batch(step))[0].tolist()
        [start] = [s for s in range(0, len(whole), 3) if whole[s : s + 21] == part]
        starts.add(start)
    assert starts == set(range(0, len(whole) - 18, 3))
    assert starts >= {0, max(starts)}
    assert max(starts) + 21 >= len(whole)


def test_batches_are_never_empty_even_of_very_uneven_sounds(tmp_path: Path) -> None:
    corpus = write_rows(tmp_path / "tokens", [""] * 12)
    prior = Prior(PriorConfig(layers=1, width=8, heads=1), SPEC)
    batches = TokenBatches(corpus, [0, 1, 2, 11], prior, 1, seed=0)
    assert batches.batches_per_epoch == 4
    assert sorted(len(batches.batch(step).conditions.label) for step in range(4)) == [1, 1, 1, 1]


def test_texts_take_their_room_and_follow_their_sounds(tmp_path: Path) -> None:
    texts = ["", "ab", "zoë", "a longer one"]
    rows = [
        TokenRow(f"{i}", codes_of(30, i), {"text": text, "speaker": "x"} if text else {})
        for i, text in enumerate(texts)
    ]
    (tmp_path / "tokens").mkdir()
    write_shard(tmp_path / "tokens" / "tokens-00000.parquet", SPEC, rows)
    corpus = TokenDataset(tmp_path / "tokens")
    config = PriorConfig(layers=1, width=8, heads=1, context=40, speakers=["x"], text_bytes=12)
    prior = Prior(config, SPEC)
    batch = TokenBatches(corpus, range(4), prior, 1000, seed=0).batch(0)
    starts = {}
    for i, tokens in enumerate(sequences_of(batch)):
        said = batch.conditions.part(slice(i, i + 1))
        length = int(said.text_lengths)
        assert (tokens[1:] != PAD).sum() == 40 - length
        text = bytes(said.text[0, :length].tolist()).decode()
        assert int(said.speaker) == (1 if text else 0)
        starts[text] = tokens[:4].tolist()
    assert set(starts) == set(texts)
    # The longest text and the longest passage together are longer than the context.
    [(nats, _)] = prior(batch.passages, batch.conditions)
    for i, tokens in enumerate(sequences_of(batch)):
        length = int(batch.conditions.text_lengths[i])
        said = batch.conditions.part(slice(i, i + 1))
        said = Conditions(said.label, said.speaker, said.text[:, :length])
        [(alone, _)] = prior([Passage(tokens[None, : 41 - length, None], None)], said)
        assert torch.allclose(nats[i, : 40 - length], alone[0], atol=1e-5)
    for text, index in zip(texts, range(4), strict=True):
        whole = [START, *prior.layout.encode(corpus[index].codes)[:, 0].tolist()]
        assert any(whole[s : s + 4] == starts[text] for s in range(0, len(whole), 3))


def test_a_cascade_sees_the_coarse_codes_of_the_same_moment(tmp_path: Path) -> None:
    codes = codes_of(61)
    (tmp_path / "tokens").mkdir()
    write_shard(tmp_path / "tokens" / "tokens-00000.parquet", SPEC, [TokenRow("long", codes)])
    prior = Prior(PriorConfig(layout="cascade", layers=1, width=8, heads=1, context=20), SPEC)
    batches = TokenBatches(TokenDataset(tmp_path / "tokens"), [0], prior, 100, seed=0)
    coarse, fine = codes.levels[0][0] + 1, codes.levels[1][0] + 1
    for step in range(20):
        first, second = batches.batch(step).passages
        assert first.around is None
        assert second.around is not None
        [tokens] = second.tokens[:, 1:, 0]
        [start] = [s for s in range(0, 61, 2) if torch.equal(fine[s : s + 20], tokens)]
        around = second.around[0, REACH:-REACH, 0]
        assert torch.equal(around, coarse[start // 2 : start // 2 + 10])
        before = second.around[0, :REACH, 0]
        known = max(0, REACH - start // 2)
        assert (before[:known] == NOTHING).all()
        assert torch.equal(before[known:], coarse[max(0, start // 2 - REACH) : start // 2])


def test_parts_of_a_batch_are_the_batch(tmp_path: Path) -> None:
    write_corpus(tmp_path / "tokens", 60, labels=2)
    batch = make_batches(tmp_path / "tokens", 300).batch(0)
    for count in (1, 2, 3, 1000):
        parts = list(batch.parts(count))
        assert len(parts) == min(count, len(batch.conditions.label))
        assert sum(part.num_tokens for part in parts) == batch.num_tokens
        joined = torch.cat([part.passages[0].tokens for part in parts])
        assert torch.equal(joined, batch.passages[0].tokens)
        assert torch.equal(torch.cat([p.conditions.label for p in parts]), batch.conditions.label)
