"""Sections of a page in files, so that one program finds and another puts together."""

import json
import os
from pathlib import Path
from typing import Any

from vqaudio.errors import UserError
from vqaudio.evaluation.report import Folded, Part, Picture, Player, Section, Table
from vqaudio.files import write_text

NAME = "section.json"


def save_section(folder: Path, section: Section) -> None:
    """Write `section.json` into a folder; files that it shows are named relative to the folder.

    Raises:
        UserError: it cannot be written.
    """
    values = {"heading": section.heading, "parts": [_plain(part, folder) for part in section.parts]}
    write_text(folder / NAME, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def load_section(folder: Path) -> Section:
    """Read what `save_section` wrote.

    Raises:
        UserError: there is none, or it is something else.
    """
    path = folder / NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Section(values["heading"], [_part(value, folder) for value in values["parts"]])
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); evaluate first") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError(f"{path}: not a section of a page; evaluate again") from None


def _plain(part: Part, folder: Path) -> Any:
    match part:
        case str():
            return part
        case Table(columns, rows):
            return {"columns": list(columns), "rows": [list(row) for row in rows]}
        case Picture(caption, image):
            return {"caption": caption, "image": os.path.relpath(image, folder)}
        case Player(caption, audio, picture):
            drawn = None if picture is None else os.path.relpath(picture, folder)
            return {"caption": caption, "audio": os.path.relpath(audio, folder), "picture": drawn}
        case Folded(title, parts):
            return {"title": title, "parts": [_plain(inner, folder) for inner in parts]}


def _part(value: Any, folder: Path) -> Part:
    match value:
        case str():
            return value
        case {"columns": columns, "rows": rows}:
            return Table(columns, rows)
        case {"caption": caption, "image": image}:
            return Picture(caption, folder / image)
        case {"caption": caption, "audio": audio, "picture": picture}:
            return Player(caption, folder / audio, picture and folder / picture)
        case {"title": title, "parts": parts}:
            return Folded(title, [_part(inner, folder) for inner in parts])
    raise ValueError(value)
