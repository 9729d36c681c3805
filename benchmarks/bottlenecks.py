"""Codebooks beside those of vector-quantize-pytorch and EnCodec on inputs that drift, all in one run.

    pip install vector-quantize-pytorch==1.32.0 && pip install --no-deps encodec==0.1.1
    python benchmarks/bottlenecks.py [--inputs cloud|mixture] [--codes 1024] [--batch 4096]

Every codebook is trained on the same batches of inputs that wander away from where the codes were
set: one round cloud that moves as a whole, or a mixture of as many clusters as codes, which go
apart too. What counts are its error and its codes in use at the end. See bottleneck_cost.py for
time and memory.
"""

import argparse
import importlib.util
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vqaudio.bottleneck.kmeans import totals
from vqaudio.bottleneck.nearest import nearest
from vqaudio.bottleneck.residual import ResidualQuantizer

DIM = 64
PEERS = {"vector-quantize-pytorch": "vector_quantize_pytorch", "encodec": "encodec"}
Step = Callable[[Tensor], tuple[Tensor, Tensor]]  # [N, D] to quantized [N, D] and loss


def main() -> None:
    """Train all and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", choices=("cloud", "mixture"), default="cloud")
    parser.add_argument("--codes", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=4096, help="vectors a step")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    require_peers(parser)
    show(drift(args), args)


def require_peers(parser: argparse.ArgumentParser) -> None:
    """Stop with one line where a peer is not installed."""
    for package, module in PEERS.items():
        if importlib.util.find_spec(module) is None:
            parser.exit(1, f"{package} is missing: see the first lines of {__file__}\n")


def show(rows: list[dict[str, Any]], args: argparse.Namespace) -> None:
    """Print a table and, with `--json`, write it."""
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()))
    Console(width=120).print(table)
    if args.json:
        args.json.write_text(json.dumps({**vars(args), "json": None, "rows": rows}, indent=1))


# Candidates: each is a function of [N, D] that quantizes and, in training, learns


def ours(codes: int, decay: float = 0.99) -> tuple[torch.nn.Module, Step]:
    """The bottleneck as it is trained, revival and all."""
    model = ResidualQuantizer(codes, 1, DIM, decay)

    def step(x: Tensor) -> tuple[Tensor, Tensor]:
        result = model(x.T.unsqueeze(0))
        return result.features[0].T, result.losses["commitment"]

    return model, step


def lucidrains(codes: int, **settings: Any) -> tuple[torch.nn.Module, Step]:
    """vector-quantize-pytorch."""
    from vector_quantize_pytorch import VectorQuantize  # type: ignore[import-untyped]

    model = VectorQuantize(dim=DIM, codebook_size=codes, **settings)

    def step(x: Tensor) -> tuple[Tensor, Tensor]:
        quantized, _, loss = model(x.unsqueeze(0))
        return quantized[0], loss

    return model, step


def encodec(codes: int, **settings: Any) -> tuple[torch.nn.Module, Step]:
    """EnCodec's codebook, with the straight-through step and loss that its caller adds."""
    from encodec.quantization.core_vq import EuclideanCodebook

    model = EuclideanCodebook(DIM, codes, **settings)

    def step(x: Tensor) -> tuple[Tensor, Tensor]:
        quantized = model(x.detach())[0]
        return x + (quantized - x).detach(), (quantized - x).square().mean()

    return model, step


CANDIDATES: dict[str, Callable[..., tuple[torch.nn.Module, Step]]] = {
    "ours": ours,
    "vqp": lucidrains,
    "encodec": encodec,
}


# Drift


def drift(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Train all on drifting inputs; errors and codes alive on held-out ones of the end."""
    candidates: dict[str, Callable[[], tuple[torch.nn.Module, Step]]] = {
        "ours, decay 0.99": lambda: ours(args.codes),
        "ours, decay 0.8": lambda: ours(args.codes, 0.8),
        "vqp, decay 0.99, k-means, threshold 2": lambda: lucidrains(
            args.codes, decay=0.99, kmeans_init=True, threshold_ema_dead_code=2
        ),
        "vqp, decay 0.8, k-means, threshold 2": lambda: lucidrains(
            args.codes, kmeans_init=True, threshold_ema_dead_code=2
        ),
        "vqp as default (decay 0.8)": lambda: lucidrains(args.codes),
        "encodec, decay 0.99, k-means, threshold 2": lambda: encodec(args.codes, kmeans_init=True),
    }
    inputs = Mixture(args.codes, args.steps) if args.inputs == "mixture" else Cloud(args.steps)
    held_out = inputs.draw(32 * args.codes, args.steps, seed=10**6)
    rows = []
    for name, make in candidates.items():
        torch.manual_seed(0)
        model, step = make()
        model.train()
        with torch.no_grad():
            for at in range(args.steps):
                step(inputs.draw(args.batch, at, seed=at))
        rows.append({"candidate": name, **_score(held_out, _centroids(model))})
        print(json.dumps(rows[-1]), flush=True)
    seen = inputs.draw(64 * args.codes, args.steps, seed=10**6 + 1)
    starts = {"random": seen}
    if isinstance(inputs, Mixture):
        starts["the clusters"] = inputs.centres_at(args.steps)
    for name, start in starts.items():
        centroids = _k_means(seen, start[: args.codes].clone())
        rows.append({"candidate": f"k-means at the end, from {name}", **_score(held_out, centroids)})
    return rows


class Cloud:
    """A normal distribution whose mean moves by twice its spread as steps pass."""

    def __init__(self, steps: int, drift: float = 2.0) -> None:
        generator = torch.Generator().manual_seed(0)
        self.step = torch.randn(DIM, generator=generator) * (drift / steps)

    def draw(self, count: int, step: int, seed: int) -> Tensor:
        """`[N, D]` as of a step."""
        noise = torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))
        return noise + step * self.step


class Mixture:
    """As many Gaussian clusters as codes, of unequal weight, whose centres move as steps pass.

    A centre moves by four times the norm of a cluster's spread, half of its own way, half of all
    centres' way.
    """

    def __init__(self, clusters: int, steps: int, spread: float = 0.5, drift: float = 4.0) -> None:
        generator = torch.Generator().manual_seed(0)
        self.centres = torch.randn(clusters, DIM, generator=generator)
        self.weights = 0.1 + torch.rand(clusters, generator=generator)
        own = torch.nn.functional.normalize(torch.randn(clusters, DIM, generator=generator), dim=1)
        shared = torch.nn.functional.normalize(torch.randn(1, DIM, generator=generator), dim=1)
        self.step = (own + shared) * (0.5**0.5 * drift * spread * math.sqrt(DIM) / steps)
        self.spread = spread

    def draw(self, count: int, step: int, seed: int) -> Tensor:
        """`[N, D]` as of a step."""
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = self.spread * torch.randn(count, DIM, generator=generator)
        return self.centres_at(step)[chosen] + noise

    def centres_at(self, step: int) -> Tensor:
        """`[clusters, D]` as of a step."""
        return self.centres + step * self.step


def _score(x: Tensor, centroids: Tensor) -> dict[str, Any]:
    codes = nearest(x, centroids)
    error = float((x - centroids[codes]).square().mean())
    return {"squared error": error, "codes alive": len(codes.unique())}


def _centroids(model: torch.nn.Module) -> Tensor:
    if isinstance(model, ResidualQuantizer):
        return model.codebooks[0].centroids
    codebook: Any = model
    return codebook.embed if hasattr(model, "embed") else codebook.codebook


def _k_means(x: Tensor, centroids: Tensor, rounds: int = 30) -> Tensor:
    for _ in range(rounds):
        sums, counts = totals(x, nearest(x, centroids), len(centroids))
        centroids = sums / counts.clamp(min=1).unsqueeze(1)
    return centroids


if __name__ == "__main__":
    main()
