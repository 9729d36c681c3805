"""Detector: what is normal, learned from normal sounds alone, and how unlike it a sound is."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from vqaudio.applications.anomaly_features import Models, Noticed
from vqaudio.applications.anomaly_statistics import LEAST_SPREAD, Gaussian, Spread, Tail
from vqaudio.applications.anomaly_views import Array, over_time, views
from vqaudio.errors import UserError
from vqaudio.files import replacing

FOLDS = 8  # in each, a Gaussian is fitted without an eighth of the sounds, and these measured by it
LEAST_SOUNDS = FOLDS
FORMAT = "vqaudio anomaly detector, 3"


@dataclass(frozen=True)
class View:
    """What is normal from one side.

    Args:
        gaussian: of all vectors of normal sounds.
        spread: in which distances from it are counted.
        vectors: how rare a distance is among vectors of normal sounds.
        sounds: how rare the rarest vector of a sound is among normal sounds.
    """

    gaussian: Gaussian
    spread: Spread
    vectors: Tail
    sounds: Tail

    @classmethod
    def fit(cls, sounds: list[Array], frames: Array) -> tuple[Self, Array]:
        """Of the vectors `[N, D]` of each sound; and how surprising each of them is to the others.

        Args:
            sounds: their vectors.
            frames: how long each is.
        """
        distances: list[Array] = [np.empty(0)] * len(sounds)
        for fold in range(FOLDS):
            others = [one for i, one in enumerate(sounds) if i % FOLDS != fold]
            gaussian = Gaussian.fit(np.concatenate(others))
            distances[fold::FOLDS] = [gaussian.distance(one) for one in sounds[fold::FOLDS]]
        spread = Spread.fit(np.array([(one**2).mean() for one in distances]), frames)
        distances = [one / spread.of(length) for one, length in zip(distances, frames, strict=True)]
        tail = Tail.fit(np.concatenate(distances))
        rarest = np.array([_rarest(tail.surprise(one)) for one in distances])
        view = cls(Gaussian.fit(np.concatenate(sounds)), spread, tail, Tail.fit(rarest))
        return view, view.sounds.surprise(rarest)

    def surprise(self, vectors: Array, frames: int) -> tuple[float, Array]:
        """Of a sound of so many frames, and of each of its vectors `[N, D]`: `[N]`."""
        each = self.vectors.surprise(self.gaussian.distance(vectors) / self.spread.of(frames))
        return float(self.sounds.surprise(np.array([_rarest(each)]))[0]), each


@dataclass(frozen=True)
class Score:
    """How unusual a sound is: negative log10 of the share of normal sounds that are more unusual.

    Args:
        surprise: from all sides together; at 2 it is one normal sound in a hundred.
        views: from each side.
        curve: `[F]`, of the rarest moment of each coarsest frame, among normal moments.
    """

    surprise: float
    views: dict[str, float]
    curve: Array


@dataclass(frozen=True)
class Detector:
    """What is normal for a codec and a prior: a Gaussian a view, and how far from it normal sounds lie.

    Distances of normal sounds are measured, and scores counted, by Gaussians that were not fitted to
    them, so that they mean the same for new ones (cross-validation in eight folds).

    Args:
        models: that listened.
        views: by name.
        together: how rare the root of the sum of squares of the views' surprise is.
        num_sounds: how many normal ones there were; what is rarer than one of them is extrapolated.
    """

    models: Models
    views: dict[str, View]
    together: Tail
    num_sounds: int

    @classmethod
    def fit(cls, sounds: Mapping[str, Noticed], models: Models) -> Self:
        """Learn what is normal.

        Args:
            sounds: what was noticed in each normal sound, by its id, in any order.
            models: that listened.

        Raises:
            UserError: there are too few sounds, or all are alike from some side.
        """
        if len(sounds) < LEAST_SOUNDS:
            raise UserError(
                f"{len(sounds)} normal sounds: too few to learn from; give {LEAST_SOUNDS} or more"
            )
        seen = [views(sounds[name]) for name in sorted(sounds)]
        by_view = {name: [one[name] for one in seen] for name in seen[0]}
        for name, vectors in by_view.items():
            if np.concatenate(vectors).std(0).max() <= LEAST_SPREAD:
                raise UserError(f"normal sounds: all alike in their {name}; give sounds that differ")
        frames = np.array([sounds[name].num_frames for name in sorted(sounds)], dtype=np.float64)
        fitted = {name: View.fit(vectors, frames) for name, vectors in by_view.items()}
        surprises = np.stack([surprise for _, surprise in fitted.values()])
        together = Tail.fit(np.sqrt((surprises**2).sum(0)))
        return cls(models, {name: view for name, (view, _) in fitted.items()}, together, len(sounds))

    def save(self, path: Path) -> None:
        """Write one file of safetensors, which appears when it is whole.

        Raises:
            UserError: the place cannot be written.
        """
        arrays = {f"together/{name}": value for name, value in _of_tail(self.together).items()}
        for name, view in self.views.items():
            arrays |= {f"{name}/vectors/{key}": value for key, value in _of_tail(view.vectors).items()}
            arrays |= {f"{name}/sounds/{key}": value for key, value in _of_tail(view.sounds).items()}
            arrays |= {f"{name}/mean": view.gaussian.mean, f"{name}/whitening": view.gaussian.whitening}
            arrays[f"{name}/spread"] = np.array([view.spread.within, view.spread.frames])
        facts = {"format": FORMAT, "views": json.dumps(list(self.views)), **self.models._asdict()}
        facts["num_sounds"] = str(self.num_sounds)
        with replacing(path) as part:
            part.write_bytes(safetensors.numpy.save(arrays, facts))

    @classmethod
    def load(cls, path: Path, models: Models) -> Self:
        """Read what `save` wrote.

        Args:
            path: the file.
            models: that are to listen.

        Raises:
            UserError: the file is missing, damaged or no detector, or it is of other models.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                facts = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            reason = (
                "no such file" if isinstance(error, FileNotFoundError) else "damaged, or of another kind"
            )
            raise UserError(f"{path}: no detector ({reason}); make one with vqaudio score fit") from None
        if facts.get("format") != FORMAT:
            raise UserError(f"{path}: no detector of this version; make one with vqaudio score fit")
        for kind, fingerprint in models._asdict().items():
            if facts[kind] != fingerprint:
                raise UserError(
                    f"{path}: fitted with {kind} {facts[kind][:12]}, not with {fingerprint[:12]}; "
                    f"give that one with --{kind}, or fit anew"
                )
        loaded = {
            name: View(
                Gaussian(arrays[f"{name}/mean"], arrays[f"{name}/whitening"]),
                Spread(*map(float, arrays[f"{name}/spread"])),
                _tail(arrays, f"{name}/vectors"),
                _tail(arrays, f"{name}/sounds"),
            )
            for name in json.loads(facts["views"])
        }
        return cls(models, loaded, _tail(arrays, "together"), int(facts["num_sounds"]))

    def score(self, noticed: Noticed) -> Score:
        """Say how unusual a sound is."""
        frames = noticed.num_frames
        found = {name: self.views[name].surprise(one, frames) for name, one in views(noticed).items()}
        by_view = {name: surprise for name, (surprise, _) in found.items()}
        total = np.sqrt(np.sum(np.square(list(by_view.values()))))
        moments = found["moments"][1][None]
        curve = over_time(moments, frames, np.maximum)[0]
        return Score(float(self.together.surprise(np.array([total]))[0]), by_view, curve)


def _rarest(surprise: Array) -> float:
    """Surprise at the rarest of some vectors, as the rarest of so many is less rare."""
    return float(surprise.max() - np.log10(len(surprise)))


def _of_tail(tail: Tail) -> dict[str, Array]:
    return {"values": tail.values, "rest": np.array([tail.share, tail.scale])}


def _tail(arrays: Mapping[str, Array], name: str) -> Tail:
    return Tail(arrays[f"{name}/values"], *map(float, arrays[f"{name}/rest"]))
