"""The page of an evaluation says what its folder holds, and no more."""

import re
import shutil
from pathlib import Path

import pytest
import soundfile

from tests.evaluation.folders import evaluation_folder
from tests.evaluation.test_report import Reader
from tests.models import waveform_codec
from tests.sounds import WavMaker
from vqaudio.errors import UserError
from vqaudio.evaluation.demo import SENTENCE
from vqaudio.evaluation.evaluation_folder import SOUNDS, SUMMARY
from vqaudio.evaluation.evaluation_page import write_evaluation_page
from vqaudio.evaluation.excerpts import LONGEST_SECONDS, excerpts


@pytest.fixture
def folder(tmp_path: Path, sentence: Path) -> Path:
    return evaluation_folder(tmp_path / "out", waveform_codec(), sentence)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = evaluation_folder(tmp_path_factory.mktemp("out"), waveform_codec(), SENTENCE)
    assert write_evaluation_page(folder) == folder / "index.html"
    return folder / "index.html"


def cells(page: Path, row: str) -> list[str]:
    """Of the table's row that begins so."""
    text = page.read_text().replace("\u00a0", " ")
    line = next(line for line in text.splitlines() if line.startswith(f"<tr><td>{row}"))
    return re.findall(r"<td[^>]*>([^<]*)</td>", line)[1:]


def test_figures_stand_with_their_intervals_and_refusals(page: Path) -> None:
    assert cells(page, "STOI") == [
        "0.873 [0.861, 0.886]", "0.700 [0.650, 0.750]", "0.950 [0.940, 0.960]",
    ]  # fmt: skip
    assert cells(page, "mel distance")[0] == "0.200 [0.180, 0.220], 1 refused"
    assert cells(page, "SI-SDR") == ["none of 4"] * 3
    assert cells(page, "parameters") == ["6.8 M", "-", "-"]
    assert cells(page, "real-time factor, encoding") == ["0.0123", "-", "-"]
    assert cells(page, "effective bitrate")[2] == "-"
    text = Reader(page).text
    assert "multiply-adds" not in text.split("What each figure is")[0]  # nothing was measured
    for said in (
        "Nothing was resampled.",
        "gone: no such file",
        "quiet 1.2",
        "pystoi 0.4",
        "VERSA: stoi",
    ):
        assert said in text


def test_the_worst_come_in_their_order_with_their_measures(page: Path) -> None:
    text = Reader(page).text
    worst = text.split("The worst 3")[1]
    places = [worst.index(f"{place}. part-{place + 1}") for place in (1, 2, 3)]
    assert places == sorted(places)
    assert cells(page, "part-2") == ["0.51", "-1.25"]  # mel refused all


def test_levels_stand_from_coarse_to_fine_and_programs_after_them(page: Path) -> None:
    captions = [attributes["aria-label"] for tag, attributes in Reader(page).tags if tag == "audio"][:4]
    assert captions == ["original", "toy-0, 350 bit/s", "toy, 1750 bit/s", "quiet 6k, 6000 bit/s"]


def test_sounds_that_are_not_there_are_left_out(folder: Path) -> None:
    (folder / SOUNDS / "quiet 6k" / "part-1.flac").unlink()
    assert write_evaluation_page(folder).read_text().count("<audio") == 9
    shutil.rmtree(folder / SOUNDS)
    assert write_evaluation_page(folder).read_text().count("<audio") == 0


def test_what_is_no_evaluation_is_refused_and_leaves_the_old_page(folder: Path) -> None:
    page = write_evaluation_page(folder)
    before = page.read_bytes()
    (folder / SOUNDS / "toy" / "part-1.flac").write_text("no sound")
    with pytest.raises(UserError, match=r"part-1\.flac"):
        write_evaluation_page(folder)
    (folder / SUMMARY).write_text("{}")
    with pytest.raises(UserError, match=r"summary\.json"):
        write_evaluation_page(folder)
    assert page.read_bytes() == before


def test_many_sounds_stay_small_enough_for_a_page(
    wav: WavMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [wav("short.wav"), wav("long.wav", seconds=LONGEST_SECONDS + 2, sample_rate=20000)]
    made = excerpts(files, tmp_path)
    assert [soundfile.info(made[path]).frames for path in files] == [4800, LONGEST_SECONDS * 20000]
    assert {path.suffix for path in made.values()} == {".flac"}
    monkeypatch.setattr("vqaudio.evaluation.excerpts.MOST_BYTES", 100_000)
    made = excerpts(files, tmp_path)
    assert {path.suffix for path in made.values()} == {".mp3"}
    assert sum(path.stat().st_size for path in made.values()) < 100_000
    assert soundfile.info(made[files[1]]).duration == pytest.approx(LONGEST_SECONDS, abs=0.1)
