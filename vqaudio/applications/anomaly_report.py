"""What scoring leaves behind: a line a sound, curves over time, pictures of the most unusual."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from vqaudio.applications.anomaly import Detector
from vqaudio.applications.anomaly_features import Listener, Noticed
from vqaudio.applications.anomaly_views import Array, over_time
from vqaudio.codec.inputs import sound_blocks
from vqaudio.corpus.encoding import source_of
from vqaudio.corpus.manifest import Sound, file_names
from vqaudio.corpus.resynthesis import sound_paths
from vqaudio.evaluation.plots import save_curve
from vqaudio.files import replacing, write_text

SCORES, CURVES, PICTURES = "scores.jsonl", "curves.parquet", "pictures"
MOST_PICTURES = 10


@dataclass(frozen=True)
class Verdict:
    """What is said of one sound.

    Args:
        sound: which.
        duration_seconds: of it.
        score: what sounds are ranked by: surprise, or without a detector the prior's bits per second.
        views: surprise from each side of the detector; empty without one.
        curves: by name, `[F]` or `[D, F]`, a value each coarsest frame: `bits_per_second`;
            `quantizing`, what the last quantizer of the finest level leaves; `reconstruction`, the
            mean absolute error of log-mel in 8 bands; with a detector, `surprise`.
    """

    sound: Sound
    duration_seconds: float
    score: float
    views: dict[str, float]
    curves: dict[str, Array]

    @property
    def ranked_by(self) -> str:
        """The curve that belongs to the score."""
        return "surprise" if self.views else "bits_per_second"

    @property
    def loudest_view(self) -> tuple[str, float]:
        """The side that a detector finds most unusual, and how much."""
        return max(self.views.items(), key=lambda view: view[1])

    def line(self, picture: str | None = None) -> str:
        """As a line of JSON, with the fields of the manifest and the means of the curves.

        Args:
            picture: of the sound, if there is one: its path below the report's folder.
        """
        peak = (self.curves[self.ranked_by].argmax() + 0.5) / len(self.curves["bits_per_second"])
        means = {
            name: np.round(curve.mean(-1), 4).tolist()
            for name, curve in self.curves.items()
            if name != "surprise"
        }
        values: dict[str, Any] = {"id": self.sound.id, "audio": os.path.normpath(self.sound.audio)}
        values |= {"seconds": self.duration_seconds, "score": round(self.score, 4)}
        values |= {"peak_seconds": round(float(peak) * self.duration_seconds, 3), **means}
        if self.views:
            values["views"] = {name: round(value, 3) for name, value in self.views.items()}
        if picture is not None:
            values["picture"] = picture
        return json.dumps(self.sound.fields | values)


def judge(sound: Sound, noticed: Noticed, detector: Detector | None) -> Verdict:
    """Say how unusual a sound is: by a detector, or without one by the prior's bits alone."""
    series, seconds = noticed.series, noticed.duration_seconds
    frames = noticed.num_frames
    finest = max(name for name in series if name.startswith("quantizing"))
    curves = {
        "bits_per_second": series["bits"][0].astype(np.float64) * frames / seconds,
        "quantizing": over_time(series[finest][-1:], frames, np.maximum)[0],
        "reconstruction": over_time(np.abs(series["error short"]), frames, np.maximum),
    }
    if detector is None:
        return Verdict(sound, seconds, noticed.bits_per_second, {}, curves)
    found = detector.score(noticed)
    return Verdict(sound, seconds, found.surprise, found.views, curves | {"surprise": found.curve})


def write_report(out: Path, verdicts: Sequence[Verdict], listener: Listener) -> None:
    """Write `scores.jsonl`, `curves.parquet`, and a picture of each of the ten most unusual sounds.

    Args:
        out: the folder.
        verdicts: in the order that they are to have; at least one.
        listener: whose codec's rate the pictures have.

    Raises:
        UserError: the folder cannot be written.
    """
    columns: dict[str, list[Any]] = {
        "id": [verdict.sound.id for verdict in verdicts],
        "seconds": [verdict.duration_seconds for verdict in verdicts],
    }
    for name in verdicts[0].curves:
        curves = [verdict.curves[name].astype(np.float32) for verdict in verdicts]
        columns[name] = [list(curve) for curve in curves]
    with replacing(out / CURVES) as part:
        pq.write_table(pa.table(columns), part)
    pictures = _save_pictures(out, verdicts, listener)
    lines = [verdict.line(pictures.get(verdict.sound.id)) for verdict in verdicts]
    write_text(out / SCORES, "".join(line + "\n" for line in lines))


def _save_pictures(out: Path, verdicts: Sequence[Verdict], listener: Listener) -> dict[str, str]:
    """Draw the most unusual sounds; the pictures' paths below `out`, by the sounds' ids."""
    worst = sorted(verdicts, key=lambda verdict: -verdict.score)[:MOST_PICTURES]
    paths = sound_paths(out / PICTURES, file_names([verdict.sound for verdict in worst]))
    pictures = {}
    for verdict, path in zip(worst, paths, strict=True):
        rate = listener.codec.sample_rate
        audio = torch.cat(list(sound_blocks(source_of(listener.codec, verdict.sound), None, rate)))
        name, picture = verdict.ranked_by, path.with_suffix(".png")
        title = f"{verdict.sound.id}: {verdict.score:.1f}"
        save_curve(picture, title, audio, rate, verdict.curves[name], name.replace("_", " "))
        pictures[verdict.sound.id] = picture.relative_to(out).as_posix()
    return pictures
