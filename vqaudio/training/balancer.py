"""Terms of a loss by the share of the gradient that they are to have, whatever their own scale."""

from collections.abc import Mapping

import torch
from torch import Tensor

from vqaudio.bottleneck.ranks import mean_over_ranks

SMALLEST = 1e-12  # gradient that is divided by


class Balancer:
    """Gives each term's gradient, at what the codec made, the size that its weight says.

    As in EnCodec (Défossez et al. 2022, arXiv 2210.13438, equation 4): with `g_i` the gradient of
    term `i` at the output and `<|g_i|>` the running mean of its norm, the output's gradient is the sum
    of `w_i / sum(w) * g_i / <|g_i|>`. The norm is of each sound, averaged over the batch. A weight
    thus is a share of the pull, and a term that grows or shrinks as training goes on keeps it.

    Args:
        decay: of the running means, a step; they start without a bias towards 0.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.sums: dict[str, Tensor] = {}  # of norms, and of the weights that these had
        self.weights: dict[str, Tensor] = {}

    def balance(self, terms: Mapping[str, Tensor], weights: Mapping[str, float], made: Tensor) -> Tensor:
        """One loss with the balanced gradient.

        Args:
            terms: scalars that depend on `made`, and on nothing else that learns.
            weights: of each term; 0 leaves one out.
            made: what the codec made, `[B, ...]`.

        Returns:
            A scalar whose gradient at `made` is the balanced one, and whose value means nothing.
        """
        total = sum(weights[name] for name in terms)
        pull = torch.zeros_like(made)
        for name, term in terms.items():
            if weights[name]:
                [gradient] = torch.autograd.grad(term, made, retain_graph=True)
                norm = mean_over_ranks(gradient.flatten(1).norm(dim=1).mean())
                pull += weights[name] / total / self._mean(name, norm).clamp(min=SMALLEST) * gradient
        return (made * pull).sum()

    def tensors(self) -> dict[str, Tensor]:
        """What a training state holds of it."""
        both = {"sums": self.sums, "weights": self.weights}
        return {f"{kind}/{name}": value for kind, found in both.items() for name, value in found.items()}

    def restore(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Take back what `tensors` gave."""
        for kind, found in (("sums", self.sums), ("weights", self.weights)):
            found.clear()
            for key, value in tensors.items():
                if key.startswith(f"{kind}/"):
                    found[key.removeprefix(f"{kind}/")] = value.to(device)

    def _mean(self, name: str, norm: Tensor) -> Tensor:
        none = torch.zeros_like(norm)
        self.sums[name] = self.decay * self.sums.get(name, none) + norm
        self.weights[name] = self.decay * self.weights.get(name, none) + 1
        return self.sums[name] / self.weights[name]
