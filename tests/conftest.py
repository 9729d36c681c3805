"""Small sounds that the tests share."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import settings

import vqaudio
import vqaudio.codec.native
import vqaudio.evaluation.pitch
import vqaudio.prior.native
from tests.browser import NO_CHROMIUM, SCREENSHOTS, Window, chromium, open_window
from tests.sounds import WavMaker, tone

# scripts call `python` and `vqaudio`: those of this environment, activated or not
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

# nothing is timed in tests: machines are busy
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# tiny models gain nothing from a second thread, and on a busy machine it costs a lot
torch.set_num_threads(1)

# compiled here and kept, or the first process that needs it would tell the user so
vqaudio.codec.native.library()
vqaudio.prior.native.library()
# and librosa here, where processes take turns: tests use it beside what they start
vqaudio.evaluation.pitch.tracker()


@pytest.fixture
def wav(tmp_path: Path) -> WavMaker:
    """Makes a sound file in the test's folder.

    The maker takes a name and `seconds`, `sample_rate`, `channels`, `seed`, `subtype`.
    """

    def make(
        name: str = "tone.wav",
        seconds: float = 0.3,
        sample_rate: int = 16000,
        channels: int = 1,
        seed: int = 0,
        subtype: str | None = None,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = tone(seconds, sample_rate, channels, seed)
        soundfile.write(path, samples.T.numpy(), sample_rate, subtype=subtype)
        return path

    return make


BAD_SOUNDS = ["missing", "empty", "truncated", "zero-length", "nan", "text", "folder"]


@pytest.fixture(params=BAD_SOUNDS)
def bad_sound(request: pytest.FixtureRequest, wav: WavMaker, tmp_path: Path) -> Path:
    """One after the other, sound files that nobody can use."""
    path = tmp_path / f"{request.param}.wav"
    match request.param:
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            whole = wav("whole.wav", seconds=1.0).read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
        case "zero-length":
            soundfile.write(path, np.zeros((0, 1), np.float32), 16000)
        case "nan":
            soundfile.write(path, np.full((4000, 1), np.nan, np.float32), 16000, subtype="FLOAT")
        case "text":
            path.write_text("this is not a sound\n" * 100)
        case "folder":
            path.mkdir()
    return path


@pytest.fixture
def unwritable(tmp_path: Path) -> Path:
    """A folder name that cannot become one, even for root: its parent is a file."""
    (tmp_path / "in the way").write_text("a file")
    return tmp_path / "in the way" / "out"


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that any user can reach, as those of pytest cannot be."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def sentence() -> Path:
    """Real speech: the sentence that ships with the package, 4.4 s at 16 kHz."""
    return Path(vqaudio.__file__).parent / "assets" / "sentence.flac"


@pytest.fixture(scope="module")
def window() -> Iterator[Window]:
    """A browser to open pages in."""
    if chromium() is None:
        pytest.skip(NO_CHROMIUM)
    with open_window() as window:
        yield window


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests no browser was there for, or where the pages can be looked at."""
    skipped = [r for r in terminalreporter.stats.get("skipped", []) if NO_CHROMIUM in str(r.longrepr)]
    if skipped:
        files = ", ".join(sorted({report.nodeid.partition("::")[0] for report in skipped}))
        terminalreporter.write_line(f"{len(skipped)} browser tests left out of {files}: {NO_CHROMIUM}")
    elif SCREENSHOTS.exists():
        terminalreporter.write_line(f"screenshots of the pages: {SCREENSHOTS}")
