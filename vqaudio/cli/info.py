"""`vqaudio info`: what a model is."""

import re
from math import log2
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from vqaudio.cli.terminal import out as console

if TYPE_CHECKING:
    from torch.nn import Module

    from vqaudio.codec.model import Codec
    from vqaudio.prior.model import Prior

CARD_SECTIONS = ("data", "licence", "license")
# Within a paragraph or a list item of Markdown: a line end before more of the same text.
SOFT_BREAK = re.compile(r"(?<=\S)[ \t]*\n[ \t]*(?![\s*+|-]|\d+[.)] )")


def info(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A shipped name or a model folder.")],
) -> None:
    """Say what a model is: rates, codebooks, sizes, fingerprint, licence."""
    from vqaudio.model_folder import CARD, find_model, load
    from vqaudio.prior.model import Prior

    loaded = load(model)
    if isinstance(loaded, Prior):
        console.print(_prior_table(model, loaded))
    else:
        console.print(_codec_table(model, loaded))
        console.print(_levels_table(loaded))
    _print_card(find_model(model) / CARD)


def _codec_table(name: str, codec: "Codec") -> Table:
    table = _facts(f"codec {name}")
    table.add_row("sample rate", f"{codec.sample_rate} Hz")
    continuous = "" if all(codec.codebook_sizes) else ", without the continuous levels"
    table.add_row("bitrate", f"{codec.bitrate / 1000:g} kbit/s{continuous}")
    if codec.highest_bitrate > codec.bitrate:
        table.add_row("with all quantizers", f"{codec.highest_bitrate / 1000:g} kbit/s")
    codes = sum(
        rate * len(sizes) for rate, sizes in zip(codec.frame_rates, codec.codebook_sizes, strict=True)
    )
    table.add_row("codes", f"{codes:g} a second")
    table.add_row("front, head", f"{codec.config.front.kind}, {codec.config.head.kind}")
    counts = {
        "encoder": _parameters(codec.encoder),
        "hierarchy": _parameters(codec.hierarchy),
        "decoder": _parameters(codec.decoder) + _parameters(codec.head),
    }
    shares = ", ".join(f"{part} {_count(count)}" for part, count in counts.items())
    table.add_row("parameters", f"{_count(sum(counts.values()))}: {shares}")
    table.add_row("a code hears", f"{codec.context_seconds * 1000:.0f} ms around its own frame")
    table.add_row("fingerprint", codec.fingerprint)
    return table


def _levels_table(codec: "Codec") -> Table:
    table = Table(title="levels, coarsest first", title_justify="left")
    for column in ("level", "hop", "frames/s", "bottleneck", "codebooks", "bit/s"):
        table.add_column(column, justify="right")
    for level, (config, rate, sizes) in enumerate(
        zip(codec.config.levels, codec.frame_rates, codec.codebook_sizes, strict=True)
    ):
        books = " + ".join(map(str, sizes)) or "none: continuous"
        bits = f"{rate * sum(map(log2, sizes)):g}" if sizes else "-"
        table.add_row(str(level), str(config.hop), f"{rate:g}", config.bottleneck.kind, books, bits)
    return table


def _prior_table(name: str, prior: "Prior") -> Table:
    config = prior.config
    table = _facts(f"prior {name}")
    table.add_row("sample rate", f"{prior.sample_rate} Hz")
    table.add_row("layout", f"{config.layout}, {len(prior.stages)} transformer(s)")
    table.add_row("layers", f"{config.layers} of width {config.width}, {config.heads} heads each")
    table.add_row("vocabulary", ", ".join(f"{s.layout.vocab_size} tokens" for s in prior.stages))
    table.add_row("context", f"{config.context} steps, {prior.longest_seconds:.2f} s")
    table.add_row("labels", ", ".join(prior.labels) or "none")
    table.add_row("speakers", ", ".join(prior.speakers) or "none")
    table.add_row("text", f"up to {config.text_bytes} bytes" if config.text_bytes else "none")
    table.add_row("parameters", _count(_parameters(prior)))
    table.add_row("codec", prior.codec.fingerprint)
    table.add_row("fingerprint", prior.fingerprint)
    return table


def _facts(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    return table


def _parameters(module: "Module") -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _count(parameters: int) -> str:
    return f"{parameters / 1e6:.2f} M" if parameters >= 1e5 else f"{parameters}"


def _print_card(path: Path) -> None:
    """What a card says on data and licence, if there is one: a line a paragraph or list item."""
    if not path.is_file():
        return
    card = path.read_text(encoding="utf-8", errors="replace")
    for section in card.split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        if title.strip().lower() in CARD_SECTIONS:
            console.print(f"[bold]{title.strip()}[/bold]")
            for line in SOFT_BREAK.sub(" ", text.strip()).splitlines():
                if line:
                    console.print(line, markup=False, highlight=False, soft_wrap=True)
