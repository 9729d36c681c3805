"""What codebooks need of the other ranks, so that all hold the same; alone, nothing."""

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_ranks(*tensors: Tensor) -> None:
    """Put into each tensor its sum over all ranks."""
    if world_size() > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)


def gather_from_ranks(x: Tensor) -> Tensor:
    """`[N, D]` of every rank, as many on each, one after the other: `[ranks * N, D]`."""
    if world_size() == 1:
        return x
    parts = [torch.empty_like(x) for _ in range(world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)
