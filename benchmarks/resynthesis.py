"""How close resynthesis comes, level by level: STOI, ESTOI, PESQ and mel distance, averaged over files.

    pip install -e '.[eval]'
    python benchmarks/resynthesis.py FOLDER ... [--codec speech-16k]

Each FOLDER is a row a number of levels. Files that a measure cannot judge are counted, not hidden.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import vqaudio
from vqaudio.audio import mono, read_audio
from vqaudio.corpus.manifest import find_sounds
from vqaudio.evaluation.averages import average
from vqaudio.evaluation.code_use import codebook_use
from vqaudio.evaluation.spectral import mel_distance
from vqaudio.evaluation.speech import pesq, stoi

Measure = Callable[[Tensor, Tensor], float | None]


def main() -> None:
    """Measure and print two tables: quality, and use of the codebooks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--codec", default="speech-16k")
    args = parser.parse_args()
    codec = vqaudio.load(args.codec)
    assert isinstance(codec, vqaudio.Codec)
    rate = codec.sample_rate
    measures: dict[str, Measure] = {
        "STOI": lambda a, b: stoi(a, b, rate),
        "ESTOI": lambda a, b: stoi(a, b, rate, extended=True),
        "mel distance": lambda a, b: mel_distance(a, b, rate),
    }
    if rate == 16000:
        measures["PESQ-WB"] = lambda a, b: pesq(a, b, rate, "wb")
        measures["PESQ-NB"] = lambda a, b: pesq(a, b, rate, "nb")
    quality = Table("folder", "levels", "files", *measures)
    use = Table("folder", "codebook", "codes in use", "perplexity")
    for folder in args.folders:
        sounds = [_read(sound.path, rate) for sound in find_sounds([folder])]
        codes = codec.encode(list(sounds))
        for levels in range(1, len(codec.hops) + 1):
            made = codec.decode(codes, levels=levels)
            cells = [_cell(measure, sounds, made) for measure in measures.values()]
            quality.add_row(folder.name, str(levels), str(len(sounds)), *cells)
        for one in codebook_use(codes, codec.codebook_sizes):
            name = f"{one.level}.{one.quantizer}"
            use.add_row(folder.name, name, f"{one.used} of {one.size}", f"{one.perplexity:.0f}")
    Console().print(quality)
    Console().print(use)


def _read(path: Path, rate: int) -> Tensor:
    return mono(read_audio(path, rate)[0])[0]


def _cell(measure: Measure, sounds: Sequence[Tensor], made: Sequence[Tensor]) -> str:
    result = average(measure(sound, other[0]) for sound, other in zip(sounds, made, strict=True))
    return f"{result.mean:.3f}" + (f" ({result.failed} failed)" if result.failed else "")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
