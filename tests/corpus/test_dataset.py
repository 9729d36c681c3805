"""Token shards read back: by number and id, of many files, in any process, in little memory."""

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.corpus.test_shards import SPEC, make_codes, make_rows
from vqaudio.corpus import TokenDataset, TokenRow
from vqaudio.corpus.ledger import LEDGER_NAME, file_sha256
from vqaudio.corpus.shards import ROWS_PER_GROUP, write_shard
from vqaudio.errors import UserError


def write_folders(tmp_path: Path, count: int) -> tuple[TokenDataset, list[TokenRow]]:
    """A folder of two shards and a single file; the rows in the dataset's order."""
    rows = make_rows(count)
    third = count // 3
    write_shard(tmp_path / "a" / "tokens-00000.parquet", SPEC, rows[:third])
    write_shard(tmp_path / "a" / "tokens-00001.parquet", SPEC, rows[third : 2 * third])
    write_shard(tmp_path / "b" / "some name.parquet", SPEC, rows[2 * third :])
    return TokenDataset([tmp_path / "a", tmp_path / "b" / "some name.parquet"]), rows


def test_several_folders_and_files_are_one_dataset(tmp_path: Path) -> None:
    dataset, rows = write_folders(tmp_path, ROWS_PER_GROUP * 3 + 20)
    assert len(dataset) == len(rows)
    assert list(dataset) == rows
    assert dataset.num_samples.tolist() == [row.codes.num_samples for row in rows]
    assert dataset.num_codes.tolist() == [sum(x.numel() for x in row.codes.levels) for row in rows]
    assert dataset.column("label") == [row.fields["label"] for row in rows]
    starts = dataset.blocks.tolist()
    assert (starts[0], starts[-1]) == (0, len(rows))
    assert max(np.diff(starts)) <= ROWS_PER_GROUP
    twice = TokenDataset([tmp_path / "a", tmp_path / "a" / "tokens-00001.parquet", tmp_path / "b/../a"])
    assert len(twice) == 2 * (len(rows) // 3)


def test_rows_are_found_by_id(tmp_path: Path) -> None:
    dataset, rows = write_folders(tmp_path, 300)
    for number in (0, 7, 150, 299):
        assert dataset[rows[number].id] == rows[number]
        assert dataset.number_of(rows[number].id) == number
    with pytest.raises(UserError, match=r"b/some name.parquet: no sound has the id 'nobody'"):
        dataset["nobody"]
    dataset.check_ids()
    write_shard(tmp_path / "c.parquet", SPEC, [TokenRow("s7", make_codes(5))])
    twofold = TokenDataset([tmp_path / "a", tmp_path / "c.parquet"])
    assert twofold["s8"] == rows[8]
    with pytest.raises(UserError, match="2 sounds have the id 's7'"):
        twofold["s7"]
    with pytest.raises(UserError, match="2 sounds have the id 's7'"):
        twofold.check_ids()


def test_folders_of_different_codecs_do_not_mix(tmp_path: Path) -> None:
    other = type(SPEC)(SPEC.sample_rate, SPEC.hops, SPEC.codebook_sizes, "0" * 64)
    write_shard(tmp_path / "a.parquet", SPEC, make_rows(1))
    write_shard(tmp_path / "b.parquet", other, make_rows(1, other))
    with pytest.raises(UserError, match=r"b.parquet: made by codec 0000"):
        TokenDataset([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    with pytest.raises(UserError, match="no folder or file"):
        TokenDataset([])


def keep(rows: list[TokenRow]) -> tuple[int, list[TokenRow]]:
    return os.getpid(), rows


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_a_data_loader_reads_the_same_rows_in_any_process(
    tmp_path: Path, workers: int, how: str
) -> None:
    dataset, rows = write_folders(tmp_path, 60)
    assert dataset["s3"] == rows[3]  # files are open, and ids known, before there are workers
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0)).tolist()
    loader = DataLoader(
        dataset,
        batch_size=7,
        sampler=order,
        num_workers=workers,
        collate_fn=keep,
        multiprocessing_context=how if workers else None,
    )
    found = list(loader)
    assert [row for _, several in found for row in several] == [rows[number] for number in order]
    assert len({process for process, _ in found}) == max(1, workers)
    assert (os.getpid() in {process for process, _ in found}) == (workers == 0)


def test_files_are_opened_anew_after_a_fork_and_not_pickled(tmp_path: Path) -> None:
    dataset, rows = write_folders(tmp_path, 60)
    assert dataset[0] == rows[0]
    [reader] = dataset._groups._readers.values()

    def read(answers: "multiprocessing.SimpleQueue[bool]") -> None:
        same = dataset[0] == rows[0]
        answers.put(same and reader not in dataset._groups._readers.values())

    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=read, args=(answers,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert answers.get()
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301
    assert copy._groups._readers == {}
    assert copy[40] == rows[40]


def test_more_shards_than_files_may_be_open(tmp_path: Path) -> None:
    rows = make_rows(90)
    for number, row in enumerate(rows):
        write_shard(tmp_path / f"tokens-{number:05d}.parquet", SPEC, [row])
    script = """
import resource, sys
from vqaudio.corpus import TokenDataset
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
dataset = TokenDataset(sys.argv[1])
print(*[row.id for row in dataset], dataset["s3"].id)
"""
    run = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(run, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [*[row.id for row in rows], "s3"]


PEAK = """
import re, sys
import numpy as np
from vqaudio.corpus import LengthBatches, TokenDataset, row_groups
row_groups.CACHE_BYTES, row_groups.OPEN_FILES = 1 << 22, 4
peak = 0
def read(dataset, number):
    global peak
    row = dataset[int(number)]
    status = open("/proc/self/status").read()
    peak = max(peak, int(re.search(r"RssAnon:\\s*(\\d+)", status)[1]))
dataset = TokenDataset(sys.argv[1:])
read(dataset, 0)
before = peak
dataset.verify()
for number in range(len(dataset)):
    read(dataset, number)
for number in np.random.default_rng(0).permutation(len(dataset))[:50]:
    read(dataset, number)
for several in LengthBatches(dataset, int(dataset.num_codes.max()) * 4):
    for number in several:
        read(dataset, number)
print(peak - before)
"""


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    spec = type(SPEC)(16000, [1], [[1024]], "f" * 64)
    files = []
    for number in range(40):  # a million codes each: 2 MB as they are kept, 80 MB all of them
        codes = [make_codes(50_000 + n, spec) for n in range(20)]
        files.append(tmp_path / f"{number}.parquet")
        write_shard(files[-1], spec, [TokenRow(f"{number}/{n}", c) for n, c in enumerate(codes)])
    peaks = []
    for several in (files[:4], files):
        run = [sys.executable, "-c", PEAK, *map(str, several)]
        done = subprocess.run(run, check=True, capture_output=True, text=True)
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] < peaks[0] + 20


def alter(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(data)


def test_verify_reads_every_byte(tmp_path: Path) -> None:
    names = [f"tokens-{number:05d}.parquet" for number in range(3)]
    for number, name in enumerate(names):
        write_shard(tmp_path / name, SPEC, make_rows(40)[10 * number : 10 * number + 10])
    lines = [json.dumps({"shard": name, "sha256": file_sha256(tmp_path / name)}) for name in names[:2]]
    (tmp_path / LEDGER_NAME).write_text("".join(f"{line}\n" for line in lines) + '{"shard": "torn')
    TokenDataset(tmp_path).verify()
    # A whole shard, but not the one that was written; and one with a page that is damaged.
    write_shard(tmp_path / names[1], SPEC, make_rows(70)[60:])
    alter(tmp_path / names[2], (tmp_path / names[2]).stat().st_size // 4)
    dataset = TokenDataset(tmp_path)
    with pytest.raises(UserError, match=r"00001.parquet: altered .*\(and 1 more\)"):
        dataset.verify()
    with pytest.raises(UserError, match=r"00001.parquet: altered"):
        TokenDataset(tmp_path / names[1]).verify()  # alone, too, by the ledger beside it
    with pytest.raises(UserError, match=r"00002.parquet: damaged"):
        TokenDataset(tmp_path / names[2]).verify()
    with pytest.raises(UserError, match=r"00002.parquet: damaged"):
        list(dataset)
    with (tmp_path / LEDGER_NAME).open("a") as file:
        file.write("\n")
    with pytest.raises(UserError, match=r"ledger.jsonl: not a ledger"):
        TokenDataset(tmp_path)
    (tmp_path / LEDGER_NAME).write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / names[0]).unlink()
    with pytest.raises(UserError, match=r"00000.parquet: missing"):
        TokenDataset(tmp_path)


def test_any_altered_byte_is_one_line_or_makes_no_difference_to_codes(tmp_path: Path) -> None:
    path, rows = tmp_path / "x.parquet", make_rows(8)
    write_shard(path, SPEC, rows)
    whole = path.read_bytes()
    refused = unseen = 0
    for place in range(0, len(whole), 7):
        alter(path, place)
        try:
            assert [row.codes for row in TokenDataset(path)] == [row.codes for row in rows]
        except UserError as error:
            refused += str(error).startswith(f"{path}: ") and "\n" not in str(error)
        else:
            unseen += 1
        path.write_bytes(whole)
    assert refused > unseen  # what no page has: names, places and statistics at the end of the file
    assert refused + unseen == len(range(0, len(whole), 7))
