"""One codebook: VQ-VAE."""

from vqaudio.bottleneck.residual import ResidualQuantizer


class VectorQuantizer(ResidualQuantizer):
    """Vector quantization (van den Oord et al. 2017, arXiv 1711.00937, equations 1 to 3).

    The residual stack of one stage, with the codebook term of equation 3 replaced by averages.

    Args:
        codebook_size: codes, `K`.
        dim: of the vectors, `D`.
        decay: of the codebook's averages, a step.
    """

    def __init__(self, codebook_size: int, dim: int, decay: float = 0.99) -> None:
        super().__init__(codebook_size, 1, dim, decay)
