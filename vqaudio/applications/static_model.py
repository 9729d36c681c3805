"""The static model: codes by code tables, level by level, in integers that are the same everywhere."""

from collections.abc import Generator, Sequence

import numpy as np

from vqaudio.applications.code_tables import PAD, CodeTables
from vqaudio.applications.coder import Integers, frequencies

# Level, quantizer and frame of the next code, and its frequencies; the code is sent back.
Walk = Generator[tuple[int, int, int, Integers], int, None]


class StaticModel:
    """Frequencies of codes by the tables that are stored with the codec.

    Args:
        tables: of the codec.
    """

    kind = "static"
    checks_codes = False  # integers do not differ between machines

    def __init__(self, tables: CodeTables) -> None:
        self.tables = tables
        self.fingerprint = tables.fingerprint

    def walk(self, frames: Sequence[int]) -> Walk:
        """Through a block of so many frames a level, coarse levels whole before finer ones."""
        codes = self.tables.padded(frames)
        for level, sizes in enumerate(self.tables.codebook_sizes):
            for frame in range(frames[level]):
                for quantizer in range(len(sizes)):
                    [logits] = self.tables.logits(codes, level, quantizer, np.array([frame]))
                    code = yield level, quantizer, frame, frequencies(logits)
                    codes[level][quantizer, PAD + frame] = code
