"""Bottlenecks whose codes are set from data, and looked after from then on."""

from abc import abstractmethod

import torch
from einops import rearrange
from torch import Tensor

from vqaudio.bottleneck.base import Bottleneck
from vqaudio.bottleneck.recent import Recent

REVIVAL_INTERVAL = 5  # steps from one look for dead codes to the next


class TendedBottleneck(Bottleneck):
    """Starts its codes when quantization begins, and then revives dead ones every few steps.

    Args:
        codebook_sizes: of each quantizer.
        dim: of the features, `D`.
    """

    started: Tensor
    steps: Tensor

    def __init__(self, codebook_sizes: list[int], dim: int) -> None:
        super().__init__()
        self.codebook_sizes = codebook_sizes
        self.dim = self.inputs = dim
        self.recent = Recent(max(codebook_sizes), dim)
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def tend(self, x: Tensor, quantize: bool) -> None:
        """Before each step of training: note `[B, D, F]`, start or revive codes.

        Before, because what a step computes with must stay as it is until its backward pass.
        """
        batch = self.recent.push(rearrange(x, "b d f -> (b f) d"))
        if not quantize or not len(self.recent.all()):
            return
        # alike on all ranks, and after a resume
        generator = torch.Generator().manual_seed(int(self.steps))
        if not self.started:
            self.start(self.recent.all(), batch, generator)
            self.started.fill_(True)
        elif int(self.steps) % REVIVAL_INTERVAL == 0:
            self.revive(self.recent.all(), generator)
        self.steps += 1

    @abstractmethod
    def start(self, samples: Tensor, batch: int, generator: torch.Generator) -> None:
        """Set the codes from `[N, D]`; a step will bring `batch` vectors."""

    @abstractmethod
    def revive(self, samples: Tensor, generator: torch.Generator) -> None:
        """Give codes that are hardly chosen another place among `[N, D]`."""
