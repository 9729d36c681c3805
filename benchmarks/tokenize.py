"""Runs tokenize_speed.py: `python benchmarks/tokenize.py --help`."""

import os
import sys

if __name__ == "__main__":
    from tokenize_speed import main

    main()
elif __name__ == "tokenize":
    # A script of this folder imports the standard library's module of this name: that one it gets.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path = [*(path for path in sys.path if os.path.abspath(path) != here), here]
    del sys.modules["tokenize"]
    import tokenize  # noqa: F401
