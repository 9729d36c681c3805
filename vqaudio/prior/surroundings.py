"""What a finer stage of a cascade knows of the coarser levels: the codes around each moment.

After the conditioner of Jukebox's upsamplers (Dhariwal et al. 2020, arXiv 2005.00341, section 4.2):
convolutions over the codes of the levels above, before and after the moment.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqaudio.prior.token_table import TokenTable

DILATIONS = (1, 2, 4)
REACH = sum(DILATIONS)  # frames that it sees to each side
NOTHING = 0  # the token outside the sound


class Surroundings(nn.Module):
    """Tokens of the levels above to a feature for each frame of the nearest one.

    Args:
        ratios: per level above, frames a coarse frame.
        codebook_sizes: per level above, per quantizer.
        width: of the features, D.
        dims: per level above, per quantizer, of the codes' vectors; empty where they are not known.
    """

    def __init__(
        self,
        ratios: Sequence[int],
        codebook_sizes: Sequence[Sequence[int]],
        width: int,
        dims: Sequence[Sequence[int]] = (),
    ) -> None:
        super().__init__()
        self.ratios, self.codebook_sizes = list(ratios), [list(sizes) for sizes in codebook_sizes]
        self.ratio = self.ratios[-1]
        vocab = 1 + sum(map(sum, self.codebook_sizes))
        pairs = zip(self.codebook_sizes, dims, strict=False)
        books = [pair for sizes, of_level in pairs for pair in zip(sizes, of_level, strict=True)]
        self.embedding = TokenTable(vocab, width, books)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, width, kernel_size=3, dilation=dilation) for dilation in DILATIONS
        )

    def tokens(self, levels: Sequence[Tensor]) -> Tensor:
        """Codes of the levels above, coarsest first, at the rate of the last: int64 `[F, M]`."""
        columns = []
        offset = NOTHING + 1
        for codes, ratio, sizes in zip(levels, self.ratios, self.codebook_sizes, strict=True):
            for codebook, size in zip(codes, sizes, strict=True):
                columns.append(codebook.repeat_interleave(self.ratio // ratio) + offset)
                offset += size
        frames = levels[-1].shape[1]
        return torch.stack([column[:frames] for column in columns], dim=1)

    def around(self, tokens: Tensor, first: int, frames: int) -> Tensor:
        """Frames `first ... first + frames - 1` and REACH more to each side: int64 `[F, M]`."""
        start, end = first - REACH, first + frames + REACH
        inside = tokens[max(start, 0) : max(end, 0)]
        before = max(-start, 0)
        return F.pad(inside, (0, 0, before, end - start - before - len(inside)), value=NOTHING)

    def forward(self, around: Tensor) -> Tensor:
        """Features `[B, F, D]` of tokens `[B, F + 2 * REACH, M]`."""
        if len(around) == 1:  # torch may round one row alone otherwise than the same row among others
            return self.forward(around.expand(2, -1, -1))[:1]
        x = self.embedding(around).sum(dim=2).transpose(1, 2)
        for dilation, convolution in zip(DILATIONS, self.convolutions, strict=True):
            x = x[..., dilation:-dilation] + F.silu(convolution(x))
        return x.transpose(1, 2)
