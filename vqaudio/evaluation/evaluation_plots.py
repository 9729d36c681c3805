"""Pictures of an evaluation: what is lost at which bitrate, and where two sounds differ."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from vqaudio.evaluation.plots import (
    RANGE_DECIBELS,
    STYLE,
    draw_spectrogram,
    mel_picture,
    write_figure,
)
from vqaudio.evaluation.results import Definition, Figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 2
MOST_DECIBELS = 30  # of difference that has a colour of its own
DIFFERENCE = ["#5ab0ff", "#14161b", "#ff9447"]  # too quiet, alike, too loud
GRID, BOX = "#2b303a", {"facecolor": "#14161b", "edgecolor": "#5b6270", "labelcolor": "#d5d9e0"}


def save_measures(path: str | Path, figures: Sequence[Figures], measures: Sequence[Definition]) -> None:
    """Draw each measure against the bitrate: a panel a measure, a curve a model, 95 % intervals.

    Args:
        path: the PNG to write.
        figures: of the systems; those without a bitrate are left out.
        measures: to be drawn.
    """
    from matplotlib import colormaps, rc_context
    from matplotlib.figure import Figure

    models = dict.fromkeys(one.system.model for one in figures if one.nominal_bits_per_second)
    columns = min(COLUMNS, len(measures))
    rows = -(-len(measures) // columns)
    with rc_context(STYLE):
        figure = Figure(figsize=(4.2 * columns, 2.9 * rows + 0.5), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(measures) :]:
            axes.set_axis_off()
        for axes, measure in zip(grid.flat, measures, strict=False):
            for number, model in enumerate(models):
                curve = [one for one in figures if one.system.model == model]
                _draw_curve(axes, curve, measure, colormaps["tab10"](number % 10))
            arrow = {"higher": ", higher is better", "lower": ", lower is better"}.get(
                measure.better, ""
            )
            axes.set_title(measure.title + (f", {measure.unit}" if measure.unit else "") + arrow)
            axes.set_xscale("log")
            axes.grid(color=GRID, linewidth=0.6)
            axes.xaxis.set_major_formatter(lambda bits, _: f"{bits:g}")
            axes.xaxis.set_minor_formatter(lambda bits, _: f"{bits:g}" if f"{bits:g}"[0] in "25" else "")
        figure.supxlabel("bits per second", fontsize=9, color=STYLE["axes.labelcolor"])
        handles, labels = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8, **BOX)
        write_figure(figure, path)


def _draw_curve(
    axes: "Axes", curve: Sequence[Figures], measure: Definition, colour: tuple[float, ...]
) -> None:
    points = []
    for one in curve:
        found = one.measures.get(measure.name)
        if one.nominal_bits_per_second and found and found.mean is not None:
            low, high = (found.mean if end is None else end for end in (found.low, found.high))
            points.append((one.nominal_bits_per_second, found.mean, found.mean - low, high - found.mean))
    bits, means, below, above = np.array(sorted(points)).reshape(-1, 4).T
    axes.errorbar(
        bits, means, yerr=np.stack([below, above]).clip(0), color=colour, marker="o", markersize=5,
        linewidth=1, elinewidth=1, capsize=2, label=curve[0].system.model,
    )  # fmt: skip


def save_difference(
    path: str | Path, original: Tensor, made: Tensor, sample_rate: int, titles: tuple[str, str]
) -> None:
    """Draw two mel spectrograms on one scale of loudness, and their difference.

    Args:
        path: the PNG to write.
        original: float `[T]`.
        made: float `[T]`, aligned with it.
        sample_rate: of both, in Hz.
        titles: of both.
    """
    from matplotlib import rc_context
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    samples = min(len(original), len(made))
    pictures = [mel_picture(audio[:samples], sample_rate) for audio in (original, made)]
    loudest = max(decibels.max().item() for decibels, _ in pictures)
    seconds = samples / sample_rate
    with rc_context(STYLE):
        figure = Figure(figsize=(8.0, 6.2), layout="constrained")
        panels = figure.subplots(3, 1, sharex=True, sharey=True)
        for axes, (decibels, centres), title in zip(panels, pictures, titles, strict=False):
            draw_spectrogram(axes, decibels, centres, seconds, loudest)
            axes.set_title(title, loc="left")
        # below the darkest colour nothing can be heard, and a difference there means nothing
        first, second = (decibels.clamp(min=loudest - RANGE_DECIBELS) for decibels, _ in pictures)
        image = panels[2].imshow(
            (second - first).numpy(),
            origin="lower", aspect="auto", interpolation="nearest",
            cmap=LinearSegmentedColormap.from_list("difference", DIFFERENCE),
            vmin=-MOST_DECIBELS, vmax=MOST_DECIBELS,
            extent=(0, seconds, -0.5, len(first) - 0.5),
        )  # fmt: skip
        panels[2].set_title("difference: orange is too loud, blue too quiet", loc="left")
        bar = figure.colorbar(image, ax=list(panels), pad=0.01, aspect=40)
        bar.set_label("difference, dB", color=STYLE["axes.labelcolor"])
        bar.ax.tick_params(colors=STYLE["ytick.color"])
        panels[2].set_xlabel("seconds")
        figure.supylabel("Hz", fontsize=9, color=STYLE["axes.labelcolor"])
        write_figure(figure, path)
