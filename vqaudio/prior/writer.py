"""Writer: one stage of a prior writes a group of sounds side by side, step by step."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vqaudio.codes import Codes
from vqaudio.prior.choice import Choice
from vqaudio.prior.conditions import NO_TEXT, Conditions
from vqaudio.prior.layout import FIRST_END, PAD, Slot
from vqaudio.prior.reader import Precision, open_reader
from vqaudio.prior.stage import Stage, batch_of, evaluating

NOT_KNOWN = 1 << 40  # frames of a sound that has not ended


@dataclass(frozen=True)
class Task:
    """What all stages and sounds of a request have in common.

    Args:
        choice: of each token.
        conditions: of one sound.
        prompt: whole coarse frames that every sound begins with.
        seed: of all chance.
        guidance: weight of the conditions.
        precision: of the reader.
        room: steps that a transformer holds beside the text.
        limit: finest frames of a sound at most.
    """

    choice: Choice
    conditions: Conditions
    prompt: Codes | None
    seed: int
    guidance: float
    precision: Precision
    room: int
    limit: int


class Writer:
    """One stage writing a group of sounds side by side.

    Args:
        task: what to write.
        stage: that writes.
        group: numbers of the sounds.
        finest: finest frames of each, NOT_KNOWN where the stage is to say it.
        above: per coarser level, its codes of each sound.
    """

    def __init__(
        self,
        task: Task,
        stage: Stage,
        group: Sequence[int],
        finest: list[int],
        above: list[list[Tensor]],
    ) -> None:
        self.task, self.stage, self.layout, self.above = task, stage, stage.layout, above
        self.rows, self.guided = len(group), task.guidance != 1
        self.finest = torch.tensor(finest)
        self.may_end = NOT_KNOWN in finest
        longest = min(max(finest), task.limit)
        self.length = self.layout.length(longest)
        self.chance = torch.stack([self._chance(sound) for sound in group])
        self.tokens = torch.full((self.rows, 1 + self.length, self.layout.columns), PAD)
        self.tokens[:] = stage.tokens(self.tokens[0, 1:])
        self.codes = {
            level: torch.full((self.rows, len(sizes), self.layout.frames(level, longest)), PAD)
            for level, sizes in enumerate(self.layout.codebook_sizes)
            if level in self.layout.levels
        }
        self.above_tokens = []
        if stage.surroundings is not None:
            rows = [[level[row] for level in above] for row in range(self.rows)]
            self.above_tokens = [stage.surroundings.tokens(levels) for levels in rows]
        self.first, self.given = self._give(task.prompt)
        self.conditions = self._conditions()
        self.table, scores = (t.table().detach() for t in (stage.token_embedding, stage.to_logits))
        # Slots of one codebook share a head, but for END.
        self.heads = {slot: (slot.offset, len(slot.ends)) for slot in self.layout.slots}
        heads = {key: stage.head(slot, scores) for slot, key in self.heads.items()}
        self.head_numbers = {key: number for number, key in enumerate(heads)}
        window = min(task.room, self.length) + int(self.conditions.text_lengths.max())
        self.reader = open_reader(
            stage.transformer,
            list(heads.values()),
            len(self.conditions.label),
            window,
            task.precision,
        )

    @property
    def levels(self) -> list[list[Tensor]]:
        """Per level, those above included, the codes of each sound: int64 `[Q, F]`."""
        ends, written = self.finest.tolist(), []
        for level, codes in self.codes.items():
            counts = [self.layout.frames(level, end) for end in ends]
            written.append([row[:, :count] for row, count in zip(codes, counts, strict=True)])
        return [*self.above, *written]

    def steps(self) -> Iterator[int]:
        """Write on, and say after each step how many there are."""
        steps = self._steps()
        while True:
            # Not around the yield: between two steps the caller's own settings hold.
            with torch.no_grad(), evaluating(self.stage):
                done = next(steps, None)
            if done is None:
                return
            yield done

    def _steps(self) -> Iterator[int]:
        active = self._unfinished(self.first, torch.arange(self.rows))
        start, told = -1, torch.zeros(0)
        for step in range(self.first, self.length):
            rows = torch.cat([active, active + self.rows]) if self.guided else active
            window = self.stage.window(step, self.task.room)
            if window != start:
                start, told = window, self._told(window)
                hidden = self._catch_up(start, step, told, rows)
            else:
                before = self.tokens[_index(active, self.rows), step : step + 1].to(told.device)
                x = self.stage.embed(before, self.table)
                x = torch.cat([x, x]) if self.guided else x
                x = x + told[_index(rows, len(told)), step - start, None]
                hidden = self.reader.read(x, rows)[:, 0]
            ended = self._say(step, hidden, active)
            if step + 1 == self.length:  # the context's end stands in for END
                self.finest.clamp_(max=self.task.limit)
            if ended or step + 1 >= self.next_stop:
                active = self._unfinished(step + 1, active)
            yield step + 1
            if len(active) == 0:
                return

    def _unfinished(self, done: int, active: Tensor) -> Tensor:
        """Which sounds have more than so many steps; also what `_say` must know of their ends."""
        bounds = self.finest.clamp(max=self.task.limit).tolist()
        self.frames = {
            level: torch.tensor([self.layout.frames(level, bound) for bound in bounds])
            for level in self.codes
        }
        lengths = torch.tensor([self.layout.length(bound) for bound in bounds])
        active = active[lengths[active] > done]
        self.next_stop = int(lengths[active].min()) if len(active) else done
        self.fewest = {
            level: int(frames[active].min()) if len(active) else 0
            for level, frames in self.frames.items()
        }
        return active

    # --- saying ---

    def _say(self, step: int, hidden: Tensor, active: Tensor) -> bool:
        """Choose the tokens of a step, and tell whether any of them is END."""
        ended = False
        for slot in self.layout.steps[step % self.layout.cycle]:
            frame = self.layout.frame(slot, step)
            places = self._open(slot, frame, step, active)
            if len(places) == 0:
                continue
            rows = active[places] if len(places) < len(active) else active
            which = _index(rows, self.rows)
            logits = self._logits(hidden, slot, places, len(active))
            if slot.ends and (step == 0 or not self.may_end):
                logits = logits[:, : slot.size]
            elif slot.ends and step == self.first:  # all frames of a prompt are whole
                logits[:, slot.size : -1] = -torch.inf
            code = self.task.choice(
                logits, self.chance[which, step, slot.column], self._recent(slot, frame, rows)
            )
            self.tokens[which, step + 1, slot.column] = slot.offset + code
            if slot.ends and int(code.max()) >= slot.size:
                ended = True
                over = code >= slot.size
                self._end(step, slot, rows[over], code[over])
                which, code = rows[~over], code[~over]
            self.codes[slot.level][which, slot.quantizer, frame] = code
        return ended

    def _open(self, slot: Slot, frame: int, step: int, active: Tensor) -> Tensor:
        """Which of the active sounds have something to say in a slot."""
        if 0 <= frame < self.fewest[slot.level] and step >= self.given:
            return torch.arange(len(active))
        missing = self.tokens[active, step + 1, slot.column] == PAD
        return (missing & (frame >= 0) & (self.frames[slot.level][active] > frame)).nonzero()[:, 0]

    def _end(self, step: int, slot: Slot, rows: Tensor, said: Tensor) -> None:
        for row, end in zip(rows.tolist(), (said - slot.size).tolist(), strict=True):
            self.tokens[row, step + 1, slot.column] = FIRST_END + end
            self.finest[row] = self.layout.finest_at_end(slot, step, end)

    def _logits(self, hidden: Tensor, slot: Slot, places: Tensor, count: int) -> Tensor:
        """Scores of what may come, on the CPU; with guidance the second half of `hidden` is free."""
        head = self.head_numbers[self.heads[slot]]
        halves = [half[_index(places, count)] for half in hidden.split(count)]
        logits = self.reader.project(halves[0], head).cpu()
        if self.guided:
            free = self.reader.project(halves[1], head).cpu()
            logits = free + self.task.guidance * (logits - free)
        return logits

    def _recent(self, slot: Slot, frame: int, rows: Tensor) -> Tensor | None:
        window = self.task.choice.repetition_window
        if not window:
            return None
        return self.codes[slot.level][rows, slot.quantizer, max(0, frame - window) : frame]

    def _chance(self, sound: int) -> Tensor:
        """All chance in one sound of a seed, unlike that of any other: float64 `[steps, columns, 2]`."""
        digest = hashlib.sha256(f"{self.task.seed} {self.layout.levels[0]} {sound}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        # Step by step, so that a longer sound begins with the same chance.
        shape = (self.length, self.layout.columns, 2)
        return torch.rand(shape, dtype=torch.float64, generator=generator)

    # --- reading ---

    def _conditions(self) -> Conditions:
        """Of all rows of the reader: every sound, then, with guidance, every sound told nothing."""
        said = self.task.conditions.part(torch.zeros(self.rows, dtype=torch.int64))
        if self.above:  # text is for the first stage
            said = Conditions(said.label, said.speaker, said.text[:, :0])
        if not self.guided:
            return said
        free = torch.zeros_like(said.label)
        return Conditions(
            torch.cat([said.label, free]),
            torch.cat([said.speaker, free]),
            F.pad(said.text, (0, 0, 0, self.rows), value=NO_TEXT),
        )

    def _told(self, start: int) -> Tensor:
        """What the steps of a window are told beside tokens: `[rows of the reader, N, D]`."""
        length = min(self.task.room, self.length - start)
        device = self.stage.to_logits.weight.device
        around = None
        if self.stage.surroundings is not None:
            passages = [
                self.stage.passage(tokens, start, start + length, above)
                for tokens, above in zip(self.tokens, self.above_tokens, strict=True)
            ]
            around = batch_of(passages * (2 if self.guided else 1)).to(device).around
        return self.stage.told(length, self.conditions.to(device), around)

    def _catch_up(self, start: int, step: int, told: Tensor, rows: Tensor) -> Tensor:
        """Read text and tokens of a window up to a step: features of that step, `[rows, D]`."""
        self.reader.forget()
        text = self.stage.condition_embedding.before(self.conditions.to(told.device))
        if text is not None:
            with_text = rows[self.conditions.text_lengths[rows] > 0]
            self.reader.read(text[with_text], with_text)
        before = self.tokens[rows % self.rows, start : step + 1]
        x = self.stage.embed(before.to(told.device), self.table) + told[rows, : step + 1 - start]
        # With guidance half of them have no text, and have not been read equally far.
        halves = zip(x.chunk(1 + self.guided), rows.chunk(1 + self.guided), strict=True)
        return torch.cat([self.reader.read(part, which)[:, -1] for part, which in halves])

    def _give(self, prompt: Codes | None) -> tuple[int, int]:
        """Write down what is given: the step to write on from, and the first with nothing given."""
        if prompt is None:
            return 0, 0
        grid = self.layout.encode(prompt, end=False)[: self.length]
        self.tokens[:, 1 : 1 + len(grid)] = grid
        for level, codes in self.codes.items():
            codes[:, :, : prompt.levels[level].shape[1]] = prompt.levels[level]
        return prompt.levels[0].shape[1] * self.layout.cycle, len(grid)


def _index(rows: Tensor, count: int) -> Tensor | slice:
    """What picks these rows of so many: a slice, which copies nothing, where it is all of them."""
    return slice(None) if len(rows) == count else rows
