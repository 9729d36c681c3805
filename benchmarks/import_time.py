"""How much longer `import vqaudio` takes than `import torch` alone.

Run it with `python benchmarks/import_time.py`. Each import is timed in new processes, by turns, and
the fastest of each counts.
"""

import subprocess
import sys

ROUNDS = 5
STATEMENTS = {
    "import torch": "import torch",
    "import vqaudio": "import torch, vqaudio",
    "vqaudio.load, Codec, Prior, Codes": (
        "import torch, vqaudio; [getattr(vqaudio, name) for name in vqaudio.__all__]"
    ),
}


def seconds(statement: str) -> float:
    """Time that a statement takes in a new Python process."""
    script = f"import time; start = time.perf_counter()\n{statement}\nprint(time.perf_counter() - start)"
    run = [sys.executable, "-c", script]
    return float(subprocess.run(run, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print a table of seconds, beyond torch and as a ratio to it."""
    best = dict.fromkeys(STATEMENTS, float("inf"))
    for _ in range(ROUNDS):
        for name, statement in STATEMENTS.items():
            best[name] = min(best[name], seconds(statement))
    torch_seconds = best["import torch"]
    print(f"{'':36}{'seconds':>8}{'beyond torch':>14}{'ratio':>8}")
    for name, taken in best.items():
        beyond = taken - torch_seconds
        print(f"{name:36}{taken:8.2f}{beyond:14.2f}{taken / torch_seconds:8.2f}")


if __name__ == "__main__":
    main()
