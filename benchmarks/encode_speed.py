"""Encoding speed on one core beside EnCodec, DAC, SNAC and Mimi, all in one run.

    pip install -e '.[benchmarks]'
    python benchmarks/encode_speed.py [--seconds 10] [--rounds 5] [--codec speech-16k]

The peers have random weights, which cost what trained ones do, at their published shapes: EnCodec
24 kHz at 6 kbit/s, DAC 16 kHz, SNAC 24 kHz and Mimi at 8 codebooks. Rounds alternate between the
codecs, so that a busy machine slows all of them; the figure is the ratio of the medians.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from peers import peers
from rich.console import Console
from rich.table import Table

import vqaudio


def main() -> None:
    """Measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--codec", default="speech-16k")
    args = parser.parse_args()
    torch.set_num_threads(1)
    encoders = {"vqaudio": _ours(args.codec, args.seconds), **_peers(args.seconds)}
    times: dict[str, list[float]] = {name: [] for name in encoders}
    for encode in encoders.values():
        encode()
    for _ in range(args.rounds):
        for name, encode in encoders.items():
            start = time.perf_counter()
            encode()
            times[name].append(time.perf_counter() - start)
    speeds = {name: args.seconds / statistics.median(taken) for name, taken in times.items()}
    fastest = max(speed for name, speed in speeds.items() if name != "vqaudio")
    table = Table("codec", "times real time", "ours is so many times as fast")
    for name, speed in sorted(speeds.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{speed:.1f}", f"{speeds['vqaudio'] / speed:.1f}")
    Console().print(table)
    print(
        json.dumps(
            {"seconds": args.seconds, **speeds, "ratio_to_fastest_peer": speeds["vqaudio"] / fastest}
        )
    )


def _ours(name: str, seconds: float) -> Callable[[], Any]:
    codec = vqaudio.load(name)
    audio = 0.05 * torch.randn(round(seconds * codec.sample_rate))
    return lambda: codec.encode(audio, workers=1)


def _peers(seconds: float) -> dict[str, Callable[[], Any]]:
    return {
        name: partial(encode, 0.05 * torch.randn(1, 1, round(seconds * rate)))
        for name, (rate, encode) in peers().items()
    }


if __name__ == "__main__":
    main()
