"""How small `.vqa` files are: of every sound in some folders, payload and whole file against nominal.

python benchmarks/vqa_size.py FOLDER... [--model static|prior] [--codec MODEL] [--prior MODEL]
"""

import io
import time
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from vqaudio.applications.compression import Written, compress, open_sound
from vqaudio.applications.decompression import Decompressor
from vqaudio.applications.vqa_format import read_header
from vqaudio.cli.models import load_code_model
from vqaudio.cli.terminal import run_script
from vqaudio.corpus.manifest import find_sounds
from vqaudio.model_folder import find_model, load_codec


def main(
    folders: list[Path],
    model: Annotated[Literal["static", "prior"], typer.Option()] = "static",
    codec: str = "speech-16k",
    prior: str = "speech-16k-prior",
    most: Annotated[int, typer.Option(help="Sounds of a folder at most.")] = 1 << 30,
) -> None:
    """Compress, decompress and print a line a folder."""
    coder = load_codec(codec)
    code_model = load_code_model(model, coder, find_model(codec), prior)
    for folder in folders:
        found: list[Written] = []
        to_codes = from_codes = 0.0
        for sound in find_sounds([folder])[:most]:
            file = io.BytesIO()
            began = time.perf_counter()
            found.append(compress(coder, code_model, open_sound(sound.path), file))
            to_codes += time.perf_counter() - began
            file.seek(0)
            began = time.perf_counter()
            reader = Decompressor(coder, code_model, read_header(file, sound.id), file, sound.id)
            parts = [part for _, part in reader.parts()]
            from_codes += time.perf_counter() - began
            assert not reader.gaps, sound.id
            assert sum(part.num_samples for part in parts) == found[-1].num_samples, sound.id
        seconds = np.array([one.num_samples / coder.sample_rate for one in found])
        line = [f"{folder}: {len(found)} sounds, {seconds.sum():.0f} s"]
        for what in ("payload_bytes", "file_bytes"):
            rates = 8 * np.array([getattr(one, what) for one in found]) / coder.bitrate
            line.append(
                f"{what} {rates.sum() / seconds.sum():.1%} of nominal in all, "
                f"{(rates / seconds).mean():.1%} the mean of files"
            )
        line.append(f"compressed {seconds.sum() / to_codes:.0f} times real time")
        line.append(f"codes read {seconds.sum() / from_codes:.0f} times real time")
        print("; ".join(line), flush=True)


if __name__ == "__main__":
    run_script(main)
