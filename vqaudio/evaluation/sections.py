"""Sections of a page, kept in folders: what several programs found is put together later."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from vqaudio.errors import UserError
from vqaudio.evaluation.report import Folded, Part, Picture, Player, Section
from vqaudio.files import write_text

SECTION = "section.json"
_JSON = TypeAdapter(Section)


def save_section(folder: Path, section: Section) -> None:
    """Write `section.json`, with the paths of sounds and pictures relative to the folder.

    Args:
        folder: made if it is not there.
        section: what it names has to stay where it is, as seen from the folder.

    Raises:
        UserError: it cannot be written.
    """
    here = folder.resolve()
    kept = _moved(section, lambda path: Path(os.path.relpath(path.resolve(), here)))
    write_text(folder / SECTION, _JSON.dump_json(kept, indent=1).decode() + "\n")


def load_section(folder: Path) -> Section:
    """Read what `save_section` wrote.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = folder / SECTION
    try:
        section = _JSON.validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); make it again") from None
    except ValidationError as error:
        raise UserError(
            f"{path}: not a section of a page ({error.errors()[0]['msg']}); make it again"
        ) from None
    return _moved(section, lambda there: (folder / there).resolve())


def _moved(section: Section, move: Callable[[Path], Path]) -> Section:
    """The same section with other paths."""

    def moved(part: Part) -> Part:
        match part:
            case Player():
                picture = None if part.picture is None else move(part.picture)
                return replace(part, audio=move(part.audio), picture=picture)
            case Picture():
                return replace(part, image=move(part.image))
            case Folded():
                return replace(part, parts=[moved(one) for one in part.parts])
        return part

    return replace(section, parts=[moved(part) for part in section.parts])
