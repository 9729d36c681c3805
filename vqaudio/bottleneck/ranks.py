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


def copy_from_first_rank(*tensors: Tensor) -> None:
    """Put into each tensor what it is on the first rank."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


def mean_over_ranks(mean: Tensor) -> Tensor:
    """The mean over all ranks of a mean on each, of as many values, for a loss that bends it.

    The gradient reaches this rank's share alone: averaged over ranks, as gradients are, it is that
    of the loss of the whole batch.
    """
    if world_size() == 1:
        return mean
    everywhere = mean.detach().clone()
    dist.all_reduce(everywhere)
    return mean + (everywhere / world_size() - mean.detach())


def gather_from_ranks(x: Tensor) -> Tensor:
    """`[N, D]` of every rank, one after the other, however many each has: `[sum of N, D]`."""
    if world_size() == 1:
        return x
    counts = torch.zeros(world_size(), dtype=torch.int64, device=x.device)
    counts[dist.get_rank()] = len(x)
    dist.all_reduce(counts)
    most = int(counts.max())
    padded = torch.cat([x, x.new_zeros(most - len(x), x.shape[1])]).contiguous()
    parts = [torch.empty_like(padded) for _ in range(world_size())]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts.tolist(), strict=True)])
