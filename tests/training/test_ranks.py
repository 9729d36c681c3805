"""Two ranks under torchrun learn one codec together, and go on together."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

from tests.training.chains import Chain, write_corpus
from tests.training.conftest import TINY
from vqaudio.model_folder import load
from vqaudio.prior.model import Prior

TRAIN = """
import json, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from vqaudio.config import CodecRecipe, parse_section
from vqaudio.training import fit_codec as fit

torch.set_num_threads(1)
values, manifest, out, steps, resume = json.loads(sys.argv[1])
values["optimization"]["steps"] = steps
kept = []
class Run(fit.CodecRun):
    def __init__(self, *args):
        super().__init__(*args)
        kept.append(self)
fit.CodecRun = Run
recipe = parse_section(CodecRecipe, values, "recipe")
fit.fit_codec(recipe, Path(manifest), Path(out), resume)
[run] = kept
state = {name: value.clone() for name, value in run.codec.state_dict().items()}
save_file(state, f"{out}.rank{run.learner.fabric.global_rank}")
"""


def torchrun(*words: str | Path) -> str:
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run([*run, *words], capture_output=True, text=True, env=environment, timeout=300)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout


def train(
    script: Path, manifest: Path, out: Path, steps: int, resume: bool, recipe: dict[str, Any] = TINY
) -> str:
    return torchrun(script, json.dumps([recipe, str(manifest), str(out), steps, resume]))


def test_two_ranks_hold_the_same_codec_and_go_on_together(tmp_path: Path, manifest: Path) -> None:
    script, out = tmp_path / "train.py", tmp_path / "out"
    script.write_text(TRAIN, encoding="utf-8")
    train(script, manifest, out, 8, resume=False)
    said = train(script, manifest, out, 10, resume=True)
    assert said.count("from step 8") == 1  # one rank speaks
    assert len(list((out / "log").iterdir())) == 2  # and writes, once a start
    assert "11 sounds, 1 for validation" in said  # which do not divide among two
    one, other = (load_file(tmp_path / f"out.rank{rank}") for rank in (0, 1))
    assert all(torch.equal(one[name], other[name]) for name in one)
    state = load_file(out / "training_state" / "model.safetensors")
    assert all(torch.equal(one[name], state[name]) for name in one)


def test_two_ranks_hold_the_same_codebooks_where_these_are_learned_by_gradient(
    tmp_path: Path, manifest: Path
) -> None:
    script, out = tmp_path / "train.py", tmp_path / "out"
    script.write_text(TRAIN, encoding="utf-8")
    coarse = {"kind": "gumbel", "codebook_size": 16, "dim": 4}
    fine = {"kind": "grouped_residual", "codebook_size": 8, "dim": 4, "codebook": "linear"}
    sections = [coarse, {**fine, "dropout": 0.5}]
    levels = [
        {**level, "bottleneck": section}
        for level, section in zip(TINY["codec"]["levels"], sections, strict=True)
    ]
    recipe = {**TINY, "codec": {**TINY["codec"], "levels": levels, "encoders": "independent"}}
    train(script, manifest, out, 12, resume=False, recipe=recipe)
    one, other = (load_file(tmp_path / f"out.rank{rank}") for rank in (0, 1))
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_the_command_line_under_torchrun_trains_and_goes_on(tmp_path: Path, manifest: Path) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "out"
    recipe.write_text(yaml.safe_dump(TINY))
    words = ["-m", "vqaudio", "train", "codec", recipe, "--data", manifest, "--out", out]
    said = torchrun(*words, "optimization.steps=7")
    assert said.count("trained for 7 steps") == 1
    said = torchrun(*words, "optimization.steps=9", "--resume")
    assert said.count("from step 7") == 1
    assert said.count("trained for 9 steps") == 1
    assert "after 9 of 9 steps" in (out / "README.md").read_text()


def test_two_ranks_fit_a_prior_and_go_on(tmp_path: Path) -> None:
    write_corpus(tmp_path / "tokens", 600, labels=2)
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "out"
    values = {
        "prior": {"layout": "cascade", "layers": 2, "width": 32, "heads": 2, "context": 64},
        "data": {"tokens_per_batch": 600, "accumulation": 2, "label": True},
        "optimization": {"steps": 120, "learning_rate": 0.004, "warmup_steps": 10},
        "run": {"validate_every": 40, "checkpoint_every": 40, "validation_sounds": 20},
    }
    recipe.write_text(yaml.safe_dump(values))
    words = ["-m", "vqaudio", "train", "prior", recipe, "--tokens", tmp_path / "tokens", "--out", out]
    torchrun(*words)
    said = torchrun(*words, "--resume", "optimization.steps=160")
    assert said.count("from step 120") == 1
    prior = load(out)
    assert isinstance(prior, Prior)
    generator = torch.Generator().manual_seed(5)
    fresh = [Chain(index % 2).draw(generator) for index in range(60)]
    bits = sum(prior.nll(codes, f"chain {index % 2}").bits for index, codes in enumerate(fresh))
    truth = sum(Chain(index % 2).bits(codes) for index, codes in enumerate(fresh))
    tokens = sum(codes.num_samples * 3 / 2 for codes in fresh)
    assert bits - truth < 0.3 * tokens
