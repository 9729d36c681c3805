"""Which sounds a corpus has: JSON Lines, one sound a line, and the search for sound files."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vqaudio.audio import AnyPath
from vqaudio.errors import UserError
from vqaudio.files import replacing

MANIFEST_SUFFIX, SHARD_SUFFIX = ".jsonl", ".parquet"
SOUND_SUFFIXES = frozenset(
    [".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav"]
)
_KNOWN = ("id", "audio", "start_seconds", "duration_seconds")


@dataclass(frozen=True)
class Sound:
    """One sound of a corpus: a file or a clip of one.

    Args:
        id: its name, unlike any other in the corpus.
        path: the sound file.
        start_seconds: where it begins in the file.
        duration_seconds: how long it is; None means to the end of the file.
        fields: what else the manifest says: `speaker`, `label`, `text`, `split` and the like.
    """

    id: str
    path: Path
    start_seconds: float = 0.0
    duration_seconds: float | None = None
    fields: dict[str, str] = field(default_factory=dict)


def read_manifest(path: AnyPath) -> list[Sound]:
    """Read a manifest.

    Args:
        path: a `.jsonl` file; `audio` on its lines is relative to its folder.

    Returns:
        Its sounds, in its order. Whether their files exist is not looked at.

    Raises:
        UserError: the file cannot be read or has no lines, or a line is not a sound; the line is
            named.
    """
    sounds: list[Sound] = []
    lines: dict[str, int] = {}
    folder = Path(path).parent
    try:
        with open(path, encoding="utf-8-sig") as file:  # Windows begins a file with a mark
            for number, line in enumerate(file, start=1):
                if line.isspace():
                    continue
                sound = _read_line(line, folder, f"{path}:{number}")
                if sound.id in lines:
                    raise UserError(
                        f"{path}:{number}: id {sound.id!r} is that of line {lines[sound.id]} already"
                    )
                lines[sound.id] = number
                sounds.append(sound)
    except IsADirectoryError:
        raise UserError(f"{path}: a folder; give a manifest (.jsonl, a sound a line)") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a manifest") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; give a manifest of JSON Lines") from None
    if not sounds:
        raise UserError(f"{path}: no sounds in this manifest; write one a line")
    return sounds


def write_manifest(path: AnyPath, sounds: Iterable[Sound]) -> None:
    """Write a manifest, with the sounds' paths relative to its folder.

    Args:
        path: the `.jsonl` file.
        sounds: one a line, in this order.

    Raises:
        UserError: it cannot be written.
    """
    folder = Path(path).resolve().parent
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        for sound in sounds:
            audio = os.path.relpath(sound.path.resolve(), folder)
            line: dict[str, Any] = {"id": sound.id, "audio": Path(audio).as_posix()}
            if sound.start_seconds:
                line["start_seconds"] = sound.start_seconds
            if sound.duration_seconds is not None:
                line["duration_seconds"] = sound.duration_seconds
            file.write(json.dumps(line | sound.fields, ensure_ascii=False) + "\n")


def find_sounds(inputs: Sequence[AnyPath]) -> list[Sound]:
    """List the sounds that a command is to work on.

    Args:
        inputs: sound files, folders (searched for sound files, at any depth) and manifests
            (`*.jsonl`). A sound's id is its path without the suffix, below the folder given; where
            that would name two sounds alike, the suffix, then the folder given, is kept with it.

    Returns:
        The sounds: inputs in the order given, files of a folder sorted by name; a file found twice
        is listed once.

    Raises:
        UserError: an input is not there or is a token shard, a folder has no sound file, a manifest
            is bad, or an id of one manifest comes again in another input.
    """
    if not inputs:
        raise UserError("no input; give sound files, folders or manifests")
    sounds: list[Sound] = []
    found: dict[Path, tuple[Path, Path]] = {}  # resolved -> (path, the folder that names start at)
    for given in map(Path, inputs):
        if given.is_dir():
            files = _files_below(given)
            if not files:
                kinds = ", ".join(sorted(SOUND_SUFFIXES))
                raise UserError(f"{given}: no sound files in this folder (looked for {kinds})")
            for path in files:
                found.setdefault(path.resolve(), (path, given))
        elif not given.exists():
            raise UserError(f"{given}: no such file or folder; give sounds, folders or a manifest")
        elif given.suffix.lower() == SHARD_SUFFIX:
            raise UserError(
                f"{given}: tokens, not sound; give sounds, folders or a manifest "
                "(tokens become sound by `vqaudio synthesize`)"
            )
        elif given.suffix.lower() == MANIFEST_SUFFIX:
            sounds.extend(read_manifest(given))
        else:
            found.setdefault(given.resolve(), (given, given.parent))
    sounds.extend(
        Sound(name, path)
        for name, (path, _) in zip(_names(list(found.values())), found.values(), strict=True)
    )
    seen: set[str] = set()
    for sound in sounds:
        if sound.id in seen:
            raise UserError(f"{sound.path}: id {sound.id!r} stands for two inputs; name them apart")
        seen.add(sound.id)
    return sounds


def file_names(sounds: Sequence[Sound]) -> list[str]:
    """What to call the files that are made of sounds: their ids, but no whole paths.

    Where only whole paths told sounds of `find_sounds` apart, it is what is below the folder that
    these share.
    """
    paths = [sound.path for sound in sounds if sound.id == sound.path.as_posix()]
    alike = Counter(path.name for path in paths)
    whole = {path.as_posix(): Path(os.path.abspath(path)) for path in paths if alike[path.name] > 1}
    if not whole:
        return [sound.id for sound in sounds]
    shared = Path(os.path.commonpath([path.parent for path in whole.values()]))
    below = dict(zip(whole, _names([(path, shared) for path in whole.values()]), strict=True))
    return [below.get(sound.id, sound.id) for sound in sounds]


def _files_below(folder: Path) -> list[Path]:
    paths = [
        Path(parent, name)
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
        if Path(name).suffix.lower() in SOUND_SUFFIXES and not name.startswith(".")
    ]
    return sorted(paths)


def _names(found: list[tuple[Path, Path]]) -> list[str]:
    """The shortest of three kinds of name that tells each path from all others."""
    kinds = [
        [path.relative_to(folder).with_suffix("").as_posix() for path, folder in found],
        [path.relative_to(folder).as_posix() for path, folder in found],
        [path.as_posix() for path, _ in found],
    ]
    names = kinds[0]
    for longer in kinds[1:]:
        counts: dict[str, int] = {}
        for name in names:
            counts[name] = counts.get(name, 0) + 1
        names = [long if counts[name] > 1 else name for name, long in zip(names, longer, strict=True)]
    return names


def _read_line(line: str, folder: Path, place: str) -> Sound:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{place}: not JSON ({error.msg})") from None
    if not isinstance(values, dict):
        raise UserError(f'{place}: not a JSON object such as {{"id": "a", "audio": "a.wav"}}')
    for key in ("id", "audio"):
        if not isinstance(values.get(key), str) or not values[key]:
            raise UserError(f"{place}: {key}: give a text")
    fields = {}
    for key, value in values.items():
        if key in _KNOWN or value is None:
            continue
        if not isinstance(value, str | int | float):
            raise UserError(f"{place}: {key}: give a text or a number")
        fields[key] = value if isinstance(value, str) else json.dumps(value)
    start = _seconds(values, "start_seconds", place)
    duration = _seconds(values, "duration_seconds", place)
    if duration == 0:
        raise UserError(f"{place}: duration_seconds: give more than 0")
    return Sound(values["id"], folder / values["audio"], start or 0.0, duration, fields)


def _seconds(values: dict[str, Any], key: str, place: str) -> float | None:
    value = values.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise UserError(f"{place}: {key}: give a number of seconds, 0 or more")
    return float(value)
