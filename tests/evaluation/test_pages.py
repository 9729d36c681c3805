"""The pages in a real browser: they sound, they fit the window, they need nothing from elsewhere."""

from pathlib import Path

import pytest
import soundfile

from tests.browser import SIZES, Window
from tests.evaluation.folders import SECONDS, evaluation_folder
from tests.sounds import WavMaker
from vqaudio.codec.model import Codec
from vqaudio.evaluation.demo import SAMPLE_SECONDS, SENTENCE, run_demo
from vqaudio.evaluation.evaluation_page import write_evaluation_page
from vqaudio.evaluation.report import Player, Section, Table, write_page
from vqaudio.model_folder import load
from vqaudio.prior.model import Prior


@pytest.fixture(scope="module")
def demo_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    codec, prior = load("speech-16k"), load("speech-16k-prior")
    assert isinstance(codec, Codec)
    assert isinstance(prior, Prior)
    return run_demo(codec, prior, SENTENCE, tmp_path_factory.mktemp("demo"), lambda step: None).page


@pytest.mark.parametrize("size", SIZES)
def test_the_demo(window: Window, demo_page: Path, size: str) -> None:
    seconds = soundfile.info(SENTENCE).duration
    with window.visit(demo_page, size) as visit:
        visit.keep("demo")
        sounds = visit.sounds()
        assert [sound.error for sound in sounds] == [""] * 6
        wanted = pytest.approx([seconds] * 3 + [SAMPLE_SECONDS] * 3, abs=0.01)
        assert [sound.seconds for sound in sounds] == wanted
        assert [sound.decoded_seconds for sound in sounds] == wanted
        assert all(sound.peak > 0.01 for sound in sounds)
        assert len(visit.pictures()) == 3
        assert 0 not in visit.pictures()
        assert visit.overflow() == 0
        assert visit.faults == []


def test_what_is_wrong_with_a_page_is_seen(window: Window, wav: WavMaker, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    page = tmp_path / "page.html"
    parts = [Player("good", wav()), Player("bad", tmp_path / "text.wav"), Table(["w" * 400], [["x"]])]
    write_page(page, "t", [Section("h", parts)])
    with window.visit(page, "phone") as visit:
        assert visit.faults == []
        assert visit.overflow() == 0  # a wide table scrolls by itself
        good, bad = visit.sounds()
        assert good.error == ""
        assert good.seconds == good.decoded_seconds == pytest.approx(0.3, abs=0.001)
        assert bad.error
        assert bad.seconds == bad.decoded_seconds == 0
    page.write_text(
        '<!doctype html><body style="margin: 0; overflow: hidden"><div style="width: 500px">wide</div>'
        '<img src="http://93.184.215.14/a.png"><script>nothing()</script>'
    )
    with window.visit(page, "phone") as visit:
        assert visit.overflow() == 110
        assert visit.pictures() == [0]
        assert [fault.partition(":")[0] for fault in sorted(visit.faults)] == [
            "asks elsewhere", "console", "failed", "script",
        ]  # fmt: skip


SCROLLED = """
() => {
  const wide = document.querySelector(".wide"), first = wide.querySelector("td");
  const left = first.getBoundingClientRect().left;
  wide.scrollLeft = 1e6;
  return [wide.scrollLeft, first.getBoundingClientRect().left - left, wide.clientWidth];
}
"""


def test_a_wide_table(window: Window, tmp_path: Path) -> None:
    """It has the whole window, and where that is too small it scrolls behind its first column."""
    table = Table(["system", *["measure"] * 9], [["codec", *range(9)]] * 3)
    write_page(tmp_path / "page.html", "Wide", [Section("Table", [table])])
    with window.visit(tmp_path / "page.html", "desktop") as visit:
        scrolled, moved, width = visit.page.evaluate(SCROLLED)
        assert scrolled == moved == 0
        assert width > 62 * 16
        assert visit.overflow() == 0
    with window.visit(tmp_path / "page.html", "phone") as visit:
        scrolled, moved, _ = visit.page.evaluate(SCROLLED)
        assert scrolled > 100
        assert moved == 0


@pytest.fixture(scope="module")
def evaluation_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    codec = load("speech-16k")
    assert isinstance(codec, Codec)
    folder = evaluation_folder(tmp_path_factory.mktemp("evaluation"), codec, SENTENCE)
    page = write_evaluation_page(folder)
    alone = tmp_path_factory.mktemp("alone") / "page.html"  # it needs nothing that lies beside it
    return page.rename(alone)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_report(window: Window, evaluation_page: Path, size: str, dark: bool) -> None:
    with window.visit(evaluation_page, size, dark) as visit:
        visit.keep("report-dark" if dark else "report")
        sounds = visit.sounds()
        assert [sound.error for sound in sounds] == [""] * (4 + 3 * 2)
        assert [sound.seconds for sound in sounds] == pytest.approx([SECONDS] * 10, abs=0.01)
        assert [sound.decoded_seconds for sound in sounds] == pytest.approx([SECONDS] * 10, abs=0.01)
        original, coarse, whole, quiet = (sound.peak for sound in sounds[:4])
        assert quiet == pytest.approx(original / 4, abs=0.001)
        assert len({original, coarse, whole}) == 3
        assert len(visit.pictures()) == 3
        assert 0 not in visit.pictures()
        assert visit.overflow() == 0
        assert visit.faults == []
        page = visit.page
        assert not page.get_by_text("Intelligibility.").is_visible()
        page.get_by_text("What each figure is").click()
        assert page.get_by_text("Intelligibility.").is_visible()
        assert page.get_by_text("VERSA: stoi").is_visible()
