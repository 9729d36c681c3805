"""Token rows as one stream, cut into sequences of one length: what a language model trains on."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from vqaudio.corpus.batches import shuffled_pools
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.prior.layout import FIRST_END, START, Layout


class PackedTokens(Dataset[dict[str, Tensor]]):
    """Sequences of `length` tokens; end to end they are all sounds, each closed by END.

    Tokens are those of `vqaudio.prior.layout`, order `flat`: by time, coarse before fine; 0 is
    used for padding here, 1 is END, then each codebook has numbers of its own. No token is lost or
    comes twice in an epoch; only its last sequence is padded.

    A sequence follows from the seed and its number alone. Numbers from `len(packed)` on are
    those of the next epoch, which has another order, so that `sampler=range(rank, steps, ranks)`
    serves a DataLoader for any number of epochs, and `range(seen, ...)` goes on where it stopped.

    Args:
        dataset: of the sounds.
        length: tokens of a sequence.
        rows: numbers of the rows to use; all unless given.
        seed: of the order of sounds; None keeps that of `rows`, in every epoch.

    Raises:
        UserError: hops of the codec are not each a multiple of the next.
    """

    def __init__(
        self,
        dataset: TokenDataset,
        length: int,
        rows: Sequence[int] | NDArray[np.int64] | None = None,
        seed: int | None = 0,
    ) -> None:
        self.dataset, self.length, self.seed = dataset, length, seed
        self.layout = Layout("flat", dataset.hops, dataset.codebook_sizes)
        self.rows = np.arange(len(dataset)) if rows is None else np.asarray(rows, np.int64)
        self.num_tokens = int(dataset.num_codes[self.rows].sum()) + len(self.rows)
        self._stream: tuple[int, NDArray[np.int64], NDArray[np.int64]] | None = None
        self._sound: tuple[int, Tensor] | None = None

    @property
    def vocab_size(self) -> int:
        """Tokens are below this."""
        return self.layout.vocab_size

    @property
    def end(self) -> int:
        """The token END."""
        return FIRST_END

    def __len__(self) -> int:
        """Sequences of an epoch."""
        return -(-self.num_tokens // self.length)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """A sequence, by its number from the start of epoch 0.

        Returns:
            int64 `[length]` each: `tokens`; `rows`, the number of the sound that each is of, -1 for
            padding; `positions` in the sound, 0 for its first token.

        Raises:
            IndexError: the number is negative, or there are no sounds.
        """
        if number < 0 or not len(self):
            raise IndexError(number)
        epoch, inside = divmod(int(number), len(self))
        order, starts = self._order(epoch)
        begin = inside * self.length
        tokens = torch.full((self.length,), START)
        rows, positions = torch.full_like(tokens, -1), torch.zeros_like(tokens)
        place, filled = int(np.searchsorted(starts, begin, side="right")) - 1, 0
        while filled < self.length and place < len(order):
            row, first = int(order[place]), begin + filled - int(starts[place])
            part = self._tokens(row)[first : first + self.length - filled]
            span = slice(filled, filled + len(part))
            tokens[span], rows[span] = part, row
            positions[span] = torch.arange(first, first + len(part))
            filled, place = span.stop, place + 1
        return {"tokens": tokens, "rows": rows, "positions": positions}

    def _order(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows in the order of an epoch, and at which token of it each begins."""
        if self._stream is None or self._stream[0] != epoch:
            order = self.rows
            if self.seed is not None:
                random = np.random.default_rng([self.seed, epoch])
                pools = shuffled_pools(self.dataset, self.rows, random)
                order = np.concatenate([random.permutation(pool) for pool in pools])
            lengths = self.dataset.num_codes[order] + 1
            self._stream = epoch, order, np.cumsum(lengths) - lengths
        return self._stream[1:]

    def _tokens(self, row: int) -> Tensor:
        """Of a whole sound, END included; the last one is kept, it may go on in the next sequence."""
        if self._sound is None or self._sound[0] != row:
            self._sound = row, self.layout.encode(self.dataset[row].codes)[:, 0]
        return self._sound[1]
