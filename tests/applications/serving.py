"""The page to try it, served by a process of its own that can reach nobody else."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

# The program, in a process that says who is asked beyond this machine, and cannot ask.
ALONE = """
import sys
def watch(event, args):
    address = args[1] if event == "socket.connect" else args if event == "socket.getaddrinfo" else ""
    host = address[0] if isinstance(address, tuple) else ""
    if host and str(host) not in ("127.0.0.1", "localhost", "::1", "0.0.0.0"):
        print(f"asks {host}", file=sys.stderr, flush=True)
        raise OSError(f"asks {host}")
sys.addaudithook(watch)
from vqaudio.cli.app import main
main(sys.argv[1:])
"""


class Server(NamedTuple):
    """A page that is served, and what the process says beside its results."""

    address: str
    errors: Path


@contextmanager
def serving(folder: Path, *words: str | Path) -> Iterator[Server]:
    """Serve for a while; the process must end well and leave nothing behind."""
    temporary, errors = folder / "temporary", folder / "errors"
    temporary.mkdir()
    command = [sys.executable, "-c", ALONE, "web", "--port", "0", *map(str, words)]
    with (
        errors.open("w") as said,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, text=True, cwd=temporary,
            env={**os.environ, "TMPDIR": str(temporary)},
        ) as process,
    ):  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("open http://"), errors.read_text()
            yield Server(line.split()[1].rstrip(","), errors)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
    assert process.returncode == 0
    assert list(temporary.iterdir()) == []
