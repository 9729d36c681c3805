"""New Codes from a prior: stage by stage, step by step, several sounds side by side."""

import hashlib
import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import torch
from torch import Tensor

from vqaudio.codes import Codes, frames_for
from vqaudio.errors import UserError
from vqaudio.prior.choice import Choice
from vqaudio.prior.conditions import Conditions
from vqaudio.prior.layout import FIRST_END, PAD, Layout, Slot
from vqaudio.prior.reader import Precision, open_reader
from vqaudio.prior.stage import Stage, batch_of, evaluating

if TYPE_CHECKING:
    from vqaudio.prior.model import Prior

GROUP = 16  # sounds written side by side
NOT_KNOWN = 1 << 40  # frames of a sound that has not ended


class Options(TypedDict, total=False):
    """How to write sounds; see `Prior.sample`."""

    label: str | None
    speaker: str | None
    text: str | None
    prompt: Codes | None
    seed: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_window: int
    guidance: float
    precision: Precision


@dataclass(frozen=True)
class Request:
    """What to write, and how; see `Prior.sample`.

    Raises:
        UserError: a number is out of its range.
    """

    n: int
    seconds: float | None
    label: str | None = None
    speaker: str | None = None
    text: str | None = None
    prompt: Codes | None = None
    seed: int = 0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_window: int = 0
    guidance: float = 1.0
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        if self.n < 1:
            raise UserError(f"n {self.n}: must be at least 1")
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds > 0):
            raise UserError(f"seconds {self.seconds}: must be above 0")
        if not (math.isfinite(self.guidance) and self.guidance >= 0):
            raise UserError(f"guidance {self.guidance}: must be 0 (no conditions) or above")


def sample(prior: "Prior", request: Request) -> list[Codes]:
    """Draw sounds; the i-th one of a seed is the same whatever `n` is.

    Args:
        prior: which gives the probabilities.
        request: what to write.

    Raises:
        UserError: `seconds` is beyond what the prior can hold, or the prompt too long or too short.
    """
    plan = _Plan(prior, request)
    sounds: list[Codes] = []
    for first in range(0, request.n, GROUP):
        group = range(first, min(first + GROUP, request.n))
        for writer in _writers(plan, group):
            deque(writer.steps(), maxlen=0)
        sounds += [plan.codes([level[row] for level in writer.levels]) for row in range(len(group))]
    return sounds


def sample_stream(prior: "Prior", request: Request) -> Iterator[Codes]:
    """One sound in parts of whole coarse frames, each as soon as it is written.

    Args:
        prior: see `sample`.
        request: of one sound.

    Raises:
        UserError: see `sample`; or more than one sound is asked for.
    """
    if request.n != 1:
        raise UserError(f"n {request.n}: one sound can be streamed at a time")
    return _parts(_Plan(prior, request))


def _parts(plan: "_Plan") -> Iterator[Codes]:
    layout = plan.prior.stages[-1].layout
    behind = max(slot.lag for slot in layout.slots)
    sent = 0
    for writer in _writers(plan, range(1)):
        if writer.stage is not plan.prior.stages[-1]:
            deque(writer.steps(), maxlen=0)
            continue
        for done in writer.steps():
            whole = min(done // layout.cycle - behind, layout.frames(0, int(writer.finest[0])))
            if whole - 1 > sent:  # one is kept back: it may be the last, and is then sent as it ends
                yield plan.codes([level[0] for level in writer.levels], sent, whole - 1)
                sent = whole - 1
        yield plan.codes([level[0] for level in writer.levels], sent)


def _writers(plan: "_Plan", group: Sequence[int]) -> Iterator["Writer"]:
    """A writer for each stage, to be run before the next is asked for."""
    finest = [plan.finest or NOT_KNOWN] * len(group)
    levels: list[list[Tensor]] = []
    for stage in plan.prior.stages:
        writer = Writer(plan, stage, group, finest, levels)
        yield writer
        finest, levels = writer.finest.tolist(), writer.levels


class _Plan:
    """What a request means for a prior: lengths, and what is given."""

    def __init__(self, prior: "Prior", request: Request) -> None:
        self.prior, self.request = prior, request
        layout = prior.layout
        self.choice = Choice(
            request.temperature,
            request.top_k,
            request.top_p,
            request.min_p,
            request.repetition_window,
        )
        self.conditions = prior.conditions(request.label, request.speaker, request.text)
        self.room = prior.config.context - int(self.conditions.text_lengths[0])
        self.limit = layout.longest(self.room)
        self.num_samples: int | None = None
        self.finest: int | None = None
        hop, rate = prior.codec.hops[-1], prior.sample_rate
        if request.seconds is not None:
            # 0.07 * 100 lies above 7 by a rounding error that is no sample.
            self.num_samples = max(1, math.ceil(round(request.seconds * rate, 6)))
            self.finest = layout.finest_frames(self.num_samples)
            if layout.length(self.finest) > self.room:
                raise UserError(
                    f"seconds {request.seconds:g}: beyond the context of this prior; at most "
                    f"{self.limit * hop / rate:g}"
                )
            self.limit = self.finest
        self.prompt = self._whole_frames(request.prompt)

    def codes(self, levels: list[Tensor], first: int = 0, last: int | None = None) -> Codes:
        """Codes of a sound, or of its coarse frames `first ... last - 1`."""
        spec = self.prior.codec
        ratios = [spec.hops[0] // hop for hop in spec.hops]
        if last is None:
            samples = self.num_samples or levels[-1].shape[1] * spec.hops[-1]
        else:
            samples = last * spec.hops[0]
        part = [
            level[:, first * ratio : None if last is None else last * ratio]
            for level, ratio in zip(levels, ratios, strict=True)
        ]
        samples -= first * spec.hops[0]
        return Codes(part, samples, spec.sample_rate, list(spec.hops), spec.fingerprint)

    def _whole_frames(self, prompt: Codes | None) -> Codes | None:
        if prompt is None:
            return None
        self.prior.must_read(prompt)
        hops = self.prior.codec.hops
        frames = prompt.num_samples // hops[0]
        seconds = frames * hops[0] / self.prior.sample_rate
        if frames == 0:
            least = hops[0] / self.prior.sample_rate
            raise UserError(f"prompt: too short; one coarse frame takes {least:g} seconds")
        if frames * hops[0] // hops[-1] >= self.limit:
            most = self.limit * hops[-1] / self.prior.sample_rate
            raise UserError(f"prompt: {seconds:g} seconds, which leaves none of {most:g} to go on for")
        levels = [
            level[:, : frames * hops[0] // hop] for level, hop in zip(prompt.levels, hops, strict=True)
        ]
        return Codes(levels, frames * hops[0], prompt.sample_rate, prompt.hops, prompt.codec)


class Writer:
    """One stage writing a group of sounds side by side.

    Args:
        plan: what to write.
        stage: that writes.
        group: numbers of the sounds.
        finest: finest frames of each, NOT_KNOWN where the stage is to say it.
        above: per coarser level, its codes of each sound.
    """

    def __init__(
        self,
        plan: _Plan,
        stage: Stage,
        group: Sequence[int],
        finest: list[int],
        above: list[list[Tensor]],
    ) -> None:
        self.plan, self.stage, self.layout, self.above = plan, stage, stage.layout, above
        self.request = plan.request
        self.rows = len(group)
        self.finest = torch.tensor(finest)
        self.may_end = plan.finest is None and not above
        longest = max(finest) if above else plan.limit
        self.length = self.layout.length(longest)
        self.chance = torch.stack(
            [
                _chance(self.request.seed, stage.layout.levels[0], i, self.length, self.layout)
                for i in group
            ]
        )
        self.tokens = torch.full((self.rows, 1 + self.length, self.layout.columns), PAD)
        self.tokens[:] = stage.tokens(self.tokens[0, 1:])
        self.codes = {
            level: torch.full((self.rows, len(sizes), self.layout.frames(level, longest)), PAD)
            for level, sizes in enumerate(self.layout.codebook_sizes)
            if level in self.layout.levels
        }
        self.first = self._give(plan.prompt)
        self.conditions = self._conditions()
        heads = [stage.head(slot) for slot in self.layout.slots]
        self.heads = {slot: index for index, slot in enumerate(self.layout.slots)}
        window = min(plan.room, self.length) + int(self.conditions.text_lengths.max())
        self.reader = open_reader(
            stage.transformer, heads, len(self.conditions.label), window, self.request.precision
        )

    @property
    def levels(self) -> list[list[Tensor]]:
        """Per level, those above included, the codes of each sound: int64 `[Q, F]`."""
        written = [
            [
                codes[row][:, : self.layout.frames(level, int(self.finest[row]))]
                for row in range(self.rows)
            ]
            for level, codes in self.codes.items()
        ]
        return [*self.above, *written]

    def steps(self) -> Iterator[int]:
        """Write on, and say after each step how many there are."""
        with torch.no_grad(), evaluating(self.stage):
            yield from self._steps()

    def _steps(self) -> Iterator[int]:
        active = torch.arange(self.rows)
        start, told = -1, torch.zeros(0)
        for step in range(self.first, self.length):
            window = self.stage.window(step, self.plan.room)
            rows = self._both(active)
            if window != start:
                start, told = window, self._told(window)
                hidden = self._catch_up(start, step, told, rows)
            else:
                inputs = self.tokens[active, step : step + 1].repeat(len(rows) // len(active), 1, 1)
                x = self.stage.embed(inputs.to(told.device)) + told[rows, step - start, None]
                hidden = self.reader.read(x, rows)[:, 0]
            ended = self._say(step, hidden, active)
            if ended or not self.may_end:
                active = self._unfinished(step + 1, active)
            if step + 1 == self.length:  # the context's end stands in for END
                self.finest.clamp_(max=self.plan.limit)
            yield step + 1
            if len(active) == 0:
                return

    def _say(self, step: int, hidden: Tensor, active: Tensor) -> bool:
        """Choose the tokens of a step, and tell whether any of them is END."""
        ended = False
        for slot in self.layout.steps[step % self.layout.cycle]:
            frame = self.layout.frame(slot, step)
            if frame < 0:
                continue
            frames = [self.layout.frames(slot.level, n) for n in self._bounded(active)]
            open_ = (frame < torch.tensor(frames)) & (self.tokens[active, step + 1, slot.column] == PAD)
            places = open_.nonzero()[:, 0]
            if len(places) == 0:
                continue
            rows = active if len(places) == len(active) else active[places]
            logits = self._logits(hidden, slot, places, len(active))
            if slot.ends and (step == 0 or not self.may_end):
                logits = logits[:, : slot.size]
            elif slot.ends and step == self.first:  # all frames of a prompt are whole
                logits[:, slot.size : -1] = -torch.inf
            recent = self._recent(slot, frame, rows)
            code = self.plan.choice(logits, self.chance[rows, step, slot.column], recent)
            self.tokens[rows, step + 1, slot.column] = slot.offset + code
            if slot.ends and int(code.max()) >= slot.size:
                ended = True
                self._end(step, slot, rows, code)
            else:
                self.codes[slot.level][rows, slot.quantizer, frame] = code
        return ended

    def _end(self, step: int, slot: Slot, rows: Tensor, code: Tensor) -> None:
        """Take down codes of which some are END."""
        for row, said in zip(rows.tolist(), code.tolist(), strict=True):
            if said < slot.size:
                self.codes[slot.level][row, slot.quantizer, self.layout.frame(slot, step)] = said
            else:
                self.tokens[row, step + 1, slot.column] = FIRST_END + said - slot.size
                self.finest[row] = self.layout.finest_at_end(slot, step, said - slot.size)

    def _logits(self, hidden: Tensor, slot: Slot, places: Tensor, count: int) -> Tensor:
        """Scores of what may come, on the CPU, with guidance: the second half of `hidden` is free."""
        head = self.heads[slot]
        logits = self.reader.project(hidden[places], head).cpu()
        if len(hidden) > count:
            free = self.reader.project(hidden[count + places], head).cpu()
            logits = free + self.request.guidance * (logits - free)
        return logits

    def _recent(self, slot: Slot, frame: int, rows: Tensor) -> Tensor | None:
        window = self.plan.choice.repetition_window
        if not window:
            return None
        return self.codes[slot.level][rows, slot.quantizer, max(0, frame - window) : frame]

    def _bounded(self, rows: Tensor) -> list[int]:
        """The finest frames that each row may have."""
        return self.finest[rows].clamp(max=self.plan.limit).tolist()

    def _unfinished(self, done: int, active: Tensor) -> Tensor:
        lengths = [self.layout.length(finest) for finest in self._bounded(active)]
        return active[torch.tensor(lengths) > done]

    # --- reading ---

    def _conditions(self) -> Conditions:
        """Of all rows, then, with guidance, of as many that are told nothing."""
        said = self.plan.conditions.part(torch.zeros(self.rows, dtype=torch.int64))
        if self.above:  # text is for the first stage
            said = Conditions(said.label, said.speaker, said.text[:, :0])
        if self.request.guidance == 1:
            return said
        free = torch.zeros_like(said.label)
        return Conditions(
            torch.cat([said.label, free]),
            torch.cat([said.speaker, free]),
            torch.nn.functional.pad(said.text, (0, 0, 0, self.rows), value=-1),
        )

    def _both(self, active: Tensor) -> Tensor:
        """The rows of the reader that belong to sounds."""
        return active if self.request.guidance == 1 else torch.cat([active, active + self.rows])

    def _told(self, start: int) -> Tensor:
        """What the steps of a window are told beside tokens: `[rows of the reader, N, D]`."""
        length = min(self.plan.room, self.length - start)
        around = None
        if self.stage.surroundings is not None:
            passages = []
            for row in range(self.rows):
                above = self.stage.surroundings.tokens([level[row] for level in self.above])
                passages.append(self.stage.passage(self.tokens[row], start, start + length, above))
            around = batch_of(passages).around
            if around is not None and len(self.conditions.label) > self.rows:
                around = around.repeat(2, 1, 1)
        device = self.stage.to_logits.weight.device
        around = None if around is None else around.to(device)
        return self.stage.told(length, self.conditions.to(device), around)

    def _catch_up(self, start: int, step: int, told: Tensor, rows: Tensor) -> Tensor:
        """Read text and tokens of a window up to a step: features of that step, `[rows, D]`."""
        self.reader.forget()
        before = self.stage.condition_embedding.before(self.conditions.to(told.device))
        if before is not None:
            with_text = rows[self.conditions.text_lengths[rows] > 0]
            self.reader.read(before[with_text], with_text)
        inputs = self.tokens[rows % self.rows, start : step + 1]
        x = self.stage.embed(inputs.to(told.device)) + told[rows, : step + 1 - start]
        # A half at a time: told something or nothing, they have been read unequally far.
        parts = [self.reader.read(x[half], rows[half]) for half in self._halves(len(rows))]
        return torch.cat([part[:, -1] for part in parts])

    def _halves(self, count: int) -> list[slice]:
        if self.request.guidance == 1:
            return [slice(0, count)]
        return [slice(0, count // 2), slice(count // 2, count)]

    def _give(self, prompt: Codes | None) -> int:
        """Write down what is given, and tell the first step that is not."""
        if prompt is None:
            return 0
        grid = self.layout.encode(prompt, end=False)
        steps = min(len(grid), self.length)
        self.tokens[:, 1 : 1 + steps] = grid[:steps]
        for level, codes in self.codes.items():
            given = prompt.levels[level]
            codes[:, :, : given.shape[1]] = given
        return frames_for(prompt.num_samples, self.layout.hops[0]) * self.layout.cycle


def _chance(seed: int, level: int, sound: int, steps: int, layout: Layout) -> Tensor:
    """All chance in one sound of a seed, unlike that of any other: float64 `[steps, columns, 2]`."""
    digest = hashlib.sha256(f"{seed} {level} {sound}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    # As rows, so that a longer sound begins with the same chance.
    return torch.rand(steps, layout.columns, 2, dtype=torch.float64, generator=generator)
