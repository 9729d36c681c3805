"""A module that is being fitted: what a step does to it, and what of it goes into a checkpoint."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from vqaudio.bottleneck.codebook import codebook_parameters
from vqaudio.bottleneck.ranks import world_size
from vqaudio.config import Optimization
from vqaudio.training.checkpoint import load_state, optimizer_tensors, restore_optimizer, save_state
from vqaudio.training.guard import Guard
from vqaudio.training.schedule import WeightAverage, learning_rate

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Learner:
    """A module with its optimizer, the average of its weights, and the number of steps taken.

    Args:
        fabric: of this process, from `start_ranks`.
        module: what to fit; `model` is the same, as it is to be called in training.
        optimization: how.
        seed: of all that is drawn.
    """

    def __init__(
        self, fabric: "Fabric", module: nn.Module, optimization: Optimization, seed: int
    ) -> None:
        self.fabric, self.module, self.optimization, self.seed = fabric, module, optimization, seed
        self.optimizer = adamw(module, optimization)
        self.model, self._stepper = self.fabric.setup(module, self.optimizer)
        decay = optimization.weight_ema
        self._average = WeightAverage(module, decay) if decay else None
        self.guard = Guard()
        self.step = self.checkpoint = 0

    @property
    def learning_rate(self) -> float:
        """Of the coming step."""
        return learning_rate(self.step, self.optimization)

    def begin(self) -> None:
        """Set the learning rate of the coming step, and the random state that all it draws is from."""
        seed_step(self.seed, self.guard.attempt, self.step, self.fabric.global_rank)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate

    def descend(self, losses: Iterable[Tensor]) -> Tensor | None:
        """Take the step that lowers the sum of losses, or none where it or the gradient is not finite.

        Args:
            losses: worked out one after the other, so that each frees its memory for the next.

        Returns:
            The gradient's norm before it was clipped; None where no step was taken.
        """
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.fabric.device)
        for loss in losses:
            self.fabric.backward(loss)
            total += loss.detach()
        norm = self.fabric.clip_gradients(
            self.model,
            self._stepper,
            max_norm=self.optimization.clip_norm,
            error_if_nonfinite=False,  # the guard sees to it
        )
        assert norm is not None
        finite = torch.isfinite(norm + total).float()
        if not self.fabric.all_reduce(finite, reduce_op="min"):  # all ranks take the step, or none
            return None
        self._stepper.step()
        if self._average is not None:
            self._average.update(self.module)
        self.step += 1
        return norm

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """The module as it is to be used: averaged weights, no dropout, nothing learned inside."""
        self.module.eval()
        try:
            if self._average is None:
                yield
            else:
                with self._average.in_place(self.module):
                    yield
        finally:
            self.module.train()

    def save(
        self, out: Path, tensors: Mapping[str, Mapping[str, Tensor]], values: Mapping[str, Any]
    ) -> None:
        """Write the training state; see `save_state` for what is added to the learner's own."""
        own = {
            "model": self.module.state_dict(),
            "optimizer": optimizer_tensors(self.optimizer, self.module),
            "average": self._average.tensors if self._average is not None else {},
        }
        position = {"step": self.step, "attempt": self.guard.attempt}
        if self.fabric.is_global_zero:
            save_state(out, {**own, **tensors}, {**values, **position})
        self.fabric.barrier()
        self.checkpoint = self.step
        self.guard.saved()

    def restore(self, out: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """Go back to the last training state, and return all that `save` put there."""
        tensors, values = load_state(out)
        self.module.load_state_dict(tensors["model"])
        restore_optimizer(self.optimizer, self.module, tensors["optimizer"])
        if self._average is not None:
            self._average.load(tensors["average"])
        self.step = self.checkpoint = values["step"]
        self.guard.attempt = max(self.guard.attempt, values["attempt"])
        return tensors, values


def start_ranks(precision: Literal["32-true", "bf16-mixed", "auto"]) -> "Fabric":
    """This process and those that torchrun started beside it, a device each; alone without torchrun."""
    if precision == "auto":
        precision = "bf16-mixed" if computes_bf16() else "32-true"
    from lightning_fabric import Fabric  # takes seconds to import, and only training needs it
    from lightning_fabric.strategies.ddp import DDPStrategy

    ranks, here = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    # codebooks keep in step by themselves; in the warm start, and where levels are dropped, some
    # weights have no gradient
    together = DDPStrategy(broadcast_buffers=False, find_unused_parameters=True)
    strategy = together if ranks > 1 else "auto"
    fabric = Fabric(devices=here, num_nodes=ranks // here, strategy=strategy, precision=precision)
    fabric.launch()
    return fabric


def computes_bf16() -> bool:
    """Whether the GPU, or else the processor, has instructions for it; without, it is slow."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def part_ranks() -> None:
    """Let go of the other ranks once all are here: one that ends alone may abort the others."""
    if world_size() > 1:
        dist.barrier()
        dist.destroy_process_group()


def seed_step(seed: int, attempt: int, step: int, rank: int) -> None:
    """Let all that torch draws in a step follow from these numbers, so that none is saved."""
    state = np.random.SeedSequence([seed, attempt, step, rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]))


def adamw(module: nn.Module, config: Optimization) -> torch.optim.AdamW:
    """AdamW that lets biases, scales of norms and codebooks keep their size."""
    codebooks = codebook_parameters(module)
    decaying = [p for p in module.parameters() if p.ndim > 1 and p not in codebooks]
    lasting = [p for p in module.parameters() if p.ndim <= 1 or p in codebooks]
    groups = [
        {"params": decaying, "weight_decay": config.weight_decay},
        {"params": lasting, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.betas[0], config.betas[1]))
