"""Codes as a picture: a row a codebook, a colour a code, time in seconds for all levels alike."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from vqaudio.codes import Codes
from vqaudio.evaluation.plots import STYLE, write_figure

GOLDEN = 0.6180339887  # of the circle of hues: codes that follow one another lie far apart
NEW_COLOUR = "#ffffff"
UNUSED = 0.18  # what is left of the colour of a code that is not decoded


def code_colours(codes: Tensor) -> np.ndarray:
    """A colour for each code; equal codes have equal ones.

    Args:
        codes: integers `[F]`.

    Returns:
        Red, green, blue, `[F, 3]`, 0 to 1.
    """
    from matplotlib.colors import hsv_to_rgb

    numbers = codes.numpy()
    hue = numbers * GOLDEN % 1
    saturation = 0.35 + 0.3 * (numbers // 7 % 3) / 2
    value = 0.6 + 0.32 * (numbers // 3 % 4) / 3
    return hsv_to_rgb(np.stack([hue, saturation, value], axis=-1))


def save_codes(
    path: str | Path,
    codes: Codes,
    quantizers: Sequence[int] | None = None,
    given_seconds: float = 0.0,
) -> None:
    """Draw codes in rows, coarsest level on top; what is not decoded is dark.

    Args:
        path: the PNG to write.
        codes: of one sound.
        quantizers: per level, how many of its codebooks are decoded; by default all.
        given_seconds: a line is drawn here, where what was given ends and what is new begins.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    used = [len(level) for level in codes.levels] if quantizers is None else quantizers
    heights = [max(len(level), 1) for level in codes.levels]
    with rc_context(STYLE):
        figure = Figure(figsize=(8.0, 0.9 + 0.42 * sum(heights)), layout="constrained")
        panels = figure.subplots(
            len(heights), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights}
        )[:, 0]
        for level, (axes, rows, hop, kept) in enumerate(
            zip(panels, codes.levels, codes.hops, used, strict=True)
        ):
            frame_seconds = hop / codes.sample_rate
            for place, row in enumerate(rows):
                colours = code_colours(row)[None]
                axes.imshow(
                    colours if place < kept else colours * UNUSED,
                    aspect="auto",
                    interpolation="nearest",
                    extent=(0, len(row) * frame_seconds, place + 0.46, place - 0.46),
                )
            if given_seconds:
                axes.axvline(given_seconds, color=NEW_COLOUR, linewidth=2)
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.set_yticks(range(len(rows)), [f"codebook {place}" for place in range(len(rows))])
            axes.tick_params(left=False, bottom=level == len(heights) - 1)
            axes.spines[:].set_visible(False)
            axes.set_title(f"level {level}, {1 / frame_seconds:g} frames a second", loc="left")
        if given_seconds:
            panels[0].text(given_seconds, -0.65, "new", color=NEW_COLOUR, fontsize=9)
        panels[-1].set_xlim(0, codes.duration_seconds)
        panels[-1].set_xlabel("seconds")
        write_figure(figure, path)
