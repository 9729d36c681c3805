"""Ranks that see different sounds hold the same codebooks."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

RANK = """
import os, sys
import torch, torch.distributed as dist
from safetensors.torch import save_file
from vqaudio.bottleneck.residual import REVIVAL_INTERVAL, ResidualQuantizer

torch.set_num_threads(1)
dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
quantizer = ResidualQuantizer(32, 2, 4, dropout=0.3)
random = torch.Generator().manual_seed(rank)
dead = 0
for step in range(4 * REVIVAL_INTERVAL):
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
"""


def test_two_ranks_hold_equal_codebooks_through_start_updates_and_revival(tmp_path: Path) -> None:
    script = tmp_path / "rank.py"
    script.write_text(RANK, encoding="utf-8")
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*run, str(script), str(tmp_path)], check=True, env=environment, timeout=120)
    one, other = load_file(tmp_path / "0"), load_file(tmp_path / "1")
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name
    assert one["revived"] > 0
    # 40 vectors a step on each rank: what the counts settle at is the batch of all of them
    assert abs(one["started_with"].item() - 80) < 1
