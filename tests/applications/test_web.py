"""The page to try it, in a real browser, served by a real process that can reach nobody else."""

import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import expect

from tests.applications.serving import Server, serving
from tests.browser import SIZES, Heard, Visit, Window
from tests.sounds import WavMaker
from vqaudio.applications.studio import LONGEST_SECONDS
from vqaudio.applications.web import UPLOAD_BYTES
from vqaudio.evaluation.demo import SENTENCE

SECONDS = soundfile.info(SENTENCE).duration


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server
    assert server.errors.read_text() == ""


def drop(visit: Visit, path: Path) -> None:
    with visit.page.expect_response("**/upload?**"):
        visit.page.locator("#sound input[type=file]").set_input_files(path)
    expect(visit.page.get_by_role("button", name="Clear")).to_be_visible()


def press(visit: Visit, button: str) -> None:
    visit.page.get_by_role("button", name=button).click()


def heard(visit: Visit, place: str, count: int) -> list[Heard]:
    """What came back, decoded."""
    expect(visit.page.locator(f"{place} audio")).to_have_count(count, timeout=60_000)
    sounds = visit.sounds(f"{place} audio")
    assert [sound.error for sound in sounds] == [""] * count
    assert [sound.decoded_seconds for sound in sounds] == pytest.approx(
        [sound.seconds for sound in sounds], abs=0.01
    )
    assert all(sound.peak > 0.01 for sound in sounds)
    return sounds


def check(visit: Visit, name: str, pictures: int) -> None:
    visit.keep(f"web-{name}")
    assert len([width for width in visit.pictures() if width > 100]) >= pictures
    assert visit.overflow() <= 0
    assert visit.faults == []


@pytest.mark.parametrize("size", SIZES)
def test_a_sound_is_dropped_heard_continued_and_compared(
    window: Window, server: Server, size: str
) -> None:
    with window.visit(server.address, size) as visit:
        page = visit.page
        drop(visit, SENTENCE)
        page.get_by_label("800 bit/s").check()
        press(visit, "Encode and decode")
        sounds = heard(visit, "#heard", 4)  # the original, level 0, 800 bit/s, both levels
        assert [sound.seconds for sound in sounds] == pytest.approx([SECONDS] * 4, abs=0.001)
        assert len({sound.peak for sound in sounds}) == 4
        check(visit, "sound", pictures=1)

        page.get_by_role("tab", name="New sound").click()
        page.get_by_label("New seconds").first.fill("1.5")
        page.get_by_label("New seconds").first.press("Tab")
        press(visit, "Sample")
        [new] = heard(visit, "#sampled", 1)
        assert new.seconds == pytest.approx(1.5, abs=0.001)
        page.get_by_label("the sound on the first page").check()
        press(visit, "Sample")
        expect(page.locator("#sampled")).to_contain_text("as they were given", timeout=60_000)
        [continued] = heard(visit, "#sampled", 1)
        assert continued.seconds == pytest.approx(4.4 + 1.5, abs=0.001)  # whole coarse frames, 80 ms
        check(visit, "new", pictures=3)

        page.get_by_role("tab", name="Compare").click()
        page.get_by_label("B", exact=True).click()
        page.get_by_role("option", name="sentence.flac, 200 bit/s: level 0", exact=True).click()
        press(visit, "Compare")
        pair = heard(visit, "#compared", 2)
        assert [sound.seconds for sound in pair] == pytest.approx([SECONDS] * 2, abs=0.001)
        assert "mel spectra differ by" in page.locator("#compared").inner_text()
        check(visit, "compare", pictures=4)


def test_it_is_dark_where_the_reader_likes_it_so(window: Window, server: Server) -> None:
    with window.visit(server.address, dark=True) as visit:
        expect(visit.page.get_by_role("heading", name="vqaudio")).to_be_visible()
        visit.keep("web-dark")
        heading, paper = visit.page.evaluate(
            "[getComputedStyle(document.querySelector('h1')).color,"
            " getComputedStyle(document.querySelector('.gradio-container')).backgroundColor]"
        )
    assert brightness(heading) > 200
    assert brightness(paper) < 40


def brightness(colour: str) -> float:
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


def test_a_sound_is_recorded(window: Window, server: Server) -> None:
    with window.visit(server.address) as visit:
        press(visit, "Record audio")
        visit.page.get_by_role("button", name="Record", exact=True).click()
        stop = visit.page.get_by_role("button", name="Stop").first
        expect(stop).to_be_visible()
        visit.page.wait_for_timeout(1500)  # the microphone beeps once a second
        with visit.page.expect_response("**/upload**"):
            stop.click()
        expect(visit.page.get_by_role("button", name="Play", exact=True)).to_be_visible()
        press(visit, "Encode and decode")
        sounds = heard(visit, "#heard", 3)
        assert len({sound.seconds for sound in sounds}) == 1
        assert sounds[0].seconds > 0.5
        assert visit.faults == []


def test_bad_sounds_are_one_clear_line(
    window: Window, server: Server, wav: WavMaker, tmp_path: Path
) -> None:
    (tmp_path / "notes.wav").write_text("this is not a sound\n" * 100)
    soundfile.write(tmp_path / "nothing.wav", np.zeros(16000), 16000)
    long = wav("long.wav", seconds=LONGEST_SECONDS + 1, sample_rate=8000)
    for path, said in [
        (None, "no sound yet"),
        (tmp_path / "notes.wav", "notes.wav: not a sound file"),
        (tmp_path / "nothing.wav", "nothing.wav: silence"),
        (long, "long.wav: too long; give at most 30 seconds"),
    ]:
        with window.visit(server.address) as visit:
            if path is not None:
                drop(visit, path)
            press(visit, "Encode and decode")
            fault = visit.page.locator("#heard .fault")
            expect(fault).to_contain_text(said, timeout=30_000)
            assert "\n" not in fault.inner_text()
            assert str(tmp_path) not in fault.inner_text()
            visit.page.get_by_role("tab", name="New sound").click()
            visit.page.get_by_label("the sound on the first page").check()
            press(visit, "Sample")
            expect(visit.page.locator("#sampled .fault")).to_contain_text(said, timeout=30_000)
            visit.page.get_by_role("tab", name="Compare").click()
            press(visit, "Compare")
            expect(visit.page.locator("#compared .fault")).to_contain_text("nothing to compare yet")
            visit.page.get_by_role("tab", name="A sound").click()
            visit.keep(f"web-bad-{path.stem if path else 'none'}")
            # the player, too, says in the console what it cannot play
            assert [fault for fault in visit.faults if "Waveform load error" not in fault] == []


def test_a_file_that_is_too_large_is_refused(window: Window, server: Server, tmp_path: Path) -> None:
    (tmp_path / "large.wav").write_bytes(bytes(UPLOAD_BYTES + 1))
    with window.visit(server.address) as visit:
        visit.page.locator("#sound input[type=file]").set_input_files(tmp_path / "large.wav")
        expect(visit.page.get_by_text("exceed the maximum allowed size of 20")).to_be_visible()
        visit.keep("web-large")
        multipart = {
            "files": {"name": "a.wav", "mimeType": "audio/wav", "buffer": bytes(UPLOAD_BYTES + 1)}
        }
        answer = visit.page.request.post(f"{server.address}/gradio_api/upload", multipart=multipart)
        assert answer.status == 413


def test_other_names_for_this_machine_are_refused(server: Server) -> None:
    request = urllib.request.Request(server.address, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request)
    assert urllib.request.urlopen(server.address).status == 200


def test_only_this_machine_is_let_in(server: Server) -> None:
    port = int(server.address.rpartition(":")[2])
    own = socket.gethostbyname(socket.gethostname())
    if own.startswith("127."):
        pytest.skip("this machine has no address but loopback")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((own, port), timeout=10)
