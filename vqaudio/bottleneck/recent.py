"""The last vectors that a bottleneck saw: what codes are started and revived from."""

import torch
from torch import Tensor, nn

from vqaudio.bottleneck.ranks import gather_from_ranks

PER_CODE = 8  # vectors kept a code
FEWEST = 1 << 12  # but no fewer than these: those of one sound would not stand for all
LARGEST = 1 << 16  # and no more than these, unless there are more codes


class Recent(nn.Module):
    """A ring of the last vectors of `D` dimensions, some for each of `codes`, the same on all ranks.

    One batch holds too few frames of a coarse level to set a codebook from (a batch of 15 s at
    12.5 Hz is 187 of them), so they are gathered over many steps; of a batch that holds too many,
    some of every sound are kept. Its buffers are training state.
    """

    training_only = ("vectors", "pushed")
    vectors: Tensor
    pushed: Tensor

    def __init__(self, codes: int, dim: int) -> None:
        super().__init__()
        self.capacity = max(codes, min(max(PER_CODE * codes, FEWEST), LARGEST))
        self.register_buffer("vectors", torch.zeros(self.capacity, dim))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, x: Tensor) -> int:
        """Keep the vectors `[N, D]` of this step, from every rank; none whose length is no number.

        Returns:
            How many vectors all ranks brought.
        """
        x = gather_from_ranks(x)
        brought = len(x)
        x = x[x.square().sum(1).isfinite()]
        kept = min(len(x), self.capacity)
        x = x[torch.arange(kept, device=x.device) * len(x) // max(kept, 1)]
        places = (self.pushed + torch.arange(len(x), device=x.device)) % self.capacity
        self.vectors[places] = x.to(self.vectors.dtype)
        self.pushed += len(x)
        return brought

    def all(self) -> Tensor:
        """`[N, D]`, at most the capacity."""
        return self.vectors[: int(self.pushed.clamp(max=self.capacity))]
