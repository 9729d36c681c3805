"""New Codes from a prior: stage by stage, step by step, several sounds side by side."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from torch import Tensor

from vqaudio.codes import Codes
from vqaudio.errors import UserError
from vqaudio.prior.choice import Choice
from vqaudio.prior.reader import Precision
from vqaudio.prior.writer import NOT_KNOWN, Task, Writer

if TYPE_CHECKING:
    from vqaudio.prior.model import Prior

GROUP = 16  # sounds written side by side


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
        writer = Writer(plan.task, stage, group, finest, levels)
        yield writer
        finest, levels = writer.finest.tolist(), writer.levels


class _Plan:
    """What a request means for a prior: lengths, and what is given."""

    def __init__(self, prior: "Prior", request: Request) -> None:
        self.prior = prior
        layout = prior.layout
        conditions = prior.conditions(request.label, request.speaker, request.text)
        room = prior.room(conditions)
        limit = layout.longest(room)
        self.num_samples: int | None = None
        self.finest: int | None = None
        hop, rate = prior.codec.hops[-1], prior.sample_rate
        if request.seconds is not None:
            # 0.07 * 100 lies above 7 by a rounding error that is no sample.
            self.num_samples = max(1, math.ceil(round(request.seconds * rate, 6)))
            self.finest = layout.finest_frames(self.num_samples)
            if layout.length(self.finest) > room:
                most = layout.longest(room, end=False) * hop / rate
                raise UserError(
                    f"seconds {request.seconds:g}: beyond the context of this prior; at most {most:g}"
                )
            limit = self.finest
        choice = Choice(
            request.temperature,
            request.top_k,
            request.top_p,
            request.min_p,
            request.repetition_window,
        )
        self.task = Task(
            choice,
            conditions,
            self._whole_frames(request.prompt, limit),
            request.seed,
            request.guidance,
            request.precision,
            room,
            limit,
        )

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

    def _whole_frames(self, prompt: Codes | None, limit: int) -> Codes | None:
        if prompt is None:
            return None
        self.prior.must_read(prompt)
        hops = self.prior.codec.hops
        frames = prompt.num_samples // hops[0]
        seconds = frames * hops[0] / self.prior.sample_rate
        if frames == 0:
            least = hops[0] / self.prior.sample_rate
            raise UserError(f"prompt: too short; give at least a coarse frame, {least:g} seconds")
        if frames * hops[0] // hops[-1] >= limit:
            most = limit * hops[-1] / self.prior.sample_rate
            raise UserError(
                f"prompt: {seconds:g} seconds, which leaves none of {most:g} to go on for; cut it"
            )
        levels = [
            level[:, : frames * hops[0] // hop] for level, hop in zip(prompt.levels, hops, strict=True)
        ]
        return Codes(levels, frames * hops[0], prompt.sample_rate, prompt.hops, prompt.codec)
