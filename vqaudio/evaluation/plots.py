"""Pictures: spectrograms, grids of them, codebook use. Dark, so that they suit any page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vqaudio.evaluation.code_use import CodebookUse
from vqaudio.features import magnitude, mel_filters
from vqaudio.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BANDS, RANGE_DECIBELS = 96, 70
QUIETEST_DECIBELS = -60  # a picture of less is black, rather than of rounding errors
TICKS_HZ = (0, 500, 1000, 2000, 4000, 8000, 16000)
MARKERS = "osD^v<>Pp"
STYLE: dict[Any, Any] = {
    "figure.facecolor": "#14161b",
    "axes.facecolor": "#14161b",
    "axes.edgecolor": "#5b6270",
    "axes.titlesize": 10,
    "axes.titlecolor": "#f1f3f6",
    "axes.labelsize": 9,
    "axes.labelcolor": "#d5d9e0",
    "xtick.color": "#c3c8d1",
    "ytick.color": "#c3c8d1",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,
}


def mel_picture(audio: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Mel magnitudes in decibels, fine enough to look at.

    Args:
        audio: float `[T]`, at least one sample.
        sample_rate: in Hz.

    Returns:
        `[96, F]` with a frame every 5 ms, and the bands' centres in Hz, `[96]`.
    """
    # 64 ms tell the bands apart down to the lowest ones, and speech is still sharp in time
    hop, n_fft = max(round(0.005 * sample_rate), 1), 2 * round(0.032 * sample_rate)
    filters = mel_filters(sample_rate, n_fft, BANDS)
    padded = F.pad(audio.detach().float().cpu()[None], (n_fft // 2, n_fft // 2))
    hertz = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    weight = filters.sum(1).clamp(min=1e-12)
    decibels = 20 * (filters @ magnitude(padded, n_fft, hop)[0]).clamp(min=1e-6).log10()
    return decibels, (filters @ hertz) / weight


def save_spectrograms(
    path: str | Path, sounds: Sequence[tuple[str, Tensor]], sample_rate: int, columns: int = 1
) -> None:
    """Draw mel spectrograms in a grid: one span of time for all, each by its own loudness.

    Args:
        path: the PNG to write.
        sounds: title and float `[T]` of each, row by row.
        sample_rate: of them all, in Hz.
        columns: of the grid.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    columns = min(columns, len(sounds))
    rows = -(-len(sounds) // columns)
    longest = max(len(audio) for _, audio in sounds) / sample_rate
    with rc_context(STYLE):
        width, height = (8.0, 2.2) if columns == 1 else (max(10.0, 1.8 * columns), 1.5)
        figure = Figure(figsize=(width, rows * height + 0.4), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes in grid.flat[len(sounds) :]:
            axes.set_axis_off()
        for axes, (title, audio) in zip(grid.flat, sounds, strict=False):
            decibels, centres = mel_picture(audio, sample_rate)
            draw_spectrogram(axes, decibels, centres, len(audio) / sample_rate, decibels.max().item())
            axes.set_title(title)
            axes.set_xlim(0, longest)
        figure.supxlabel("seconds", fontsize=9, color=STYLE["axes.labelcolor"])
        figure.supylabel("Hz", fontsize=9, color=STYLE["axes.labelcolor"])
        write_figure(figure, path)


def save_curve(
    path: str | Path, title: str, audio: Tensor, sample_rate: int, curve: np.ndarray, name: str
) -> None:
    """Draw the mel spectrogram of a sound, and below it a curve over the same time.

    Args:
        path: the PNG to write.
        title: of the picture.
        audio: float `[T]`.
        sample_rate: in Hz.
        curve: `[F]`, of frames that together last as long as the sound.
        name: of what the curve shows.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    seconds = len(audio) / sample_rate
    with rc_context(STYLE):
        figure = Figure(figsize=(8.0, 3.4), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        decibels, centres = mel_picture(audio, sample_rate)
        draw_spectrogram(above, decibels, centres, seconds, decibels.max().item())
        above.set_title(title)
        above.set_ylabel("Hz")
        below.stairs(curve, np.linspace(0, seconds, len(curve) + 1), color="#f2b84b")
        below.set_xlim(0, seconds)
        below.set_xlabel("seconds")
        below.set_ylabel(name)
        below.grid(color="#2b303a", linewidth=0.6)
        write_figure(figure, path)


def save_codebook_use(path: str | Path, uses: Sequence[CodebookUse]) -> None:
    """Draw how often each code came, commonest first: a panel a codebook.

    Args:
        path: the PNG to write.
        uses: one entry a codebook.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(min(4.2 * len(uses), 14.0), 2.8), layout="constrained")
        panels = figure.subplots(1, len(uses), squeeze=False)[0]
        for axes, use in zip(panels, uses, strict=True):
            shares = use.counts.double().sort(descending=True).values * 100 / max(use.frames, 1)
            axes.stairs(shares.numpy(), np.arange(use.size + 1) - 0.5, fill=True, color="#5aa9e6")
            axes.axhline(100 / use.size, color="#f2b84b", linewidth=1, linestyle="--")
            axes.set_xlim(-0.5, use.size - 0.5)
            axes.set_title(
                f"level {use.level}, codebook {use.quantizer}\n"
                f"{use.used} of {use.size} used, perplexity {use.perplexity:.0f}"
            )
            axes.set_xlabel("codes, commonest first")
        panels[0].set_ylabel("% of frames")
        write_figure(figure, path)


def save_rate_distortion(
    path: str | Path,
    panels: Mapping[str, Mapping[tuple[str, str], Sequence[tuple[float, float]]]],
    measure: str,
) -> None:
    """Draw what is lost against the bits that are spent: a curve a codec, a panel a set of sounds.

    Args:
        path: the PNG to write.
        panels: by the set's name, by what gives a codec its colour and what its marker, points of
            bits per second and distance.
        measure: what the distance is.
    """
    from matplotlib import colormaps, rc_context
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    codecs = list(next(iter(panels.values())))
    names = dict.fromkeys(colour for colour, _ in codecs)
    colours = {  # the ten strong ones of tab20, then the ten pale ones
        name: colormaps["tab20"]((2 * n + n // 10) % 20) for n, name in enumerate(names)
    }
    markers = {
        name: MARKERS[n % len(MARKERS)] for n, name in enumerate(dict.fromkeys(m for _, m in codecs))
    }
    with rc_context(STYLE):
        figure = Figure(figsize=(6.2 * len(panels), 5.2), layout="constrained")
        row = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (title, curves) in zip(row, panels.items(), strict=True):
            for (colour, marker), points in curves.items():
                look = {"color": colours[colour], "marker": markers[marker]}
                axes.plot(*zip(*points, strict=True), linewidth=0.8, markersize=6, alpha=0.9, **look)
            axes.set_title(title)
            axes.set_xlabel("bits per second, entropy")
            axes.grid(color="#2b303a", linewidth=0.6)
        row[0].set_ylabel(measure)
        keys = [Line2D([], [], color=colour, label=name) for name, colour in colours.items()]
        keys += [
            Line2D([], [], color="#d5d9e0", marker=marker, linestyle="", label=name)
            for name, marker in markers.items()
        ]
        box = {"facecolor": "#14161b", "edgecolor": "#5b6270", "labelcolor": "#d5d9e0"}
        figure.legend(handles=keys, loc="outside right upper", fontsize=9, **box)
        write_figure(figure, path)


def draw_spectrogram(
    axes: "Axes", decibels: Tensor, centres: Tensor, seconds: float, loudest: float
) -> None:
    """Draw what `mel_picture` gives, with its scale in Hz.

    Args:
        axes: to draw in.
        decibels: `[bands, F]`.
        centres: of the bands, in Hz.
        seconds: that the frames last together.
        loudest: has the brightest colour.
    """
    loudest = max(loudest, QUIETEST_DECIBELS)
    axes.imshow(
        decibels.numpy(),
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=loudest - RANGE_DECIBELS,
        vmax=loudest,
        extent=(0, seconds, -0.5, len(centres) - 0.5),
        interpolation="nearest",
    )
    # bands lie evenly on the axis, so a frequency lies where it falls between two centres
    ticks = [hertz for hertz in TICKS_HZ if hertz <= centres[-1] * 1.1]
    axes.set_yticks(np.interp(ticks, centres.numpy(), np.arange(len(centres))), [str(t) for t in ticks])


def write_figure(figure: "Figure", path: str | Path) -> None:
    """Write a figure as PNG; it appears when it is complete."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=110)
