"""What each code of a codec says, as a vector: codes that sound alike have vectors that are alike."""

import torch
from torch import Tensor

from vqaudio.codec.model import Codec


@torch.no_grad()
def code_vectors(codec: Codec) -> list[list[Tensor]]:
    """What each code says, beside what code 0 does: per level, per quantizer, float32 `[K, D]`."""
    found: list[list[Tensor]] = []
    for level, sizes in zip(codec.hierarchy.levels, codec.codebook_sizes, strict=True):
        zeros = torch.zeros(1, len(sizes), 1, dtype=torch.int64)
        nothing = level.bottleneck.decode(zeros)[:, :, 0]
        found.append([])
        for quantizer, size in enumerate(sizes):
            codes = zeros.repeat(size, 1, 1)
            codes[:, quantizer, 0] = torch.arange(size)
            vectors = level.bottleneck.decode(codes)[:, :, 0] - nothing
            found[-1].append(vectors - vectors.mean(dim=0))
    return found
