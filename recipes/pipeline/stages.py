"""The stages of a recipe: what each leaves, and what it depends on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from commands import Command, Recipe, recipe_file
from settings import CodecTraining, Training

from vqaudio.config.reading import Loader


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
    after: list[str]


def stages_of(recipe: Recipe) -> list[Stage]:
    """All stages of a recipe, in their order."""
    settings, out, given = recipe.settings, recipe.out, recipe.data
    training = settings.codec if isinstance(settings.codec, CodecTraining) else None
    download = settings.download.model_dump() if settings.download and not given else None
    prepare = (recipe.folder / "prepare.py").read_text(encoding="utf-8")

    def stage(
        name: str, what: str, leaves: str, commands: Callable[[], list[Command]], said: Any, after: str
    ) -> Stage:
        return Stage(name, what, [out / leaf for leaf in leaves.split()], commands, said, after.split())

    stages = [
        stage(
            "download",
            "nothing to fetch, as --data is given" if given else "fetch the data set",
            "" if given else "download",
            recipe.download,
            download,
            "",
        ),
        stage(
            "prepare",
            "list the sounds",
            "manifest.jsonl",
            recipe.prepare,
            [str(given.resolve()) if given else "", prepare],
            "download",
        ),
        stage(
            "tokens",
            "turn the sounds into tokens",
            "tokens",
            recipe.tokenize,
            None if training else recipe.codec,
            "prepare codec" if training else "prepare",
        ),
        stage(
            "prior",
            "train the prior",
            "prior",
            recipe.train_prior,
            _trained("prior", settings.prior),
            "tokens",
        ),
        stage(
            "samples",
            "write new sounds",
            "samples",
            recipe.sample,
            {kind: samples.model_dump() for kind, samples in settings.samples.items()},
            "prior",
        ),
        stage(
            "evaluation",
            "measure codec, prior and samples",
            "evaluation",
            recipe.evaluate,
            settings.evaluation.model_dump(),
            "samples",
        ),
        stage(
            "summary",
            "put everything on a page",
            "index.html results.md",
            recipe.summarize,
            settings.title,
            "evaluation",
        ),
    ]
    if training:
        codec = stage(
            "codec",
            "train the codec",
            "codec",
            lambda: recipe.train_codec(training),
            _trained("codec", training),
            "prepare",
        )
        stages.insert(2, codec)
    return stages


def _trained(kind: str, training: Training) -> Any:
    """All that a training depends on: its settings, and what the recipe says but for its comments."""
    text = recipe_file(kind, training.recipe).read_text(encoding="utf-8")
    return [training.model_dump(), yaml.load(text, Loader)]
