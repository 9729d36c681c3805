"""Run a recipe of egs/: see `command_line`. Here is only what needs no package that may be missing."""

import importlib.util
import sys

if __name__ == "__main__":
    if importlib.util.find_spec("vqaudio") is None:
        print(
            f"error: {sys.executable} has no vqaudio; activate its environment, or pip install .",
            file=sys.stderr,
        )
        sys.exit(2)
    from command_line import start

    start()
