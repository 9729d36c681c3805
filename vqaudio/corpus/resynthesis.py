"""Codes back into sound files, in constant memory."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor

from vqaudio.audio import AnyPath, AudioWriter
from vqaudio.codec.model import Codec
from vqaudio.codes import Codes
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.corpus.ledger import read_ledger
from vqaudio.corpus.shards import SHARD_PATTERN
from vqaudio.errors import UserError


def sound_paths(out: Path, ids: Sequence[str], inputs: Sequence[Path] = ()) -> list[Path]:
    """A wav file below `out` for every id: named after it, no two alike, and none an input.

    Args:
        out: the folder.
        ids: of sounds. Slashes make folders; what no file name should hold becomes `_`; an id
            that would lead out of the folder is kept inside, one that ends in `.wav` gets no
            second one, and names that meet are numbered.
        inputs: files that must stay as they are.

    Returns:
        One path an id, in their order.

    Raises:
        UserError: a path is that of an input.
    """
    taken: set[str] = set()
    kept = {path.resolve() for path in inputs}
    paths = []
    for sound_id in ids:
        given = re.split(r"[/\\]", re.sub(r"\.wav$", "", sound_id, flags=re.IGNORECASE))
        parts = [re.sub(r"[^\w.,+=@ -]", "_", part).strip(". ") for part in given]
        stem = "/".join(part for part in parts if part) or "sound"
        name, number = stem, 1
        while name.casefold() in taken:  # some file systems do not tell A from a
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        paths.append(out / f"{name}.wav")
        if paths[-1].resolve() in kept:
            raise UserError(f"{paths[-1]}: an input, which would be written over; choose another folder")
    return paths


def originals(paths: Sequence[AnyPath]) -> list[Path]:
    """The sound files that tokens were made of, where a ledger beside them says so."""
    folders = {path if path.is_dir() else path.parent for path in map(Path, paths)}
    return [Path(entry.audio) for folder in folders for entry in read_ledger(folder).entries.values()]


def open_tokens(paths: Sequence[AnyPath]) -> list[TokenDataset]:
    """Open token folders and files, each file once.

    Args:
        paths: as `TokenDataset` takes them.

    Raises:
        UserError: see `TokenDataset`; or two rows have the same id.
    """
    given = {path.resolve(): path for path in map(Path, paths)}
    corpora = [
        TokenDataset(path)
        for place, path in given.items()
        if not (place.parent in given and place.match(SHARD_PATTERN))  # else the folder has it
    ]
    owners: dict[str, Path] = {}
    for corpus in corpora:
        for name in corpus.ids:
            if name in owners:
                raise UserError(
                    f"{corpus.paths[0]}: id {name!r} is also that of a sound of {owners[name]}; "
                    "give them apart, and an --out to each"
                )
            owners[name] = corpus.paths[0]
    return corpora


def write_blocks(blocks: Iterable[Tensor], path: Path, sample_rate: int) -> None:
    """Write blocks of samples `[1, T]` into a sound file, which appears when it is whole.

    Raises:
        UserError: the file cannot be written.
    """
    with AudioWriter(path, sample_rate) as writer:
        for block in blocks:
            writer.write(block)


def synthesize(codec: Codec, codes: Codes, path: Path, levels: int | None = None) -> None:
    """Decode one sound's codes into a sound file, block by block.

    Args:
        codec: that made the codes.
        codes: of the sound.
        path: of the sound file, which appears when it is whole.
        levels: decode from this many levels, the coarsest first; all of them unless given.

    Raises:
        UserError: the codes are another codec's, the levels too many, or the file cannot be written.
    """
    write_blocks(codec.decode_blocks(codes, levels), path, codec.sample_rate)
