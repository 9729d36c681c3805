"""What recognizers hear in labelled sounds: in originals, in what a codec makes of them, in samples.

python recipes/pipeline/judge_words.py MANIFEST --codec MODEL --samples DIR --out DIR [--steps N]

One recognizer is trained on the labels of the training split, and one on its speakers where some of
them speak in the test split too. Writes OUT/recognizer and OUT/speakers, which are used again;
OUT/results.json; and OUT/section.json for the summary.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.progress import Progress
from sampled import sampled_folders
from torch import Tensor
from torch.utils.data import Dataset

from vqaudio.audio import mono, read_audio
from vqaudio.cli.terminal import note, progress, run_script, say
from vqaudio.codec.model import Codec
from vqaudio.codec.passes import decode_levels, encode_sounds
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.corpus.manifest import Sound, read_manifest
from vqaudio.errors import UserError
from vqaudio.evaluation.plots import save_spectrograms
from vqaudio.evaluation.recognizer import Recognition, Recognizer
from vqaudio.evaluation.recognizer_training import BATCH, recognizer_of
from vqaudio.evaluation.report import Folded, Picture, Player, Section, Table
from vqaudio.evaluation.sections import save_section
from vqaudio.evaluation.words import hearing
from vqaudio.files import make_folder, write_text
from vqaudio.model_folder import load_codec
from vqaudio.training.split import VALIDATION

KEPT = {"label": "recognizer", "speaker": "speakers"}  # folder of a recognizer, by what it tells apart
STEPS, ROUNDS = 700, 4  # of training: steps at least, and how often each sound comes at least
PLAYED, PLAYERS = 2, 40  # samples of a kind for each thing that was asked for, and in all
ROWS, COLUMNS = 3, 10  # of a picture of samples
HEARING = ["number", "recognized %", "Fréchet", "IS", "mIS", "AM", "nearest: 5 %, median"]
ABOUT = (
    "A small ResNeXt, trained on the real sounds of the training split, listens to the test split, to "
    "what the codec makes of it, and to samples. Recognized: as what they are, or were asked for. "
    "Fréchet, IS, mIS, AM: as the SC09 benchmark has them (SaShiMi, arXiv 2202.09729), against the "
    "training split; only rows of like number compare. Nearest: distance to the most alike training "
    "sound, of the nearest 5 % and the median; what compares with samples is the resynthesis, and "
    "copies have next to none."
)


class Words(Dataset[Tensor]):
    """Sounds `[T]` that are read as they are asked for: a corpus need not fit into memory."""

    def __init__(self, sounds: Sequence[Sound], sample_rate: int) -> None:
        self.sounds, self.sample_rate = sounds, sample_rate

    def __len__(self) -> int:
        return len(self.sounds)

    def __getitem__(self, index: int) -> Tensor:
        sound = self.sounds[index]
        audio, _ = read_audio(
            sound.path,
            self.sample_rate,
            start_seconds=sound.start_seconds,
            duration_seconds=sound.duration_seconds,
        )
        return mono(audio)[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class Listener:
    """A recognizer of what a field of the manifest says.

    Args:
        what: the field, label or speaker.
        recognizer: of its values.
        training: what it makes of the sounds that it was trained on.
        heard: figures of each set of sounds, by its name.
    """

    what: str
    recognizer: Recognizer
    training: Recognition
    heard: dict[str, dict[str, Any]] = field(default_factory=dict)

    def hear(self, name: str, sounds: Iterable[Tensor], truth: Sequence[str] | None) -> Recognition:
        """Judge a set of sounds, and keep the figures under its name."""
        found = self.recognizer.recognize(sounds, self.recognizer.config.sample_rate)
        self.heard[name] = asdict(hearing(found, self.training, truth))
        return found


class Samples:
    """A kind of samples, with what was asked for as fields."""

    def __init__(self, kind: str, folders: Sequence[Path], sample_rate: int) -> None:
        self.kind = kind
        self.sounds = [
            Sound(row.id, folder / f"{row.id}.wav", fields=row.fields)
            for folder in folders
            for row in TokenDataset(folder)
        ]
        self.audio = Words(self.sounds, sample_rate)

    def asked(self, what: str) -> list[str] | None:
        """What each was told of a field; None where some were told nothing."""
        told = [sound.fields[what] for sound in self.sounds if what in sound.fields]
        return told if len(told) == len(self.sounds) else None


def main(
    manifest: Path,
    codec: Annotated[str, typer.Option(metavar="MODEL", help="A shipped name or a model folder.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the figures.")],
    samples: Annotated[Path | None, typer.Option(metavar="DIR", help="Folders of samples.")] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=2, help="Of training.", show_default="700, or four times through the sounds"),
    ] = None,
) -> None:
    """Train recognizers on the training split, and let them listen to the rest."""
    model = load_codec(codec)
    rate = model.sample_rate
    train, validation, test = read_splits(manifest)
    known = {what: names for what in KEPT if len(names := shared(what, train, test)) > 1}
    if not known:
        raise UserError(
            f"{manifest}: training and test sounds share fewer than two labels, and two speakers; a "
            "recognizer needs some to tell apart"
        )
    kinds = [] if samples is None else read_samples(samples, rate)
    make_folder(out)
    with progress() as bar:
        listeners = [
            trained(what, out / KEPT[what], train, validation, rate, steps, bar) for what in known
        ]
        judge_codec(model, test, listeners, known, bar)
        pictures = [one for kind in kinds for one in judge_samples(kind, listeners, out, bar)]
    results = {one.what: one.heard for one in listeners}
    write_text(out / "results.json", json.dumps(results, indent=1, allow_nan=False))
    tables = [table(one) for one in listeners]
    save_section(out, Section("What a recognizer hears", [ABOUT, *tables, *pictures, *players(kinds)]))
    say("\n\n".join(one.markdown() for one in tables))


def read_splits(manifest: Path) -> tuple[list[Sound], list[Sound], list[Sound]]:
    """Training, validation and test sounds; where none is marked `test`, those of validation."""
    sounds = read_manifest(manifest)
    train = [s for s in sounds if s.fields.get("split", "train") == "train"]
    validation = [s for s in sounds if s.fields.get("split") in VALIDATION]
    test = [s for s in sounds if s.fields.get("split") == "test"]
    return (train, validation, test) if test else (train, [], validation)


def shared(what: str, train: Sequence[Sound], test: Sequence[Sound]) -> set[str]:
    """What a field says both of training and of test sounds."""
    said = [{s.fields[what] for s in sounds if what in s.fields} for sounds in (train, test)]
    return said[0] & said[1]


def read_samples(folder: Path, sample_rate: int) -> list[Samples]:
    """The kinds of samples in a folder."""
    found = sampled_folders(folder).items()
    kinds = [Samples(kind, folders, sample_rate) for kind, folders in found]
    if not kinds:
        raise UserError(f"{folder}: no folders of `vqaudio sample`; sample some, or leave --samples out")
    return kinds


def trained(
    what: str,
    folder: Path,
    train: Sequence[Sound],
    validation: Sequence[Sound],
    rate: int,
    steps: int | None,
    bar: Progress,
) -> Listener:
    """A recognizer of a field: the one that is in the folder, or a new one, chosen on validation."""
    words, truth = labelled(what, train, rate)
    others, said = labelled(what, validation, rate)
    steps = steps or max(STEPS, ROUNDS * len(words) // BATCH)
    task = bar.add_task(f"recognizer of {what}s", total=steps)
    recognizer = recognizer_of(
        *(folder, words, truth, rate, steps, lambda *_: bar.advance(task)),
        validation=(others, said) if said else None,
    )
    bar.update(task, completed=steps)
    real = bar.track(words, description=f"training sounds, {what}s")
    return Listener(what, recognizer, recognizer.recognize(real, rate))


def labelled(what: str, sounds: Sequence[Sound], rate: int) -> tuple[Words, list[str]]:
    """The sounds of which a field says something, and what."""
    own = [sound for sound in sounds if what in sound.fields]
    return Words(own, rate), [sound.fields[what] for sound in own]


def judge_codec(
    codec: Codec,
    test: Sequence[Sound],
    listeners: Sequence[Listener],
    known: dict[str, set[str]],
    bar: Progress,
) -> None:
    """Let all listen to test sounds, to what the codec makes of them, and to its coarse level alone."""
    originals = list(bar.track(Words(test, codec.sample_rate), description="test sounds"))
    coded = list(
        bar.track(encode_sounds(codec, originals), total=len(test), description="through the codec")
    )

    def decoded(levels: int) -> Iterator[Tensor]:
        for found, length in coded:
            yield torch.cat(list(decode_levels(codec, found[:levels], length)), dim=1)[0]

    rows: dict[str, Iterable[Tensor]] = {
        "original": originals,
        "resynthesis": decoded(len(codec.hops)),
        **({"coarse level": decoded(1)} if len(codec.hops) > 1 else {}),
    }
    for row, sounds in rows.items():
        made = list(bar.track(sounds, total=len(test), description=row))
        for one in listeners:
            places = [i for i, s in enumerate(test) if s.fields.get(one.what) in known[one.what]]
            truth = [test[i].fields[one.what] for i in places]
            one.hear(row, [made[i] for i in places], truth)


def judge_samples(
    samples: Samples, listeners: Sequence[Listener], out: Path, bar: Progress
) -> Iterator[Picture]:
    """Let those listen who know what was asked for, or else the first one, and draw some."""
    if len(samples.sounds) < 2:
        note(f"samples {samples.kind}: one sound is no set to judge, and is passed over")
        return
    wanted = [one for one in listeners if samples.asked(one.what)] or listeners[:1]
    for one in wanted:
        sounds = bar.track(samples.audio, description=f"samples, {samples.kind}, {one.what}s")
        asked = samples.asked(one.what)
        heard = one.hear(f"samples, {samples.kind}", sounds, asked)
        if one is wanted[0]:
            yield picture(
                samples, one.what, asked or heard.labels, "asked for" if asked else "recognized", out
            )


def picture(samples: Samples, what: str, names: Sequence[str], how: str, out: Path) -> Picture:
    """Spectrograms of a few samples, those of one name in a column."""
    places = defaultdict(list)
    for place, name in enumerate(names):
        places[name].append(place)
    columns = dict(sorted(places.items())[:COLUMNS])
    rows = min(ROWS, *map(len, columns.values()))
    shown = [(name, samples.audio[own[row]]) for row in range(rows) for name, own in columns.items()]
    path = out / f"samples-{samples.kind}.png"
    save_spectrograms(path, shown, samples.audio.sample_rate, columns=len(columns))
    return Picture(f"Samples, {samples.kind}: a {what} a column, as {how}", path)


def players(kinds: Sequence[Samples]) -> Iterator[Folded]:
    """A few samples of each kind, first one of everything that was asked for."""
    for samples in kinds:
        turns: dict[int, list[Player]] = defaultdict(list)
        came = Counter[str]()
        for sound in samples.sounds:
            name = ", ".join(sound.fields.values()) or "told nothing"
            turns[came[name]].append(Player(f"{name}; {samples.kind}", sound.path))
            came[name] += 1
        some = [player for turn in range(PLAYED) for player in turns[turn]]
        yield Folded(f"Samples, {samples.kind}, to listen to", some[: max(1, PLAYERS // len(kinds))])


def table(listener: Listener) -> Table:
    """The figures that a listener keeps."""
    count = len(listener.recognizer.config.labels)
    rows = [
        [
            *(name, h["sounds"], "-" if h["accuracy"] is None else f"{100 * h['accuracy']:.1f}"),
            *(f"{h[key]:.4g}" for key in ("frechet", "inception", "modified_inception", "am")),
            f"{h['nearest_5_percent']:.2f}, {h['nearest']:.2f}",
        ]
        for name, h in listener.heard.items()
    ]
    return Table([f"heard by a recognizer of {count} {listener.what}s", *HEARING], rows)


if __name__ == "__main__":
    run_script(main)
