"""What a recipe does, stage by stage: the commands of each, and the settings that it depends on."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from settings import CodecTraining, Samples, Settings, Training

from vqaudio.config.reading import Loader
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


@dataclass(frozen=True)
class Stage:
    """One step of a recipe.

    Args:
        name: what it is called by.
        what: it does, in a few words.
        leaves: files and folders that are complete when it is.
        commands: what it runs, asked for when its turn has come.
        said: the settings that it depends on, as JSON would have them.
        after: the stages whose products it reads.
    """

    name: str
    what: str
    leaves: list[Path]
    commands: Callable[[], list[Command]]
    said: Any
    after: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """Where a recipe runs, and on what.

    Args:
        recipe: the folder with `prepare.py` and `settings.yaml`.
        data: the data set, or None to download it.
        out: the folder that everything goes to.
        ranks: processes of a training.
    """

    recipe: Path
    data: Path | None
    out: Path
    ranks: int

    @property
    def manifest(self) -> Path:
        """The sounds of the data set."""
        return self.out / "manifest.jsonl"


def stages_of(settings: Settings, place: Place) -> list[Stage]:
    """All stages of a recipe, in their order."""
    out, manifest = place.out, place.manifest
    own = isinstance(settings.codec, CodecTraining)
    codec = str(out / "codec") if isinstance(settings.codec, CodecTraining) else settings.codec.model
    prepare = place.recipe / "prepare.py"
    data = place.data or out / "download"
    training, prior, samples = settings.codec, settings.prior, settings.samples
    evaluation = settings.evaluation
    given = place.data is not None
    stages = [
        Stage(
            "download",
            "nothing to fetch, as --data is given" if given else "fetch the data set",
            [] if given else [out / "download"],
            lambda: [] if given else _download(settings, out),
            None if given or settings.download is None else settings.download.model_dump(),
        ),
        Stage(
            "prepare",
            "list the sounds",
            [manifest],
            lambda: [Command([*_script(prepare), str(data), str(manifest)])],
            [str(data.resolve()), prepare.read_text(encoding="utf-8")],
            ["download"],
        ),
    ]
    if isinstance(training, CodecTraining):
        start = ["--from", training.start] if training.start else []
        stages.append(
            Stage(
                "codec",
                "train the codec",
                [out / "codec"],
                lambda: [_train(place, "codec", training, ["--data", str(manifest), *start])],
                [training.model_dump(), _contents("codec", training)],
                ["prepare"],
            )
        )
    stages += [
        Stage(
            "tokens",
            "turn the sounds into tokens",
            [out / "tokens"],
            lambda: [Command(_vqaudio("tokenize", manifest, "--codec", codec, "--out", out / "tokens"))],
            None if own else codec,
            ["prepare", *(["codec"] if own else [])],
        ),
        Stage(
            "prior",
            "train the prior",
            [out / "prior"],
            lambda: [_train(place, "prior", prior, ["--tokens", str(out / "tokens"), "--codec", codec])],
            [prior.model_dump(), _contents("prior", prior)],
            ["tokens"],
        ),
        Stage(
            "samples",
            "write new sounds",
            [out / "samples"],
            lambda: list(_samples(samples, place, codec)),
            {kind: one.model_dump() for kind, one in samples.items()},
            ["prior"],
        ),
        Stage(
            "evaluation",
            "measure codec, prior and samples",
            [out / "evaluation"],
            lambda: _evaluation(settings, place, codec),
            evaluation.model_dump(),
            ["samples"],
        ),
        Stage(
            "summary",
            "put everything on a page",
            [out / "index.html", out / "results.md"],
            lambda: [Command([*_script(SCRIPTS / "summary.py"), str(out), settings.title])],
            [settings.title, settings.source],
            ["evaluation"],
        ),
    ]
    return stages


def _vqaudio(*words: str | Path) -> list[str]:
    return ["vqaudio", *map(str, words)]


def _script(path: Path) -> list[str]:
    return ["python", str(_from_here(path))]


def _from_here(path: Path) -> Path:
    """A path to print: from here, where it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def recipe_file(kind: str, recipe: str) -> Path:
    """The YAML file of a recipe: any by its path, those of recipes/ by name."""
    path = Path(recipe) if recipe.endswith(".yaml") else RECIPES / kind / f"{recipe}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(other.stem for other in (RECIPES / kind).glob("*.yaml")))
        raise UserError(f"{kind}.recipe: {recipe} is no file, and none of {known}")
    return _from_here(path)


def _contents(kind: str, training: Training) -> Any:
    """What a recipe says, without its comments."""
    return yaml.load(recipe_file(kind, training.recipe).read_text(encoding="utf-8"), Loader)


def _download(settings: Settings, out: Path) -> list[Command]:
    if settings.download is None:
        raise UserError(f"--data: give the folder of the data set; it comes from {settings.source}")
    words = json.dumps(settings.download.model_dump(exclude_defaults=True))
    return [Command([*_script(SCRIPTS / "download.py"), words, str(out / "download")])]


def _train(place: Place, kind: str, training: Training, inputs: list[str]) -> Command:
    """`vqaudio train`, by several ranks if asked to, which goes on where it was."""
    out = place.out / kind
    ranks = (
        [] if place.ranks == 1 else ["torchrun", "--standalone", "--nproc-per-node", str(place.ranks)]
    )
    words = [*ranks, *(["-m", "vqaudio"] if ranks else ["vqaudio"])]
    words += ["train", kind, str(recipe_file(kind, training.recipe)), *training.set, *inputs]
    resume = ["--resume"] if (out / "training_state").is_dir() else []
    return Command([*words, "--out", str(out), *resume])


def _samples(kinds: dict[str, Samples], place: Place, codec: str) -> Iterator[Command]:
    sounds = read_manifest(place.manifest)
    for kind, samples in kinds.items():
        drawn = samples.model_dump(include={"seconds", "temperature", "top_p", "guidance"})
        how = [
            word
            for name, value in drawn.items()
            if value is not None
            for word in (f"--{name.replace('_', '-')}", f"{value:g}")
        ]
        for number, said in enumerate(_asked(sounds, samples)):
            name = re.sub(r"[^\w.-]+", "_", said) if samples.each != "text" else f"{number:03}"
            folder = place.out / "samples" / kind / (name if samples.each else "")
            words = _vqaudio("sample", "--prior", place.out / "prior", "--codec", codec)
            words += ["--out", str(folder), "-n", str(samples.n), *how]
            words += [f"--{samples.each}", said] if samples.each else []
            yield Command(words, folder / "tokens-00000.parquet")


def _asked(sounds: list[Sound], samples: Samples) -> list[str]:
    """What each folder of a kind of samples is told; of those told nothing there is one."""
    if samples.each is None:
        return [""]
    wanted = ("test",) if samples.each == "text" else ("train",)
    said = [
        sound.fields[samples.each]
        for sound in sounds
        if samples.each in sound.fields and sound.fields.get("split", "train") in wanted
    ]
    if not said:
        raise UserError(
            f"samples: told each {samples.each}, but no sound of the {wanted[0]} split has one; "
            "leave such samples out"
        )
    return (list(dict.fromkeys(said)) if samples.each == "text" else sorted(set(said)))[: samples.most]


def _evaluation(settings: Settings, place: Place, codec: str) -> list[Command]:
    out = place.out / "evaluation"
    sounds = out / "sounds.jsonl"
    most = str(settings.evaluation.sounds)
    commands = [
        Command([*_script(SCRIPTS / "held_out.py"), str(place.manifest), str(sounds), most]),
        Command(_vqaudio("evaluate", "--codec", codec, "--data", sounds, "--out", out / "codec")),
        Command(
            [*_script(SCRIPTS / "judge_prior.py"), str(sounds), "--tokens", str(place.out / "tokens")]
            + ["--prior", str(place.out / "prior"), "--samples", str(place.out / "samples")]
            + ["--out", str(out / "prior")]
        ),
    ]
    if settings.evaluation.recognizer:
        words = [*_script(SCRIPTS / "judge_words.py"), str(place.manifest), "--codec", codec]
        words += ["--samples", str(place.out / "samples"), "--out", str(out / "words")]
        commands.append(Command(words))
    return commands


def program(words: list[str]) -> list[str]:
    """The words of a command with this environment's own programs in place of their names."""
    modules = {"vqaudio": ["-m", "vqaudio"], "torchrun": ["-m", "torch.distributed.run"], "python": []}
    return [sys.executable, *modules[words[0]], *words[1:]]
