"""Training batches of tokens: what a step sees follows from the seed and the step's number alone."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqaudio.corpus.shards import TokenCorpus
from vqaudio.prior.layout import END
from vqaudio.prior.model import PAD, Prior

MEMORY_TOKENS = 1 << 28  # kept once they are read, 4 bytes each
JITTER = 0.1  # of lengths, before rows are sorted by them: other neighbours in each epoch


class TokenBatches:
    """Batches of sequences of like length, every row once an epoch.

    A sequence is END, the tokens of a sound and END again. Of one longer than the context, each
    epoch sees another part, which begins with a coarse frame.

    Args:
        corpus: where rows come from.
        rows: those to train on, at least one.
        prior: whose layout, labels and context hold.
        tokens_per_batch: about so many, over all ranks.
        seed: of all that is drawn.
    """

    def __init__(
        self, corpus: TokenCorpus, rows: Sequence[int], prior: Prior, tokens_per_batch: int, seed: int
    ) -> None:
        self.corpus, self.layout = corpus, prior.layout
        self.context, self.seed = prior.config.context, seed
        samples, labels = corpus.column("num_samples"), corpus.column("label")
        self.rows = np.asarray(rows)
        self.lengths = np.array([self.layout.length(samples[row]) + 1 for row in rows])
        known = bool(prior.labels)
        self.labels = np.array([prior.label_index(labels[row]) if known else 0 for row in rows])
        self.tokens_per_epoch = int(self.lengths.clip(max=self.context - 1).sum())
        count = round(self.tokens_per_epoch / tokens_per_batch)
        self.batches_per_epoch = min(max(1, count), len(self.rows))
        self._kept: dict[int, Tensor] = {}
        self._room = MEMORY_TOKENS
        self._epoch: tuple[tuple[int, int], list[NDArray[np.int64]]] = ((-1, -1), [])

    @property
    def tokens_per_step(self) -> float:
        """On average, over all ranks."""
        return self.tokens_per_epoch / self.batches_per_epoch

    def batch(self, step: int, rank: int = 0, ranks: int = 1, attempt: int = 0) -> tuple[Tensor, Tensor]:
        """The sequences of one step on one rank.

        Args:
            step: counted from 0.
            rank: of `ranks` processes that share the step.
            ranks: see `rank`.
            attempt: another number gives other batches, for going on after one that broke.

        Returns:
            Sequences int64 `[B, 1 + N]` as `Prior.forward` takes them, and labels int64 `[B]`.
        """
        epoch, number = divmod(step, self.batches_per_epoch)
        members = self._batches(epoch, attempt)[number]
        members = members[rank % len(members) :: ranks]
        random = np.random.default_rng([self.seed, attempt, step, rank])
        sequences = [self._part(int(member), random) for member in members]
        padded = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=PAD)
        return padded.long(), torch.from_numpy(self.labels[members])

    def _batches(self, epoch: int, attempt: int) -> list[NDArray[np.int64]]:
        """Members of each batch of an epoch: neighbours by jittered length, in random order."""
        if self._epoch[0] != (epoch, attempt):
            random = np.random.default_rng([self.seed, attempt, epoch])
            lengths = self.lengths.clip(max=self.context - 1)
            order = np.argsort(lengths * (1 + JITTER * random.random(len(lengths))), kind="stable")
            count = self.batches_per_epoch
            shares = np.arange(1, count) * self.tokens_per_epoch / count
            cuts = np.searchsorted(lengths[order].cumsum(), shares)
            # No batch is empty, even where one sequence has the tokens of two batches.
            steps = np.arange(1, count)
            cuts = np.maximum.accumulate(np.maximum(cuts, 1) - steps) + steps
            cuts = np.minimum(cuts, len(order) - count + steps)
            batches = np.split(order, cuts)
            self._epoch = (epoch, attempt), [batches[i] for i in random.permutation(count)]
        return self._epoch[1]

    def _part(self, member: int, random: np.random.Generator) -> Tensor:
        sequence = self._sequence(int(self.rows[member]))
        surplus = len(sequence) - self.context
        if surplus <= 0:
            return sequence
        cycle = len(self.layout.slots)
        start = int(random.integers(-(-surplus // cycle) + 1)) * cycle
        return sequence[start : start + self.context]

    def _sequence(self, row: int) -> Tensor:
        """int32 `[1 + N]`."""
        if row in self._kept:
            return self._kept[row]
        tokens = self.layout.encode(self.corpus[row].codes).int()
        sequence = torch.cat([tokens.new_tensor([END]), tokens])
        if len(sequence) <= self._room:
            self._kept[row] = sequence
            self._room -= len(sequence)
        return sequence
