"""Which sounds a corpus has: JSON Lines, one sound a line, and the search for sound files."""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqaudio.corpus.search import SOUND_SUFFIXES, Found, Search, shortest_names
from vqaudio.errors import UserError
from vqaudio.files import replacing
from vqaudio.sound_files import AnyPath

MANIFEST_SUFFIX, SHARD_SUFFIX = ".jsonl", ".parquet"
_FOREVER = 1e12  # seconds; more is a slip
_KNOWN = frozenset(["id", "audio", "start_seconds", "duration_seconds"])


@dataclass(frozen=True, slots=True, init=False)
class Sound:
    """One sound of a corpus: a file or a clip of one; small, as there may be millions.

    Args:
        id: its name, unlike any other in the corpus.
        audio: the sound file.
        start_seconds: where it begins in the file.
        duration_seconds: how long it is; None means to the end of the file.
        fields: what else the manifest says: `speaker`, `label`, `text`, `split` and the like.
    """

    id: str
    audio: str
    start_seconds: float
    duration_seconds: float | None
    fields: dict[str, str]

    def __init__(
        self,
        id: str,
        audio: AnyPath,
        start_seconds: float = 0.0,
        duration_seconds: float | None = None,
        fields: dict[str, str] | None = None,
    ) -> None:
        set_once = object.__setattr__
        set_once(self, "id", id)
        set_once(self, "audio", os.fspath(audio))
        set_once(self, "start_seconds", start_seconds)
        set_once(self, "duration_seconds", duration_seconds)
        set_once(self, "fields", {} if fields is None else fields)

    @property
    def path(self) -> Path:
        """The sound file."""
        return Path(self.audio)


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
    folder = os.path.dirname(path)
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
            text = json.dumps(line | sound.fields, ensure_ascii=False)
            if not _is_text(text):  # the name of a file that is not UTF-8: escapes bring it back
                text = json.dumps(line | sound.fields)
            file.write(text + "\n")


def find_sounds(inputs: Sequence[AnyPath]) -> list[Sound]:
    """List the sounds that a command is to work on.

    Args:
        inputs: sound files, folders (searched for sound files, at any depth) and manifests
            (`*.jsonl`). A sound's id is its path without the suffix, below the folder given; where
            that would name two sounds alike, the suffix, then the folder given, is kept with it.
            Backslashes in it are doubled and begin escapes, such as that of a byte which is not UTF-8.

    Returns:
        The sounds: those of manifests, then files in the order of the inputs, those of a folder
        sorted by name; a file found twice is listed once. What bears the name of a sound but is
        none, and folders that cannot be searched, are among them: reading them gives the reason.

    Raises:
        UserError: an input is not there or is a token shard, a folder has no sound file, a manifest
            is bad, or an id of one input comes again in another.
    """
    if not inputs:
        raise UserError("no input; give sound files, folders or manifests")
    sounds: list[Sound] = []
    search = Search()
    for given in map(Path, inputs):
        if os.path.isdir(given):
            if not search.add_folder(given):
                kinds = ", ".join(sorted(SOUND_SUFFIXES))
                raise UserError(f"{given}: no sound files in this folder (looked for {kinds})")
        elif not _is_there(given):
            raise UserError(f"{given}: no such file or folder; give sounds, folders or a manifest")
        elif given.suffix.lower() == SHARD_SUFFIX:
            raise UserError(
                f"{given}: tokens, not sound; give sounds, folders or a manifest "
                "(tokens become sound by `vqaudio synthesize`)"
            )
        elif given.suffix.lower() == MANIFEST_SUFFIX:
            sounds.extend(read_manifest(given))
        else:
            search.add_file(given)
    found, nothing = search.found(), dict[str, str]()
    for name, one in zip(shortest_names(found), found, strict=True):
        sounds.append(Sound(name, one.path, fields=nothing))
    if len({sound.id for sound in sounds}) < len(sounds):
        _refuse_twins(sounds)
    return sounds


def file_names(sounds: Sequence[Sound]) -> list[str]:
    """What to call the files that are made of sounds: their ids, but no whole paths.

    Where only whole paths told sounds of `find_sounds` apart, it is what is below the folder that
    these share.
    """
    paths = [sound.path for sound in sounds if sound.id == sound.path.as_posix()]
    alike = Counter(path.name for path in paths)
    whole = {path.as_posix(): os.path.abspath(path) for path in paths if alike[path.name] > 1}
    if not whole:
        return [sound.id for sound in sounds]
    shared = os.path.commonpath([os.path.dirname(path) for path in whole.values()])
    start = len(os.path.join(shared, ""))
    below = shortest_names([Found(path, start, False) for path in whole.values()])
    names = dict(zip(whole, below, strict=True))
    return [names.get(sound.id, sound.id) for sound in sounds]


def _is_there(path: Path) -> bool:
    """Whether there is anything, be it a link to nothing or where nobody may look."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True


def _refuse_twins(sounds: Sequence[Sound]) -> None:
    """Name two sounds with the same id."""
    seen: dict[str, Sound] = {}
    for sound in sounds:
        if sound.id in seen:
            raise UserError(
                f"{sound.audio}: id {sound.id!r} stands for two inputs, this and "
                f"{seen[sound.id].audio}; name them apart"
            )
        seen[sound.id] = sound


def _is_text(text: str) -> bool:
    """Whether a text can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_line(line: str, folder: str, place: str) -> Sound:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{place}: not JSON ({error.msg})") from None
    except (ValueError, RecursionError):
        raise UserError(f"{place}: not JSON of a sound (a number too long, or lists too deep)") from None
    if not isinstance(values, dict):
        raise UserError(f'{place}: not a JSON object such as {{"id": "a", "audio": "a.wav"}}')
    for key in ("id", "audio"):
        if not isinstance(values.get(key), str) or not values[key]:
            raise UserError(f"{place}: {key}: give a text")
    fields = {}
    for key, value in values.items():
        if key in _KNOWN or value is None:
            continue
        if not isinstance(value, str):
            if not isinstance(value, int | float):
                raise UserError(f"{place}: {key}: give a text or a number")
            value = json.dumps(value)
        # Lines share their keys, and short words such as a speaker's name.
        fields[sys.intern(key)] = value if key == "text" else sys.intern(value)
    if "\\u" in line and not _is_text("".join([values["id"], *fields, *fields.values()])):
        raise UserError(f"{place}: half a character, by an escape such as \\ud800; mend the text")
    start = _seconds(values, "start_seconds", place)
    duration = _seconds(values, "duration_seconds", place)
    if duration == 0:
        raise UserError(f"{place}: duration_seconds: give more than 0")
    audio = os.path.join(folder, values["audio"])
    return Sound(values["id"], audio, start or 0.0, duration, fields)


def _seconds(values: dict[str, Any], key: str, place: str) -> float | None:
    value = values.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _FOREVER:
        raise UserError(f"{place}: {key}: give a number of seconds, 0 or more")
    return float(value)
