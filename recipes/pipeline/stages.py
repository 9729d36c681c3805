"""The stages of a recipe: what each leaves, and what it depends on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from commands import Command, Recipe, recipe_file

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
    ready = settings.codec.model

    def stage(
        name: str, what: str, leaves: str, commands: Callable[[], list[Command]], said: Any, after: str
    ) -> Stage:
        return Stage(name, what, [out / leaf for leaf in leaves.split()], commands, said, after.split())

    return [
        stage(
            "download",
            "nothing to fetch, as --data is given" if given else "fetch the data set",
            "" if given else "download",
            recipe.download,
            settings.download and settings.download.model_dump(),
            "",
        ),
        stage(
            "prepare",
            "list the sounds",
            "manifest.jsonl",
            recipe.prepare,
            [str(given and given.resolve()), (recipe.folder / "prepare.py").read_text(encoding="utf-8")],
            "download",
        ),
        stage(
            "codec",
            f"nothing to train, as it is {ready}" if ready else "train the codec",
            "" if ready else "codec",
            recipe.train_codec,
            [settings.codec.model_dump(), _contents("codec", settings.codec.recipe)],
            "prepare",
        ),
        stage(
            "tokens",
            "turn the sounds into tokens",
            "tokens",
            recipe.tokenize,
            ready,
            "prepare codec",
        ),
        stage(
            "prior",
            "train the prior",
            "prior",
            recipe.train_prior,
            [settings.prior.model_dump(), _contents("prior", settings.prior.recipe)],
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


def _contents(kind: str, recipe: str | None) -> Any:
    """What a recipe says, but for its comments."""
    if recipe is None:
        return None
    return yaml.load(recipe_file(kind, recipe).read_text(encoding="utf-8"), Loader)
