"""One self-contained HTML page: text, tables, pictures and players, which works offline."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path

from vqaudio.errors import UserError
from vqaudio.files import write_text

MEDIA = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers; numbers are set to the right.

    Args:
        columns: the heads.
        rows: as many cells each.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str | int | float]]

    def markdown(self) -> str:
        """The table in Markdown, without a last line end."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


@dataclass(frozen=True)
class Player:
    """A sound to listen to, with a caption and perhaps its picture.

    Args:
        caption: what it is.
        audio: sound file, put into the page whole.
        picture: image file, the same.
    """

    caption: str
    audio: Path
    picture: Path | None = None


@dataclass(frozen=True)
class Picture:
    """An image as wide as the page.

    Args:
        caption: what it shows.
        image: file, put into the page whole.
    """

    caption: str
    image: Path


@dataclass(frozen=True)
class Folded:
    """Parts that are there for those who open them.

    Args:
        title: seen at once.
        parts: paragraphs, tables, pictures, players.
    """

    title: str
    parts: "Sequence[Part]"


Part = str | Table | Player | Picture | Folded


@dataclass(frozen=True)
class Section:
    """A heading and what is under it: paragraphs of plain text, tables, pictures, players.

    Players that follow one another stand side by side.
    """

    heading: str
    parts: Sequence[Part]


def write_page(path: str | Path, title: str, sections: Sequence[Section]) -> None:
    """Write the page. All text is escaped; nothing in it is fetched from elsewhere.

    Args:
        path: the `.html` file; it appears when it is complete.
        title: of the page.
        sections: from top to bottom.

    Raises:
        UserError: a sound or picture cannot be read or is of no known kind, or a table is ragged.
    """
    body = "\n".join(_section(section) for section in sections)
    write_text(path, _page(escape(title), body))


def fragment(parts: Sequence[Part]) -> str:
    """The HTML of some parts alone, for a page that brings `PALETTE` and `PARTS_STYLE`.

    Raises:
        UserError: see `write_page`.
    """
    pieces: list[str] = []
    for kind, alike in groupby(parts, key=type):
        if kind is Player:
            cards = "\n".join(_player(part) for part in alike if isinstance(part, Player))
            pieces.append(f'<div class="players">\n{cards}\n</div>')
        else:
            pieces += _parts(alike)
    return "\n".join(pieces)


def _section(section: Section) -> str:
    body = fragment(section.parts)
    return f"<section>\n<h2>{escape(section.heading)}</h2>\n{body}\n</section>"


def _parts(parts: Iterator[Part]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield f"<p>{escape(part)}</p>"
        elif isinstance(part, Table):
            yield _table(part)
        elif isinstance(part, Picture):
            caption = escape(part.caption)
            yield (
                f'<figure><div class="wide"><img src="{_data(part.image)}" alt="{caption}"></div>'
                f"<figcaption>{caption}</figcaption></figure>"
            )
        elif isinstance(part, Folded):
            yield (
                f"<details><summary>{escape(part.title)}</summary>\n{fragment(part.parts)}\n</details>"
            )


def _player(player: Player) -> str:
    caption = escape(player.caption)
    picture = "" if player.picture is None else f'<img src="{_data(player.picture)}" alt="">'
    return (
        f"<figure>{picture}<figcaption>{caption}</figcaption>"
        f'<audio controls preload="metadata" aria-label="{caption}" src="{_data(player.audio)}"></audio>'
        "</figure>"
    )


def _table(table: Table) -> str:
    if any(len(row) != len(table.columns) for row in table.rows):
        raise UserError(f"a table of {len(table.columns)} columns has a row of another length")
    numeric = [
        bool(table.rows) and all(not isinstance(row[i], str) for row in table.rows)
        for i in range(len(table.columns))
    ]
    kinds = [' class="number"' if number else "" for number in numeric]
    heads = "".join(f"<th{k}>{escape(c)}</th>" for k, c in zip(kinds, table.columns, strict=True))
    lines = [
        "".join(f"<td{kind}>{escape(_cell(cell))}</td>" for kind, cell in zip(kinds, row, strict=True))
        for row in table.rows
    ]
    rows = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="wide"><table>\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table></div>"
    )


def _cell(cell: str | int | float) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _data(path: Path) -> str:
    try:
        media = MEDIA[path.suffix.lower()]
        content = path.read_bytes()
    except KeyError:
        raise UserError(
            f"{path}: no sound or picture for a page; use one of {', '.join(MEDIA)}"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    return f"data:{media};base64,{base64.b64encode(content).decode('ascii')}"


def _page(title: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{PALETTE}{PARTS_STYLE}{_STYLE}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""


# Colours that every page has, light or dark as the reader's system is.
PALETTE = """\
:root { color-scheme: light dark; --ink: #1b1e24; --soft: #5b6270; --paper: #fbfbfa; --card: #ffffff;
  --line: #e1e3e7; --shade: #1b1e2440; --accent: #2b6cb0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaee; --soft: #a0a7b4; --paper: #14161b; --card: #1c1f26; --line: #2f343e;
    --shade: #e8eaee40; --accent: #79b8f3; }
}
"""

# Of the parts, on whatever page they stand.
PARTS_STYLE = """\
figure { margin: 0 0 1rem; }
figcaption { color: var(--soft); font-size: 0.9rem; margin: 0.4rem 0; overflow-wrap: anywhere; }
figure img { display: block; width: 100%; height: auto; border-radius: 6px; }
figure .wide { margin: 0; }
figure .wide img { min-width: 34rem; }
figure audio { display: block; width: 100%; height: 2.5rem; }
.players { display: grid; gap: 1rem; margin: 1rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(16rem, 100%), 1fr)); }
.players figure { margin: 0; padding: 0.75rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; display: flex; flex-direction: column; justify-content: flex-end; }
.wide { overflow-x: auto; contain: inline-size; margin: 1rem 0; background:
    linear-gradient(to left, var(--paper) 50%, transparent) right / 2rem 100% no-repeat local,
    linear-gradient(to left, var(--shade), transparent) right / 1rem 100% no-repeat scroll; }
/* Pictures hide what is behind them: where they go on beyond the edge, they fade out there. */
figure .wide { animation: beyond linear; animation-timeline: scroll(self inline); }
@keyframes beyond {
  0%, 98% { mask-image: linear-gradient(to left, transparent, black 2rem); }
  100% { mask-image: none; }
}
.wide table { border-collapse: collapse; font-size: 0.92rem; min-width: 24rem; }
.wide th, .wide td { text-align: left; padding: 0.4rem 1.5rem 0.4rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); }
.wide th { color: var(--soft); font-weight: 600; }
.wide th:first-child, .wide td:first-child { position: sticky; left: 0; background: var(--paper); }
@media (min-width: 48rem) { .wide td:first-child:not(.number) { min-width: 13rem; } }
.wide .number { text-align: right; font-variant-numeric: tabular-nums; }
"""

_STYLE = """\
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 1.5rem; letter-spacing: -0.01em; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 0.75rem; padding-top: 1rem;
  border-top: 1px solid var(--line); }
@media (min-width: 64rem) {  /* tables may be wider than the text */
  section > .wide, details > .wide { contain: none; width: max-content; min-width: 100%;
    max-width: calc(100vw - 2.5rem); position: relative; left: 50%; translate: -50%; }
}
details { margin: 1rem 0; }
summary { color: var(--accent); cursor: pointer; }
p { max-width: 46rem; margin: 0.5rem 0 1rem; white-space: pre-line; overflow-wrap: anywhere; }
"""
