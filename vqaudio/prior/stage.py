"""Stage: one causal transformer over one layout, and what it is told beside the tokens."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from vqaudio.config import PriorConfig
from vqaudio.prior.conditions import ConditionEmbedding, Conditions
from vqaudio.prior.layout import FIRST_END, PAD, START, Layout, Slot
from vqaudio.prior.surroundings import NOTHING, Surroundings
from vqaudio.prior.token_table import TokenTable
from vqaudio.prior.transformer import Transformer


@dataclass  # not frozen: lightning fills in copies where it changes the precision of what it is given
class Passage:
    """A part of a sound, as a stage reads it; also a batch of such, with `B` in front.

    Args:
        tokens: int64 `[1 + N, columns]`. Row 0 is only read: START, or, for a part that begins with
            a later cycle, the row before it. The others are also predicted.
        around: int64 `[F + 2 * REACH, M]`, tokens of the levels above; None in a first stage.
    """

    tokens: Tensor
    around: Tensor | None

    def part(self, rows: Tensor) -> "Passage":
        """Some rows of a batch."""
        return Passage(self.tokens[rows], None if self.around is None else self.around[rows])

    def to(self, device: torch.device) -> "Passage":
        """The same on a device."""
        return Passage(self.tokens.to(device), None if self.around is None else self.around.to(device))


def batch_of(passages: Sequence[Passage]) -> Passage:
    """Passages of one stage side by side, shorter ones filled up at their ends."""
    tokens = pad_sequence([passage.tokens for passage in passages], True, PAD)
    around = [passage.around for passage in passages if passage.around is not None]
    return Passage(tokens.long(), pad_sequence(around, True, NOTHING).long() if around else None)


class Stage(nn.Module):
    """A probability for the tokens of a layout.

    What comes next is told to the transformer several times over: the tokens before, an embedding of
    the next step's place in the cycle, the conditions at every step, and, in a cascade's finer
    stage, the coarser codes around. Probabilities are normalized over what may come there, so that
    no bit is spent on codes of another codebook.

    Args:
        config: shape of the transformer, and the conditions.
        layout: what it reads.
        surroundings: for a stage that is told coarser levels.
    """

    def __init__(
        self, config: PriorConfig, layout: Layout, surroundings: Surroundings | None = None
    ) -> None:
        super().__init__()
        self.layout, self.context, width = layout, config.context, config.width
        books = layout.books(config.vector_dims) if config.vector_dims else []
        self.token_embedding = TokenTable(layout.vocab_size, width, books)
        self.step_embedding = nn.Embedding(layout.cycle, width)
        # Text is for the first stage: it is in the coarse codes by then.
        self.condition_embedding = ConditionEmbedding(config, text=surroundings is None)
        self.surroundings = surroundings
        self.dropout = nn.Dropout(config.dropout)
        self.transformer = Transformer(
            config.layers, width, config.heads, config.dropout, config.context
        )
        self.to_logits = TokenTable(layout.vocab_size, width, books)
        nn.init.normal_(self.step_embedding.weight, std=0.02)

    def set_code_vectors(self, vectors: Sequence[Sequence[Tensor]]) -> None:
        """See `Prior.set_code_vectors`."""
        own = [vector for level in self.layout.levels for vector in vectors[level]]
        for table in (self.token_embedding, self.to_logits):
            table.set_vectors(own)
        if self.surroundings is not None:
            above = vectors[: self.layout.levels[0]]
            self.surroundings.embedding.set_vectors([vector for level in above for vector in level])

    # --- sequences ---

    def tokens(self, grid: Tensor) -> Tensor:
        """A layout's grid with START before it: int64 `[1 + steps, columns]`."""
        start = torch.full((1, grid.shape[1]), PAD)
        start[0, 0] = START
        return torch.cat([start, grid])

    def window(self, step: int, room: int) -> int:
        """The start of the passage that step `step` is read in, by a transformer with so much room.

        A sound that it cannot hold whole is read in overlapping passages: every step but the first
        ones has at least almost half the room before it.
        """
        start = 0
        while step >= start + room:
            start = (start + room - room // 2) // self.layout.cycle * self.layout.cycle
        return start

    def passage(self, tokens: Tensor, first: int, last: int, above: Tensor | None) -> Passage:
        """Steps `first ... last - 1` of a sound, `first` at the start of a cycle.

        Args:
            tokens: of the whole sound, from `tokens`.
            first: see above.
            last: see above.
            above: tokens of the levels above, of the whole sound.
        """
        if self.surroundings is None or above is None:
            return Passage(tokens[first : last + 1], None)
        cycles = -(-(last - first) // self.layout.cycle)
        ratio = self.surroundings.ratio
        around = self.surroundings.around(above, first // self.layout.cycle * ratio, cycles * ratio)
        return Passage(tokens[first : last + 1], around)

    # --- probabilities ---

    def forward(
        self, passages: Passage, conditions: Conditions, smoothing: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """How unlikely every token is, given the rows before it.

        Args:
            passages: a batch; PAD fills up shorter ones at their ends.
            conditions: of each.
            smoothing: share of the loss that is spread evenly over all tokens that may come.

        Returns:
            Two float32 `[B, N, columns]`, in nats, 0 where there is no token: the negative
            log-likelihood, and what to learn from, which is the same without smoothing.
        """
        inputs, targets = passages.tokens[:, :-1], passages.tokens[:, 1:]
        starts_sound = passages.tokens[:, 0, 0] == START
        told = self.told(inputs.shape[1], conditions, passages.around)
        hidden = self.hidden(self.embed(inputs) + told, conditions)
        table = self.to_logits.table()
        nats = hidden.new_zeros(targets.shape, dtype=torch.float32)
        learned = nats.clone() if smoothing else nats
        for slot in self.layout.slots:
            places = (slice(None), slice(slot.step, None, self.layout.cycle))
            wanted = targets[*places, slot.column]
            if wanted.shape[1] == 0:
                continue
            logits = (hidden[places] @ self.head(slot, table).T).float()
            if slot.ends and slot.step == 0:  # no sound is empty
                logits[:, 0, slot.size :] = logits[:, 0, slot.size :].masked_fill(
                    starts_sound[:, None], -torch.inf
                )
            said = wanted != PAD
            whole = logits.logsumexp(dim=-1)
            scores = logits.gather(-1, slot.outputs_of(wanted).masked_fill(~said, 0)[..., None])[..., 0]
            nats[*places, slot.column] = torch.where(said, whole - scores, 0.0)
            if smoothing:
                possible = logits.isfinite()
                mean = logits.masked_fill(~possible, 0.0).sum(dim=-1) / possible.sum(dim=-1)
                smoothed = whole - (1 - smoothing) * scores - smoothing * mean
                learned[*places, slot.column] = torch.where(said, smoothed, 0.0)
        return nats, learned

    def embed(self, inputs: Tensor, table: Tensor | None = None) -> Tensor:
        """The rows before the steps to be predicted, int64 `[B, N, columns]`, as vectors `[B, N, D]`.

        `table` is that of the tokens' vectors, if it was worked out before.
        """
        table = self.token_embedding.table() if table is None else table
        x = F.embedding(inputs.clamp(min=0), table)
        return x[:, :, 0] if inputs.shape[2] == 1 else (x * (inputs != PAD)[..., None]).sum(dim=2)

    def told(self, length: int, conditions: Conditions, around: Tensor | None) -> Tensor:
        """What each step of a passage is told beside the tokens.

        Args:
            length: steps of the passage.
            conditions: of each row.
            around: as in `Passage`, with `B` in front.

        Returns:
            `[B, length, D]`.
        """
        steps = torch.arange(length, device=self.step_embedding.weight.device)
        x = self.step_embedding(steps % self.layout.cycle)
        x = x + self.condition_embedding.everywhere(conditions)[:, None]
        if self.surroundings is not None and around is not None:
            x = x + self.surroundings(around)[:, self._frames_above(steps)]
        return x

    def hidden(self, x: Tensor, conditions: Conditions) -> Tensor:
        """Features `[B, N, D]` from which the tokens of each step are predicted, text read first."""
        before = self.condition_embedding.before(conditions)
        if before is None:
            return self.transformer(self.dropout(x))
        # A text is followed by its sound at once, wherever it ends: shorter rows end earlier. Each of
        # them fits the context; the longest text and the longest passage need not be in one row.
        room, length = before.shape[1], x.shape[1]
        lengths = conditions.text_lengths[:, None]
        places = torch.arange(min(room + length, self.context), device=x.device)[None]
        source = torch.where(places < lengths, places, places + room - lengths)
        both = _pick(torch.cat([before, x], dim=1), source.clamp(max=room + length - 1))
        after = lengths + torch.arange(length, device=x.device)
        return _pick(self.transformer(self.dropout(both)), after.clamp(max=both.shape[1] - 1))

    def logits(self, hidden: Tensor, slot: Slot) -> Tensor:
        """Scores `[..., size + ends]` of what may come in a slot: its codebook, then END."""
        return hidden @ self.head(slot).T

    def head(self, slot: Slot, table: Tensor | None = None) -> Tensor:
        """The rows of the output matrix that belong to a slot: `[size + ends, D]`.

        `table` is that matrix, if it was worked out before.
        """
        table = self.to_logits.table() if table is None else table
        codes = table[slot.offset : slot.offset + slot.size]
        if not slot.ends:
            return codes
        return torch.cat([codes, table[FIRST_END : FIRST_END + len(slot.ends)]])

    def _frames_above(self, steps: Tensor) -> Tensor:
        """The frame of the level above in which each step's slot lies, from the passage's start on."""
        assert self.surroundings is not None
        inside = [
            slots[0].frame * self.surroundings.ratio // self.layout.ratio(slots[0].level)
            for slots in self.layout.steps
        ]
        places = torch.tensor(inside, device=steps.device)[steps % self.layout.cycle]
        return steps // self.layout.cycle * self.surroundings.ratio + places


def _pick(x: Tensor, places: Tensor) -> Tensor:
    """`x[b, places[b, n]]`: `[B, N, D]`."""
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[2]))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Without dropout; afterwards as it was."""
    if not model.training:
        yield
        return
    model.eval()
    try:
        yield
    finally:
        model.train()
