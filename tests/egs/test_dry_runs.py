"""Every recipe of `egs/` from data to its page: real processes on tiny data sets, with tiny settings."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.egs.layouts import LAYOUTS, tree

ROOT = Path(__file__).parents[2]
RECIPES = {path.parent.name: path for path in sorted(ROOT.glob("egs/*/settings.yaml"))}
TRAINING = [
    "optimization.steps=4",
    "optimization.warmup_steps=1",
    "run={log_every: 4, validate_every: 4, checkpoint_every: 4, validation_sounds: 2}",
]
CODEC = ["data.crops=2", "data.crop_seconds=0.5", "warm_start_steps=2", *TRAINING]
NARROW = [
    "codec.levels.*.channels=16",
    "codec.levels.*.encoder_units=1",
    "codec.levels.*.decoder_units=1",
    "codec.levels.*.bottleneck.codebook_size=16",
    "codec.levels.*.bottleneck.dim=4",
    "codec.head.channels=16",
    "codec.head.units=1",
    "adversarial=null",
]
PRIOR = ["prior.layers=1", "prior.width=16", "prior.heads=2", "data.tokens_per_batch=512", *TRAINING]


class Ran(NamedTuple):
    """What a recipe did, and what it did when it was asked again."""

    out: Path
    first: subprocess.CompletedProcess[str]
    again: subprocess.CompletedProcess[str]
    seconds: float


def tiny(settings: dict[str, Any]) -> list[str]:
    """Changes to settings that leave what is particular to a recipe, and make each stage short."""
    codec, prior = settings["codec"], settings["prior"]
    changes = {"prior.set": [*prior.get("set", []), *PRIOR], "evaluation.sounds": 2}
    if "recipe" in codec:  # one that begins with a shipped one has its shape
        narrow = [] if "start" in codec else NARROW
        changes["codec.set"] = [*codec.get("set", []), *CODEC, *narrow]
    if settings.get("evaluation", {}).get("recognizer"):
        changes["evaluation.recognizer_steps"] = 2
    for kind in settings["samples"]:
        changes |= {f"samples.{kind}.{key}": value for key, value in (("n", 2), ("most", 1))}
        changes[f"samples.{kind}.seconds"] = 0.5
    return [f"{key}={json.dumps(value)}" for key, value in changes.items()]


def run(name: str, where: Path) -> Ran:
    data, out = tree(name, where / "data"), where / "out"
    changes = tiny(yaml.safe_load(RECIPES[name].read_text(encoding="utf-8")))
    words = ["bash", str(RECIPES[name].with_name("run.sh")), "--data", data, "--out", out, *changes]
    began = time.monotonic()
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    first, again = (
        subprocess.run(words, capture_output=True, text=True, check=False, env=alone) for _ in range(2)
    )
    return Ran(out, first, again, time.monotonic() - began)


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Ran]]]:
    """The recipes of the tests that are chosen, two at a time."""
    chosen = [name for name in RECIPES if any(f"[{name}]" in i.nodeid for i in request.session.items)]
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(run, name, tmp_path_factory.mktemp(name)) for name in chosen}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_goes_from_data_to_its_page(name: str, runs: dict[str, Future[Ran]]) -> None:
    ran = runs[name].result()
    assert ran.first.returncode == 0, ran.first.stderr
    stamps = {path.stem: json.loads(path.read_text()) for path in ran.out.glob("stages/*.json")}
    assert {"prepare", "tokens", "prior", "samples", "evaluation", "summary"} <= set(stamps)
    assert all(stamp["complete"] for stamp in stamps.values())
    assert "data:audio/wav" in (ran.out / "index.html").read_text(encoding="utf-8")
    assert "| 5-gram |" in (ran.out / "results.md").read_text(encoding="utf-8")
    summary = json.loads((ran.out / "tokens" / "summary.json").read_text(encoding="utf-8"))
    assert not summary["failures"]
    assert ran.again.returncode == 0, ran.again.stderr
    assert ran.again.stderr.count("complete, passed over") == len(stamps)
    assert "$ " not in ran.again.stderr


def test_there_is_a_tree_for_every_recipe() -> None:
    assert set(LAYOUTS) == set(RECIPES)
