"""The page: whole in one file, and safe whatever stands in it."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from vqaudio.audio import write_audio
from vqaudio.errors import UserError
from vqaudio.evaluation.report import Picture, Player, Section, Table, write_page

NASTY = "<script>alert('\"&')</script>"


class Reader(HTMLParser):
    """Collects tags, their attributes and the text between them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    write_audio(path, 0.1 * torch.randn(1, 800), 8000)
    return path


def test_a_sound_is_in_the_page_whole(tmp_path: Path, sound: Path) -> None:
    write_page(tmp_path / "p.html", "t", [Section("h", [Player("c", sound), Player("d", sound)])])
    players = [attributes for tag, attributes in Reader(tmp_path / "p.html").tags if tag == "audio"]
    assert len(players) == 2
    head, content = str(players[0]["src"]).split(",")
    assert head == "data:audio/wav;base64"
    assert base64.b64decode(content) == sound.read_bytes()


def test_everything_is_escaped_and_tags_are_closed(tmp_path: Path, sound: Path) -> None:
    image = tmp_path / "i.png"
    image.write_bytes(b"\x89PNG")
    parts: list[str | Table | Player | Picture] = [
        NASTY,
        Table([NASTY], [[NASTY]]),
        Player(NASTY, sound, image),
        Picture(NASTY, image),
    ]
    write_page(tmp_path / "p.html", NASTY, [Section(NASTY, parts)])
    reader = Reader(tmp_path / "p.html")
    assert "script" not in [tag for tag, _ in reader.tags]
    assert reader.open == []
    assert reader.text.count(NASTY) == 8
    assert [a["alt"] for tag, a in reader.tags if tag == "img"] == ["", NASTY]


def test_placeholders_in_what_is_said_are_not_filled_in(tmp_path: Path) -> None:
    write_page(tmp_path / "p.html", "{{style}}", [Section("{{body}}", ["{{title}}"])])
    text = Reader(tmp_path / "p.html").text
    assert all(name in text for name in ("{{body}}", "{{title}}", "{{style}}"))


def test_nothing_is_fetched_from_elsewhere(tmp_path: Path, sound: Path) -> None:
    write_page(tmp_path / "p.html", "t", [Section("h", [Player("c", sound), "text"])])
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import|<link|<script", page)


def test_numbers_are_rounded_and_only_columns_of_numbers_are_set_right(tmp_path: Path) -> None:
    rows: list[list[str | int | float]] = [["a", 1, 0.123456, "x"], ["b", 2, 1234.0, 3]]
    write_page(tmp_path / "p.html", "t", [Section("h", [Table(["n", "i", "f", "m"], rows)])])
    reader = Reader(tmp_path / "p.html")
    assert "0.1235" in reader.text
    assert "1234" in reader.text
    kinds = [attributes.get("class") for tag, attributes in reader.tags if tag == "td"]
    assert kinds == [None, "number", "number", None] * 2


def test_what_cannot_be_shown_is_named_and_leaves_the_old_page(tmp_path: Path, sound: Path) -> None:
    page = tmp_path / "p.html"
    write_page(page, "old", [])
    before = page.read_bytes()
    (tmp_path / "a.txt").write_text("x")
    for part in (Player("c", tmp_path / "none.wav"), Player("c", tmp_path / "a.txt")):
        with pytest.raises(UserError, match=part.audio.name):
            write_page(page, "new", [Section("h", [part])])
    with pytest.raises(UserError, match="2 columns"):
        write_page(page, "new", [Section("h", [Table(["a", "b"], [[1]])])])
    assert page.read_bytes() == before
