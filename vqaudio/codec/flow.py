"""Samples to codes through the layers in C, piece by piece: each keeps the rows that it still needs.

Every row has its place in the sound, counted from the sound's start at the rate of its layer. Rows
that hear nothing of the sound, before and behind it, are all alike: they are not computed but put
where a layer needs them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vqaudio.codec.row_encoder import RowEncoder, Step
from vqaudio.codec.rows import Span
from vqaudio.codec.windows import AudioWindow
from vqaudio.codes import frames_for

EVERYWHERE = 1 << 60


class Source(NamedTuple):
    """What a queue is filled from.

    Args:
        begin: place of the first row that will come.
        silence: `[1, C]`, the row at all places before it, where such are asked for.
    """

    begin: int
    silence: Tensor


class Queue:
    """Rows `[F, C]` that wait to be used, from the place `begin` on."""

    def __init__(self, source: Source, begin: int) -> None:
        self.place, self.silence = begin, source.silence
        self.skip = max(0, begin - source.begin)
        self.rows = source.silence.repeat(max(0, source.begin - begin), 1)

    def put(self, rows: Tensor, end: int | None) -> None:
        """Add what has come; and where nothing will come any more, silence until the place `end`."""
        if self.skip:
            skip = min(self.skip, len(rows))
            self.skip, rows = self.skip - skip, rows[skip:]
        parts = [part for part in (self.rows, rows) if len(part)]
        if end is not None and (missing := end - self.place - len(self.rows) - len(rows)) > 0:
            parts.append(self.silence.repeat(missing, 1))
        if parts:
            self.rows = torch.cat(parts) if len(parts) > 1 else parts[0]

    def take(self, count: int) -> None:
        """Be rid of the first rows."""
        self.rows = self.rows[count:]
        self.place += count


class Worker:
    """A layer at work on the rows of one sound.

    Args:
        step: the layer.
        source: where its rows come from.
        heard: of those, the first that hears the sound.
        begin: the first of its own rows that is wanted.
    """

    def __init__(self, step: Step, source: Source, heard: int, begin: int) -> None:
        self.layer = layer = step.layer
        self.made = begin // layer.factor  # the next row to make
        self.heard = -EVERYWHERE
        if layer.factor == 1:  # else what comes of silence is not all alike
            self.heard = (heard - layer.right) // layer.stride
            self.made = max(self.made, self.heard)
        self.queue = Queue(source, self.made * layer.stride - layer.left)
        self.source = Source(self.made * layer.factor, step.silence.new_zeros(1, layer.outputs))
        self.last: int | None = None  # the place after the last row to make

    def end(self, heard: int, end: int) -> int:
        """Learn that the input hears nothing from the row `heard` on, and the output ends before `end`.

        Returns:
            The first row of the output that hears nothing.
        """
        layer = self.layer
        self.last, quiet = -(-end // layer.factor), EVERYWHERE
        if layer.factor == 1:
            quiet = -(-(heard + layer.left) // layer.stride)
            self.last = min(self.last, quiet)
        return quiet

    def push(self, rows: Tensor) -> Tensor:
        """Rows `[F, inputs]` to what can be made now, `[F', outputs]`."""
        layer = self.layer
        until = None if self.last is None else self.last * layer.stride + layer.right
        self.queue.put(rows, until)
        count = max(0, (len(self.queue.rows) - layer.kernel) // layer.stride + 1)
        if self.last is not None:
            count = max(0, min(count, self.last - self.made))
        made = layer(self.queue.rows, count)
        self.queue.take(count * layer.stride)
        self.made += count
        return made


class Join:
    """Rows of several sources side by side, as soon as all of them are there.

    Args:
        sources: of rows at the same places.
        begin: the first place.
    """

    def __init__(self, sources: Sequence[Source], begin: int) -> None:
        self.queues = [Queue(source, begin) for source in sources]
        self.last: int | None = None  # the place after the last that is wanted

    def push(self, pieces: Sequence[Tensor]) -> Tensor:
        """Rows `[F, C]` a source to `[F', sum of C]`."""
        for queue, rows in zip(self.queues, pieces, strict=True):
            queue.put(rows, self.last)
        count = min(len(queue.rows) for queue in self.queues)
        if self.last is not None:
            count = max(0, min(count, self.last - self.queues[0].place))
        found = [queue.rows[:count] for queue in self.queues]
        for queue in self.queues:
            queue.take(count)
        return found[0] if len(found) == 1 else torch.cat(found, dim=1)


class Flow:
    """The codes of one sound, from a coarse frame on, as its samples come.

    Args:
        encoder: the layers.
        kept: per level, how many of its codes to make.
        first: the first coarse frame.
        start: place of the first sample that will come.
    """

    def __init__(self, encoder: RowEncoder, kept: Sequence[int], first: int = 0, start: int = 0) -> None:
        self.encoder, self.kept, self.first = encoder, kept, first
        reads, writes = encoder.wanted(first, first + 1)
        self.begins = [span.begin for span in reads]
        features: dict[int, Source] = {}
        self.chains: list[list[Worker]] = []
        for steps in encoder.chains:
            line = _line(steps, start, 0, _spans(steps, reads))
            self.chains.append(line)
            features |= {
                step.level: worker.source
                for step, worker in zip(steps, line, strict=True)
                if step.level is not None
            }
        self.reads: list[Join] = []
        self.writes: list[tuple[Join, list[Worker]]] = []
        condition: list[Source] = []
        for index, level in enumerate(encoder.levels):
            begin = self.begins[index]
            self.reads.append(Join([features[index], *condition], begin))
            if level.steps:
                spans = _spans(level.steps, reads, writes[index])
                heard, start = 0, begin
                if condition:  # which is not all alike anywhere
                    heard, start = -EVERYWHERE, level.steps[0].layer.before(spans[0]).begin
                line = _line(level.steps, start, heard, spans)
                said = Source(begin, torch.zeros(1, level.project_out.outputs, dtype=torch.float32))
                self.writes.append((Join([said, *condition], start), line))
                condition = [line[-1].source]

    def end(self, num_samples: int, last: int) -> None:
        """Learn the sound's length, and that codes are wanted to the coarse frame before `last`."""
        frames = [frames_for(num_samples, hop) for hop in self.encoder.hops]
        reads, writes = self.encoder.wanted(self.first, last, frames)
        for steps, line in zip(self.encoder.chains, self.chains, strict=True):
            heard = num_samples
            for worker, span in zip(line, _spans(steps, reads), strict=True):
                heard = worker.end(heard, span.end)
        for join, span in zip(self.reads, reads, strict=True):
            join.last = span.end
        for index, (join, line) in enumerate(self.writes):
            heard = EVERYWHERE if index else frames[0]
            spans = _spans(self.encoder.levels[index].steps, reads, writes[index])
            for worker, span in zip(line, spans, strict=True):
                heard = worker.end(heard, span.end)
            join.last = line[0].last

    def push(self, samples: Tensor) -> list[Tensor]:
        """Samples `[T]` to the codes that are certain now: per level int64 `[Q, F]`, `F` often 0."""
        features: dict[int, Tensor] = {}
        for steps, line in zip(self.encoder.chains, self.chains, strict=True):
            rows = (samples * self.encoder.gain).unsqueeze(1)
            for step, worker in zip(steps, line, strict=True):
                rows = worker.push(rows)
                if step.level is not None:
                    features[step.level] = rows
        codes: list[Tensor] = []
        condition: list[Tensor] = []
        for index, (level, kept) in enumerate(zip(self.encoder.levels, self.kept, strict=True)):
            found, said = level.read(self.reads[index].push([features[index], *condition]), kept)
            codes.append(found)
            if level.steps:
                join, line = self.writes[index]
                rows = join.push([said, *condition])
                for worker in line:
                    rows = worker.push(rows)
                condition = [rows]
        return codes


def _line(steps: Sequence[Step], start: int, heard: int, wanted: Sequence[Span]) -> list[Worker]:
    """Workers one after another, given rows from `start` on, which hear the sound from `heard` on."""
    workers: list[Worker] = []
    for step, span in zip(steps, wanted, strict=True):
        worker = Worker(step, Source(start, step.silence), heard, span.begin)
        workers.append(worker)
        heard, start = worker.heard, worker.source.begin
    return workers


def _spans(steps: Sequence[Step], reads: Sequence[Span], need: Span | None = None) -> list[Span]:
    """The rows that are wanted of each step, for features at `reads` and the last step's rows `need`."""
    spans: list[Span] = []
    for step in reversed(steps):
        if step.level is not None:
            need = reads[step.level].union(need)
        assert need is not None, "the last step is for something"
        spans.append(need)
        need = step.layer.before(need)
    return spans[::-1]


def encode_window(encoder: RowEncoder, window: AudioWindow, kept: Sequence[int]) -> list[Tensor]:
    """Codes of a window: per level int64 `[Q, count * ratio]`, 0 where the sound has no frame."""
    start = window.first * encoder.hops[0] - encoder.left
    audio, start = window.audio.flatten()[max(0, -start) :], max(0, start)
    flow = Flow(encoder, kept, window.first, start)
    if window.num_samples is not None:
        audio = audio[: window.num_samples - start]
        flow.end(window.num_samples, window.first + window.count)
    levels = []
    for codes, ratio, begin in zip(flow.push(audio), encoder.ratios, flow.begins, strict=True):
        mine = codes[:, window.first * ratio - begin :][:, : window.count * ratio]
        levels.append(F.pad(mine, (0, window.count * ratio - mine.shape[1])))
    return levels
