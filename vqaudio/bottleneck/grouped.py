"""Several residual stacks side by side, each for a part of the features."""

from collections.abc import Sequence
from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn

from vqaudio.bottleneck.base import Bottleneck, Bottlenecked
from vqaudio.bottleneck.codebook import CodebookName
from vqaudio.bottleneck.gradients import GradientName
from vqaudio.bottleneck.residual import ResidualQuantizer


class GroupedResidualQuantizer(Bottleneck):
    """Grouped residual vector quantization (HiFi-Codec, Yang et al. 2023, arXiv 2305.02765).

    Codes lie stage by stage, all groups of the first stage before those of the second, so that the
    first few of them, cut off anywhere, are a coarser version of all.

    Args:
        codebook_size: codes a quantizer, `K`.
        quantizers: stages of each group; `Q` is this times `groups`.
        groups: equal parts of the features.
        dim: of the features, `D`, a multiple of `groups`.
        decay: of the codebooks' averages, a step.
        dropout: share of the sounds of a batch that are quantized by only 1 to all stages, the
            same number in every group.
        codebook: by averages, by gradient, or fixed under a learned map.
        gradient: the estimator of what reaches the input.
    """

    def __init__(
        self,
        codebook_size: int,
        quantizers: int,
        groups: int,
        dim: int,
        decay: float = 0.99,
        dropout: float = 0.0,
        codebook: CodebookName = "average",
        gradient: GradientName = "straight_through",
    ) -> None:
        super().__init__()
        self.codebook_sizes = [codebook_size] * (quantizers * groups)
        self.dim = self.inputs = dim
        stacks = nn.ModuleList(
            ResidualQuantizer(
                codebook_size, quantizers, dim // groups, decay, dropout, codebook, gradient
            )
            for _ in range(groups)
        )
        self.groups = cast(Sequence[ResidualQuantizer], stacks)

    def forward(self, x: Tensor, quantize: bool = True, kept: Tensor | None = None) -> Bottlenecked:
        """`[B, D, F]` to features, codes and the means of the groups' losses; `kept` as of one group."""
        if kept is None:
            kept = self.groups[0].draw_kept(len(x), x.device)
        parts = x.chunk(len(self.groups), dim=1)
        results = [group(part, quantize, kept) for group, part in zip(self.groups, parts, strict=True)]
        features = torch.cat([result.features for result in results], dim=1)
        if not quantize:
            return Bottlenecked(features)
        return Bottlenecked(
            features,
            _stage_by_stage([result.codes for result in results]),
            _mean([result.losses for result in results]),
            _mean([result.health for result in results]),
        )

    def encode(self, x: Tensor) -> Tensor:
        """`[B, D, F]` to int64 `[B, Q, F]`."""
        parts = x.chunk(len(self.groups), dim=1)
        return _stage_by_stage([g.encode(part) for g, part in zip(self.groups, parts, strict=True)])

    def decode(self, codes: Tensor) -> Tensor:
        """int64 `[B, Q, F]`, or the first few of the Q, to `[B, D, F]`; groups without a code are 0."""
        said = []
        for index, group in enumerate(self.groups):
            own = codes[:, index :: len(self.groups)]
            nothing = group.codebooks[0].counts.new_zeros(len(codes), group.dim, codes.shape[2])
            said.append(group.decode(own) if own.shape[1] else nothing)
        return torch.cat(said, dim=1)


def _stage_by_stage(codes: list[Tensor]) -> Tensor:
    return rearrange(torch.stack(codes), "g b q f -> b (q g) f")


def _mean(scalars: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([s[name] for s in scalars]).mean() for name in scalars[0]}
