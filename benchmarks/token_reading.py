"""How fast rows of token shards come: in order, all over the corpus, and in the order of samplers.

    python benchmarks/token_reading.py

Makes a corpus of speech-like length and a tenth of the cache that would hold all of it, as a corpus
of 3 GB finds it with the cache as it comes. Ratios are of one run.
"""

import argparse
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from vqaudio.codes import Codes, frames_for
from vqaudio.corpus import LengthBatches, PackedTokens, TokenDataset, row_groups
from vqaudio.corpus.shards import TokenRow, write_shard
from vqaudio.prior.model import CodecSpec

SPEC = CodecSpec(16000, [1280, 320], [[1024, 1024], [1024, 1024]], "0" * 64)
ROWS_PER_SHARD = 1024


def make_rows(random: np.random.Generator, shard: int) -> list[TokenRow]:
    """Sounds of 2 to 18 s, their codes as unevenly used as codes are."""
    rows = []
    for number in range(ROWS_PER_SHARD):
        samples = int(random.uniform(2, 18) * SPEC.sample_rate)
        levels = [
            torch.from_numpy(random.zipf(1.3, (2, frames_for(samples, hop))) % 1024) for hop in SPEC.hops
        ]
        codes = Codes(levels, samples, SPEC.sample_rate, SPEC.hops, SPEC.fingerprint)
        fields = {"speaker": f"{number % 100}", "text": "about as many words as are said in ten seconds"}
        rows.append(TokenRow(f"{shard}/{number}", codes, fields))
    return rows


def rows_per_second(dataset: TokenDataset, numbers: Iterable[int]) -> float:
    """Read rows; how many a second."""
    start, count = time.perf_counter(), 0
    for number in numbers:
        _ = dataset[number]
        count += 1
    return count / (time.perf_counter() - start)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=12)
    given = parser.parse_args()
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for shard in range(given.shards):
            write_shard(Path(folder) / f"tokens-{shard:05d}.parquet", SPEC, make_rows(random, shard))
        count = len(TokenDataset(folder))
        row_groups.CACHE_BYTES = int(TokenDataset(folder).num_codes.sum()) * 2 // 10
        batches = [n for batch in LengthBatches(TokenDataset(folder), 50_000) for n in batch]
        found = {
            "in order": rows_per_second(TokenDataset(folder), range(count)),
            "all over the corpus": rows_per_second(
                TokenDataset(folder), random.permutation(count)[: count // 20].tolist()
            ),
            "batches of like length, shuffled": rows_per_second(TokenDataset(folder), batches),
        }
        packed = PackedTokens(TokenDataset(folder), 2048)
        start = time.perf_counter()
        for number in range(len(packed)):
            _ = packed[number]
        found["packed, shuffled"] = count / (time.perf_counter() - start)
    for name, rate in found.items():
        print(f"{name:34} {rate:8.0f} rows a second, {rate / found['in order']:.3f} of in order")


if __name__ == "__main__":
    main()
