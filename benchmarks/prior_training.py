"""How much of this machine's matrix-product rate the training of a prior reaches, on one core.

    python benchmarks/prior_training.py [--precision 32-true] [--rows 8] [--seconds 4] [--steps 5]

Whole steps of a 10 M parameter prior over codes like those of speech-16k: loss, gradients, clipping and
AdamW. Counted are the products alone: six times the weights of blocks and heads a token, and the two
products of attention with half the sequence, three times. The rate to compare with is that of a large
square product at the same precision, measured before and after in the same run.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator

import torch

from vqaudio.codes import Codes, frames_for
from vqaudio.config import Optimization, PriorConfig
from vqaudio.prior.conditions import conditions_of
from vqaudio.prior.model import CodecSpec, Prior
from vqaudio.prior.stage import batch_of
from vqaudio.training.learner import Learner, start_ranks

SPEC = CodecSpec(16000, [1280, 320], [[1024, 1024], [1024, 1024]])
SHAPE = PriorConfig(layers=8, width=320, heads=5, dropout=0.1, context=1280)
SIDE = 2048  # of the square product


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    prior = Prior(SHAPE, SPEC)
    learner = Learner(start_ranks(args.precision), prior, Optimization(steps=100, learning_rate=1e-3), 0)
    [stage] = prior.stages
    sounds = [stage.tokens(stage.layout.encode(random_codes(args.seconds))) for _ in range(args.rows)]
    batch = batch_of([stage.passage(tokens, 0, len(tokens) - 1, None) for tokens in sounds])
    said = conditions_of(SHAPE, *[[None] * args.rows] * 3)

    def losses() -> Iterator[torch.Tensor]:
        yield learner.model([batch], said)[0][0].mean()

    rates, times = [product_rate(args.precision)], []
    for _ in range(args.steps + 1):
        start = time.perf_counter()
        learner.begin()
        learner.descend(losses())
        times.append(time.perf_counter() - start)
    rates.append(product_rate(args.precision))
    length = batch.tokens.shape[1] - 1
    matrices = sum(
        w.numel() for name, w in prior.named_parameters() if w.ndim == 2 and "transformer" in name
    )
    operations = 6 * (matrices + 1024 * SHAPE.width) + 12 * SHAPE.layers * SHAPE.width * length / 2
    tokens = args.rows * length
    rate = operations * tokens / statistics.median(times[1:])
    result = {
        "parameters": sum(parameter.numel() for parameter in prior.parameters()),
        "precision": args.precision,
        "tokens a second": tokens / statistics.median(times[1:]),
        "GFLOP/s": rate / 1e9,
        "square product GFLOP/s": max(rates) / 1e9,
        "share": rate / max(rates),
    }
    print(json.dumps(result))


def random_codes(seconds: float) -> Codes:
    """Of a sound of that length."""
    samples = round(seconds * SPEC.sample_rate)
    levels = [
        torch.stack([torch.randint(size, (frames_for(samples, hop),)) for size in sizes])
        for sizes, hop in zip(SPEC.codebook_sizes, SPEC.hops, strict=True)
    ]
    return Codes(levels, samples, SPEC.sample_rate, SPEC.hops)


def product_rate(precision: str) -> float:
    """Operations a second of a square matrix product."""
    kind = torch.float32 if precision == "32-true" else torch.bfloat16
    a, b = (torch.randn(SIDE, SIDE).to(kind) for _ in range(2))
    times = []
    for _ in range(4):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return 2 * SIDE**3 / min(times)


if __name__ == "__main__":
    main()
