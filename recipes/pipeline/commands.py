"""The commands that each stage of a recipe runs."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sampled import SHARD
from settings import Samples, Settings

from vqaudio.corpus.manifest import Sound, read_manifest
from vqaudio.errors import UserError

SCRIPTS = Path(__file__).resolve().parent
RECIPES = SCRIPTS.parent


@dataclass(frozen=True)
class Command:
    """One program that a stage runs.

    Args:
        words: the program and its arguments, as they are printed.
        product: what it writes last, in a folder that is its own and begun anew without it; None for
            programs that go on by themselves where they were stopped.
    """

    words: list[str]
    product: Path | None = None

    def executable(self) -> list[str]:
        """The words with this environment's own programs in place of their names."""
        modules = {"vqaudio": ["-m", "vqaudio"], "torchrun": ["-m", "torch.distributed.run"]}
        return [sys.executable, *modules.get(self.words[0], []), *self.words[1:]]


@dataclass(frozen=True)
class Recipe:
    """What is done, on which data, and where.

    Args:
        settings: of `settings.yaml`, with what the command line changed.
        folder: with `prepare.py`.
        data: the data set, or None to download it.
        out: the folder that everything goes to.
        ranks: processes of a training.
    """

    settings: Settings
    folder: Path
    data: Path | None
    out: Path
    ranks: int

    @property
    def manifest(self) -> Path:
        """The sounds of the data set."""
        return self.out / "manifest.jsonl"

    @property
    def codec(self) -> str:
        """The codec that makes the tokens."""
        return self.settings.codec.model or str(self.out / "codec")

    def download(self) -> list[Command]:
        """Fetch the data set, unless there is a copy of it."""
        download = self.settings.download
        if self.data is not None:
            return []
        if download is None:
            source = self.settings.source
            raise UserError(f"--data: give the folder of the data set; it comes from {source}")
        what = json.dumps(download.model_dump(exclude_defaults=True))
        return [_script(SCRIPTS / "download.py", what, self.out / "download")]

    def prepare(self) -> list[Command]:
        """List the sounds."""
        data = self.data or self.out / "download"
        return [_script(self.folder / "prepare.py", data, self.manifest)]

    def train_codec(self) -> list[Command]:
        """Train the codec, unless it is there."""
        self._check_samples()
        codec = self.settings.codec
        start = ["--from", codec.start] if codec.start else []
        if codec.recipe is None:
            return []
        return [self._train("codec", codec.recipe, codec.set, "--data", self.manifest, *start)]

    def tokenize(self) -> list[Command]:
        """Turn the sounds into tokens."""
        self._check_samples()  # if no codec was trained
        return [_vqaudio("tokenize", self.manifest, "--codec", self.codec, "--out", self.out / "tokens")]

    def train_prior(self) -> list[Command]:
        """Train the prior."""
        prior, tokens = self.settings.prior, self.out / "tokens"
        inputs = ("--tokens", tokens, "--codec", self.codec)
        return [self._train("prior", prior.recipe, prior.set, *inputs)]

    def sample(self) -> list[Command]:
        """Write new sounds."""
        sounds = read_manifest(self.manifest)
        return [
            command
            for kind, samples in self.settings.samples.items()
            for command in self._sample(self.out / "samples" / kind, samples, sounds)
        ]

    def evaluate(self) -> list[Command]:
        """Measure codec, prior and samples."""
        out, sounds = self.out / "evaluation", self.out / "evaluation" / "sounds.jsonl"
        codec, samples = ("--codec", self.codec), ("--samples", self.out / "samples")
        models = ("--tokens", self.out / "tokens", "--prior", self.out / "prior")
        most = str(self.settings.evaluation.sounds)
        commands = [
            _script(SCRIPTS / "held_out.py", self.manifest, sounds, most),
            _vqaudio("evaluate", *codec, "--data", sounds, "--out", out / "codec"),
            _script(SCRIPTS / "judge_prior.py", sounds, *models, *samples, "--out", out / "prior"),
        ]
        if self.settings.evaluation.recognizer:
            steps = self.settings.evaluation.recognizer_steps
            how = () if steps is None else ("--steps", str(steps))
            words = (self.manifest, *codec, *samples, "--out", out / "words", *how)
            commands += [_script(SCRIPTS / "judge_words.py", *words)]
        return commands

    def summarize(self) -> list[Command]:
        """Put everything on a page."""
        return [_script(SCRIPTS / "summary.py", self.out, self.settings.title)]

    def _check_samples(self) -> None:
        """Before hours of training: whether there is what samples are to be told."""
        sounds = read_manifest(self.manifest)
        for samples in self.settings.samples.values():
            _asked(sounds, samples)

    def _train(self, kind: str, recipe: str, changes: list[str], *inputs: str | Path) -> Command:
        """`vqaudio train`, by several ranks if asked to, which goes on where it was."""
        out = self.out / kind
        words = ["train", kind, recipe_file(kind, recipe), *changes, *inputs, "--out", out]
        words += ["--resume"] if (out / "training_state").is_dir() else []
        command = _vqaudio(*words)
        if self.ranks == 1:
            return command
        together = ["torchrun", "--standalone", "--nproc-per-node", str(self.ranks), "-m"]
        return Command([*together, *command.words])

    def _sample(self, folder: Path, samples: Samples, sounds: list[Sound]) -> Iterator[Command]:
        """`vqaudio sample` of one kind, into the folder or one below it for all that it is told."""
        options = samples.model_dump(include={"seconds", "temperature", "top_p", "guidance"})
        how = [
            word
            for name, value in options.items()
            if value is not None
            for word in (f"--{name.replace('_', '-')}", f"{value:g}")
        ]
        models = ("--prior", self.out / "prior", "--codec", self.codec)
        for number, said in enumerate(_asked(sounds, samples)):
            name = f"{number:03}" if samples.each == "text" else re.sub(r"[^\w.-]+", "_", said)
            own = folder / name if samples.each else folder
            told = [f"--{samples.each}", said] if samples.each else []
            command = _vqaudio("sample", *models, "--out", own, "-n", str(samples.n), *how, *told)
            yield Command(command.words, own / SHARD)


def recipe_file(kind: str, recipe: str) -> Path:
    """The YAML file of a recipe: any by its path, those of recipes/ by name."""
    path = Path(recipe) if recipe.endswith(".yaml") else RECIPES / kind / f"{recipe}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(other.stem for other in (RECIPES / kind).glob("*.yaml")))
        raise UserError(f"{kind}.recipe: {recipe} is no file, and none of {known}")
    return _from_here(path)


def _asked(sounds: list[Sound], samples: Samples) -> list[str]:
    """What each folder of a kind of samples is told; those told nothing are one."""
    if samples.each is None:
        return [""]
    split = "test" if samples.each == "text" else "train"  # a label that was not trained on is unknown
    said = [
        sound.fields[samples.each]
        for sound in sounds
        if samples.each in sound.fields and sound.fields.get("split", "train") == split
    ]
    if not said:
        raise UserError(
            f"samples: told each {samples.each}, but no sound of the {split} split has one; "
            "leave such samples out"
        )
    return (list(dict.fromkeys(said)) if samples.each == "text" else sorted(set(said)))[: samples.most]


def _vqaudio(*words: str | Path) -> Command:
    return Command(["vqaudio", *map(str, words)])


def _script(path: Path, *words: str | Path) -> Command:
    return Command(["python", str(_from_here(path)), *map(str, words)])


def _from_here(path: Path) -> Path:
    """A path to print: from here, where it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
