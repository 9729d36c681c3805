"""Which sounds of a corpus are learned from, and which only measured on."""

import hashlib
from collections.abc import Sequence

from vqaudio.errors import UserError

VALIDATION = ("validation", "dev")
MARKS = ("train", *VALIDATION, "test")


def split(
    ids: Sequence[str], marks: Sequence[str | None], validation_sounds: int
) -> tuple[list[int], list[int]]:
    """Part a corpus into sounds to train on and sounds to validate on.

    Sounds marked `test` are in neither, and those marked `validation` or `dev` are never trained on.
    Where none is marked so, a few are set aside by a hash of their id, at most a tenth, whatever
    the order of the corpus.

    Args:
        ids: of the sounds, all different.
        marks: the manifest's `split` of each, or None.
        validation_sounds: how many to validate on, at most.

    Returns:
        Places in `ids`, ascending: to train on, and to validate on.

    Raises:
        UserError: a mark is none of the four; it would be a pity to train on `Test` or `valid`.
    """
    for name, mark in zip(ids, marks, strict=True):
        if mark and mark not in MARKS:
            raise UserError(f"{name}: split {mark!r} is none of {', '.join(MARKS)}; rename it")
    rest = [place for place, mark in enumerate(marks) if not mark or mark == "train"]
    marked = [place for place, mark in enumerate(marks) if mark in VALIDATION]
    count = min(validation_sounds, len(marked) if marked else len(rest) // 10)
    by_hash = sorted(marked or rest, key=lambda place: hashlib.sha256(ids[place].encode()).digest())
    chosen = sorted(by_hash[:count])
    return sorted(set(rest) - set(chosen)), chosen
