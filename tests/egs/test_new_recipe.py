"""docs/new-recipe.md: what it says to write is thirty lines, and runs."""

import json
import re
import subprocess
from pathlib import Path

import yaml

from tests.egs.layouts import hashed, sound, text
from tests.egs.test_dry_runs import ROOT, tiny
from vqaudio.corpus.dataset import TokenDataset

WRITTEN = re.compile(r"^## `egs/birds/([\w.]+)`.*?^```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_a_recipe_for_a_new_data_set_is_thirty_lines_and_runs(tmp_path: Path) -> None:
    files = dict(WRITTEN.findall((ROOT / "docs" / "new-recipe.md").read_text(encoding="utf-8")))
    assert set(files) == {"prepare.py", "settings.yaml", "run.sh"}
    assert sum(content.count("\n") for content in files.values()) <= 30
    egs = tmp_path / "egs" / "birds"
    egs.mkdir(parents=True)
    for name, content in files.items():
        (egs / name).write_text(content, encoding="utf-8")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")

    names = hashed(f"clip-{number:03}" for number in range(200))
    text(
        tmp_path / "data" / "birds.csv",
        *(f"{name},{'wren' if i % 2 else 'rook'}" for i, name in enumerate(names)),
    )
    for name in names:
        sound(tmp_path / "data" / "clips" / f"{name}.wav", 16000)

    changes = tiny(yaml.safe_load(files["settings.yaml"]))
    out = tmp_path / "out"
    words = ["bash", egs / "run.sh", "--data", tmp_path / "data", "--out", out, *changes]
    ran = subprocess.run([*words, "--stop-stage", "tokens"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert all(json.loads(path.read_text())["complete"] for path in out.glob("stages/*.json"))
    corpus = TokenDataset(out / "tokens")
    assert len(corpus) == len(names)
    assert set(corpus.column("label")) == {"wren", "rook"}
