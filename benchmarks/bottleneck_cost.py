"""Time and memory of codebooks beside vector-quantize-pytorch and EnCodec, all in one run.

    pip install vector-quantize-pytorch==1.32.0 && pip install --no-deps encodec==0.1.1
    python benchmarks/bottleneck_cost.py train [--codes 1024] [--vectors 32768] [--threads 1]
    python benchmarks/bottleneck_cost.py search [--codes 1024] [--rounds 5] [--memory 12]

`train` is a step of training, forward and with backward; `search` is the nearest code alone. Each
candidate has a process of its own that is refused more than `--memory` GiB; where one cannot, all
are measured again with a quarter of the vectors. Rounds alternate between them, so that a busy
machine slows all. Memory is the peak above what was held when the inputs were ready.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from bottlenecks import CANDIDATES, DIM, require_peers, show
from torch import Tensor

from vqaudio.bottleneck.nearest import nearest


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["train", "search"])
    parser.add_argument("--codes", type=int, default=1024)
    parser.add_argument("--vectors", type=int, default=32768)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", type=float, default=12.0, help="GiB that a process may take")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    require_peers(parser)
    show(cost(args), args)


def cost(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds and peak memory of every candidate, at as many vectors as all manage too."""
    jobs = ["forward", "forward and backward"] if args.part == "train" else ["search"]
    rows = []
    for job in jobs:
        results = _measure(args, job, args.vectors)
        fewer = args.vectors
        while any(result is None for result in results.values()):
            rows += _rows(args, job, fewer, results)
            fewer //= 4
            results = _measure(args, job, fewer)
        rows += _rows(args, job, fewer, results)
    return rows


def _rows(
    args: argparse.Namespace, job: str, vectors: int, results: dict[str, Any]
) -> list[dict[str, Any]]:
    rows = []
    for name, result in results.items():
        row = {"job": job, "codes": args.codes, "vectors": vectors, "candidate": name}
        if result is None:
            row |= {"seconds": f"out of memory at {args.memory:g} GiB", "to ours": "", "MB": ""}
        else:
            seconds, memory = result
            row |= {"seconds": seconds, "to ours": seconds / results["ours"][0], "MB": memory}
        rows.append(row)
    return rows


def _measure(args: argparse.Namespace, job: str, vectors: int) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    pipes, workers = {}, []
    for name in CANDIDATES:
        pipes[name], end = context.Pipe()
        workers.append(
            context.Process(target=_worker, args=(end, name, job, vectors, args), daemon=True)
        )
        workers[-1].start()
        end.close()  # so that a worker's death is heard
    times: dict[str, list[float]] = {name: [] for name in pipes}
    memory: dict[str, float] = {}
    for round_ in range(1 + args.rounds):  # the first to warm up
        for name, pipe in pipes.items():
            if round_ == 0 or name in memory:
                pipe.send("go")
                result = pipe.recv()
                if result is not None:
                    memory[name] = result[1]
                    times[name] += [result[0]] if round_ else []
    for pipe in pipes.values():
        pipe.send(None)
    for worker in workers:
        worker.join()
    return {n: (statistics.median(times[n]), memory[n]) if n in memory else None for n in pipes}


def _worker(pipe: Connection, name: str, job: str, vectors: int, args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(vectors, DIM, generator=generator)
    run = _job(name, job, x, torch.randn(args.codes, DIM, generator=generator))
    pages = Path("/proc/self/statm").read_text().split()
    limit = int(pages[0]) * resource.getpagesize() + round(args.memory * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before = int(pages[1]) * resource.getpagesize() / 1e6
    while pipe.recv() is not None:
        start = time.perf_counter()
        try:
            run()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
            pipe.send((time.perf_counter() - start, peak - before))
        except (RuntimeError, MemoryError) as error:
            if "alloc" not in str(error) and not isinstance(error, MemoryError):
                raise
            pipe.send(None)


def _job(name: str, job: str, x: Tensor, centroids: Tensor) -> Callable[[], Any]:
    codes = len(centroids)
    model: Any
    model, step = CANDIDATES[name](codes, decay=0.99)
    book = model.codebooks[0] if name == "ours" else getattr(model, "_codebook", model)
    # Started by hand: k-means of the peers does not fit in memory for many codes
    if name == "ours":
        book.sums.copy_(centroids)
        book.counts.fill_(1.0)
        model.started.fill_(True)
    else:
        book.embed.copy_(centroids)
        book.embed_avg.copy_(centroids)
        book.cluster_size.fill_(1.0)
    model.train(job != "search")

    def search() -> None:
        with torch.no_grad():
            if name == "ours":
                nearest(x, centroids)
            elif name == "encodec":
                book.quantize(x)
            else:
                book(x.unsqueeze(0))

    def train() -> None:
        quantized, loss = step(x.requires_grad_())
        if job == "forward and backward":
            (quantized.square().mean() + loss).backward()

    return search if job == "search" else train


if __name__ == "__main__":
    main()
