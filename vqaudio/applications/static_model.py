"""The static model: codes by code tables, level by level, in integers that are the same everywhere."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from vqaudio.applications.block_codes import Walk
from vqaudio.applications.code_tables import PAD, CodeTables
from vqaudio.applications.coder import frequencies


class StaticModel:
    """Frequencies of codes by the tables that are stored with the codec.

    Args:
        tables: of the codec.
    """

    kind: Literal["static", "prior"] = "static"
    rounds = False

    def __init__(self, tables: CodeTables) -> None:
        self.tables = tables
        self.fingerprint = tables.fingerprint

    def walk(self, frames: Sequence[int]) -> Walk:
        """See `CodeModel.walk`: coarse levels whole before finer ones."""
        codes = self.tables.padded(frames)
        for level, sizes in enumerate(self.tables.codebook_sizes):
            for frame in range(frames[level]):
                for quantizer in range(len(sizes)):
                    [logits] = self.tables.logits(codes, level, quantizer, np.array([frame]))
                    code = yield level, quantizer, frame, frequencies(logits)
                    codes[level][quantizer, PAD + frame] = code
