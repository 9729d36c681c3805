"""One codebook: VQ-VAE."""

from typing import Literal

from vqaudio.bottleneck.codebook import CodebookName
from vqaudio.bottleneck.gradients import GradientName
from vqaudio.bottleneck.residual import ResidualQuantizer


class VectorQuantizer(ResidualQuantizer):
    """Vector quantization (van den Oord et al. 2017, arXiv 1711.00937, equations 1 to 3).

    The residual stack of one stage. With `distance="cosine"` and a small `dim` it is the factorized
    codebook of ViT-VQGAN (Yu et al. 2021, arXiv 2110.04627, section 3.2) and DAC.

    Args:
        codebook_size: codes, `K`.
        dim: of the vectors, `D`, to which the level projects its features.
        decay: of the codebook's averages, a step.
        codebook: by averages, by gradient, or fixed under a learned map (SimVQ).
        distance: by which a code is the nearest.
        gradient: the estimator of what reaches the input.
    """

    def __init__(
        self,
        codebook_size: int,
        dim: int,
        decay: float = 0.99,
        codebook: CodebookName = "average",
        distance: Literal["euclidean", "cosine"] = "euclidean",
        gradient: GradientName = "straight_through",
    ) -> None:
        super().__init__(
            codebook_size, 1, dim, decay, 0.0, codebook, gradient, cosine=distance == "cosine"
        )
