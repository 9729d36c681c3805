"""How the learning rate and the averaged weights change from step to step."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vqaudio.bottleneck.codebook import codebook_parameters
from vqaudio.config import Optimization

UPDATES = "updates"  # counted among the averaged tensors, so that it is saved with them


def learning_rate(step: int, config: Optimization) -> float:
    """Linear warm-up, then half a cosine down to the final rate.

    The cosine is that of Loshchilov, Hutter 2017, arXiv 1608.03983, without restarts.

    Args:
        step: counted from 0; the last is `config.steps - 1`.
        config: rates and lengths.

    Returns:
        The rate of this step, above 0 from the first on.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    share = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.final_learning_rate + share * (config.learning_rate - config.final_learning_rate)


class WeightAverage:
    """Exponential average of a module's parameters but those of codebooks, fp32.

    The first updates decay faster, by `(1 + n) / (10 + n)` for the n-th: otherwise the weights that
    training began with would be heard for several times `1 / (1 - decay)` steps.

    Args:
        module: what to average.
        decay: of the average, a step.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        left_out = codebook_parameters(module)
        averaged = ((name, p) for name, p in module.named_parameters() if p not in left_out)
        self.tensors = {name: p.detach().float().clone() for name, p in averaged}
        self.tensors[UPDATES] = torch.zeros((), dtype=torch.int64)

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take one step towards the parameters of `module`."""
        self.tensors[UPDATES] += 1
        count = int(self.tensors[UPDATES])
        decay = min(self.decay, (1 + count) / (10 + count))
        for name, parameter in self._parameters(module):
            self.tensors[name].lerp_(parameter.float(), 1 - decay)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over saved averages."""
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)

    @contextmanager
    def in_place(self, module: nn.Module) -> Iterator[None]:
        """Let `module` have the average for its parameters inside the `with` block."""
        kept = {name: p.detach().clone() for name, p in self._parameters(module)}
        try:
            self._set(module, self.tensors)
            yield
        finally:
            self._set(module, kept)

    def _parameters(self, module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, p) for name, p in module.named_parameters() if name in self.tensors)

    @torch.no_grad()
    def _set(self, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters(module):
            parameter.copy_(tensors[name])
