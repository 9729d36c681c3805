"""An evaluation folder as a run leaves it, of sounds that are heard and figures that are made up."""

import json
from dataclasses import asdict
from pathlib import Path

from vqaudio.audio import read_audio, write_audio
from vqaudio.codec.model import Codec
from vqaudio.evaluation.code_use import codebook_use
from vqaudio.evaluation.evaluation_folder import ORIGINAL, PER_FILE, SOUNDS, write_summary
from vqaudio.evaluation.measures import of_systems
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

DEFINITIONS = [
    *of_systems(),
    Definition("stoi", "STOI", "", "higher", 10_000, "Intelligibility.", "pystoi 0.4", "VERSA: stoi"),
    Definition("mel", "mel distance", "", "lower", 16_000, "Difference of mel spectra.", "vqaudio 1"),
    Definition("si_sdr", "SI-SDR", "dB", "higher", None, "Signal to distortion.", "vqaudio 1"),
]
SECONDS = 1.4


def evaluation_folder(folder: Path, codec: Codec, speech: Path, worst: int = 3) -> Path:
    """Two systems of a codec and one program, on pieces of a sentence; the first piece is typical."""
    audio, rate = read_audio(speech)
    size = round(SECONDS * rate)
    ids = [f"part-{number}" for number in range(1, worst + 2)]
    pieces = [audio[:, number * 3000 :][:, :size] for number in range(len(ids))]
    systems = [
        System("toy", "codec", "toy", True, tuple(map(len, codec.codebook_sizes)), "f" * 64, "", rate),
        System("toy-0", "codec", "toy", False, (len(codec.codebook_sizes[0]),), "f" * 64, "", rate),
        System("quiet 6k", "program", "quiet", version="quiet 1.2"),
    ]
    codes = [codec.encode(piece) for piece in pieces]
    made = {
        "toy": [codec.decode(one) for one in codes],
        "toy-0": [codec.decode(one, 1) for one in codes],
        "quiet 6k": [piece / 4 for piece in pieces],
    }
    for name, sounds in {ORIGINAL: pieces, **made}.items():
        for one, sound in zip(ids, sounds, strict=True):
            (folder / SOUNDS / name).mkdir(parents=True, exist_ok=True)
            write_audio(folder / SOUNDS / name / f"{one}.flac", sound, rate)
    measured = {
        "toy": {"stoi": Interval(0.8734, 0.8612, 0.8856, 4, 0), "mel": Interval(0.2, 0.18, 0.22, 3, 1)},
        "toy-0": {"stoi": Interval(0.7, 0.65, 0.75, 4, 0), "mel": Interval(0.4, 0.36, 0.44, 4, 0)},
        "quiet 6k": {"stoi": Interval(0.95, 0.94, 0.96, 4, 0), "mel": Interval(0.1, 0.09, 0.12, 4, 0)},
    }
    rates = {"toy": codec.bitrate, "toy-0": codec.bitrate / 5, "quiet 6k": 6000.0}
    books = [
        Codebook(
            use.level, use.quantizer, use.size, use.frames, use.used, use.entropy_bits, use.perplexity,
            use.counts.tolist(),
        )
        for use in codebook_use(codes, codec.codebook_sizes)
    ]  # fmt: skip
    shared = [Shared((0, 0), (1, 0), 0.31, 0.9, 0.59)]
    figures = [
        Figures(
            system, len(ids), 0, SECONDS * len(ids), rates[system.name],
            None if system.kind == "program" else 0.9 * rates[system.name], 12.5, 0.0,
            measured[system.name] | {"si_sdr": Interval(None, None, None, 0, 4)},
            books if system.whole and system.kind == "codec" else [],
            shared if system.whole and system.kind == "codec" else [],
            Cost(0.0123, 0.0456, 345_600_000, 6_840_000) if system.name == "toy" else Cost(),
        )
        for system in systems
    ]  # fmt: skip
    heard = [Heard(one, one, "worst") for one in ids[1:]] + [Heard(ids[0], ids[0], "typical")]
    write_summary(
        folder,
        Summary(
            {"vqaudio": "1.0", "python": "3.11"}, rate, len(ids), SECONDS * len(ids),
            ["gone: no such file"], ["Nothing was resampled."], DEFINITIONS, figures, "stoi", heard,
        ),
    )  # fmt: skip
    lines = [
        Result(
            one, system.name, SECONDS, None, {"stoi": 0.5 + place / 100, "mel": None, "si_sdr": -1.25}
        )
        for system in systems
        for place, one in enumerate(ids)
    ]
    (folder / PER_FILE).write_text("".join(json.dumps(asdict(line)) + "\n" for line in lines))
    return folder
