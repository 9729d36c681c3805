"""An evaluation folder as one page: figures, pictures, sounds, and what they mean."""

import tempfile
from collections.abc import Iterator, Sequence
from math import floor, log10
from pathlib import Path

import torch

from vqaudio.audio import AnyPath, mono, read_audio, resample
from vqaudio.evaluation.code_use import CodebookUse
from vqaudio.evaluation.evaluation_plots import save_difference, save_measures
from vqaudio.evaluation.excerpts import LONGEST_SECONDS, excerpts
from vqaudio.evaluation.measures import of_systems
from vqaudio.evaluation.plots import save_codebook_use
from vqaudio.evaluation.report import Folded, Part, Picture, Player, Section, Table, write_page
from vqaudio.evaluation.results import (
    ORIGINAL,
    SOUNDS,
    Definition,
    Figures,
    Heard,
    Interval,
    Result,
    Summary,
    read_per_file,
    read_summary,
)

PAGE = "index.html"
PANELS = 6  # measures in the picture of rate and distortion
WORST = 10
ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}
NO_VALUE = "-"


def write_evaluation_page(out: AnyPath) -> Path:
    """Write the page of an evaluation, from what is in its folder alone.

    Args:
        out: the folder, with `summary.json`, `per_file.jsonl` and `sounds/`.

    Returns:
        The page, `index.html` in it.

    Raises:
        UserError: the folder is not one of an evaluation, or a sound in it is damaged.
    """
    out = Path(out)
    summary, results = read_summary(out), read_per_file(out)
    with tempfile.TemporaryDirectory() as folder:
        sections = list(_Page(out, Path(folder), summary, results).sections())
        write_page(out / PAGE, f"How good is {summary.figures[0].system.name}?", sections)
    return out / PAGE


class _Page:
    """What is on the page, section by section."""

    def __init__(self, out: Path, folder: Path, summary: Summary, results: Sequence[Result]) -> None:
        self.out, self.folder, self.summary = out, folder, summary
        self.results = {(result.id, result.system): result for result in results}
        self.about = summary.figures[0].system
        self.typical = [heard for heard in summary.heard if heard.why == "typical"]
        self.worst = [heard for heard in summary.heard if heard.why == "worst"][:WORST]
        systems = [ORIGINAL, *(one.system.name for one in summary.figures)]
        wanted = [self.sound(heard, name) for heard in self.typical for name in systems]
        wanted += [self.sound(heard, name) for heard in self.worst for name in systems[:2]]
        self.excerpts = excerpts([path for path in wanted if path.exists()], folder)

    def sound(self, heard: Heard, system: str) -> Path:
        return self.out / SOUNDS / system / f"{heard.stem}.flac"

    def sections(self) -> Iterator[Section]:
        yield Section("In figures", list(self.in_figures()))
        if panels := self.panels():
            picture = self.folder / "measures.png"
            save_measures(picture, self.summary.figures, panels)
            caption = (
                "Means at the nominal bitrate, with their intervals; a line joins what is of one model."
            )
            yield Section("What is lost at which bitrate", [Picture(caption, picture)])
        if self.typical:
            yield Section("To listen to", list(self.level_by_level()))
        if self.worst:
            yield Section(f"The worst {len(self.worst)}", list(self.worst_sounds()))
        for figures in self.summary.figures:
            if figures.codebooks and figures.system.whole:
                parts = list(self.codebooks(figures))
                yield Section(f"How {figures.system.name} uses its codebooks", parts)

    def in_figures(self) -> Iterator[Part]:
        summary = self.summary
        yield (
            f"{summary.sounds} sounds, {summary.seconds / 60:.1f} minutes. In square brackets the 95 % "
            "interval of each mean, by bootstrap over the sounds; in round ones, how many sounds the "
            "measure refused. Arrows point to the better side."
        )
        definitions = _definitions(summary)
        rows = [
            [_head(one), *(_cell(figures, one) for figures in summary.figures)] for one in definitions
        ]
        counts = [["sounds (failed)", *(f"{one.sounds} ({one.failed})" for one in summary.figures)]]
        kept = [row for row in rows if set(row[1:]) != {NO_VALUE}]
        yield Table(["", *(one.system.name for one in summary.figures)], [*counts, *kept])
        yield Folded("What each figure is, and what computes it", [_meanings(definitions)])
        versions = [[name, version] for name, version in summary.versions.items()]
        versions += [
            [one.system.name, one.system.version] for one in summary.figures if one.system.version
        ]
        yield Folded("Versions", [Table(["package", "version"], versions)])
        yield from summary.notices
        if summary.failures:
            yield Folded(f"What failed: {len(summary.failures)}", ["\n".join(summary.failures)])

    def panels(self) -> list[Definition]:
        """Measures to draw: the one that ranks first, and only what two points have."""
        found = [
            one
            for one in self.summary.definitions
            if one.better and sum(_is_point(figures, one) for figures in self.summary.figures) > 1
        ]
        return sorted(found, key=lambda one: one.name != self.summary.ranked_by)[:PANELS]

    def level_by_level(self) -> Iterator[Part]:
        own = [one for one in self.summary.figures if one.system.model == self.about.model]
        own.sort(key=lambda one: one.nominal_bits_per_second or 0)
        others = [one for one in self.summary.figures if one not in own]
        kinds = {path.suffix[1:].upper() for path in self.excerpts.values()}
        yield (
            f"At most the first {LONGEST_SECONDS:g} seconds of each sound, as {' and '.join(kinds)}; "
            f"the whole ones are in the folder {SOUNDS}/."
        )
        for number, heard in enumerate(self.typical, start=1):
            yield f"{number}. {heard.id}"
            yield from self.players(heard, [None, *own, *others])
            yield from self.difference(heard, number)

    def worst_sounds(self) -> Iterator[Part]:
        [ranked] = [one for one in self.summary.definitions if one.name == self.summary.ranked_by]
        yield f"Of {self.about.name}, by {ranked.title}; the worst comes first."
        measured = [(heard, self.results.get((heard.id, self.about.name))) for heard in self.worst]
        shown = [
            one
            for one in self.summary.definitions
            if any(result and result.measures.get(one.name) is not None for _, result in measured)
        ]
        shown.sort(key=lambda one: one is not ranked)
        rows = [
            [heard.id, *(_plain(result.measures.get(one.name) if result else None) for one in shown)]
            for heard, result in measured
        ]
        yield Table(["sound", *(_head(one) for one in shown)], rows)
        for number, heard in enumerate(self.worst, start=1):
            yield f"{number}. {heard.id}"
            yield from self.players(heard, [None, self.summary.figures[0]])

    def players(self, heard: Heard, systems: Sequence[Figures | None]) -> Iterator[Player]:
        """Of the original, for None, and of systems; what a system could not make is left out."""
        for figures in systems:
            name = figures.system.name if figures else ORIGINAL
            rate = figures.nominal_bits_per_second if figures else None
            caption = f"{name}, {rate:.0f} bit/s" if rate else name
            if excerpt := self.excerpts.get(self.sound(heard, name)):
                yield Player(caption, excerpt)

    def difference(self, heard: Heard, number: int) -> Iterator[Picture]:
        files = [self.sound(heard, name) for name in (ORIGINAL, self.about.name)]
        if all(file in self.excerpts for file in files):
            sounds = [read_audio(file) for file in files]
            rate = min(rate for _, rate in sounds)
            original, made = (resample(mono(audio), own, rate)[0] for audio, own in sounds)
            path = self.folder / f"difference-{number}.png"
            most = round(LONGEST_SECONDS * rate)
            titles = (ORIGINAL, self.about.name)
            save_difference(path, original[:most], made[:most], rate, titles)
            yield Picture("Mel spectrograms, on one scale of loudness, and their difference.", path)

    def codebooks(self, figures: Figures) -> Iterator[Part]:
        uses = [
            CodebookUse(book.level, book.quantizer, book.size, torch.tensor(book.counts))
            for book in figures.codebooks
        ]
        path = self.folder / f"codebooks-{figures.system.name.replace('/', '-')}.png"
        save_codebook_use(path, uses)
        yield Picture("How often each code came, commonest first; dashed, if all came alike.", path)
        columns = ["level", "codebook", "codes", "used", "frames", "bits a code", "perplexity"]
        yield Table(
            columns,
            [
                [b.level, b.quantizer, b.size, b.used, b.frames, b.entropy_bits, b.perplexity]
                for b in figures.codebooks
            ],
        )
        if figures.shared:
            yield "What a code of one level tells about one of another, beyond chance:"
            rows: list[list[str | float]] = [
                [f"level {a}, codebook {b}", f"level {c}, codebook {d}", one.bits, one.chance]
                for one in figures.shared
                for (a, b), (c, d) in [(one.coarse, one.fine)]
            ]
            yield Table(["this", "tells about this", "bits", "and by chance"], rows)


def _definitions(summary: Summary) -> list[Definition]:
    """Of the table's rows: what is asked of systems, then of sounds."""
    there = {one.name for one in summary.definitions}
    return [*(one for one in of_systems() if one.name not in there), *summary.definitions]


def _meanings(definitions: Sequence[Definition]) -> Table:
    rows = [
        [
            one.title,
            one.definition,
            f"{one.sample_rate / 1000:g} kHz" if one.sample_rate else "its own",
            one.computed_by,
            one.also_called,
        ]
        for one in definitions
    ]
    return Table(["figure", "what it is", "at most at", "by", "elsewhere"], rows)


def _head(one: Definition) -> str:
    unit = f", {one.unit}" if one.unit and one.unit not in one.title else ""
    return f"{one.title}{unit}{ARROWS.get(one.better, '')}"


def _is_point(figures: Figures, one: Definition) -> bool:
    found = figures.measures.get(one.name)
    return bool(figures.nominal_bits_per_second and found and found.mean is not None)


def _cell(figures: Figures, one: Definition) -> str:
    if one.name in figures.measures:
        return _interval(figures.measures[one.name])
    value = getattr(figures, one.name, None) or getattr(figures.cost, one.name, None)
    return _amount(value) if isinstance(value, int | float) else NO_VALUE


def _interval(found: Interval) -> str:
    """Such as `0.873 [0.860, 0.886] (2)`, on one line."""
    refused = f" ({found.refused})" if found.refused else ""
    if found.mean is None or found.low is None or found.high is None:
        return f"{NO_VALUE}{refused}"
    places = _places(max(map(abs, (found.mean, found.low, found.high))))
    mean, low, high = (f"{value:.{places}f}" for value in (found.mean, found.low, found.high))
    return f"{mean} [{low}, {high}]{refused}".replace(" ", "\u00a0")


def _plain(value: float | None) -> str:
    return NO_VALUE if value is None else f"{value:.{_places(abs(value))}f}"


def _places(size: float) -> int:
    """Decimals that show three digits."""
    return min(max(2 - floor(log10(size)), 0), 4) if size > 0 else 2


def _amount(value: float) -> str:
    """Such as `6.84 M`; what is small stands as it is."""
    for scale, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= scale:
            return f"{value / scale:.3g}\u00a0{letter}"
    return f"{value:.3g}"
