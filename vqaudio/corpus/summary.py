"""`summary.json` of a token folder: what is in it, and what it took."""

import json
import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from vqaudio.codec.model import Codec
from vqaudio.corpus.shards import SHARD_PATTERN
from vqaudio.corpus.tokenize import Summary
from vqaudio.files import write_text

SUMMARY_NAME = "summary.json"
LIBRARIES = ("vqaudio", "torch", "soundfile", "soxr", "pyarrow", "numpy")


def write_summary(
    folder: Path, codec: Codec, summary: Summary, wall_seconds: float, how: dict[str, Any]
) -> dict[str, Any]:
    """Put down what a token folder holds and what the last run did.

    Args:
        folder: of tokens.
        codec: that made them.
        summary: of the run.
        wall_seconds: that the run took.
        how: what else to say of the run: engine, workers.

    Returns:
        What was written.
    """
    counts, samples = _count_codes(folder, codec.codebook_sizes)
    seconds = samples / codec.sample_rate
    bits = sum(int(c.sum()) * float(np.log2(len(c))) for level in counts for c in level)
    said = {
        "sounds": summary.inputs,
        "done": summary.done + summary.skipped,
        "failed": summary.failed,
        "failures": dict(summary.reasons.most_common()),
        "hours": seconds / 3600,
        "tokens": sum(int(c.sum()) for level in counts for c in level),
        "bits_per_second": bits / seconds if seconds else 0.0,
        "codebooks": [[_use(c) for c in level] for level in counts],
        "codec": codec.fingerprint,
        "run": {
            "done": summary.done,
            "hours": summary.seconds / 3600,
            "wall_seconds": wall_seconds,
            "times_real_time": summary.seconds / wall_seconds if wall_seconds else 0.0,
            "peak_memory_mib": _peak_mib(),
            **how,
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
    }
    if not summary.done and (before := _read(folder / SUMMARY_NAME)):
        said["run"] = before["run"]  # of the last run that did something
    write_text(folder / SUMMARY_NAME, json.dumps(said, indent=2) + "\n")
    return said


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _count_codes(
    folder: Path, codebook_sizes: list[list[int]]
) -> tuple[list[list[np.ndarray[Any, Any]]], int]:
    """How often every code of every codebook was written, and how many samples that stands for."""
    counts = [[np.zeros(size, np.int64) for size in sizes] for sizes in codebook_sizes]
    samples = 0
    names = [f"level_{level}" for level in range(len(counts))]
    for path in sorted(folder.glob(SHARD_PATTERN)):
        with pq.ParquetFile(path, memory_map=True) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, ["num_samples", *names])
                samples += sum(table["num_samples"].to_pylist())
                for level, name in zip(counts, names, strict=True):
                    stages = table[name].combine_chunks().flatten()  # of all rows, Q by Q
                    lengths = stages.value_lengths().to_numpy()
                    stage = np.repeat(np.arange(len(lengths)) % len(level), lengths)
                    codes = stages.flatten().to_numpy()
                    for index, count in enumerate(level):
                        count += np.bincount(codes[stage == index], minlength=len(count))
    return counts, samples


def _use(counts: np.ndarray[Any, Any]) -> dict[str, float]:
    """Of one codebook: its size, codes in use, and bits of entropy that a code carries."""
    shares = counts[counts > 0] / max(counts.sum(), 1)
    entropy = float(-(shares * np.log2(shares)).sum())
    return {"size": len(counts), "used": int((counts > 0).sum()), "entropy_bits": entropy}


def _peak_mib() -> float:
    """Peak memory of this process; workers are processes of their own."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
