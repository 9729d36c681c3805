"""Sampling from a prior on one core beside transformers' `generate` and gpt-fast's method, in one run.

    pip install -e '.[benchmarks]'
    python benchmarks/prior.py [--tokens 500] [--rounds 3] [--batches 1 16] [--without-compile]
        [--sounds DIR]

All have 8 layers of width 384, some 4,160 tokens, and weights by chance. The others score all tokens
at each step; ours, which knows whose turn it is, the 1,024 of one codebook. Ours is measured whole, by
`Prior.sample`: packing the weights, choosing tokens and all. Each way has run once before; rounds
alternate, so that a busy machine slows all of them, and the figure is the ratio of the medians. The
limit is what memory would allow: the bytes of weights, and of keys and values, that a token reads,
over the bandwidth measured in between. With bfloat16 and int8 a large cache may hold the weights, and
then it is no bound. The compiled method, which takes minutes, is only measured at batch 1.
What less precision costs is measured with the shipped prior, on the sounds of DIR or on the
demonstration's.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from plain_llama import HEADS, INNER, LAYERS, WIDTH, PlainLlama, generate, llama
from rich.console import Console
from rich.table import Table

import vqaudio
from vqaudio.config import PriorConfig
from vqaudio.evaluation.demo import SENTENCE
from vqaudio.prior.layout import PAD
from vqaudio.prior.model import CodecSpec, Prior
from vqaudio.prior.reader import PRECISIONS, Precision, open_reader

BYTES = {"float32": (4, 4), "bfloat16": (2, 2), "int8": (1, 1)}  # a weight; a key or value
TOKENS_PER_SECOND = 125
LARGE = 1 << 27  # numbers, half a gigabyte: more than any cache holds


def main() -> None:
    """Measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--without-compile", action="store_true")
    parser.add_argument("--sounds", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    results: dict[str, Any] = {"tokens": args.tokens}
    for batch in args.batches:
        compile_ = batch == 1 and not args.without_compile
        rates, speed = compare(batch, args.tokens, args.rounds, compile_)
        results[f"batch {batch}"] = {**rates, "bandwidth GB/s": speed / 1e9}
        show(batch, rates, args.tokens, speed)
    results["10 s of speech-16k take s"] = ten_seconds(args.rounds)
    results["bits per second"] = cost([args.sounds] if args.sounds else [SENTENCE])
    print(json.dumps(results))


def compare(batch: int, tokens: int, rounds: int, compile_: bool) -> tuple[dict[str, float], float]:
    """Tokens a second of each way to sample, and bytes a second of memory between them."""
    prior, seconds = ours(tokens), tokens / TOKENS_PER_SECOND
    model = llama(tokens)
    ways: dict[str, Callable[[], object]] = {
        "transformers generate": lambda: generate(model, batch, tokens)
    }
    if compile_:
        for name, int8 in (("float32", False), ("int8 weights", True)):
            plain = PlainLlama(batch, tokens, int8).eval()
            plain.compile_step()
            ways[f"gpt-fast's method, {name}"] = lambda plain=plain: plain.sample(tokens)
    for precision in PRECISIONS:
        ways[f"vqaudio, {precision}"] = lambda precision=precision: prior.sample(
            batch, seconds, precision=precision
        )
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    speeds = []
    for _ in range(rounds):
        for name, way in ways.items():
            speeds.append(bandwidth())
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    rates = {name: batch * tokens / statistics.median(found) for name, found in times.items()}
    return rates, statistics.median(speeds)


def ours(tokens: int) -> Prior:
    """A prior of the shape that is compared, over codes like those of speech-16k."""
    config = PriorConfig(layers=LAYERS, width=WIDTH, heads=HEADS, context=tokens + 2)
    return Prior(config, CodecSpec(16000, [1280, 320], [[1024, 1024], [1024, 1024]])).eval()


def show(batch: int, rates: dict[str, float], tokens: int, bytes_per_second: float) -> None:
    """Print the table of one batch size."""
    table = Table("way to sample", "tokens/s", "of generate", "of the limit", title=f"batch {batch}")
    first = next(iter(rates.values()))
    for name, rate in rates.items():
        limit = limit_of(name.split(", ")[-1], batch, tokens, bytes_per_second)
        share = f"{rate / limit:.0%}" if name.startswith("vqaudio") else "-"
        table.add_row(name, f"{rate:.0f}", f"{rate / first:.2f}", share)
    Console().print(table)


def limit_of(precision: str, batch: int, tokens: int, bytes_per_second: float) -> float:
    """Tokens a second if reading memory took all the time."""
    weight, cached = BYTES.get(precision, BYTES["float32"])
    weights = LAYERS * (4 * WIDTH * WIDTH + 3 * WIDTH * INNER) + 1024 * WIDTH
    keys_values = 2 * LAYERS * WIDTH * tokens / 2 * batch
    return batch * bytes_per_second / (weights * weight + keys_values * cached)


def bandwidth() -> float:
    """Bytes a second at which one core reads memory."""
    numbers = torch.randn(LARGE)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        numbers.sum()
        times.append(time.perf_counter() - start)
    return LARGE * 4 / min(times)


def ten_seconds(rounds: int) -> dict[str, float]:
    """Seconds to sample and decode ten seconds of the shipped models."""
    codec, prior = vqaudio.load("speech-16k"), vqaudio.load("speech-16k-prior")
    assert isinstance(codec, vqaudio.Codec)
    assert isinstance(prior, Prior)
    times: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for _ in range(1 + rounds):
        for precision in PRECISIONS:
            start = time.perf_counter()
            codec.decode(prior.sample(1, 10.0, precision=precision)[0], workers=1)
            times[precision].append(time.perf_counter() - start)
    return {precision: statistics.median(found[1:]) for precision, found in times.items()}


def cost(paths: Sequence[Path]) -> dict[str, float]:
    """Bits a second that the shipped prior needs for real sounds, read at each precision."""
    codec, prior = vqaudio.load("speech-16k"), vqaudio.load("speech-16k-prior")
    assert isinstance(codec, vqaudio.Codec)
    assert isinstance(prior, Prior)
    files = [f for path in paths for f in (sorted(path.rglob("*.flac")) if path.is_dir() else [path])]
    sounds = [codes for codes in codec.encode(files) if codes.duration_seconds < prior.longest_seconds]
    seconds = sum(codes.duration_seconds for codes in sounds)
    return {
        precision: sum(bits_read(prior, codes, precision) for codes in sounds) / seconds
        for precision in PRECISIONS
    }


def bits_read(prior: Prior, codes: vqaudio.Codes, precision: Precision) -> float:
    """Bits of a sound by the reader that samples; of a flat prior."""
    [stage] = prior.stages
    tokens = stage.tokens(stage.layout.encode(codes))
    heads = [stage.head(slot) for slot in stage.layout.slots]
    reader = open_reader(stage.transformer, heads, 1, len(tokens), precision)
    x = stage.embed(tokens[None, :-1]) + stage.told(len(tokens) - 1, prior.conditions(), None)
    hidden = reader.read(x, torch.tensor([0]))[0]
    bits = 0.0
    for number, slot in enumerate(stage.layout.slots):
        said = tokens[1 + slot.step :: stage.layout.cycle, slot.column]
        logits = reader.project(hidden[slot.step :: stage.layout.cycle].contiguous(), number)
        if slot.ends and slot.step == 0:
            logits[0, slot.size :] = -math.inf
        columns = slot.outputs_of(said).clamp(min=0)
        log_p = logits.double().log_softmax(dim=-1).gather(1, columns[:, None])[:, 0]
        bits -= float(log_p[said != PAD].sum()) / math.log(2)
    return bits


if __name__ == "__main__":
    main()
