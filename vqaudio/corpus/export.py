"""Token rows for other programs: WebDataset tars and Lhotse Shar folders.

From the shell, `python -m vqaudio.corpus.export webdataset TOKENS... OUT`, or `lhotse` for
`webdataset`.
"""

import argparse
import gzip
import io
import json
import re
import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from vqaudio.audio import AnyPath
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.corpus.ledger import Entry, read_ledger
from vqaudio.corpus.shards import TokenRow
from vqaudio.errors import UserError
from vqaudio.files import make_folder, replacing

ROWS_PER_SHARD = 10_000
CODES_PER_SHARD = 1 << 25


def export_webdataset(dataset: TokenDataset, out: AnyPath) -> list[Path]:
    """Write tars that the `webdataset` package reads; the same rows give the same bytes.

    A sound is `KEY.json`, with its id, `num_samples`, `sample_rate`, `hops`, `codec` and fields,
    and for each level, coarsest first, `KEY.level_0.npy`, ...: int32 `[Q, F]`. KEY is `key_of` its
    id.

    Args:
        dataset: the sounds.
        out: a folder that is empty or not there; it gets `tokens-000000.tar` and so on.

    Returns:
        The tars.

    Raises:
        UserError: the folder has something in it or cannot be written, two sounds have the same
            id, or a shard is damaged.
    """
    folder = _empty_folder(out)
    dataset.check_ids()
    paths = []
    for number, rows in enumerate(_shards(dataset)):
        paths.append(folder / f"tokens-{number:06d}.tar")
        with replacing(paths[-1]) as part, tarfile.open(part, "w") as tar:
            for row in (dataset[index] for index in rows):
                key, said = key_of(row.id), {**row.fields, **_about(row), "id": row.id}
                _add(tar, f"{key}.json", json.dumps(said, ensure_ascii=False).encode())
                for level, codes in enumerate(_levels(row)):
                    _add(tar, f"{key}.level_{level}.npy", _npy(codes))
    return paths


def export_lhotse(dataset: TokenDataset, out: AnyPath) -> list[Path]:
    """Write a Lhotse Shar folder, for `lhotse.CutSet.from_shar(in_dir=out)`.

    A sound is a cut: `cut.load_level_0()`, ... are its codes, int32 `[F, Q]`, all frames of
    them; `cut.recording` is the file that it came from, if a ledger beside the shards names one
    and it is still there; a supervision has text, speaker and other fields. `cut.id` is `key_of`
    the id, and `cut.custom` has `id`, `num_samples`, `sample_rate`, `hops` and `codec`.

    Lhotse counts frames by rounding duration / `frame_shift`, where a sound has the ceiling. So
    that none is lost, `frame_shift` is the cut's duration / frames, a little less than the hop.

    Args:
        dataset: the sounds.
        out: a folder that is empty or not there.

    Returns:
        The files, `cuts.000000.jsonl.gz` first.

    Raises:
        UserError: lhotse is not installed; and see `export_webdataset`.
    """
    try:
        from lhotse.array import Array, TemporalArray
    except ImportError:
        raise UserError("lhotse is not installed: pip install 'vqaudio[lhotse]'") from None
    folder = _empty_folder(out)
    dataset.check_ids()
    entries: dict[str, Entry] = {}
    for tokens in dataset.folders:
        entries |= read_ledger(tokens).entries
    paths = []
    for number, rows in enumerate(_shards(dataset)):
        names = [f"cuts.{number:06d}.jsonl.gz"]
        names += [f"level_{level}.{number:06d}.tar" for level in range(len(dataset.hops))]
        paths += [folder / name for name in names]
        with ExitStack() as stack:
            parts = [stack.enter_context(replacing(path)) for path in paths[-len(names) :]]
            raw = stack.enter_context(parts[0].open("wb"))
            lines = stack.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0))
            tars = [stack.enter_context(tarfile.open(part, "w")) for part in parts[1:]]
            for row in (dataset[index] for index in rows):
                cut = _cut(row, entries.get(row.id))
                lines.write(json.dumps(cut.to_dict(), ensure_ascii=False).encode() + b"\n")
                for tar, codes in zip(tars, _levels(row), strict=True):
                    frames = np.ascontiguousarray(codes.T)  # lhotse cuts along the first axis only
                    place = Array("shar", "", "", list(frames.shape))
                    manifest = TemporalArray(place, 0, cut.duration / len(frames), cut.start)
                    _add(tar, f"{cut.id}.npy", _npy(frames))
                    _add(tar, f"{cut.id}.json", json.dumps(manifest.to_dict()).encode() + b"\n")
    return paths


def key_of(sound_id: str) -> str:
    """An id as a name in a tar: without dots, and without slashes but those between two names.

    These and control characters, backslashes and percent signs become `%2E` and the like, so that
    `urllib.parse.unquote` gives the id back.
    """
    return re.sub(r"[\x00-\x1f%.\\\x7f]|^/|/(?=/|$)", lambda found: f"%{ord(found[0]):02X}", sound_id)


def _cut(row: TokenRow, entry: Entry | None) -> Any:
    """The Lhotse cut of a sound."""
    from lhotse import MonoCut, MultiCut, SupervisionSegment

    start, duration, channels = 0.0, row.codes.duration_seconds, [0]
    recording = None if entry is None else _recording(entry)
    if entry is not None and recording is not None:
        channels, start = recording.channel_ids, entry.start_seconds
        duration = min(duration, recording.duration - start)
    fields = dict(row.fields)
    segment = SupervisionSegment(
        id=row.id,
        recording_id=key_of(row.id) if recording is None else recording.id,
        start=0.0,
        duration=duration,
        channel=channels if len(channels) > 1 else 0,
        text=fields.pop("text", None),
        speaker=fields.pop("speaker", None),
        custom=fields or None,
    )
    return (MultiCut if len(channels) > 1 else MonoCut)(
        id=key_of(row.id),
        start=start,
        duration=duration,
        channel=segment.channel,
        supervisions=[segment],
        recording=recording,
        custom={"id": row.id, **_about(row)},
    )


def _recording(entry: Entry) -> Any:
    """The Lhotse recording that a sound came from; None if it is gone."""
    from lhotse import AudioSource, Recording

    try:
        about = soundfile.info(entry.audio)
    except soundfile.LibsndfileError:
        return None
    duration = about.frames / about.samplerate
    if entry.start_seconds >= duration:
        return None
    source = AudioSource("file", list(range(about.channels)), entry.audio)
    return Recording(entry.audio, [source], about.samplerate, about.frames, duration)


def _about(row: TokenRow) -> dict[str, Any]:
    codes = row.codes
    return {
        "num_samples": codes.num_samples,
        "sample_rate": codes.sample_rate,
        "hops": list(codes.hops),
        "codec": codes.codec,
    }


def _levels(row: TokenRow) -> list[NDArray[np.int32]]:
    return [level.numpy().astype(np.int32) for level in row.codes.levels]


def _shards(dataset: TokenDataset) -> Iterator[range]:
    """Numbers of the rows of each shard."""
    start = held = 0
    for index, codes in enumerate(dataset.num_codes.tolist()):
        if index > start and (index - start == ROWS_PER_SHARD or held + codes > CODES_PER_SHARD):
            yield range(start, index)
            start, held = index, 0
        held += codes
    yield range(start, len(dataset))


def _empty_folder(out: AnyPath) -> Path:
    folder = make_folder(out)
    if any(folder.iterdir()):
        raise UserError(f"{folder}: not empty; empty it, or choose another folder")
    return folder


def _npy(codes: NDArray[np.int32]) -> bytes:
    file = io.BytesIO()
    np.save(file, codes, allow_pickle=False)
    return file.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)  # mtime, owner and group are 0
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def main(arguments: list[str] | None = None) -> None:
    """Export token folders from the command line; what the user can mend is one line, and exit 2."""
    parser = argparse.ArgumentParser(prog="python -m vqaudio.corpus.export", description=__doc__)
    parser.add_argument("kind", choices=["webdataset", "lhotse"])
    parser.add_argument("tokens", nargs="+", type=Path, help="folders or files of token shards")
    parser.add_argument("out", type=Path, help="an empty folder, or a new one")
    given = parser.parse_args(arguments)
    write = {"webdataset": export_webdataset, "lhotse": export_lhotse}[given.kind]
    try:
        dataset = TokenDataset(given.tokens)
        paths = write(dataset, given.out)
    except (UserError, OSError) as error:
        print(f"error: {' '.join(str(error).splitlines())}", file=sys.stderr)
        sys.exit(2)
    print(f"{len(dataset)} sounds in {len(paths)} files in {given.out}")


if __name__ == "__main__":
    main()
