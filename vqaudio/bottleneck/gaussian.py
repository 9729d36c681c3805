"""A normal distribution a frame: VAE and beta-VAE. Continuous: there are no codes."""

import math

import torch
from torch import Tensor

from vqaudio.bottleneck.base import Bottleneck, Bottlenecked
from vqaudio.bottleneck.ranks import mean_over_ranks

LOG_VARIANCE = 10.0  # at most, of either sign


class Gaussian(Bottleneck):
    """Variational bottleneck (Kingma and Welling 2013, arXiv 1312.6114, equation 10).

    In training, features are drawn from the distribution; otherwise they are its mean. The loss
    `kl` is its divergence from the standard normal in nats a frame, weighted by `beta` (Higgins et
    al. 2017, equation 4), which grows linearly over the first steps. With `bits` it is the distance
    from that many (Burgess et al. 2018, arXiv 1804.03599, equation 8). `free_bits` of a dimension's
    mean divergence cost nothing (Kingma et al. 2016, arXiv 1606.04934, appendix C.8).

    Args:
        dim: of the features, `D`; it reads twice as many, means first, then log variances.
        beta: weight of the divergence.
        anneal_steps: in which the weight grows from 0.
        free_bits: a dimension.
        bits: a frame, to aim at; None for as few as may be.
    """

    steps: Tensor

    def __init__(
        self,
        dim: int,
        beta: float,
        anneal_steps: int = 0,
        free_bits: float = 0.0,
        bits: int | None = None,
    ) -> None:
        super().__init__()
        self.codebook_sizes = []
        self.dim, self.inputs = dim, 2 * dim
        self.beta, self.anneal_steps = beta, anneal_steps
        self.free_nats = free_bits * math.log(2)
        self.wanted_nats = bits * math.log(2) if bits is not None else None
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor, quantize: bool = True) -> Bottlenecked:
        """`[B, 2 D, F]` to features and the loss `kl`; the warm start draws nothing."""
        with torch.autocast(x.device.type, enabled=False):
            mean, log_variance = x.float().chunk(2, dim=1)
            if not quantize:
                return Bottlenecked(mean)
            log_variance = log_variance.clamp(-LOG_VARIANCE, LOG_VARIANCE)
            nats = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
            features = mean
            if self.training:
                features = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
                self.steps += 1
            return Bottlenecked(
                features,
                losses={"kl": self._weight() * self._cost(nats)},
                health={"kl_bits": nats.detach().sum(1).mean() / math.log(2)},
            )

    def encode(self, x: Tensor) -> Tensor:
        """`[B, 2 D, F]` to the means, float `[B, D, F]`."""
        return x.float().chunk(2, dim=1)[0]

    def decode(self, codes: Tensor) -> Tensor:
        """What `encode` gave, as it is."""
        return codes

    def _weight(self) -> float:
        return self.beta * min(1.0, int(self.steps) / self.anneal_steps if self.anneal_steps else 1.0)

    def _cost(self, nats: Tensor) -> Tensor:
        each = mean_over_ranks(nats.mean(dim=(0, 2)))
        total = each.clamp(min=self.free_nats).sum()
        return total if self.wanted_nats is None else (total - self.wanted_nats).abs()
