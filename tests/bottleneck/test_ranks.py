"""Ranks that see different sounds hold the same codebooks, and learn what one would of all of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.bottleneck.together import ALIKE, EQUAL, STEPS, few_steps

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

RANK = """
import os, sys
import torch, torch.distributed as dist
from safetensors.torch import save_file
from vqaudio.bottleneck.residual import ResidualQuantizer


torch.set_num_threads(1)
dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
quantizer = ResidualQuantizer(32, 2, 4, dropout=0.3)
random = torch.Generator().manual_seed(rank)
dead = 0
for step in range(40):
    torch.manual_seed(100 * step + rank)  # quantizer dropout differs from rank to rank
    centre = 3.0 * (step // 20 + rank)  # what the codes follow moves away, so that some die
    before = quantizer.codebooks[0].centroids.clone()
    quantizer(centre + torch.randn(2, 4, 20, generator=random), quantize=step > 2)
    if step == 3:
        started = quantizer.codebooks[0].counts.sum().reshape(1)
    moved = (quantizer.codebooks[0].centroids - before).norm(dim=1)
    dead += int((moved > 1).sum()) if step > 20 else 0
state = {name: value.clone() for name, value in quantizer.state_dict().items()}
save_file({**state, "started_with": started, "revived": torch.tensor([dead])}, f"{sys.argv[1]}/{rank}")
dist.barrier()
dist.destroy_process_group()
"""


def test_two_ranks_hold_equal_codebooks_through_start_updates_and_revival(tmp_path: Path) -> None:
    script = tmp_path / "rank.py"
    script.write_text(RANK, encoding="utf-8")
    run = [*TORCHRUN, str(script), str(tmp_path)]
    subprocess.run(run, check=True, env=ENVIRONMENT, timeout=120)
    one, other = load_file(tmp_path / "0"), load_file(tmp_path / "1")
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name
    assert one["revived"] > 0
    # 40 vectors a step on each rank: what the counts settle at is the batch of all of them
    assert abs(one["started_with"].item() - 80) < 1


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two ranks wrote of their runs."""
    out = tmp_path_factory.mktemp("ranks")
    run = [*TORCHRUN, "-m", "tests.bottleneck.together", str(out)]
    subprocess.run(run, check=True, env=ENVIRONMENT, cwd=ROOT, timeout=300)
    return out


@pytest.mark.parametrize("name", EQUAL)
def test_ranks_are_equal_after_every_step_whatever_the_size_of_their_batches(
    of_two: Path, name: str
) -> None:
    found = [json.loads((of_two / f"{name}.{rank}.json").read_text()) for rank in (0, 1)]
    one, other = (rank["hashes"] for rank in found)
    assert [step for step in range(STEPS) if one[step] != other[step]] == []
    assert len(set(one)) == STEPS  # every step learned something
    assert found[0]["revived"] > 0


@pytest.mark.parametrize("name", ALIKE)
def test_two_ranks_with_half_a_batch_each_learn_what_one_learns_of_all(of_two: Path, name: str) -> None:
    one, two = few_steps(name, 0), load_file(of_two / f"{name}.0.safetensors")
    assert one.keys() == two.keys()
    for key, value in one.items():
        torch.testing.assert_close(
            value, two[key], atol=1e-5, rtol=1e-4, msg=lambda m, k=key: f"{k}: {m}"
        )
    assert one["losses"].isfinite().all()
    assert one["losses"].std() > 0
