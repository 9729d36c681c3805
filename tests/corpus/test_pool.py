"""Worker processes: what one of them dies of costs no other."""

import subprocess
import sys
from pathlib import Path

CRASH = """
import os, signal, sys
from vqaudio.corpus.pool import run_tasks

def begin(): pass
def work(item):
    if item == 5:
        os.kill(os.getpid(), signal.SIGSEGV)
    return item
def crashed(item):
    return -item

if __name__ == "__main__":
    print(sorted(run_tasks(work, range(12), 2, begin, (), crashed)))
"""


def test_an_item_that_kills_its_worker_costs_no_other(tmp_path: Path) -> None:
    script = tmp_path / "crash.py"
    script.write_text(CRASH)
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str([-5, 0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11])
