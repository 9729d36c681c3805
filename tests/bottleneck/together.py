"""What every rank of test_ranks.py does: run under torchrun, or alone for comparison."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.bottleneck.kinds import build
from vqaudio.bottleneck import Bottleneck
from vqaudio.bottleneck.ranks import world_size

EQUAL = [
    "vector",
    "vector-learned",
    "vector-linear",
    "residual",
    "grouped",
    "gumbel",
]
STEPS = 200
ALIKE = [
    "vector",
    "vector-learned",
    "vector-linear",
    "residual-rotation",
    "lfq",
    "bsq",
    "gaussian",
    "gaussian-bits",
]
FEW_STEPS = 10


class Encoded(nn.Module):
    """A small encoder before a bottleneck."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.bottleneck: Bottleneck = build(name)
        torch.manual_seed(5)
        self.encoder = nn.Conv1d(6, self.bottleneck.inputs, 3)

    def loss(self, x: Tensor, with_features: bool, quantize: bool = True) -> Tensor:
        result = self.bottleneck(self.encoder(x), quantize)
        terms = list(result.losses.values())
        if with_features or not terms:  # something for the gradient to be of
            terms.append((result.features - 1).square().mean())
        return torch.stack(terms).sum()


def average_gradients(module: nn.Module) -> None:
    """As DDP does; every weight of every rank, whether its batch reached it or not."""
    weights = list(module.parameters())
    gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
    whole = torch.cat([gradient.flatten() for gradient in gradients])
    if world_size() > 1:
        dist.all_reduce(whole)
    for weight, gradient in zip(weights, whole.split([w.numel() for w in weights]), strict=True):
        weight.grad = gradient.view_as(weight) / world_size()


def hash_of(module: nn.Module) -> str:
    tensors = module.state_dict().values()
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest()


def many_steps(name: str, rank: int) -> dict[str, Any]:
    """Train on inputs that drift away, of another size on each rank; a hash of all after each step."""
    model = Encoded(name)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    random = torch.Generator().manual_seed(rank)
    hashes, revived = [], 0
    books = [part for part in model.modules() if hasattr(part, "counts")]
    for step in range(STEPS):
        torch.manual_seed(100 * step + rank)  # dropout and noise differ from rank to rank
        sounds, frames = (3, 9) if rank else (2, 12 + step % 5)
        centre = 2.0 * (step // 40) + rank
        x = centre + torch.randn(sounds, 6, frames, generator=random)
        before = [book.centroids.detach().clone() for book in books]
        optimizer.zero_grad()
        model.loss(x, with_features=True, quantize=step > 2).backward()
        average_gradients(model)
        if step > 3:
            moved = [(book.centroids - old).norm(dim=1) for book, old in zip(books, before, strict=True)]
            revived += sum(int((distance > 0.5).sum()) for distance in moved)
        optimizer.step()
        hashes.append(hash_of(model))
    return {"hashes": hashes, "revived": revived}


def few_steps(name: str, rank: int) -> dict[str, Tensor]:
    """Train on this rank's part of the same batches, and give all that came of it."""
    model = Encoded(name)
    optimizer = torch.optim.SGD(model.parameters(), 0.02)
    random = torch.Generator().manual_seed(0)
    losses = []
    for step in range(FEW_STEPS):
        torch.manual_seed(step)
        x = 0.3 + torch.randn(4, 6, 22, generator=random)
        part = x.chunk(world_size())[rank]
        optimizer.zero_grad()
        # the samples that a Gaussian draws are another matter
        loss = model.loss(part, with_features="gaussian" not in name, quantize=step > 1)
        loss.backward()
        average_gradients(model)
        optimizer.step()
        losses.append(loss.detach())
    whole = torch.stack(losses)
    if world_size() > 1:
        dist.all_reduce(whole)
    return {**model.state_dict(), "losses": whole / world_size()}


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, out = dist.get_rank(), Path(sys.argv[1])
    for name in EQUAL:
        (out / f"{name}.{rank}.json").write_text(json.dumps(many_steps(name, rank)))
    for name in ALIKE:
        state = {key: value.detach().clone() for key, value in few_steps(name, rank).items()}
        save_file(state, out / f"{name}.{rank}.safetensors")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
