"""Bottlenecks whose codes are set from data, and looked after from then on."""

from abc import abstractmethod

import torch
from einops import rearrange
from torch import Tensor

from vqaudio.bottleneck.base import Bottleneck
from vqaudio.bottleneck.codebook import Codebook
from vqaudio.bottleneck.ranks import copy_from_first_rank
from vqaudio.bottleneck.recent import Recent


class TendedBottleneck(Bottleneck):
    """Starts its codes when quantization begins, and from then on revives the dead ones.

    It looks for them as often as one vector a code has passed: more seldom where a batch brings few,
    so that looking costs no more than a few times what choosing codes does.

    Args:
        codebook_sizes: of each quantizer.
        dim: of the features, `D`.
    """

    training_only = ("passed",)
    started: Tensor
    steps: Tensor
    passed: Tensor  # vectors since the last look, on all ranks

    def __init__(self, codebook_sizes: list[int], dim: int) -> None:
        super().__init__()
        self.codebook_sizes = codebook_sizes
        self.dim = self.inputs = dim
        self.recent = Recent(max(codebook_sizes), dim)
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("passed", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def tend(self, x: Tensor, quantize: bool) -> None:
        """Before each step of training: note `[B, D, F]`, start or revive codes.

        Before, because what a step computes with must stay as it is until its backward pass.
        """
        batch = self.recent.push(rearrange(x, "b d f -> (b f) d"))
        samples = self.recent.all()
        if not quantize or not len(samples):
            return
        # alike on all ranks, and after a resume
        generator = torch.Generator().manual_seed(int(self.steps))
        placed = 0
        if not self.started:
            self.start(samples, batch, generator)
            self.started.fill_(True)
            placed = sum(self.codebook_sizes)
        elif int(self.passed) >= max(self.codebook_sizes):
            placed = self.revive(samples, generator)
            self.passed.zero_()
        if placed:
            self._agree()
        self.passed += batch
        self.steps += 1

    @abstractmethod
    def start(self, samples: Tensor, batch: int, generator: torch.Generator) -> None:
        """Set the codes from `[N, D]`; a step will bring `batch` vectors."""

    @abstractmethod
    def revive(self, samples: Tensor, generator: torch.Generator) -> int:
        """Give codes that are hardly chosen another place among `[N, D]`; says how many."""

    def _agree(self) -> None:
        """Take the codes of the first rank: sums on a GPU depend on the order of their threads."""
        books = (part for part in self.modules() if isinstance(part, Codebook))
        copy_from_first_rank(*(tensor for book in books for tensor in book.state_dict().values()))
