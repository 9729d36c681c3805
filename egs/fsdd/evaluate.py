"""Judge a run of the recipe: a recognizer of digits listens to real, coded and sampled ones.

    python egs/fsdd/evaluate.py RUN

RUN is the folder that run.sh fills. Writes RUN/evaluation: results.json, results.md (the table),
pictures, and index.html to listen to.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.progress import Progress
from torch import Tensor

import vqaudio
from vqaudio.audio import mono, read_audio
from vqaudio.corpus.manifest import Sound, read_manifest
from vqaudio.corpus.shards import TokenCorpus
from vqaudio.errors import UserError
from vqaudio.evaluation.metrics import codebook_use, entropy_bits_per_second
from vqaudio.evaluation.plots import save_codebook_use, save_spectrograms
from vqaudio.evaluation.recognizer import recognizer_of
from vqaudio.evaluation.report import Picture, Player, Section, Table, write_page
from vqaudio.evaluation.words import Hearing, fit, hearing, resynthesis
from vqaudio.files import make_folder, write_text

RATE = 8000
STEPS = 700  # of the recognizer


def read_words(sounds: list[Sound]) -> list[Tensor]:
    """The samples `[T]` of each sound."""
    return [mono(read_audio(sound.path, RATE)[0])[0] for sound in sounds]


class Samples:
    """The sounds of a folder of `vqaudio sample`, and what each was asked to say."""

    def __init__(self, folder: Path) -> None:
        rows = list(TokenCorpus(folder / "tokens-00000.parquet"))
        self.paths = [folder / f"{row.id}.wav" for row in rows]
        self.audio = [mono(read_audio(path, RATE)[0])[0] for path in self.paths]
        self.labels = [row.fields.get("label", "") for row in rows]


def one_of_each(sounds: list[Sound]) -> list[int]:
    """Where in a list a sound of each label is, speakers by turns."""
    speakers = sorted({sound.fields["speaker"] for sound in sounds})
    places: dict[str, int] = {}
    for place, sound in enumerate(sounds):
        label = sound.fields["label"]
        if label not in places and sound.fields["speaker"] == speakers[len(places) % len(speakers)]:
            places[label] = place
    return list(places.values())


def evaluate(run: Path) -> dict[str, Any]:
    """Measure everything, draw the pictures and write the page."""
    out = make_folder(run / "evaluation")
    codec, prior = vqaudio.load(run / "codec"), vqaudio.load(run / "prior")
    assert isinstance(codec, vqaudio.Codec)
    assert isinstance(prior, vqaudio.Prior)
    sounds = read_manifest(run / "manifest.jsonl")
    train, test = ([s for s in sounds if s.fields["split"] == name] for name in ("train", "test"))
    words = {"train": read_words(train), "test": read_words(test)}
    truth = {"train": [s.fields["label"] for s in train], "test": [s.fields["label"] for s in test]}
    with Progress(disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("recognizer", total=STEPS)
        recognizer = recognizer_of(
            out, words["train"], truth["train"], RATE, STEPS, lambda *_: bar.advance(task)
        )
    training = recognizer.recognize(words["train"], RATE)

    rows = {row.id: row.codes for row in TokenCorpus(run / "tokens")}
    codes = [rows[sound.id] for sound in test]
    decoded = [audio[0] for audio in codec.decode(codes)]
    coarse = [audio[0] for audio in codec.decode(codes, levels=1)]
    heard: dict[str, Hearing] = {}
    for name, audio in (("original", words["test"]), ("resynthesis", decoded), ("coarse level", coarse)):
        heard[name] = hearing(recognizer.recognize(audio, RATE), training, truth["test"])
    cards: list[Player] = []
    grid: list[tuple[str, Tensor]] = []
    for folder in sorted((run / "samples").iterdir()):
        name = folder.name.replace("-", " ")
        labelled = [Samples(folder / label) for label in recognizer.config.labels]
        free = Samples(folder / "any")
        audio = [sound for samples in labelled for sound in samples.audio]
        asked = [label for samples in labelled for label in samples.labels]
        recognized = recognizer.recognize(audio, RATE)
        heard[f"samples with label, {name}"] = hearing(recognized, training, asked)
        recognized = recognizer.recognize(free.audio, RATE)
        heard[f"samples without, {name}"] = hearing(recognized, training)
        grid += [(s.labels[0], s.audio[i]) for i in range(3) for s in labelled]
        cards += [Player(f"{s.labels[0]}, {name}", s.paths[i]) for s in labelled for i in range(2)]
        cards += [Player(f"no label, {name}", path) for path in free.paths[:4]]

    uses = codebook_use(codes, codec.codebook_sizes)
    seconds = sum(c.duration_seconds for c in codes)
    right = {name: heard[name].accuracy or 0.0 for name in ("original", "resynthesis")}
    results: dict[str, Any] = {
        "heard": {name: asdict(h) for name, h in heard.items()},
        "resynthesized / original accuracy": right["resynthesis"] / right["original"],
        "resynthesis": asdict(
            resynthesis(words["test"], decoded, [s.fields["speaker"] for s in test], RATE)
        ),
        "bits per second": {"nominal": codec.bitrate, "entropy": entropy_bits_per_second(uses, seconds)},
        "codebooks": [
            {"level": u.level, "codebook": u.quantizer, "size": u.size, "frames": u.frames}
            | {"used": u.used, "share used": u.used / u.size, "perplexity": u.perplexity}
            for u in uses
        ],
        "prior on test codes": {},
    }
    for name, said in (("with label", [{"label": x} for x in truth["test"]]), ("without", None)):
        measured = fit(prior, codes, said)
        results["prior on test codes"][name] = asdict(measured) | {"share": measured.share}

    shown = one_of_each(test)
    pairs = [(test[i].id, words["test"][i]) for i in shown] + [("decoded", decoded[i]) for i in shown]
    save_spectrograms(out / "resynthesis.png", pairs, RATE, columns=len(shown))
    save_spectrograms(out / "samples.png", grid, RATE, columns=10)
    save_codebook_use(out / "codebooks.png", uses)
    write_text(out / "results.json", json.dumps(results, indent=1, allow_nan=False))
    tables = make_tables(results)
    write_text(out / "results.md", "\n\n".join(table.markdown() for table in tables) + "\n")
    page = [
        Section("Results on the test split", tables),
        Section("Use of the codebooks", [Picture("On the test split", out / "codebooks.png")]),
        Section("Through the codec", [Picture("Above, originals", out / "resynthesis.png")]),
        Section("New digits", [Picture("A label a column", out / "samples.png"), *cards]),
    ]
    write_page(out / "index.html", "vqaudio on the Free Spoken Digit Dataset", page)
    return results


def make_tables(results: dict[str, Any]) -> list[Table]:
    """The results as tables: what is heard, the codec and the prior, the codebooks."""
    columns = ["words", "number", "recognized %", "Fréchet", "IS", "mIS", "AM"]
    heard = [
        [
            name,
            h["sounds"],
            "-" if h["accuracy"] is None else f"{100 * h['accuracy']:.1f}",
            *(f"{h[key]:.4g}" for key in ("frechet", "inception", "modified_inception", "am")),
        ]
        for name, h in results["heard"].items()
    ]
    codec, bits = results["resynthesis"], results["bits per second"]
    single, joined = codec["stoi"], codec["stoi_joined"]
    figures = [
        ["recognized after resynthesis, of what is recognized in originals",
         f"{100 * results['resynthesized / original accuracy']:.1f} %"],
        ["mel distance", f"{codec['mel_distance']:.3f}"],
        [f"STOI, words of a speaker joined ({joined['count']} speakers)", f"{joined['mean']:.3f}"],
        [
            f"STOI, single words ({single['count']}; {single['failed']} too short)",
            f"{single['mean']:.3f}",
        ],
        ["bits per second, nominal", f"{bits['nominal']:.0f}"],
        ["bits per second, entropy of each codebook", f"{bits['entropy']:.0f}"],
    ]  # fmt: skip
    for name, f in results["prior on test codes"].items():
        nominal = f"{f['nominal_bits_per_token']:.2f}"
        figures.append([f"prior {name}: bits per token, nominal", nominal])
        figures.append([f"prior {name}: bits per token on test codes",
                        f"{f['bits_per_token']:.2f} ({100 * f['share']:.1f} %)"])  # fmt: skip
    books = [
        [
            *(str(b["level"]), str(b["codebook"]), b["size"], b["frames"]),
            *(f"{b['used']} ({100 * b['share used']:.0f} %)", f"{b['perplexity']:.0f}"),
        ]
        for b in results["codebooks"]
    ]
    return [
        Table(columns, heard),
        Table(["codec and prior", "test split"], figures),
        Table(["level", "codebook", "codes", "frames", "used", "perplexity"], books),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    try:
        folder = parser.parse_args().run
        evaluate(folder)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print((folder / "evaluation" / "results.md").read_text(encoding="utf-8"))
