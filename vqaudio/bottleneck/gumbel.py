"""A code chosen by a relaxed categorical distribution: the discrete VAE."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vqaudio.bottleneck.base import Bottlenecked
from vqaudio.bottleneck.codebook import LearnedCodebook
from vqaudio.bottleneck.tended import TendedBottleneck


class LikelyCodebook(LearnedCodebook):
    """Learned codes with a learned guess of how likely each is: logits `[N, K]` of vectors `[N, D]`."""

    def __init__(self, size: int, dim: int, decay: float) -> None:
        super().__init__(size, dim, decay)
        self.logits = nn.Linear(dim, size)

    def assign(self, x: Tensor) -> Tensor:
        """The likeliest code of each of `[N, D]`: int64 `[N]`."""
        with torch.autocast(x.device.type, enabled=False):
            return self.logits(x).argmax(1)

    def place(self, codes: Tensor, vectors: Tensor, counts: Tensor) -> None:
        """Set codes, and logits such that the likeliest is the nearest: x.c - |c|^2 / 2, in nats."""
        super().place(codes, vectors, counts)
        self.logits.weight[codes] = vectors
        self.logits.bias[codes] = -0.5 * vectors.square().sum(1)


class GumbelQuantizer(TendedBottleneck):
    """The discrete VAE of DALL-E (Ramesh et al. 2021, arXiv 2102.12092, section 2.1 and appendix A.2).

    In training a frame is the mean of the codebook under a Gumbel softmax (Jang et al. 2016, arXiv
    1611.01144, equation 2) whose temperature falls along half a cosine; otherwise it is the likeliest
    code. The loss `kl` is the divergence of a frame's distribution from the even one, in nats,
    weighted by `beta`. When quantization begins, codebook and logits are set by k-means such that the
    likeliest code is the nearest; codes that are hardly chosen are set anew from the data.

    Args:
        codebook_size: codes, `K`.
        dim: of the features, `D`.
        temperature: of the first step that quantizes.
        final_temperature: after `anneal_steps`.
        anneal_steps: from the one to the other.
        beta: weight of the divergence.
        decay: of the codes' counts, a step.
    """

    def __init__(
        self,
        codebook_size: int,
        dim: int,
        temperature: float = 1.0,
        final_temperature: float = 0.0625,
        anneal_steps: int = 1000,
        beta: float = 1e-3,
        decay: float = 0.99,
    ) -> None:
        super().__init__([codebook_size], dim)
        self.temperature, self.final_temperature = temperature, final_temperature
        self.anneal_steps, self.beta = anneal_steps, beta
        self.codebook = LikelyCodebook(codebook_size, dim, decay)

    def forward(self, x: Tensor, quantize: bool = True) -> Bottlenecked:
        """`[B, D, F]` to features, codes and the loss `kl`."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            if self.learning:
                self.tend(x.detach(), quantize)
            if not quantize:
                return Bottlenecked(x)
            vectors = rearrange(x, "b d f -> (b f) d")
            logits = self.codebook.logits(vectors)
            codes, likely = logits.argmax(1), logits.log_softmax(1)
            kl = math.log(self.codebook.size) + (likely.exp() * likely).sum(1).mean()
            temperature = self._temperature()
            if self.learning:
                said = F.gumbel_softmax(logits, temperature) @ self.codebook.centroids
                self.codebook.update(vectors.detach(), codes)
            else:
                said = self.codebook.lookup(codes)
            return Bottlenecked(
                features=rearrange(said, "(b f) d -> b d f", b=len(x)),
                codes=rearrange(codes, "(b f) -> b 1 f", b=len(x)),
                losses={"kl": self.beta * kl},
                health={"temperature": kl.new_tensor(temperature), "kl_bits": kl.detach() / math.log(2)},
            )

    def encode(self, x: Tensor) -> Tensor:
        """`[B, D, F]` to int64 `[B, 1, F]`."""
        codes = self.codebook.assign(rearrange(x.float(), "b d f -> (b f) d"))
        return rearrange(codes, "(b f) -> b 1 f", b=len(x))

    def decode(self, codes: Tensor) -> Tensor:
        """int64 `[B, 1, F]` to `[B, D, F]`."""
        return self.codebook.lookup(codes[:, 0]).transpose(1, 2)

    def start(self, samples: Tensor, batch: int, generator: torch.Generator) -> None:
        """Set the codes by k-means on `[N, D]`."""
        self.codebook.start(samples, batch, generator)

    def revive(self, samples: Tensor, generator: torch.Generator) -> int:
        """Revive dead codes from `[N, D]`."""
        return self.codebook.revive(samples, generator)

    def _temperature(self) -> float:
        done = min(1.0, int(self.steps) / self.anneal_steps) if self.anneal_steps else 1.0
        above = 0.5 * (1 + math.cos(math.pi * done))
        return self.final_temperature + (self.temperature - self.final_temperature) * above
