"""What an evaluation folder holds, and how to read it.

    run.json          what was asked for: another run into the folder must ask for the same
    per_file.jsonl    a line a sound and system: its measures, or why there are none
    codes.jsonl       a line a sound and codec: its codes
    summary.json      everything in one: systems, definitions, versions, means with their intervals
    sounds/original/STEM.flac, sounds/SYSTEM/STEM.flac
                      the originals and what each system made of them, of the sounds in `heard`

`read_summary` and `read_per_file` give what is in them as the dataclasses of `results`.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vqaudio.audio import AnyPath
from vqaudio.errors import UserError
from vqaudio.evaluation.results import (
    Codebook,
    Cost,
    Definition,
    Figures,
    Heard,
    Interval,
    Result,
    Shared,
    Summary,
    System,
)
from vqaudio.files import whole_lines, write_text

RUN, SUMMARY = "run.json", "summary.json"
PER_FILE, CODES = "per_file.jsonl", "codes.jsonl"
SOUNDS = "sounds"
ORIGINAL = "original"  # the folder of `SOUNDS` that no system may be called
FORMAT = 1


def write_summary(out: AnyPath, summary: Summary) -> None:
    """Write `summary.json`, which appears whole.

    Raises:
        UserError: it cannot be written.
    """
    values = {"format": FORMAT} | asdict(summary)
    write_text(Path(out) / SUMMARY, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def read_summary(out: AnyPath) -> Summary:
    """Read `summary.json` of an evaluation folder.

    Raises:
        UserError: there is none, or it is not of this format.
    """
    path = Path(out) / SUMMARY
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise ValueError
        values["definitions"] = [Definition(**one) for one in values["definitions"]]
        values["figures"] = [_figures(one) for one in values["figures"]]
        values["heard"] = [Heard(**one) for one in values["heard"]]
        return Summary(**values)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); evaluate first") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError(f"{path}: not a summary of this version; evaluate again") from None


def read_per_file(out: AnyPath) -> list[Result]:
    """What every system made of every sound, by `per_file.jsonl`; the last line on each pair counts.

    Raises:
        UserError: a line is not one of this file.
    """
    found = {(line["id"], line["system"]): line for line in read_lines(Path(out) / PER_FILE)}
    try:
        return [Result(**line) for line in found.values()]
    except TypeError:
        raise UserError(f"{Path(out) / PER_FILE}: not of this version; evaluate again") from None


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON Lines; a last line that was cut off is passed over.

    Raises:
        UserError: a line is no object with an id and a system; it is named.
    """
    for number, line in enumerate(whole_lines(path), start=1):
        try:
            values = json.loads(line)
            _ = values["id"], values["system"]
        except (ValueError, TypeError, KeyError):
            raise UserError(
                f"{path}:{number}: not a line of an evaluation; restore it, or choose another --out"
            ) from None
        yield values


def _figures(values: dict[str, Any]) -> Figures:
    system = values["system"]
    parts: dict[str, Any] = {
        "system": System(**system | {"quantizers": tuple(system["quantizers"])}),
        "measures": {name: Interval(**one) for name, one in values["measures"].items()},
        "codebooks": [Codebook(**one) for one in values["codebooks"]],
        "shared": [
            Shared(**one | {"coarse": tuple(one["coarse"]), "fine": tuple(one["fine"])})
            for one in values["shared"]
        ],
        "cost": Cost(**values["cost"]),
    }
    return Figures(**values | parts)
