"""How likely a prior finds sounds that it has not heard, and whether its samples repeat what it has.

python recipes/pipeline/judge_prior.py SOUNDS.jsonl --tokens DIR --prior MODEL --samples DIR --out DIR

Writes OUT/results.json, and OUT/section.json for the summary.
"""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from sampled import sampled_folders

from vqaudio.audio import read_audio
from vqaudio.cli.terminal import run_script
from vqaudio.codes import Codes
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.corpus.manifest import read_manifest
from vqaudio.corpus.shards import TokenRow
from vqaudio.evaluation.generation import longest_copies
from vqaudio.evaluation.likelihood import fit
from vqaudio.evaluation.ngram import ngram_bits_per_second
from vqaudio.evaluation.plots import save_spectrograms
from vqaudio.evaluation.report import Picture, Player, Section, Table
from vqaudio.evaluation.sections import save_section
from vqaudio.files import make_folder, write_text
from vqaudio.model_folder import load_prior
from vqaudio.prior.layout import Layout
from vqaudio.prior.model import Prior

LEARNED = 2_000_000  # codes at most that n-grams are made of, and copies are looked for in
COMPARED = 50  # sounds whose longest copies are looked for
PLAYED, PLAYERS, PICTURED = 3, 24, 8  # samples of a folder, and in all; spectrograms


def main(
    sounds: Path,
    tokens: Annotated[Path, typer.Option(metavar="DIR")],
    prior: Annotated[str, typer.Option(metavar="MODEL")],
    samples: Annotated[Path, typer.Option(metavar="DIR")],
    out: Annotated[Path, typer.Option(metavar="DIR")],
) -> None:
    make_folder(out)
    model = load_prior(prior)
    corpus = TokenDataset(tokens)
    test, train = part(corpus, {sound.id for sound in read_manifest(sounds)})
    kinds = sampled_folders(samples)
    unheard = [row.codes for row in test]
    layout = Layout("flat", corpus.hops, corpus.codebook_sizes)
    results = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "bits per second": {
            **ngram_bits_per_second(layout, train, unheard),
            **likelihoods(model, test),
        },
        "longest copies, seconds": {
            "test": copied(unheard[:COMPARED], train),
            **{kind: copied(some_codes(own), train) for kind, own in kinds.items()},
        },
    }
    write_text(out / "results.json", json.dumps(results, indent=1, allow_nan=False))
    save_section(out, Section("The prior", [*tables(results), *heard(kinds, samples, out)]))


def part(corpus: TokenDataset, wanted: set[str]) -> tuple[list[TokenRow], list[Codes]]:
    """The rows that are asked for, and codes of the training split, not all if they are very many."""
    test, train, learned = [], [], 0
    for row in corpus:
        if row.id in wanted:
            test.append(row)
        elif row.fields.get("split", "train") == "train" and learned < LEARNED:
            train.append(row.codes)
            learned += sum(level.numel() for level in row.codes.levels)
    return test, train


def likelihoods(prior: Prior, test: Sequence[TokenRow]) -> dict[str, float]:
    """Bits per second of test sounds, told nothing, and told all that the prior can be told."""
    codes = [row.codes for row in test]
    found = {"prior, told nothing": fit(prior, codes).bits_per_second}
    config = prior.config
    known: dict[str, list[str] | None] = {}
    known |= {"label": config.labels} if config.labels else {}
    known |= {"speaker": config.speakers} if config.speakers else {}
    known |= {"text": None} if config.text_bytes else {}  # any
    if known:
        said = [
            {
                key: value
                for key, names in known.items()
                # a speaker of the test split alone is none that the prior knows
                if (value := row.fields.get(key)) and (names is None or value in names)
            }
            for row in test
        ]
        found[f"prior, told {' and '.join(known)}"] = fit(prior, codes, said).bits_per_second
    return found


def some_codes(folders: Sequence[Path]) -> list[Codes]:
    """The codes of the samples in some folders, not all if they are many."""
    codes = [row.codes for folder in folders for row in TokenDataset(folder)]
    return codes[:: -(-len(codes) // COMPARED)]


def copied(sounds: Sequence[Codes], train: Sequence[Codes]) -> dict[str, float]:
    """The longest stretches of coarse codes that stand in a training sound too."""
    found = longest_copies(sounds, train)
    return {"median": statistics.median(found), "longest": max(found)}


def tables(results: dict[str, Any]) -> list[Table]:
    """The results as tables."""
    bits = results["bits per second"]
    last = bits["5-gram"]
    rows = [[name, f"{value:.0f}", f"{100 * (value / last - 1):+.1f} %"] for name, value in bits.items()]
    copies = [
        [name, f"{found['median']:.2f}", f"{found['longest']:.2f}"]
        for name, found in results["longest copies, seconds"].items()
    ]
    millions = f"{results['parameters'] / 1e6:.1f} M parameters"
    return [
        Table([f"model of test codes; the prior has {millions}", "bits per second", "to 5-gram"], rows),
        Table(["longest stretch that is in a training sound too, s", "median", "longest"], copies),
    ]


def heard(kinds: dict[str, list[Path]], samples: Path, out: Path) -> list[Picture | Player]:
    """Some samples of every folder to listen to, and a picture of the first."""
    folders = [folder for own in kinds.values() for folder in own]
    paths = [path for folder in folders for path in sorted(folder.glob("*.wav"))[:PLAYED]][:PLAYERS]
    shown, rate = [], 0
    for path in paths[:PICTURED]:
        audio, rate = read_audio(path)
        shown.append((_caption(path, samples), audio[0]))
    if not shown:
        return []
    save_spectrograms(out / "samples.png", shown, rate, columns=min(4, len(shown)))
    return [
        Picture("Samples", out / "samples.png"),
        *(Player(_caption(path, samples), path) for path in paths),
    ]


def _caption(path: Path, samples: Path) -> str:
    return " ".join(path.relative_to(samples).with_suffix("").parts)


if __name__ == "__main__":
    run_script(main)
