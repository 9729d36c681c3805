"""What 100,000 hours cost, where the bottleneck moves, and what stragglers and lost nodes do to a run.

    python benchmarks/scale.py [--hours 100000] [--seed 0]

Costs are arithmetic on the measured speeds below: those of encoding and reading are of
`benchmarks/tokenize.py`, the others of `benchmarks/scale_measured.py`. Runs are those of
`benchmarks/simulated_run.py`. docs/scale.md quotes what this prints.
"""

import argparse
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from simulated_run import Plan, Simulation, cluster, corpus

from vqaudio.corpus.local import LEAST_LOOKAHEAD, LOOKAHEAD

# Times real time on one core.
ENCODE = {"sentences of 3 s": 180.0, "long files": 235.0}
READ = {"16 kHz": 3000.0, "48 kHz": 900.0}  # FLAC: read, mixed down, resampled to 16 kHz
# Bytes.
FLAC_SHARE = 0.55  # of 16-bit PCM: measured at 16 kHz, assumed at 48
SHARD_BYTES_AN_HOUR = 670_000  # of speech-16k
LEDGER_BYTES_A_SOUND = 230
WINDOW_BYTES_A_SECOND = 64_000  # float32 at 16 kHz: between reader and encoder, where these are two
# Sounds a second that the one process which writes can take in, put together and write.
DRIVER = {"local": 4000.0, "ray": 480.0}  # short ones
WRITER_LONG = 185.0  # of 600 s
PATIENCE = 10.0  # times the ideal, until a simulated run is given up
MOST_CORES = 1024  # of one machine, where the local engine is
# The public yardstick: a codec of 108 million parameters on an H100, times real time.
YARDSTICK = {"float32": 96.0, "compiled": 478.0, "half precision": 1071.0}


def core_speed(encode: float, read: float) -> float:
    """Times real time of one core that reads and encodes."""
    return 1 / (1 / encode + 1 / read)


def costs(hours: float) -> list[Table]:
    """What a corpus costs: core-hours, bytes read and written, and the yardstick."""
    work = Table("", *READ, title=f"core-hours for {hours:,.0f} hours")
    for name, encode in ENCODE.items():
        work.add_row(name, *(f"{hours / core_speed(encode, read):,.0f}" for read in READ.values()))
    moved = Table("", "TB", "MB/s a core", title="bytes")
    for name, read in READ.items():
        speed = core_speed(ENCODE["long files"], read)
        for kind, share in (("WAV", 1.0), ("FLAC", FLAC_SHARE)):
            rate = 2 * 1000 * float(name.split()[0]) * share
            moved.add_row(
                f"read, {name} {kind}", f"{rate * hours * 3600e-12:.1f}", f"{rate * speed / 1e6:.1f}"
            )
    rate = WINDOW_BYTES_A_SECOND
    moved.add_row(
        "windows between processes, Ray", f"{rate * hours * 3600e-12:.1f}", f"{rate * speed / 1e6:.1f}"
    )
    moved.add_row("written: shards", f"{SHARD_BYTES_AN_HOUR * hours / 1e12:.3f}", "")
    for name, seconds in (("3 s", 3.0), ("600 s", 600.0)):
        ledger = LEDGER_BYTES_A_SOUND * hours * 3600 / seconds
        moved.add_row(f"written: ledger, sounds of {name}", f"{ledger / 1e12:.4f}", "")
    yard = Table("", "GPU-hours", "cores of ours", title="the yardstick, 108 M parameters on an H100")
    for name, speed in YARDSTICK.items():
        yard.add_row(name, f"{hours / speed:,.0f}", f"{speed / ENCODE['long files']:.1f}")
    return [work, moved, yard]


def bounds() -> Table:
    """How many cores keep a part busy; a part that serves fewer than there are is what binds."""
    table = Table("what", "serves at most", "cores", title="where the bottleneck moves")
    speed = core_speed(ENCODE["long files"], READ["16 kHz"])
    for name, read in READ.items():
        table.add_row(
            f"reading {name} on one core",
            f"{read:,.0f} x real time",
            f"{read / ENCODE['long files']:.1f}",
        )
    for name, rate in (("10 Gbit/s", 1.25e9), ("100 Gbit/s", 12.5e9)):
        for kind, of in (("16 kHz FLAC", 32_000 * FLAC_SHARE), ("48 kHz WAV", 96_000.0)):
            table.add_row(
                f"{name}, {kind}", f"{rate / of:,.0f} x real time", f"{rate / of / speed:,.0f}"
            )
    for name, sounds in DRIVER.items():
        for seconds in (3.0, 10.0, 30.0):
            rate = sounds * seconds
            table.add_row(
                f"the writer, {name}, sounds of {seconds:.0f} s",
                f"{rate:,.0f} x real time",
                f"{rate / speed:,.0f}",
            )
    rate = WRITER_LONG * 600
    table.add_row("the writer, sounds of 600 s", f"{rate:,.0f} x real time", f"{rate / speed:,.0f}")
    return table


def simulations(hours: float, seed: int, counts: Sequence[int]) -> Table:
    """All plans on clusters of all sizes."""
    columns = [
        "workers",
        "ideal",
        "plan",
        "no losses",
        "losses",
        "redone, h",
        "a kill half-way, h",
        "waiting",
    ]
    table = Table(*columns, title="makespan, of the ideal")
    lengths = corpus(hours, seed)
    for workers in counts:
        ahead = max(LEAST_LOOKAHEAD, LOOKAHEAD * workers)
        plans: dict[str, tuple[Plan, bool, int | None]] = {
            "static split, no ledger": ("static", False, None),
            "static split": ("static", True, None),
            "queue of files": ("queue", True, None),
            "queue, and windows": ("windows", True, None),
            f"the same, {ahead:,} ahead": ("windows", True, ahead),
        }
        for name, (plan, ledger, lookahead) in plans.items():
            if lookahead and workers > MOST_CORES:
                continue
            calm, bad = (
                Simulation(
                    lengths,
                    cluster(workers, ENCODE["long files"], seed, losses),
                    plan,
                    ledger,
                    lookahead,
                    PATIENCE,
                ).run()
                for losses in (False, True)
            )
            ours = plan == "windows"
            table.add_row(
                f"{workers:,}",
                f"{bad.ideal / 60:,.0f} min",
                name,
                f"{calm.seconds / calm.ideal:.3f}",
                f"{bad.seconds / bad.ideal:.3f} ({bad.losses})",
                f"{bad.redone / 3600:,.1f}",
                f"{(calm.unwritten if ours else calm.at_work) / 3600:,.0f}"
                if ledger
                else f"{hours / 2:,.0f}",
                f"{calm.waiting:,}" if ours else "",
            )
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=100_000.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, nargs="+", default=[16, 256, 4096])
    args = parser.parse_args()
    console = Console(width=130)
    for table in (*costs(args.hours), bounds(), simulations(args.hours, args.seed, args.workers)):
        console.print(table)


if __name__ == "__main__":
    main()
