"""What scoring leaves behind: a line a sound, curves over time, pictures of the most unusual."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vqaudio.applications.anomaly import Array, Detector
from vqaudio.applications.anomaly_features import Noticed
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
        bits_per_second: of the prior.
        score: what sounds are ranked by: the detector's surprise, or without one bits per second.
        views: surprise by the detector's view; empty without one.
        curve: `[F]`, of each coarsest frame; surprise, or without a detector bits per second.
    """

    sound: Sound
    duration_seconds: float
    bits_per_second: float
    score: float
    views: dict[str, float]
    curve: Array

    def line(self) -> str:
        """As a line of JSON, with the fields of the manifest."""
        peak = (int(self.curve.argmax()) + 0.5) / len(self.curve) * self.duration_seconds
        values: dict[str, Any] = {"id": self.sound.id, "audio": self.sound.audio}
        values |= {"seconds": round(self.duration_seconds, 6), "score": round(self.score, 4)}
        values |= {"bits_per_second": round(self.bits_per_second, 2), "peak_seconds": round(peak, 3)}
        values |= {"views": {name: round(value, 3) for name, value in self.views.items()}}
        return json.dumps(values | self.sound.fields)


def judge(sound: Sound, noticed: Noticed, detector: Detector | None) -> Verdict:
    """Say how unusual a sound is: by a detector, or without one by the prior's bits alone."""
    bits, seconds = noticed.bits_per_second, noticed.duration_seconds
    if detector is None:
        frames = noticed.series["bits"][0].astype(np.float64)
        return Verdict(sound, seconds, bits, bits, {}, frames * len(frames) / seconds)
    found = detector.score(noticed)
    return Verdict(sound, seconds, bits, found.surprise, found.views, found.curve)


def write_report(out: Path, verdicts: Sequence[Verdict], sample_rate: int) -> None:
    """Write `scores.jsonl`, `curves.parquet` and a picture of each of the ten most unusual sounds.

    Args:
        out: the folder.
        verdicts: in the order that they are to have.
        sample_rate: at which pictures show sounds, in Hz.

    Raises:
        UserError: the folder cannot be written.
    """
    write_text(out / SCORES, "".join(verdict.line() + "\n" for verdict in verdicts))
    columns = {
        "id": [verdict.sound.id for verdict in verdicts],
        "seconds": [verdict.duration_seconds for verdict in verdicts],
        "curve": [verdict.curve.astype(np.float32) for verdict in verdicts],
    }
    with replacing(out / CURVES) as part:
        pq.write_table(pa.table(columns), part)
    worst = sorted(verdicts, key=lambda verdict: -verdict.score)[:MOST_PICTURES]
    names = sound_paths(out / PICTURES, file_names([verdict.sound for verdict in worst]))
    for verdict, path in zip(worst, names, strict=True):
        what = "surprise" if verdict.views else "bits per second"
        title = f"{verdict.sound.id}: {verdict.score:.1f}"
        save_curve(path.with_suffix(".png"), title, _read(verdict.sound, sample_rate), sample_rate, verdict.curve, what)
