"""Sections that wait in folders for the page."""

import shutil
from pathlib import Path

import pytest

from vqaudio.errors import UserError
from vqaudio.evaluation.report import Folded, Part, Picture, Player, Section, Table
from vqaudio.evaluation.sections import load_section, save_section


def section_of(sounds: Path) -> Section:
    players: list[Part] = [
        Player("one", sounds / "1.wav"),
        Player("zwei ü", sounds / "2.wav", sounds / "2.png"),
    ]
    parts: list[Part] = [
        "a paragraph",
        Table(["name", "number", "share"], [["a", 1, 0.5], ["b", 2, 1.0], ["7", 3, 2.0]]),
        Picture("above", sounds / "grid.png"),
        Folded("more", [*players, Folded("still more", ["text"])]),
        *players,
    ]
    return Section("What is heard", parts)


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    section = section_of(tmp_path / "sounds")
    save_section(tmp_path / "out", section)
    found = load_section(tmp_path / "out")
    assert found == section
    table = found.parts[1]
    assert isinstance(table, Table)
    assert [[type(cell) for cell in row] for row in table.rows] == [[str, int, float]] * 3


def test_sounds_are_found_where_all_was_moved_together(tmp_path: Path) -> None:
    save_section(tmp_path / "run" / "out", section_of(tmp_path / "run" / "sounds"))
    shutil.move(tmp_path / "run", tmp_path / "moved")
    assert load_section(tmp_path / "moved" / "out") == section_of(tmp_path / "moved" / "sounds")


@pytest.mark.parametrize(
    "text", [None, "", "{", '{"heading": "h"}', '{"heading": "h", "parts": [{"caption": "c"}]}', "\xff"]
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "section.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match="section.json: .*make it again") as caught:
        load_section(tmp_path)
    assert "\n" not in str(caught.value)
