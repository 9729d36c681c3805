"""A stack of codebooks, each for what the one before left over."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vqaudio.bottleneck.base import Bottlenecked, distortion
from vqaudio.bottleneck.codebook import CODEBOOKS, Codebook, CodebookName
from vqaudio.bottleneck.gradients import ESTIMATORS, GradientName
from vqaudio.bottleneck.tended import TendedBottleneck


class ResidualQuantizer(TendedBottleneck):
    """Residual vector quantization (SoundStream: Zeghidour et al. 2021, arXiv 2107.03312, algorithm 1).

    Codebooks are started from the vectors of the last steps when quantization first begins. The
    gradient passes once, around the whole stack, so that the commitment of every stage reaches the
    encoder.

    Args:
        codebook_size: codes a quantizer, `K`.
        quantizers: stages, `Q`.
        dim: of the vectors, `D`.
        decay: of the codebooks' averages, a step.
        dropout: share of the sounds of a batch that are quantized by 1 to Q stages (the number
            drawn evenly), and not by the default, so that codes can be cut to other bitrates.
        codebook: by averages, by gradient, or fixed under a learned map.
        gradient: the estimator of what reaches the input.
        cosine: bring vectors and codes to unit length first; what is left over after one stage
            has none, so this is for one quantizer.
        default: stages that are used unless told; by default all.
    """

    def __init__(
        self,
        codebook_size: int,
        quantizers: int,
        dim: int,
        decay: float = 0.99,
        dropout: float = 0.0,
        codebook: CodebookName = "average",
        gradient: GradientName = "straight_through",
        cosine: bool = False,
        default: int | None = None,
    ) -> None:
        super().__init__([codebook_size] * quantizers, dim)
        self.dropout, self.cosine = dropout, cosine
        self._default = default or quantizers
        self.through = ESTIMATORS[gradient]
        kind = CODEBOOKS[codebook]
        books = nn.ModuleList(kind(codebook_size, dim, decay, cosine) for _ in range(quantizers))
        self.codebooks = cast(Sequence[Codebook], books)

    @property
    def default_quantizers(self) -> int:
        """Stages that are used unless told."""
        return self._default

    def forward(self, x: Tensor, quantize: bool = True, kept: Tensor | None = None) -> Bottlenecked:
        """`[B, D, F]` to features, codes and the losses `commitment` and, by gradient, `codebook`.

        `kept`, int `[B]`, is how many of the stages each sound is given; None draws it.
        """
        with torch.autocast(x.device.type, enabled=False):
            x = self._vectors(x)
            if self.learning:
                self.tend(x.detach(), quantize)
            if not quantize:
                return Bottlenecked(x)
            return self._quantize(x, self.draw_kept(len(x), x.device) if kept is None else kept)

    def encode(self, x: Tensor) -> Tensor:
        """`[B, D, F]` to int64 `[B, Q, F]`."""
        residual = rearrange(self._vectors(x), "b d f -> (b f) d")
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

    def draw_kept(self, batch: int, device: torch.device) -> Tensor:
        """How many stages each sound is given: int64 `[batch]`, the default but for a share."""
        stages = len(self.codebooks)
        kept = torch.full((batch,), self._default, device=device)
        if self.training and self.dropout > 0:
            cut = torch.rand(batch, device=device) < self.dropout
            kept = torch.where(cut, torch.randint(1, stages + 1, (batch,), device=device), kept)
        return kept

    def _vectors(self, x: Tensor) -> Tensor:
        return F.normalize(x.float(), dim=1) if self.cosine else x.float()

    def _quantize(self, x: Tensor, kept: Tensor) -> Bottlenecked:
        kept = kept.repeat_interleave(x.shape[2]).unsqueeze(1)
        residual = rearrange(x, "b d f -> (b f) d")
        quantized = torch.zeros_like(residual)
        codes, commitment, distance = [], x.new_zeros(()), x.new_zeros(())
        for stage, codebook in enumerate(self.codebooks):
            codes.append(codebook.assign(residual.detach()))
            learned = codebook.lookup(codes[-1])
            vectors, keep = learned.detach(), (kept > stage).to(x.dtype)
            # vectors carry no gradient, so every stage's residual still hangs on x
            commitment = commitment + ((residual - vectors).square() * keep).mean()
            if codebook.learned:
                distance = distance + ((residual.detach() - learned).square() * keep).mean()
            quantized = quantized + vectors * keep
            if self.learning:
                codebook.update(residual.detach(), codes[-1])
            residual = residual - vectors
        quantized = rearrange(quantized, "(b f) d -> b d f", b=len(x))
        losses = {"commitment": commitment / len(self.codebooks)}
        if self.codebooks[0].learned:
            losses["codebook"] = distance / len(self.codebooks)
        return Bottlenecked(
            features=self.through(x, quantized),
            codes=rearrange(torch.stack(codes), "q (b f) -> b q f", b=len(x)),
            losses=losses,
            health={"distortion": distortion(x, quantized)},
        )

    def start(self, samples: Tensor, batch: int, generator: torch.Generator) -> None:
        """Set each codebook from what those before it left over of `[N, D]`."""
        for codebook, left_over in self._stages(samples):
            codebook.start(left_over, batch, generator)

    def revive(self, samples: Tensor, generator: torch.Generator) -> int:
        """Revive the dead codes of each codebook from what those before it left over of `[N, D]`."""
        dead = [stage for stage, codebook in enumerate(self.codebooks) if len(codebook.dead())]
        stages = islice(self._stages(samples), max(dead, default=-1) + 1)
        return sum(codebook.revive(left_over, generator) for codebook, left_over in stages)

    def _stages(self, samples: Tensor) -> Iterator[tuple[Codebook, Tensor]]:
        """Each codebook and what those before it left over of `[N, D]`, worked out when asked for."""
        for stage, codebook in enumerate(self.codebooks):
            if stage:
                before = self.codebooks[stage - 1]
                samples = samples - before.lookup(before.assign(samples))
            yield codebook, samples
