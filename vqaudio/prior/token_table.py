"""A vector a token, to read it by and to score it by; codes may be told by the codec's own vectors."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TokenTable(nn.Module):
    """A vector for each token, learned for each alone, or with what the codec says of its codes.

    A code that an hour of speech has a dozen times cannot be learned alone. The codec has a vector
    for it, and codes with like vectors sound alike: so with vectors, a code's row is a linear map of
    its vector, learned from all codes of its codebook together, and only what is left is its own.

    Args:
        tokens: rows.
        width: of a row.
        books: of each codebook, in the order of its codes, which are the last tokens: how many codes
            and of how many numbers their vectors are; empty where vectors are not known.
    """

    def __init__(self, tokens: int, width: int, books: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(tokens, width))
        if not books:
            nn.init.normal_(self.weight, std=0.02)
        self.maps = nn.ParameterList(torch.randn(dim, width) * (0.02 / dim**0.5) for _, dim in books)
        for book, shape in enumerate(books):
            self.register_buffer(f"vectors_{book}", torch.zeros(shape))

    def set_vectors(self, vectors: Sequence[Tensor]) -> None:
        """Take over what the codec says: float32 `[K, D]` of each codebook, at a spread of one."""
        for book, found in enumerate(vectors):
            self.get_buffer(f"vectors_{book}").copy_(found / found.std().clamp(min=1e-6))

    def forward(self, tokens: Tensor) -> Tensor:
        """The vectors of tokens: int64 `[...]` to `[..., width]`."""
        return F.embedding(tokens, self.table())

    def table(self) -> Tensor:
        """All vectors, `[tokens, width]`; whoever needs them step by step keeps them."""
        if len(self.maps) == 0:
            return self.weight
        told = [self.get_buffer(f"vectors_{book}") @ each for book, each in enumerate(self.maps)]
        rows = torch.cat(told)
        return self.weight + F.pad(rows, (0, 0, len(self.weight) - len(rows), 0))
