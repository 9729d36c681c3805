"""The search for sound files: each is found once, by whatever links, and what fails is not lost."""

import os
from pathlib import Path
from typing import NamedTuple

from vqaudio.errors import printable
from vqaudio.sound_files import leads_back

SOUND_SUFFIXES = frozenset(
    [".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav"]
)


class Found(NamedTuple):
    """A path that was found.

    Args:
        path: as it was come by.
        start: where in it the part begins that is below the folder searched.
        alias: whether another path may stand for the same file.
    """

    path: str
    start: int
    alias: bool


class _Listing(NamedTuple):
    """Sounds and folders in a folder: names, the last one first; those of folders and of links."""

    parent: str
    names: list[str]
    folders: set[str]
    links: set[str]


class Search:
    """Collects sound files from folders, and files given one by one.

    A folder is searched once, and so is one that a link leads to, unless it leads back to a folder
    that the link lies in. Among the files found are all things that bear the name of a sound,
    whatever they are, and the folders that cannot be searched: reading them gives the reason.
    """

    def __init__(self) -> None:
        self._found: list[Found] = []
        self._searched: set[tuple[int, int]] = set()  # devices and inodes of folders

    def add_folder(self, folder: Path) -> bool:
        """Search a folder, to any depth, in the order of names; whether it has any sounds."""
        before = len(self._found)
        top = "" if folder == Path() else str(folder)
        start = len(os.path.join(top, ""))
        try:
            listing = self._list(top)
        except OSError:
            self.add_file(folder)
            return True
        if listing is None:
            return True
        pending = [listing]
        while pending:
            parent, names, folders, links = pending[-1]
            if not names:
                pending.pop()
                continue
            name = names.pop()
            path, is_link = os.path.join(parent, name), name in links
            if name not in folders:
                self._found.append(Found(path, start, is_link))
                continue
            fails, listing = is_link and leads_back(path), None
            try:
                listing = None if fails else self._list(path)
            except OSError:
                fails = True
            if fails or _names_a_sound(name):
                self._found.append(Found(path, start, True))
            if listing is not None:
                pending.append(listing)
        if len(self._found) == before and _names_a_sound(folder.name):
            self.add_file(folder)
        return len(self._found) > before

    def add_file(self, file: Path) -> None:
        """Take a file as it is."""
        self._found.append(Found(str(file), len(str(file)) - len(file.name), True))

    def found(self) -> list[Found]:
        """What was found, in the order in which it was added; of a folder, in the order of names.

        A file is there once. If a search found it, it goes by its name in its folder, whatever else
        leads to it.
        """
        seen: set[str] = set()
        return [one for one in self._found if not one.alias or self._is_new(one.path, seen)]

    def _list(self, folder: str) -> _Listing | None:
        """What is in a folder; None if that is known already.

        Raises:
            OSError: it cannot be searched.
        """
        status = os.stat(folder or os.curdir)
        if (status.st_dev, status.st_ino) in self._searched:
            return None
        names, folders, links = [], set(), set()
        with os.scandir(folder or os.curdir) as entries:
            for entry in entries:
                try:
                    is_folder = entry.is_dir()
                except OSError:  # a link to where nobody may look: there may be a folder
                    is_folder = True
                if not is_folder and not _names_a_sound(entry.name):
                    continue
                names.append(entry.name)
                if is_folder:
                    folders.add(entry.name)
                if entry.is_symlink():
                    links.add(entry.name)
        self._searched.add((status.st_dev, status.st_ino))
        return _Listing(folder, sorted(names, reverse=True), folders, links)

    def _is_new(self, path: str, seen: set[str]) -> bool:
        """Whether neither a search nor a path in `seen` has the file; from now on `seen` has it."""
        real = os.path.realpath(path) if os.path.exists(path) else os.path.abspath(path)
        if real in seen or (os.path.isfile(real) and self._is_found(real)):
            return False
        seen.add(real)
        return True

    def _is_found(self, real: str) -> bool:
        folder, name = os.path.split(real)
        status = os.stat(folder)
        return _names_a_sound(name) and (status.st_dev, status.st_ino) in self._searched


def shortest_names(found: list[Found]) -> list[str]:
    """The shortest of three names that tells each path from all others.

    These are the part below the folder that was searched, without the suffix and with it, and the
    whole path.
    """
    names = [_as_id(os.path.splitext(path[start:])[0]) for path, start, _ in found]
    for whole in (False, True):
        counts: dict[str, int] = {}
        for name in names:
            counts[name] = counts.get(name, 0) + 1
        if len(counts) == len(names):
            break
        names = [
            _as_id(path if whole else path[start:]) if counts[name] > 1 else name
            for name, (path, start, _) in zip(names, found, strict=True)
        ]
    return names


def _as_id(path: str) -> str:
    """A path as a text that can be read back: backslashes are doubled, and begin escapes."""
    if os.sep != "/":
        path = path.replace(os.sep, "/")
    return path if path.isprintable() and "\\" not in path else printable(path.replace("\\", "\\\\"))


def _names_a_sound(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SOUND_SUFFIXES and not name.startswith(".")
