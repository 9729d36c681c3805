"""What a run shows on the terminal: a live table, or plain lines where there is none."""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from vqaudio.training.health import LevelHealth, Use


class Display:
    """Shows loss terms, speed, codebook use and the time left.

    Args:
        title: what is being fitted.
        first: the step that training starts or goes on from.
        steps: where it ends.
        unit: what `amount` in `show` counts, `audio s` or `tokens`.
        silent: show nothing: another rank does.
    """

    def __init__(
        self, title: str, first: int, steps: int, unit: str = "audio s", silent: bool = False
    ) -> None:
        self.console = Console(quiet=silent)
        self.unit = unit
        self.steps = steps
        self._first = self._last = (first, time.monotonic())
        self._alarming: set[str] = set()
        self._progress = Progress(
            TextColumn(title),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
        )
        self._task = self._progress.add_task(title, total=steps, completed=first)
        self._live = Live(self._progress, console=self.console, refresh_per_second=4)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def advance(self, step: int) -> None:
        """Move the bar to `step` steps done."""
        self._progress.update(self._task, completed=step)

    def show(
        self,
        step: int,
        terms: Mapping[str, float],
        amount: float,
        uses: Sequence[Use] = (),
        levels: Sequence[LevelHealth] = (),
    ) -> dict[str, float]:
        """Show the state of training.

        Args:
            step: steps done.
            terms: name to value, shown in this order.
            amount: seconds of audio, or tokens, in each step, over all ranks.
            uses: of the codebooks since the last call.
            levels: what each adds.

        Returns:
            The points that this adds to the curves of the log.
        """
        before, then = self._last
        now = time.monotonic()
        self._last = (step, now)
        pace = max(0, step - before) / max(now - then, 1e-9)
        speed = f"{pace * amount:.1f} {self.unit}/s"
        if self.console.is_terminal:
            table = _terms_table(terms, speed)
            tables = [_health_table(levels)] * bool(levels) + [_use_table(uses)] * bool(uses)
            self._live.update(Group(self._progress, table, *tables))
        else:
            begun, start = self._first
            left = f"left {_clock((self.steps - step) * (now - start) / max(1, step - begun))}"
            self.say("  ".join([f"step {step}/{self.steps}", *_parts(terms, uses, levels), speed, left]))
        for use in uses:
            found = f"{use.used} of {use.size} codes in use, perplexity {use.perplexity:.1f}"
            what = f"level {use.level}, quantizer {use.quantizer}: {found}"
            self._alarm(step, use.name, use.alarming, what)
        for level in levels:
            found = f"the sound is {100 * level.share:.1f} % worse with its codes shuffled"
            self._alarm(step, str(level.level), level.alarming, f"level {level.level}: {found}")
        points = {f"train/{name}": value for name, value in terms.items()}
        points[f"train/{self.unit.replace(' ', '_')}_per_second"] = pace * amount
        for use in uses:
            points[f"perplexity/{use.name}"] = use.perplexity
            points[f"codes_in_use/{use.name}"] = use.used / use.size
            points[f"bits/{use.name}"] = use.bits
            points[f"alarm/{use.name}"] = float(use.alarming)
        for level in levels:
            points[f"added/{level.level}"] = level.added
            points[f"added_share/{level.level}"] = level.share
            points[f"alarm/{level.level}"] = float(level.alarming)
            points |= {f"{name}/{level.level}": value for name, value in level.measures.items()}
        return points

    def _alarm(self, step: int, name: str, alarming: bool, what: str) -> None:
        """Print a line where an alarm begins or ends."""
        if alarming != (name in self._alarming):
            self._alarming ^= {name}
            self.say(f"{'ALARM' if alarming else 'alarm over'}: step {step}, {what}")

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _parts(terms: Mapping[str, float], uses: Sequence[Use], levels: Sequence[LevelHealth]) -> list[str]:
    return [
        *(f"{name} {value:.4g}" for name, value in terms.items()),
        *(
            f"codes {use.name} {use.used}/{use.size} perplexity {use.perplexity:.0f} "
            f"bits {use.bits:.1f}/{use.capacity:.1f}"
            for use in uses
        ),
        *(f"level {level.level} adds {level.added:.3g} ({100 * level.share:.0f} %)" for level in levels),
    ]


def _terms_table(terms: Mapping[str, float], speed: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in (*terms, "speed"):
        table.add_column(name, justify="right")
    table.add_row(*(f"{value:.4g}" for value in terms.values()), speed)
    return table


def _use_table(uses: Sequence[Use]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("level", "quantizer", "codes in use", "perplexity", "bits a code"):
        table.add_column(name, justify="right")
    for use in uses:
        style = "bold red" if use.alarming else None
        bits = f"{use.bits:.2f} of {use.capacity:.2f}"
        numbers = (f"{use.used}/{use.size}", f"{use.perplexity:.1f}", bits)
        table.add_row(str(use.level), str(use.quantizer), *numbers, style=style)
    return table


def _health_table(levels: Sequence[LevelHealth]) -> Table:
    names = list(dict.fromkeys(name for level in levels for name in level.measures))
    table = Table(box=None, pad_edge=False)
    for name in ("level", "adds", "of the distance", *names):
        table.add_column(name.replace("_", " "), justify="right")
    for level in levels:
        style = "bold red" if level.alarming else None
        numbers = [f"{level.added:.3g}", f"{100 * level.share:.0f} %"]
        measures = [f"{level.measures[name]:.3g}" if name in level.measures else "" for name in names]
        table.add_row(str(level.level), *numbers, *measures, style=style)
    return table


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(min(seconds, 359999)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
