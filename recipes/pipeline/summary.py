"""Put what the stages found on one page, and into Markdown for a README.

python recipes/pipeline/summary.py OUT TITLE

Writes OUT/index.html and OUT/results.md.
"""

import json
import os
import platform
from pathlib import Path

import torch

from vqaudio.cli.terminal import run_script, say
from vqaudio.corpus.manifest import read_manifest
from vqaudio.corpus.preparing import summary as count_sounds
from vqaudio.errors import UserError
from vqaudio.evaluation.evaluation_folder import read_summary
from vqaudio.evaluation.report import Part, Section, Table, write_page
from vqaudio.evaluation.sections import load_section
from vqaudio.evaluation.summary_table import summary_table
from vqaudio.files import write_text

SECTIONS = ("prior", "words")  # of OUT/evaluation, each as its script left it


def main(out: Path, title: str) -> None:
    if not (out / "evaluation").is_dir():
        raise UserError(f"{out}: not evaluated yet; run the stages before")
    sections = [codec_section(out)]
    sections += [
        load_section(out / "evaluation" / name)
        for name in SECTIONS
        if (out / "evaluation" / name / "section.json").is_file()
    ]
    run = Section("The run", [f"On {machine()}.", stage_table(out)])
    data = Section("The data", [f"{count_sounds(read_manifest(out / 'manifest.jsonl'))}."])
    write_page(out / "index.html", title, [data, *sections, run])
    tables = [part for section in [*sections, run] for part in section.parts if isinstance(part, Table)]
    write_text(out / "results.md", "\n\n".join(table.markdown() for table in tables) + "\n")
    say(f"{out / 'index.html'}: open it; its tables are in {out / 'results.md'} too")


def codec_section(out: Path) -> Section:
    """The codec's figures, of all its quantizers."""
    found = read_summary(out / "evaluation" / "codec")
    parts: list[Part] = [
        f"Of {found.sounds} held-out sounds; the whole report is in evaluation/codec/index.html.",
        summary_table(found, found.figures[:1]),
    ]
    return Section("The codec", parts)


def stage_table(out: Path) -> Table:
    """How long each stage took, and what it ran."""
    rows = []
    stamps = sorted((out / "stages").glob("*.json"), key=lambda path: path.stat().st_mtime)
    for path in stamps:
        stamp = json.loads(path.read_text(encoding="utf-8"))
        commands = stamp["commands"]
        more = f" (and {len(commands) - 1} more)" if len(commands) > 1 else ""
        rows.append([path.stem, minutes(stamp["seconds"]), f"{commands[0]}{more}" if commands else ""])
    return Table(["stage", "took", "by"], rows)


def minutes(seconds: float) -> str:
    """A duration for people."""
    whole, rest = divmod(round(seconds), 60)
    return f"{whole} min {rest} s" if whole else f"{rest} s"


def machine() -> str:
    """The processor, its cores, and versions."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    gpus = f", {torch.cuda.device_count()} GPUs" if torch.cuda.is_available() else ""
    return f"{name}, {os.cpu_count()} cores{gpus}, torch {torch.__version__}"


if __name__ == "__main__":
    run_script(main)
