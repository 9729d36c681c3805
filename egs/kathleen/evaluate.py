"""Judge the priors of a run: bits per second, whether the text matters, and sentences to listen to.

    python egs/kathleen/evaluate.py RUN

RUN is the folder that run.sh fills. Writes RUN/evaluation: results.json, results.md (the tables),
pictures, sounds, and index.html to listen to.
"""

import json
import statistics
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import track
from torch import Tensor

import vqaudio
from vqaudio.audio import write_audio
from vqaudio.cli.terminal import run_script
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.corpus.shards import TokenRow
from vqaudio.errors import UserError
from vqaudio.evaluation.generation import longest_copies
from vqaudio.evaluation.likelihood import fit
from vqaudio.evaluation.ngram import ngram_bits_per_second
from vqaudio.evaluation.plots import save_spectrograms
from vqaudio.evaluation.report import Picture, Player, Section, Table, write_page
from vqaudio.files import make_folder, write_text
from vqaudio.prior.layout import Layout
from vqaudio.prior.model import Prior

CHOICES = 10  # texts, of which one is right
SAID = 12  # test sentences that are sampled
HOW = {"temperature": 0.8, "guidance": 1.5, "top_p": 0.95}


def main(run: Path) -> None:
    """Measure everything, and write the page."""
    out = make_folder(run / "evaluation")
    corpus = TokenDataset(run / "tokens")
    codec = vqaudio.load("speech-16k")
    assert isinstance(codec, vqaudio.Codec)
    rows = list(corpus)
    train = [row.codes for row in rows if row.fields["split"] == "train"]
    test = [row for row in rows if row.fields["split"] == "test"]
    names = [name for name in ("flat", "delay", "cascade") if (run / f"prior-{name}").is_dir()]
    if not names:
        raise UserError(f"{run}: no prior yet; run stage 3")
    layout = Layout("flat", corpus.hops, corpus.codebook_sizes)
    results: dict[str, Any] = {
        "n-grams": ngram_bits_per_second(layout, train, [row.codes for row in test]),
        "copies": {"original": copies([row.codes for row in test[:SAID]], train)},
        "priors": {},
    }
    page = []
    for name in names:
        prior = vqaudio.load(run / f"prior-{name}")
        assert isinstance(prior, Prior)
        spoken = [
            prior.sample(text=row.fields["text"], seed=i, **HOW)[0] for i, row in enumerate(test[:SAID])
        ]  # type: ignore[arg-type]
        results["priors"][name] = judge(prior, test, name)
        results["copies"][f"samples, {name}"] = copies(spoken, train)
        audio = [sound[0] for sound in codec.decode(spoken)]
        page.append(
            say(out, name, audio, [row.fields["text"] for row in test[:SAID]], codec.sample_rate)
        )
    write_text(out / "results.json", json.dumps(results, indent=1, allow_nan=False))
    tables = make_tables(results)
    write_text(out / "results.md", "\n\n".join(table.markdown() for table in tables) + "\n")
    write_page(
        out / "index.html", "vqaudio reads", [Section("Results on the test split", tables), *page]
    )
    print((out / "results.md").read_text(encoding="utf-8"))


def judge(prior: Prior, test: Sequence[TokenRow], name: str) -> dict[str, Any]:
    """Bits per second without and with the text, and how often the right text is the likeliest."""
    codes = [row.codes for row in test]
    texts = [row.fields["text"] for row in test]
    right = 0
    for i, one in enumerate(track(codes, f"{name}: which text", disable=not sys.stderr.isatty())):
        # Of like length: how long a sound is must not give its text away.
        offered = sorted(texts, key=lambda text: abs(len(text.encode()) - len(texts[i].encode())))
        offered = [texts[i], *(text for text in offered if text != texts[i])][:CHOICES]
        bits = [prior.nll(one, text=text).bits for text in offered]
        right += bits.index(min(bits)) == 0
    told = [{"text": text} for text in texts]
    return {
        "parameters": sum(parameter.numel() for parameter in prior.parameters()),
        "nothing": fit(prior, codes).bits_per_second,
        "text": fit(prior, codes, told).bits_per_second,
        "right text likeliest": right / len(codes),
    }


def copies(sounds: Sequence[vqaudio.Codes], train: Sequence[vqaudio.Codes]) -> dict[str, float]:
    """The longest stretches that stand in a training sound too, in seconds."""
    found = longest_copies(sounds, train)
    return {"median": statistics.median(found), "longest": max(found)}


def say(out: Path, name: str, audio: list[Tensor], texts: list[str], rate: int) -> Section:
    """Write the sampled sentences of one prior, with a picture."""
    players = []
    for number, (sound, text) in enumerate(zip(audio, texts, strict=True)):
        path = out / f"{name}-{number:02}.wav"
        write_audio(path, sound[None], rate)
        players.append(Player(text, path))
    picture = out / f"samples-{name}.png"
    titles = [textwrap.shorten(text, 40, placeholder=" ...") for text in texts]
    save_spectrograms(picture, list(zip(titles, audio, strict=True))[:4], rate, 2)
    return Section(f"Test sentences, {name}", [Picture("The first four", picture), *players])


def make_tables(results: Mapping[str, Any]) -> list[Table]:
    """The results as tables."""
    last = list(results["n-grams"].values())[-1]
    bits = [[name, "-", f"{found:.0f}", "-", "-"] for name, found in results["n-grams"].items()]
    for name, prior in results["priors"].items():
        shares = [
            f"{prior[told]:.0f} ({100 * (prior[told] / last - 1):+.1f} %)"
            for told in ("nothing", "text")
        ]
        right = f"{100 * prior['right text likeliest']:.0f} %"
        bits.append([f"prior, {name}", f"{prior['parameters'] / 1e6:.2f} M", *shares, right])
    copied = [
        [name, f"{found['median']:.2f}", f"{found['longest']:.2f}"]
        for name, found in results["copies"].items()
    ]
    columns = ["model of test codes, bits per second", "parameters", "told nothing", "told the text"]
    return [
        Table([*columns, f"right text likeliest of {CHOICES}"], bits),
        Table(["longest stretch that is in a training sound too, s", "median", "longest"], copied),
    ]


if __name__ == "__main__":
    run_script(main)
