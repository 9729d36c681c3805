"""The priors of a run: how likely they find unseen digits, and how their samples sound."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

import vqaudio
from vqaudio.audio import mono, read_audio
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.corpus.shards import TokenRow
from vqaudio.evaluation.likelihood import fit
from vqaudio.evaluation.ngram import ngram_bits_per_second
from vqaudio.evaluation.recognizer import Recognition, Recognizer
from vqaudio.evaluation.report import Player, Table
from vqaudio.evaluation.words import hearing
from vqaudio.prior.layout import Layout
from vqaudio.prior.model import Prior

TOLD = {"nothing": (), "label": ("label",), "label and speaker": ("label", "speaker")}


@dataclass(frozen=True)
class Listener:
    """A recognizer, and what it makes of the real training words."""

    recognizer: Recognizer
    training: Recognition

    def hear(self, words: list[Tensor], truth: Sequence[str] | None) -> dict[str, Any]:
        """Judge a set of words."""
        recognized = self.recognizer.recognize(words, self.recognizer.config.sample_rate)
        return asdict(hearing(recognized, self.training, truth))


def read_word(path: Path, sample_rate: int) -> Tensor:
    """The samples `[T]` of a sound."""
    return mono(read_audio(path, sample_rate)[0])[0]


class Samples:
    """The sounds of a folder of `vqaudio sample`, and what was asked for."""

    def __init__(self, folder: Path, sample_rate: int) -> None:
        rows = list(TokenDataset(folder / "tokens-00000.parquet"))
        self.paths = [folder / f"{row.id}.wav" for row in rows]
        self.audio = [read_word(path, sample_rate) for path in self.paths]
        self.fields = [row.fields for row in rows]


def layouts(run: Path) -> list[str]:
    """Of the priors that were trained."""
    return [name for name in ("flat", "delay", "cascade") if (run / f"prior-{name}").is_dir()]


def ngram_bits(rows: Sequence[TokenRow], corpus: TokenDataset) -> dict[str, float]:
    """Bits per second of n-gram models on the test split."""
    layout = Layout("flat", corpus.hops, corpus.codebook_sizes)
    train, test = ([row.codes for row in rows if row.fields["split"] == s] for s in ("train", "test"))
    return ngram_bits_per_second(layout, train, test)


def judge_prior(
    run: Path, layout: str, test: Sequence[TokenRow], digits: Listener, speakers: Listener
) -> dict[str, Any]:
    """Figures of one prior and its samples."""
    prior = vqaudio.load(run / f"prior-{layout}")
    assert isinstance(prior, Prior)
    codes = [row.codes for row in test]
    bits = {
        name: asdict(fit(prior, codes, [{key: row.fields[key] for key in keys} for row in test]))
        for name, keys in TOLD.items()
    }
    heard = {}
    for folder in sorted((run / "samples" / layout).iterdir()):
        samples = [Samples(each, prior.sample_rate) for each in sorted(folder.iterdir())]
        words = [word for one in samples for word in one.audio]
        fields = [said for one in samples for said in one.fields]
        asked = "speaker" if "speaker" in fields[0] else "label"
        listener = speakers if asked == "speaker" else digits
        known = all(asked in said for said in fields)
        heard[folder.name] = listener.hear(words, [said[asked] for said in fields] if known else None)
    parameters = sum(parameter.numel() for parameter in prior.parameters())
    return {"parameters": parameters, "test": bits, "samples": heard}


def players(run: Path, layout: str, each: int) -> list[Player]:
    """A few samples of every kind to listen to."""
    found = []
    for folder in sorted((run / "samples" / layout).iterdir()):
        for asked in sorted(folder.iterdir()):
            paths = sorted(asked.glob("*.wav"))[:each]
            found += [Player(f"{asked.name}, {folder.name}, {layout}", path) for path in paths]
    return found


def prior_tables(results: Mapping[str, Any]) -> list[Table]:
    """Bits per second of priors and n-gram models; samples of each prior."""
    grams = results["n-grams"]
    last = list(grams.values())[-1]
    bits = [[name, "-", f"{found:.0f}", "-", "-"] for name, found in grams.items()]
    heard = []
    for layout, prior in results["priors"].items():
        shares = [prior["test"][name]["bits_per_second"] for name in TOLD]
        bits.append(
            [
                f"prior, {layout}",
                f"{prior['parameters'] / 1e6:.2f} M",
                *(f"{share:.0f} ({100 * (share / last - 1):+.0f} %)" for share in shares),
            ]
        )
        heard += [[f"{layout}, {name}", *_hearing(h)] for name, h in prior["samples"].items()]
    columns = ["model of test codes, bits per second", "parameters", *(f"told {name}" for name in TOLD)]
    return [Table(columns, bits), Table(["samples", *HEARING], heard)]


HEARING = ["number", "recognized %", "Fréchet", "IS", "mIS", "AM", "nearest: 5 %, median"]


def _hearing(h: Mapping[str, Any]) -> list[Any]:
    return [
        h["sounds"],
        "-" if h["accuracy"] is None else f"{100 * h['accuracy']:.1f}",
        *(f"{h[key]:.4g}" for key in ("frechet", "inception", "modified_inception", "am")),
        f"{h['nearest_5_percent']:.2f}, {h['nearest']:.2f}",
    ]


def word_table(heard: Mapping[str, Mapping[str, Any]]) -> Table:
    """What the recognizer makes of real and coded words."""
    return Table(["words", *HEARING], [[name, *_hearing(h)] for name, h in heard.items()])
