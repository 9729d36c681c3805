"""The simulation behind docs/scale.md: what must hold whatever the figures are."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.simulated_run import Cluster, Plan, Simulation, cluster, corpus

PLANS: list[Plan] = ["static", "queue", "windows"]


@pytest.mark.parametrize("plan", PLANS)
def test_equal_files_on_equal_workers_take_the_ideal_time(plan: Plan) -> None:
    found = Simulation([60.0] * 400, Cluster([200.0] * 8), plan).run()
    assert found.seconds == pytest.approx(400 * 60 / (8 * 200))
    assert found.seconds == pytest.approx(found.ideal)
    assert found.redone == 0
    assert found.encoded == 400 * 60


@pytest.mark.parametrize("workers", [8, 64])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_queue_is_no_slower_than_a_static_split_and_windows_no_slower_than_a_queue(
    workers: int, seed: int
) -> None:
    lengths = corpus(1000, seed)
    static, queue, windows = (
        Simulation(lengths, cluster(workers, 200, seed, losses=False), plan).run().seconds
        for plan in PLANS
    )
    ideal = sum(lengths) / sum(cluster(workers, 200, seed).speeds)
    assert ideal <= windows * (1 + 1e-9) <= queue * (1 + 2e-9) < static
    assert windows < 1.02 * ideal


def test_a_file_is_helped_as_fast_as_it_can_be_read_and_no_faster() -> None:
    alone = Simulation([36_000.0], Cluster([100.0] * 50, read=1000.0), "queue").run()
    helped = Simulation([36_000.0], Cluster([100.0] * 50, read=1000.0), "windows").run()
    assert alone.seconds == pytest.approx(360)
    assert helped.seconds == pytest.approx(36)


@pytest.mark.parametrize("plan", PLANS)
def test_what_is_lost_is_done_once_more_and_only_once(plan: Plan) -> None:
    lengths = corpus(1000, 2)
    lossy = Cluster([200.0] * 32, worker_life=2000.0, node_life=1000.0, seed=2)
    found = Simulation(lengths, lossy, plan).run()
    assert found.losses > 5
    assert found.redone > 0
    assert found.encoded == pytest.approx(sum(lengths) + found.redone)
    again = Simulation(lengths, lossy, plan).run()
    assert again == found


def test_without_a_ledger_a_lost_worker_begins_its_list_anew() -> None:
    lengths = corpus(1000, 3)
    lossy = Cluster([200.0] * 8, worker_life=20_000.0, node_life=math.inf, seed=3)
    kept, anew = (Simulation(lengths, lossy, "static", ledger=ledger).run() for ledger in (True, False))
    assert anew.redone > 10 * kept.redone > 0
    assert anew.encoded == pytest.approx(sum(lengths) + anew.redone)
    assert anew.seconds > kept.seconds


def test_a_worker_that_is_lost_after_its_list_has_nothing_to_do_again() -> None:
    lossy = Cluster([100.0] * 32, worker_life=200.0, seed=5)
    found = Simulation([3600.0] + [1.0] * 31, lossy, "static", ledger=False).run()
    assert found.losses > 5
    assert found.redone == 0


def test_sounds_wait_for_an_earlier_one_no_further_than_the_lookahead() -> None:
    lengths = [10_000.0] + [1.0] * 5000
    free, bounded = (
        Simulation(lengths, Cluster([100.0] * 4, read=1000.0), "windows", lookahead=ahead).run()
        for ahead in (None, 100)
    )
    assert free.waiting > 2000
    assert bounded.waiting < 100
    assert bounded.seconds <= 1.1 * free.seconds


def test_the_script_prints_its_tables() -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "scale.py"
    words = [sys.executable, str(script), "--hours", "300", "--workers", "16"]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "core-hours for 300 hours" in printed
    assert "queue, and windows" in printed
