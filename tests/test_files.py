"""Files appear whole or not at all."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vqaudio.errors import UserError
from vqaudio.files import make_folder, replacing


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file.txt"
    with replacing(path) as part:
        part.write_text("half")
        assert not path.exists()
        assert part.parent == path.parent
    assert path.read_text() == "half"
    assert os.listdir(path.parent) == ["file.txt"]


def failing(path: Path, error: BaseException) -> None:
    with replacing(path) as part:
        part.write_text("half")
        raise error


def test_an_exception_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    for error in (ValueError("no"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            failing(path, error)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"file.txt: cannot be written \(No space left on device\)"):
        failing(tmp_path / "file.txt", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with pytest.raises(FileNotFoundError):
        failing(tmp_path / "file.txt", FileNotFoundError(errno.ENOENT, "another file"))


def test_what_a_kill_leaves_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    script = (
        "import os, signal, sys\n"
        "from vqaudio.files import replacing\n"
        "with replacing(sys.argv[1]) as part:\n"
        "    part.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert not path.exists()
    with replacing(path) as part:
        part.write_text("whole")
    assert os.listdir(tmp_path) == ["file.txt"]
    assert path.read_text() == "whole"


def test_places_that_cannot_be_written(tmp_path: Path, unwritable: Path) -> None:
    with pytest.raises(UserError, match=r"in the way.*choose another place"):
        make_folder(unwritable)
    with pytest.raises(UserError, match=r"in the way.*choose another place"):
        failing(unwritable / "file.txt", ValueError())
    (tmp_path / "taken").mkdir()
    with (
        pytest.raises(UserError, match=r"taken: cannot be written"),
        replacing(tmp_path / "taken") as part,
    ):
        part.write_text("x")
    assert sorted(os.listdir(tmp_path)) == ["in the way", "taken"]
