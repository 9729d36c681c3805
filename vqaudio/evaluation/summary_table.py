"""A summary as a table of text: figures down, systems across."""

from collections.abc import Callable, Sequence

from vqaudio.evaluation.report import Table
from vqaudio.evaluation.results import Definition, Figures, Interval, Shared, Summary

Cell = Callable[[Figures], str]


def summary_table(summary: Summary, figures: Sequence[Figures]) -> Table:
    """What an evaluation found of some systems; rows that none of them has are left out.

    Args:
        summary: of the evaluation.
        figures: of the systems wanted, of the same summary.
    """
    titles = {one.name: _head(one) for one in summary.definitions}
    rows = [["sounds", *(_count(one) for one in figures)]]
    for name, title in titles.items():
        cells = [_cell(name, one) for one in figures]
        if any(cells):
            rows.append([title, *(cell or "-" for cell in cells)])
    return Table(["", *(one.system.name for one in figures)], rows)


def definition_lines(definitions: Sequence[Definition]) -> list[str]:
    """A line on each figure: what it is, at which rate, computed by what, and its other names."""
    return [
        f"{_head(one)}: {one.definition} "
        f"({', '.join(filter(None, [_rate(one), _better(one), one.computed_by]))}"
        f"{f'; {one.also_called}' if one.also_called else ''})"
        for one in definitions
    ]


def _cell(name: str, one: Figures) -> str:
    if name in one.measures:
        return _interval(one.measures[name])
    match name:
        case "nominal_bits_per_second" | "effective_bits_per_second":
            value = getattr(one, name)
            return "" if value is None else f"{value:.0f}"
        case "tokens_per_second":
            return "" if one.tokens_per_second is None else f"{round(one.tokens_per_second, 1):g}"
        case "used":
            return " ".join(f"{book.used}/{book.size}" for book in one.codebooks)
        case "perplexity":
            return " ".join(f"{book.perplexity:.0f}" for book in one.codebooks)
        case "shared":
            return " ".join(_shared(pair) for pair in one.shared)
        case "peak_memory_bytes" | "parameters" | "encode_macs_per_second" | "decode_macs_per_second":
            value = getattr(one.cost, name)
            return "" if value is None else f"{value / 1e6:.1f} M"
        case "encode_rtf" | "decode_rtf":
            value = getattr(one.cost, name)
            return "" if value is None else f"{value:.4f}"
    return ""


def _interval(found: Interval) -> str:
    if found.mean is None or found.low is None or found.high is None:
        return f"none of {found.refused}"
    refused = f", {found.refused} refused" if found.refused else ""
    return f"{_number(found.mean)} [{_number(found.low)}, {_number(found.high)}]{refused}"


def _shared(pair: Shared) -> str:
    return f"{pair.coarse[0]}.{pair.coarse[1]}-{pair.fine[0]}.{pair.fine[1]}: {pair.bits:.2f}"


def _number(value: float) -> str:
    """Three decimals, or one of larger numbers."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _count(one: Figures) -> str:
    return f"{one.sounds}" + (f", {one.failed} failed" if one.failed else "")


def _head(one: Definition) -> str:
    unit = "" if not one.unit or one.unit in one.title else f" [{one.unit}]"
    return f"{one.title}{unit}"


def _better(one: Definition) -> str:
    return f"{one.better} is better" if one.better else ""


def _rate(one: Definition) -> str:
    return f"up to {one.sample_rate / 1000:g} kHz" if one.sample_rate else ""
