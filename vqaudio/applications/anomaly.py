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
from vqaudio.applications.anomaly_views import Array, over_time, views
from vqaudio.errors import UserError
from vqaudio.files import replacing

FOLDS = 4  # Gaussians a view, each fitted without its quarter of the sounds
LEAST_SOUNDS = 2 * FOLDS
TAIL, LONGEST_TAIL = 0.2, 200  # share of normal values, or how many, by which rarer ones are judged
MOST_VALUES = 1000  # of the others that are kept
FORMAT = "vqaudio anomaly detector, 2"
LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Gaussian:
    """Mean and covariance of vectors, shrunk as these are few (Ledoit and Wolf 2004).

    Args:
        mean: `[D]`.
        whitening: `[D, D]`, which makes the covariance that of unit noise.
    """

    mean: Array
    whitening: Array

    @classmethod
    def fit(cls, vectors: Array) -> Self:
        """Of `[N, D]`."""
        from sklearn.covariance import ledoit_wolf

        mean, scale = vectors.mean(0), vectors.std(0)
        scale = np.where(scale > LEAST_SPREAD, scale, 1.0)  # what never changed is compared as it is
        covariance, _ = ledoit_wolf((vectors - mean) / scale, assume_centered=True)
        values, axes = np.linalg.eigh(covariance)
        return cls(mean, axes / np.sqrt(values.clip(max(values[-1], 1e-12) * 1e-6)) / scale[:, None])

    def distance(self, vectors: Array) -> Array:
        """Mahalanobis distance of each of `[N, D]`, over the square root of D: `[N]`."""
        whitened = (vectors - self.mean) @ self.whitening
        return np.sqrt((whitened**2).mean(1))


@dataclass(frozen=True)
class Tail:
    """How rare values are among normal ones: as counted, and among the highest, exponentially rarer.

    Args:
        values: normal ones, ascending, without the highest.
        share: of the normal ones that were the highest.
        scale: by how much these exceed the others, on average.
    """

    values: Array
    share: float
    scale: float

    @classmethod
    def fit(cls, normal: Array) -> Self:
        """Of normal values `[N]`."""
        ordered = np.sort(normal)
        highest = min(round(TAIL * len(ordered)), LONGEST_TAIL)
        others, excess = np.split(ordered, [len(ordered) - highest])
        places = np.linspace(0, len(others) - 1, min(len(others), MOST_VALUES)).round().astype(int)
        scale = float((excess - others[-1]).mean()) if highest else 0.0
        return cls(others[places], highest / len(ordered), max(scale, 1e-9))

    def surprise(self, values: Array) -> Array:
        """Negative log10 of the share of normal values that are higher: at least 0."""
        number = len(self.values)
        above = 1 - (1 - self.share) * (np.arange(number) + 0.5) / number
        counted = -np.log10(np.interp(values, self.values, above, left=1.0))
        excess = (values - self.values[-1]).clip(0)
        return counted + excess / self.scale / np.log(10)


@dataclass(frozen=True)
class View:
    """What is normal from one side.

    Args:
        gaussians: each fitted without its quarter of the sounds.
        vectors: how rare a distance is among vectors of normal sounds.
        sounds: how rare the rarest vector of a sound is among normal sounds.
    """

    gaussians: list[Gaussian]
    vectors: Tail
    sounds: Tail

    @classmethod
    def fit(cls, sounds: list[Array]) -> tuple[Self, Array]:
        """Of the vectors `[N, D]` of each sound; and how surprising each of them is to the others."""
        folds = [sounds[fold::FOLDS] for fold in range(FOLDS)]
        gaussians = [
            Gaussian.fit(np.concatenate([one for other in folds if other is not fold for one in other]))
            for fold in folds
        ]
        distances = [gaussians[i % FOLDS].distance(vectors) for i, vectors in enumerate(sounds)]
        tail = Tail.fit(np.concatenate(distances))
        rarest = np.array([_rarest(tail.surprise(one)) for one in distances])
        view = cls(gaussians, tail, Tail.fit(rarest))
        return view, view.sounds.surprise(rarest)

    def surprise(self, vectors: Array) -> tuple[float, Array]:
        """Of a sound, and of each of its vectors `[N, D]`: `[N]`."""
        distance = np.mean([gaussian.distance(vectors) for gaussian in self.gaussians], axis=0)
        each = self.vectors.surprise(distance)
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
    """What is normal for a codec and a prior: Gaussians a view, and how far from them normal sounds lie.

    Distances are measured, and scores counted, on sounds that a Gaussian was not fitted to, so that
    they mean the same for new ones (cross-validation in four folds).

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
        fitted = {name: View.fit(vectors) for name, vectors in by_view.items()}
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
            arrays[f"{name}/mean"] = np.stack([one.mean for one in view.gaussians])
            arrays[f"{name}/whitening"] = np.stack([one.whitening for one in view.gaussians])
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
                [
                    Gaussian(*pair)
                    for pair in zip(arrays[f"{name}/mean"], arrays[f"{name}/whitening"], strict=True)
                ],
                _tail(arrays, f"{name}/vectors"),
                _tail(arrays, f"{name}/sounds"),
            )
            for name in json.loads(facts["views"])
        }
        return cls(models, loaded, _tail(arrays, "together"), int(facts["num_sounds"]))

    def score(self, noticed: Noticed) -> Score:
        """Say how unusual a sound is."""
        found = {name: self.views[name].surprise(one) for name, one in views(noticed).items()}
        by_view = {name: surprise for name, (surprise, _) in found.items()}
        total = np.sqrt(np.sum(np.square(list(by_view.values()))))
        moments = found["moments"][1][None]
        curve = over_time(moments, noticed.series["bits"].shape[1], np.maximum)[0]
        return Score(float(self.together.surprise(np.array([total]))[0]), by_view, curve)


def _rarest(surprise: Array) -> float:
    """Surprise at the rarest of some vectors, as the rarest of so many is less rare."""
    return float(surprise.max() - np.log10(len(surprise)))


def _of_tail(tail: Tail) -> dict[str, Array]:
    return {"values": tail.values, "rest": np.array([tail.share, tail.scale])}


def _tail(arrays: Mapping[str, Array], name: str) -> Tail:
    return Tail(arrays[f"{name}/values"], *map(float, arrays[f"{name}/rest"]))
