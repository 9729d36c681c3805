"""Judge a run of the recipe: a recognizer of digits listens to real, coded and sampled ones.

    python egs/fsdd/evaluate.py RUN

RUN is the folder that run.sh fills. Writes RUN/evaluation: results.json, results.md (the table),
pictures, and index.html to listen to.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from priors import (
    Listener,
    Samples,
    judge_prior,
    layouts,
    ngram_bits,
    players,
    prior_tables,
    read_word,
    word_table,
)
from rich.progress import Progress
from torch import Tensor

import vqaudio
from vqaudio.cli.terminal import run_script
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.corpus.manifest import Sound, read_manifest
from vqaudio.evaluation.code_use import codebook_use, entropy_bits_per_second
from vqaudio.evaluation.plots import save_codebook_use, save_spectrograms
from vqaudio.evaluation.recognizer_training import recognizer_of
from vqaudio.evaluation.report import Picture, Section, Table, write_page
from vqaudio.evaluation.words import resynthesis
from vqaudio.files import make_folder, write_text

RATE = 8000
STEPS = 700  # of the recognizer


def read_words(sounds: list[Sound]) -> list[Tensor]:
    """The samples `[T]` of each sound."""
    return [read_word(sound.path, RATE) for sound in sounds]


def one_of_each(sounds: list[Sound]) -> list[int]:
    """Where in a list a sound of each label is, speakers by turns."""
    speakers = sorted({sound.fields["speaker"] for sound in sounds})
    places: dict[str, int] = {}
    for place, sound in enumerate(sounds):
        label = sound.fields["label"]
        if label not in places and sound.fields["speaker"] == speakers[len(places) % len(speakers)]:
            places[label] = place
    return list(places.values())


def listener(out: Path, words: list[Tensor], truth: list[str], what: str) -> Listener:
    """A recognizer that was trained on real training words; kept in `out` once it is."""
    with Progress(disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(f"recognizer of {what}", total=STEPS)
        recognizer = recognizer_of(out, words, truth, RATE, STEPS, lambda *_: bar.advance(task))
    return Listener(recognizer, recognizer.recognize(words, RATE))


def main(run: Path) -> None:
    """Measure everything, draw the pictures and write the page."""
    out = make_folder(run / "evaluation")
    codec = vqaudio.load(run / "codec")
    assert isinstance(codec, vqaudio.Codec)
    sounds = read_manifest(run / "manifest.jsonl")
    train, test = ([s for s in sounds if s.fields["split"] == name] for name in ("train", "test"))
    words, originals = read_words(train), read_words(test)
    digits = listener(out, words, [s.fields["label"] for s in train], "digits")
    speakers = listener(out / "speakers", words, [s.fields["speaker"] for s in train], "speakers")

    corpus = TokenDataset(run / "tokens")
    tokens = {row.id: row for row in corpus}
    rows = [tokens[sound.id] for sound in test]
    codes = [row.codes for row in rows]
    decoded = [audio[0] for audio in codec.decode(codes)]
    coarse = [audio[0] for audio in codec.decode(codes, levels=1)]
    truth, voices = ([s.fields[key] for s in test] for key in ("label", "speaker"))
    heard = {
        "original": digits.hear(originals, truth),
        "resynthesis": digits.hear(decoded, truth),
        "coarse level": digits.hear(coarse, truth),
        "original, speakers": speakers.hear(originals, voices),
        "resynthesis, speakers": speakers.hear(decoded, voices),
    }
    uses = codebook_use(codes, codec.codebook_sizes)
    seconds = sum(c.duration_seconds for c in codes)
    results: dict[str, Any] = {
        "heard": heard,
        "resynthesized / original accuracy": heard["resynthesis"]["accuracy"]
        / max(heard["original"]["accuracy"], 1e-9),
        "resynthesis": asdict(resynthesis(originals, decoded, voices, RATE)),
        "bits per second": {"nominal": codec.bitrate, "entropy": entropy_bits_per_second(uses, seconds)},
        "codebooks": [
            {"level": u.level, "codebook": u.quantizer, "size": u.size, "frames": u.frames}
            | {"used": u.used, "share used": u.used / u.size, "perplexity": u.perplexity}
            for u in uses
        ],
        "n-grams": ngram_bits(list(tokens.values()), corpus),
        "priors": {name: judge_prior(run, name, rows, digits, speakers) for name in layouts(run)},
    }
    write_text(out / "results.json", json.dumps(results, indent=1, allow_nan=False))
    tables = [word_table(heard), *prior_tables(results), *codec_tables(results)]
    write_text(out / "results.md", "\n\n".join(table.markdown() for table in tables) + "\n")

    shown = one_of_each(test)
    pairs = [(test[i].id, originals[i]) for i in shown] + [("decoded", decoded[i]) for i in shown]
    save_spectrograms(out / "resynthesis.png", pairs, RATE, columns=len(shown))
    save_codebook_use(out / "codebooks.png", uses)
    page = [
        Section("Results on the test split", tables),
        Section("Use of the codebooks", [Picture("On the test split", out / "codebooks.png")]),
        Section("Through the codec", [Picture("Above, originals", out / "resynthesis.png")]),
    ]
    for name in layouts(run):
        grid = sample_grid(run, name)
        save_spectrograms(out / f"samples-{name}.png", grid, RATE, columns=10)
        picture = Picture(
            "A label a column; a kind of sampling every three rows", out / f"samples-{name}.png"
        )
        page.append(Section(f"New digits, {name}", [picture, *players(run, name, each=2)]))
    write_page(out / "index.html", "vqaudio on the Free Spoken Digit Dataset", page)
    print((out / "results.md").read_text(encoding="utf-8"))


def sample_grid(run: Path, layout: str) -> list[tuple[str, Tensor]]:
    """Three samples of every label, for each kind of sampling with labels."""
    grid = []
    for folder in sorted((run / "samples" / layout).glob("labels*")):
        labelled = [Samples(each, RATE) for each in sorted(folder.iterdir())]
        grid += [(s.fields[0]["label"], s.audio[i]) for i in range(3) for s in labelled]
    return grid


def codec_tables(results: dict[str, Any]) -> list[Table]:
    """The codec, and its codebooks."""
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
    books = [
        [
            *(str(b["level"]), str(b["codebook"]), b["size"], b["frames"]),
            *(f"{b['used']} ({100 * b['share used']:.0f} %)", f"{b['perplexity']:.0f}"),
        ]
        for b in results["codebooks"]
    ]
    return [
        Table(["codec", "test split"], figures),
        Table(["level", "codebook", "codes", "frames", "used", "perplexity"], books),
    ]


if __name__ == "__main__":
    run_script(main)
