"""An evaluation folder as one page: figures, pictures, sounds, and what they mean."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from vqaudio.audio import AnyPath, mono, read_audio, resample
from vqaudio.evaluation.code_use import CodebookUse
from vqaudio.evaluation.evaluation_folder import ORIGINAL, SOUNDS, read_per_file, read_summary
from vqaudio.evaluation.evaluation_plots import save_difference, save_measures
from vqaudio.evaluation.excerpts import LONGEST_SECONDS, excerpts
from vqaudio.evaluation.plots import save_codebook_use
from vqaudio.evaluation.report import Folded, Part, Picture, Player, Section, Table, write_page
from vqaudio.evaluation.results import Definition, Figures, Heard, Result, Summary
from vqaudio.evaluation.summary_table import summary_table

PAGE = "index.html"
PANELS = 6  # measures in the picture of rate and distortion
LISTENED, PICTURED, WORST = 3, 2, 10  # sounds of each kind: more would not be looked through


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
        self.typical = [heard for heard in summary.heard if heard.why == "typical"][:LISTENED]
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
            f"{summary.sounds} sounds, {summary.seconds / 60:.1f} minutes. In brackets: the 95 % "
            "interval of each mean, by bootstrap over the sounds. Refused: what a measure cannot judge."
        )
        found = summary_table(summary, summary.figures)
        yield Table(found.columns, [[row[0], *map(_unbroken, row[1:])] for row in found.rows])
        yield Folded("What each figure is, and what computes it", [_meanings(summary.definitions)])
        versions = [[name, version] for name, version in summary.versions.items()]
        versions += [
            [one.system.name, one.system.version] for one in summary.figures if one.system.version
        ]
        yield Folded("Versions", [Table(["package", "version"], versions)])
        yield from summary.notices
        if summary.failures:
            yield Folded(f"What failed: {len(summary.failures)}", ["\n".join(summary.failures)])

    def panels(self) -> list[Definition]:
        """Measures to draw: the one that ranks first, then those of the most systems, two at least."""
        points = {
            one.name: sum(_is_point(figures, one) for figures in self.summary.figures)
            for one in self.summary.definitions
        }
        found = [one for one in self.summary.definitions if one.better and points[one.name] > 1]
        found.sort(key=lambda one: (one.name != self.summary.ranked_by, -points[one.name]))
        return found[:PANELS]

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
            if number <= PICTURED:
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
        yield Table(["sound", *(one.title for one in shown)], rows)
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


def _meanings(definitions: Sequence[Definition]) -> Table:
    rows = [
        [
            one.title,
            one.definition,
            one.better,
            f"{one.sample_rate / 1000:g} kHz" if one.sample_rate else "its own",
            one.computed_by,
            one.also_called,
        ]
        for one in definitions
    ]
    return Table(["figure", "what it is", "better", "at most at", "by", "elsewhere"], rows)


def _unbroken(cell: str | int | float) -> str:
    """A mean with its interval, on one line."""
    return str(cell).replace(" ", "\u00a0") if "[" in str(cell) else str(cell)


def _is_point(figures: Figures, one: Definition) -> bool:
    found = figures.measures.get(one.name)
    return bool(figures.nominal_bits_per_second and found and found.mean is not None)


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
