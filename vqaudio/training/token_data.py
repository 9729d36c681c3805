"""Training batches of tokens: what a step sees follows from the seed and the step's number alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqaudio.corpus.batches import by_length
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.prior.conditions import Conditions, conditions_of
from vqaudio.prior.layout import PAD
from vqaudio.prior.model import Prior
from vqaudio.prior.stage import Passage, batch_of

MEMORY_TOKENS = 1 << 28  # kept once they are read, 4 bytes each


@dataclass(frozen=True)
class TokenBatch:
    """Sounds of like length, whole or in part.

    Args:
        passages: of each stage of the prior, a batch.
        conditions: of each sound.
    """

    passages: list[Passage]
    conditions: Conditions

    @property
    def num_tokens(self) -> int:
        """Tokens to be predicted, END included."""
        return sum(int((passage.tokens[:, 1:] != PAD).sum()) for passage in self.passages)

    def parts(self, count: int) -> Iterator["TokenBatch"]:
        """The batch in so many parts, or in single sounds where there are fewer."""
        rows = len(self.conditions.label)
        for part in torch.arange(rows).tensor_split(min(count, rows)):
            passages = [passage.part(part) for passage in self.passages]
            yield TokenBatch(passages, self.conditions.part(part))


class TokenBatches:
    """Batches of sounds of like length, every row once an epoch; a sequence never crosses two sounds.

    Of a sound that a stage cannot hold whole, each epoch sees another passage, which begins with a
    coarse frame.

    Args:
        corpus: where rows come from.
        rows: those to train on, at least one.
        prior: whose layouts, conditions and context hold.
        tokens_per_batch: about so many, over all ranks.
        seed: of all that is drawn.

    Raises:
        UserError: a text is too long for the prior.
    """

    def __init__(
        self, corpus: TokenDataset, rows: Sequence[int], prior: Prior, tokens_per_batch: int, seed: int
    ) -> None:
        self.corpus, self.prior, self.seed = corpus, prior, seed
        self.rows = np.asarray(rows)
        samples = corpus.num_samples[self.rows].tolist()
        self.lengths = np.array([self._tokens_of(length) for length in samples])
        self.conditions = conditions_of(
            prior.config,
            *(
                [values[row] for row in rows] if known else [None] * len(rows)
                for known, values in (
                    (prior.labels, corpus.column("label")),
                    (prior.speakers, corpus.column("speaker")),
                    (prior.config.text_bytes, corpus.column("text")),
                )
            ),
        )
        self.tokens_per_epoch = int(self.lengths.sum())
        count = round(self.tokens_per_epoch / tokens_per_batch)
        self.batches_per_epoch = min(max(1, count), len(self.rows))
        self._kept: dict[int, list[tuple[Tensor, Tensor | None]]] = {}
        self._room = MEMORY_TOKENS
        self._epoch: tuple[tuple[int, int], list[NDArray[np.int64]]] = ((-1, -1), [])

    @property
    def tokens_per_step(self) -> float:
        """On average, over all ranks."""
        return self.tokens_per_epoch / self.batches_per_epoch

    def batch(self, step: int, rank: int = 0, ranks: int = 1, attempt: int = 0) -> TokenBatch:
        """The sounds of one step on one rank.

        Args:
            step: counted from 0.
            rank: of `ranks` processes that share the step.
            ranks: see `rank`.
            attempt: another number gives other batches, for going on after one that broke.
        """
        epoch, number = divmod(step, self.batches_per_epoch)
        members = self._batches(epoch, attempt)[number]
        members = members[rank % len(members) :: ranks]
        random = np.random.default_rng([self.seed, attempt, step, rank])
        conditions = self.conditions.part(torch.from_numpy(members))
        room = self.prior.config.context - conditions.text_lengths
        sounds = [
            self._passages(int(member), int(space), random)
            for member, space in zip(members, room, strict=True)
        ]
        passages = [batch_of([sound[i] for sound in sounds]) for i in range(len(self.prior.stages))]
        longest = int(conditions.text_lengths.max())
        conditions = Conditions(conditions.label, conditions.speaker, conditions.text[:, :longest])
        return TokenBatch(passages, conditions)

    def _batches(self, epoch: int, attempt: int) -> list[NDArray[np.int64]]:
        """Members of each batch of an epoch: neighbours by jittered length, in random order."""
        if self._epoch[0] != (epoch, attempt):
            random = np.random.default_rng([self.seed, attempt, epoch])
            order = by_length(self.lengths, random)
            count = self.batches_per_epoch
            shares = np.arange(1, count) * self.tokens_per_epoch / count
            cuts = np.searchsorted(self.lengths[order].cumsum(), shares)
            # No batch is empty, even where one sequence has the tokens of two batches.
            steps = np.arange(1, count)
            cuts = np.maximum.accumulate(np.maximum(cuts, 1) - steps) + steps
            cuts = np.minimum(cuts, len(order) - count + steps)
            batches = np.split(order, cuts)
            self._epoch = (epoch, attempt), [batches[i] for i in random.permutation(count)]
        return self._epoch[1]

    def _tokens_of(self, num_samples: int) -> int:
        """Tokens that are seen of a sound in an epoch, END included."""
        seen = 0.0
        for stage in self.prior.stages:
            layout = stage.layout
            finest = layout.finest_frames(num_samples)
            share = min(1.0, self.prior.config.context / layout.length_with_end(finest))
            seen += share * (layout.num_tokens(finest) + (layout.num_ends > 0))
        return round(seen)

    def _passages(self, member: int, room: int, random: np.random.Generator) -> list[Passage]:
        """What each stage sees of a sound."""
        found = []
        for stage, (tokens, above) in zip(self.prior.stages, self._sound(member), strict=True):
            cycle, length = stage.layout.cycle, len(tokens) - 1
            start = 0
            if length > room:
                start = int(random.integers(-(-(length - room) // cycle) + 1)) * cycle
            found.append(stage.passage(tokens, start, min(start + room, length), above))
        return found

    def _sound(self, member: int) -> list[tuple[Tensor, Tensor | None]]:
        """Tokens of each stage and of the levels above it, int32, of a whole sound."""
        if member in self._kept:
            return self._kept[member]
        codes = self.corpus[int(self.rows[member])].codes
        sound = []
        for stage in self.prior.stages:
            above = self.prior.above(stage, codes)
            tokens = stage.tokens(stage.layout.encode(codes)).int()
            sound.append((tokens, None if above is None else above.int()))
        size = sum(tokens.numel() + (0 if above is None else above.numel()) for tokens, above in sound)
        if size <= self._room:
            self._kept[member] = sound
            self._room -= size
        return sound
