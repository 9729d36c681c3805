"""A stack of codebooks, each for what the one before left over."""

from collections.abc import Sequence
from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn

from vqaudio.bottleneck.base import Bottleneck, Bottlenecked, straight_through
from vqaudio.bottleneck.codebook import Codebook
from vqaudio.bottleneck.ranks import world_size
from vqaudio.bottleneck.recent import Recent

REVIVAL_INTERVAL = 10  # steps from one look for dead codes to the next
RECENT_PER_CODE = 8  # vectors kept a code, to start and revive codebooks from


class ResidualQuantizer(Bottleneck):
    """Residual vector quantization (SoundStream: Zeghidour et al. 2021, arXiv 2107.03312, algorithm 1).

    Codebooks are started by k-means on the vectors of the last steps when quantization first
    begins. The gradient goes straight through once, around the whole stack, so that the commitment
    of every stage reaches the encoder.

    Args:
        codebook_size: codes a quantizer, `K`.
        quantizers: stages, `Q`.
        dim: of the vectors, `D`.
        decay: of the codebooks' averages, a step.
        dropout: share of the sounds of a batch that are quantized by only 1 to Q stages (the
            number drawn evenly), so that codes can be cut to a lower bitrate.
    """

    started: Tensor
    steps: Tensor

    def __init__(
        self, codebook_size: int, quantizers: int, dim: int, decay: float = 0.99, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.codebook_sizes = [codebook_size] * quantizers
        self.dim, self.dropout = dim, dropout
        books = nn.ModuleList(Codebook(codebook_size, dim, decay) for _ in range(quantizers))
        self.codebooks = cast(Sequence[Codebook], books)
        self.recent = Recent(RECENT_PER_CODE * codebook_size, dim)
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor, quantize: bool = True) -> Bottlenecked:
        """`[B, D, F]` to features, codes and the loss `commitment`; learns when in training mode."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            if self.training:
                self.recent.push(rearrange(x, "b d f -> (b f) d").detach())
            if not quantize:
                return Bottlenecked(x)
            if self.training and not self.started:
                self._start(batch=x.shape[0] * x.shape[2] * world_size())
            result = self._quantize(x)
            if self.training:
                self._revive()
            return result

    def encode(self, x: Tensor) -> Tensor:
        """`[B, D, F]` to int64 `[B, Q, F]`."""
        residual = rearrange(x.float(), "b d f -> (b f) d")
        codes = []
        for codebook in self.codebooks:
            codes.append(codebook.assign(residual))
            residual = residual - codebook.lookup(codes[-1])
        return rearrange(torch.stack(codes), "q (b f) -> b q f", b=len(x))

    def decode(self, codes: Tensor) -> Tensor:
        """int64 `[B, Q, F]`, or the first few of the Q, to `[B, D, F]`."""
        stages = zip(self.codebooks, codes.unbind(1), strict=False)
        vectors = [codebook.lookup(stage) for codebook, stage in stages]
        return rearrange(torch.stack(vectors).sum(0), "b f d -> b d f")

    def _quantize(self, x: Tensor) -> Bottlenecked:
        kept = self._kept_stages(len(x), x.device).repeat_interleave(x.shape[2]).unsqueeze(1)
        residual = rearrange(x, "b d f -> (b f) d")
        quantized = torch.zeros_like(residual)
        codes, commitment = [], x.new_zeros(())
        for stage, codebook in enumerate(self.codebooks):
            codes.append(codebook.assign(residual.detach()))
            vectors = codebook.lookup(codes[-1])
            keep = (kept > stage).to(x.dtype)
            # vectors carry no gradient, so every stage's residual still hangs on x
            commitment = commitment + ((residual - vectors).square() * keep).mean()
            quantized = quantized + vectors * keep
            if self.training:
                codebook.update(residual.detach(), codes[-1])
            residual = residual - vectors
        return Bottlenecked(
            features=straight_through(x, rearrange(quantized, "(b f) d -> b d f", b=len(x))),
            codes=rearrange(torch.stack(codes), "q (b f) -> b q f", b=len(x)),
            losses={"commitment": commitment / len(self.codebooks)},
        )

    def _kept_stages(self, batch: int, device: torch.device) -> Tensor:
        stages = len(self.codebooks)
        kept = torch.full((batch,), stages, device=device)
        if self.training and self.dropout > 0:
            cut = torch.rand(batch, device=device) < self.dropout
            kept = torch.where(cut, torch.randint(1, stages + 1, (batch,), device=device), kept)
        return kept

    def _generator(self) -> torch.Generator:
        """Alike on all ranks and after a resume: seeded by the number of steps quantized."""
        return torch.Generator().manual_seed(int(self.steps))

    @torch.no_grad()
    def _start(self, batch: int) -> None:
        residual, generator = self.recent.all(), self._generator()
        for codebook in self.codebooks:
            codebook.start(residual, batch, generator)
            residual = residual - codebook.lookup(codebook.assign(residual))
        self.started.fill_(True)

    @torch.no_grad()
    def _revive(self) -> None:
        self.steps += 1
        if int(self.steps) % REVIVAL_INTERVAL:
            return
        residual, generator = self.recent.all(), self._generator()
        for codebook in self.codebooks:
            codebook.revive(residual, generator)
            residual = residual - codebook.lookup(codebook.assign(residual))
