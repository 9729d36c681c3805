"""The last vectors that a bottleneck saw: what codes are started and revived from."""

import torch
from torch import Tensor, nn

from vqaudio.bottleneck.ranks import gather_from_ranks


class Recent(nn.Module):
    """A ring of the last `capacity` vectors of `D` dimensions, the same on all ranks.

    One batch holds too few frames of a coarse level to set a codebook from (a batch of 15 s at
    12.5 Hz is 187 of them), so they are gathered over many steps. Its buffers are training state.
    """

    training_only = ("vectors", "pushed")
    vectors: Tensor
    pushed: Tensor

    def __init__(self, capacity: int, dim: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.register_buffer("vectors", torch.zeros(capacity, dim))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, x: Tensor) -> None:
        """Keep the vectors `[N, D]` of this step, from every rank."""
        x = gather_from_ranks(x)[-self.capacity :]
        places = (self.pushed + torch.arange(len(x), device=x.device)) % self.capacity
        self.vectors[places] = x.to(self.vectors.dtype)
        self.pushed += len(x)

    def all(self) -> Tensor:
        """`[N, D]`, at most the capacity."""
        return self.vectors[: int(self.pushed.clamp(max=self.capacity))]
