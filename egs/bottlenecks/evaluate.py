"""Judge the codecs of run.sh beside one another, on the digits and sentences of the test split.

    python egs/bottlenecks/evaluate.py VARIANTS RUN

VARIANTS is variants.txt, RUN the folder that run.sh fills. Writes RUN/evaluation: results.json,
results.md (the table) and rate-distortion.png.
"""

import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import vqaudio
from vqaudio.audio import mono, read_audio
from vqaudio.cli.terminal import run_script
from vqaudio.codec.model import Codec
from vqaudio.codec.passes import decode_levels, encode_sounds
from vqaudio.corpus.manifest import Sound, read_manifest
from vqaudio.evaluation.averages import average
from vqaudio.evaluation.code_use import codebook_use, entropy_bits_per_second
from vqaudio.evaluation.plots import save_rate_distortion
from vqaudio.evaluation.recognizer import Recognizer
from vqaudio.evaluation.recognizer_training import recognizer_of
from vqaudio.evaluation.report import Table
from vqaudio.evaluation.spectral import mel_distance
from vqaudio.evaluation.speech import pesq, stoi
from vqaudio.files import make_folder, write_text
from vqaudio.training.health import level_health
from vqaudio.training.losses import SpectralLoss

RATE = 8000
ROUNDS = 7  # of timed steps
CROP = 10240  # samples that are heard at once to see what a level adds, or timed
SPECTRAL = SpectralLoss(RATE, [128, 256, 512, 1024])


class TestSet:
    """The sounds that a codec is judged by, and what the digits among them say."""

    def __init__(self, sounds: list[Sound], out: Path) -> None:
        test = [sound for sound in sounds if sound.fields["split"] == "test"]
        self.audio = [read(sound) for sound in test]
        self.labels = [sound.fields.get("label") for sound in test]
        self.digits = [i for i, label in enumerate(self.labels) if label is not None]
        self.sentences = [i for i, label in enumerate(self.labels) if label is None]
        self.seconds = sum(map(len, self.audio)) / RATE
        together = torch.cat(self.audio)
        self.crops = together[: len(together) // CROP * CROP].view(-1, 1, CROP)
        train = [s for s in sounds if s.fields["split"] == "train" and "label" in s.fields]
        words, truth = [read(sound) for sound in train], [sound.fields["label"] for sound in train]
        self.recognizer: Recognizer = recognizer_of(out, words, truth, RATE)

    def recognized(self, made: list[Tensor]) -> float:
        """Share of the digits that are recognized in what was made of all sounds."""
        heard = self.recognizer.recognize([made[i] for i in self.digits], RATE)
        return heard.accuracy([str(self.labels[i]) for i in self.digits])


def read(sound: Sound) -> Tensor:
    """Its samples `[T]`."""
    return mono(read_audio(sound.path, RATE)[0])[0]


def measure(codec: Codec, test: TestSet) -> dict[str, Any]:
    """Everything but time: quality from one level, two and so on; bits; use; what a level adds."""
    levels = []
    encoded = list(encode_sounds(codec, test.audio))
    for count in range(1, len(codec.hops) + 1):
        blocks = [decode_levels(codec, found[:count], length) for found, length in encoded]
        made = [torch.cat(list(several), dim=1)[0] for several in blocks]
        pairs = list(zip(test.audio, made, strict=True))
        of = {"digits": [pairs[i] for i in test.digits], "sentences": [pairs[i] for i in test.sentences]}
        figures: dict[str, Any] = {"recognized": test.recognized(made)}
        for name, some in of.items():
            figures[name] = {
                "mel": average(mel_distance(*pair, RATE) for pair in some).mean,
                "stoi": average(stoi(*pair, RATE) for pair in some).mean,
                "estoi": average(stoi(*pair, RATE, extended=True) for pair in some).mean,
            }
        figures["sentences"]["pesq"] = average(pesq(*pair, RATE, "nb") for pair in of["sentences"]).mean
        levels.append(figures)
    return {
        "codec": codec.fingerprint,
        "parameters": sum(parameter.numel() for parameter in codec.parameters()),
        "levels": levels,
        **health(codec, test),
    }


@torch.no_grad()
def health(codec: Codec, test: TestSet) -> dict[str, Any]:
    """Bits a second of each level by entropy or divergence, use of codebooks, what a level adds."""
    output = codec(test.crops)

    def distance(said: list[Tensor]) -> float:
        return float(SPECTRAL(codec.render(said), test.crops)["mel"])

    adds = [level.share for level in level_health(output.said, output.health, distance, 0.0, 0)]
    if not all(codec.codebook_sizes):
        nats = zip(output.health, codec.hops, strict=True)
        divergence = [level["kl_bits"].item() * RATE / hop for level, hop in nats]
        return {"bits": divergence, "perplexity": [], "alive": [], "adds": adds}
    uses = codebook_use(codec.encode(list(test.audio)), codec.codebook_sizes)
    of = [[use for use in uses if use.level == level] for level in range(len(codec.hops))]
    return {
        "bits": [entropy_bits_per_second(level, test.seconds) for level in of],
        "perplexity": [[use.perplexity for use in level] for level in of],
        "alive": [[use.used / use.size for use in level] for level in of],
        "adds": adds,
    }


def step_times(codecs: dict[str, Codec]) -> dict[str, float]:
    """Milliseconds of a step forward and back, by turns, so that a busy machine is unfair to none."""
    audio = 0.05 * torch.randn(12, 1, CROP, generator=torch.Generator().manual_seed(0))
    times: dict[str, list[float]] = {name: [] for name in codecs}
    for _ in range(ROUNDS):
        for name, codec in codecs.items():
            start = time.perf_counter()
            output = codec.train()(audio)
            terms = [*SPECTRAL(output.made, audio).values(), *output.losses.values()]
            torch.stack(terms).sum().backward()
            codec.zero_grad()
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def make_table(results: dict[str, Any], times: dict[str, float]) -> Table:
    """A row a codec."""
    rows = []
    for name, r in results.items():
        whole, coarse = r["levels"][-1], r["levels"][0]
        digits, sentences = whole["digits"], whole["sentences"]
        rows.append(
            [
                name,
                f"{r['parameters'] / 1e6:.2f}",
                f"{sum(r['bits']):.0f}",
                *(f"{digits[key]:.3f}" for key in ("mel", "stoi", "estoi")),
                *(f"{sentences[key]:.3f}" for key in ("mel", "stoi", "estoi")),
                f"{sentences['pesq']:.2f}",
                f"{100 * whole['recognized']:.0f}",
                f"{100 * coarse['recognized']:.0f}" if len(r["levels"]) > 1 else "",
                " / ".join(f"{100 * share:.0f}" for share in r["adds"]),
                " / ".join("+".join(f"{p:.0f}" for p in level) for level in r["perplexity"]) or "-",
                " / ".join("+".join(f"{100 * a:.0f}" for a in level) for level in r["alive"]) or "-",
                f"{times[name]:.0f}",
            ]
        )
    columns = [
        *("bottleneck", "M parameters", "bits/s"),
        *("digits: mel", "STOI", "ESTOI", "sentences: mel", "STOI", "ESTOI", "PESQ-NB"),
        *("digits recognized %", "from level 0 %", "a level adds %"),
        *("perplexity", "codes alive %", "ms a step"),
    ]
    return Table(columns, rows)


def curves(results: dict[str, Any], what: str) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Bits and mel distance from one level, two and so on, by kind and levels of each codec."""
    found = {}
    for name, r in results.items():
        levels, _, kind = name.partition("-")
        found[kind or name, f"{levels} level{'s' * (len(r['levels']) > 1)}"] = [
            (sum(r["bits"][: count + 1]), level[what]["mel"]) for count, level in enumerate(r["levels"])
        ]
    return found


def main(variants: Path, run: Path) -> None:
    """Measure what has not been measured yet, time all, draw and write."""
    torch.set_num_threads(1)
    lines = variants.read_text(encoding="utf-8").splitlines()
    names = [line.split()[0] for line in lines if line and not line.startswith("#")]
    out = make_folder(run / "evaluation")
    test = TestSet(read_manifest(run / "manifest.jsonl"), out)
    results: dict[str, Any] = {}
    codecs: dict[str, Codec] = {}
    for name in names:
        codec = vqaudio.load(run / "codecs" / name)
        assert isinstance(codec, Codec)
        codecs[name] = codec
        path = out / f"{name}.json"
        results[name] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if results[name].get("codec") != codec.fingerprint:
            results[name] = measure(codec, test)
            write_text(path, json.dumps(results[name], indent=1))
    times = step_times(codecs)
    write_text(out / "results.json", json.dumps({"measured": results, "ms a step": times}, indent=1))
    panels = {name: curves(results, name) for name in ("digits", "sentences")}
    save_rate_distortion(out / "rate-distortion.png", panels, "mel distance")
    table = make_table(results, times).markdown()
    write_text(out / "results.md", table + "\n")
    print(table)


if __name__ == "__main__":
    run_script(main)
