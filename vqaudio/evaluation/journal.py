"""What a run has found so far, on disk line by line, so that another can go on from there."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from vqaudio.codes import Codes
from vqaudio.corpus.manifest import Sound
from vqaudio.errors import UserError, some_of
from vqaudio.evaluation.evaluation_folder import CODES, PER_FILE, RUN, read_lines
from vqaudio.evaluation.judge import Outcome
from vqaudio.files import whole_lines, write_text


def claim(out: Path, settings: Mapping[str, str]) -> None:
    """Make a folder that of a run, or see that it already is.

    Args:
        out: the evaluation folder.
        settings: what decides the figures, by name.

    Raises:
        UserError: it holds another run, of which what differs is named, or what is of no run.
    """
    path = out / RUN
    if not path.exists() and not (out / PER_FILE).exists():
        if out.is_dir() and any(not entry.name.startswith(".") for entry in out.iterdir()):
            raise UserError(f"{out}: holds other files than an evaluation's; choose another --out")
        write_text(path, json.dumps(settings, indent=1, ensure_ascii=False) + "\n")
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        names = list(there | settings)
    except (OSError, ValueError, TypeError):
        raise UserError(f"{path}: missing or damaged; choose another --out") from None
    differing = [
        f"{name} is {there.get(name, 'not there')}, now {settings.get(name, 'not asked for')}"
        for name in names
        if there.get(name) != settings.get(name)
    ]
    if differing:
        raise UserError(f"{out}: holds another evaluation: {some_of(differing)}; choose another --out")


def inputs_hash(sounds: Sequence[Sound], files: Sequence[str] = ()) -> str:
    """Which sounds a run is about: a short hash of their ids, clips and the sizes of their files.

    Args:
        sounds: in their order.
        files: others that belong to them.
    """
    digest = hashlib.sha256()
    for sound in sounds:
        clip = [sound.id, sound.start_seconds, sound.duration_seconds, _size(sound.audio)]
        digest.update(json.dumps(clip).encode())
    for file in files:
        digest.update(json.dumps([os.path.basename(file), _size(file)]).encode())
    return digest.hexdigest()[:16]


class Journal:
    """The lines of `per_file.jsonl` and `codes.jsonl`, to be added to.

    Args:
        out: the evaluation folder.
    """

    def __init__(self, out: Path) -> None:
        self._paths = [out / CODES, out / PER_FILE]

    def __enter__(self) -> Self:
        for path in self._paths:
            _drop_half_line(path)
        self._codes, self._results = (path.open("ab", buffering=0) for path in self._paths)
        return self

    def add(self, outcome: Outcome) -> None:
        """Add what was found; the codes first, so that whoever has the result has them too."""
        if outcome.codes is not None:
            self._codes.write(_line(_codes_line(outcome)))
        self._results.write(_line(asdict(outcome.result)))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._codes.close()
        self._results.close()


def read_codes(out: Path, system: str) -> dict[str, Codes]:
    """The codes that a system made of sounds, by their ids.

    Raises:
        UserError: a line is not one of this file.
    """
    return {
        line["id"]: Codes(
            [torch.tensor(level) for level in line["levels"]],
            line["num_samples"],
            line["sample_rate"],
            line["hops"],
        )
        for line in read_lines(out / CODES)
        if line["system"] == system
    }


def _codes_line(outcome: Outcome) -> dict[str, Any]:
    codes = outcome.codes
    assert codes is not None
    return {
        "id": outcome.result.id,
        "system": outcome.result.system,
        "num_samples": codes.num_samples,
        "sample_rate": codes.sample_rate,
        "hops": list(codes.hops),
        "levels": [level.tolist() for level in codes.levels],
    }


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, ensure_ascii=False).encode() + b"\n"


def _drop_half_line(path: Path) -> None:
    """Cut off a last line that a killed run did not finish."""
    if path.exists():
        os.truncate(path, sum(map(len, whole_lines(path))))


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return -1
