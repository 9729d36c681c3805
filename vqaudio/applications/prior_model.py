"""The prior model: codes by a prior's likelihood and the code tables together.

Both say how likely the next code is; their logits are added, each with a weight, which is a product
of experts (Hinton 2002, Neural Computation 14, equation 1). The prior's numbers are rounded floats:
another kind of machine may find others, and then the codes come out wrong. Writing and reading take the
same steps, one code at a time, so that on one kind of machine they agree bit for bit.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vqaudio.applications.block_codes import Walk
from vqaudio.applications.code_tables import PAD, CodeTables
from vqaudio.applications.coder import LOGIT_BITS, Integers, frequencies
from vqaudio.codec.model import Codec
from vqaudio.prior.layout import PAD as NO_TOKEN
from vqaudio.prior.layout import Slot
from vqaudio.prior.model import Prior
from vqaudio.prior.reader import open_reader
from vqaudio.prior.stage import Stage, batch_of, evaluating

# Out of 256; found by benchmarks/vqa_weights.py on sounds that were held back from both.
PRIOR_WEIGHT, TABLES_WEIGHT = 199, 83
STEPS_A_NAT = (1 << LOGIT_BITS) / math.log(2)


class PriorModel:
    """Frequencies of codes by a prior and by code tables.

    Args:
        prior: over the codes of the codec.
        codec: whose codes.
        tables: of the codec.

    Raises:
        UserError: the prior reads the codes of another codec.
    """

    kind: Literal["static", "prior"] = "prior"
    rounds = True

    def __init__(self, prior: Prior, codec: Codec, tables: CodeTables) -> None:
        prior.check_codec(codec.fingerprint)
        self.prior, self.tables = prior, tables
        names = prior.fingerprint + tables.fingerprint
        self.fingerprint = hashlib.sha256(names.encode()).hexdigest()

    def walk(self, frames: Sequence[int]) -> Walk:
        """See `CodeModel.walk`: in the order of the prior's layout."""
        codes = self.tables.padded(frames)
        if not frames[0]:
            return
        for stage in self.prior.stages:
            yield from _StageWalk(self, stage, codes, frames).steps()

    def product(self, by_prior: Integers, by_tables: Integers) -> Integers:
        """Frequencies by the logits of both, int64 `[K]`, base 2 in steps of 1/1024."""
        return frequencies((PRIOR_WEIGHT * by_prior + TABLES_WEIGHT * by_tables) >> 8)


class _StageWalk:
    """One stage of the prior, through one block.

    Args:
        model: what gives the frequencies.
        stage: of its prior.
        codes: as `CodeTables.padded` has them; what is read is written there.
        frames: per level.
    """

    def __init__(
        self, model: PriorModel, stage: Stage, codes: list[Integers], frames: Sequence[int]
    ) -> None:
        self.model, self.stage, self.layout = model, stage, stage.layout
        self.codes, self.frames = codes, frames
        self.conditions = model.prior.conditions()
        self.room = model.prior.room(self.conditions)
        self.length = self.layout.length(frames[-1])
        self.above = None
        if stage.surroundings is not None:
            known = [torch.from_numpy(level[:, PAD:-PAD]) for level in codes[: self.layout.levels[0]]]
            self.above = stage.surroundings.tokens(known)
        self.table, scores = (t.table().detach() for t in (stage.token_embedding, stage.to_logits))
        books = {slot.offset: stage.head(slot, scores)[: slot.size] for slot in self.layout.slots}
        self.heads = {offset: number for number, offset in enumerate(books)}
        window = min(self.room, self.length)
        self.reader = open_reader(stage.transformer, list(books.values()), 1, window, "float32")
        self.tokens = stage.tokens(torch.full((self.length, self.layout.columns), NO_TOKEN))
        self.start, self.told = -1, torch.zeros(0)

    def steps(self) -> Walk:
        """See `CodeModel.walk`."""
        for step in range(self.length):
            hidden = self._hidden(step)
            # What one step says together comes in the order of time, so that tables know all before it.
            for slot in sorted(
                self.layout.steps[step % self.layout.cycle],
                key=lambda slot: (slot.level, -slot.quantizer),
            ):
                frame = self.layout.frame(slot, step)
                if 0 <= frame < self.frames[slot.level]:
                    share = self._frequencies(hidden, slot, frame)
                    code = yield slot.level, slot.quantizer, frame, share
                    self.tokens[step + 1, slot.column] = slot.offset + code
                    self.codes[slot.level][slot.quantizer, PAD + frame] = code

    @torch.no_grad()
    def _hidden(self, step: int) -> Tensor:
        """Features `[1, D]` of a step."""
        window = self.stage.window(step, self.room)
        first = step if window == self.start else window
        with evaluating(self.stage):
            if window != self.start:
                self.start, self.told = window, self._told(window)
                self.reader.forget()
            told = self.told[:, first - window : step + 1 - window]
            x = self.stage.embed(self.tokens[None, first : step + 1], self.table) + told
            return self.reader.read(x, torch.zeros(1, dtype=torch.int64))[:, -1]

    def _told(self, start: int) -> Tensor:
        """What the steps of a window are told beside tokens: `[1, N, D]`."""
        length = min(self.room, self.length - start)
        passage = self.stage.passage(self.tokens, start, start + length, self.above)
        return self.stage.told(length, self.conditions, batch_of([passage]).around)

    @torch.no_grad()
    def _frequencies(self, hidden: Tensor, slot: Slot, frame: int) -> Integers:
        natural = self.reader.project(hidden, self.heads[slot.offset])[0].double().numpy()
        by_prior = np.rint(natural * STEPS_A_NAT).astype(np.int64)
        frames = np.array([frame])
        [by_tables] = self.model.tables.logits(self.codes, slot.level, slot.quantizer, frames)
        return self.model.product(by_prior, by_tables)
