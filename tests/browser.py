"""Pages as people see them: in Debian's Chromium, headless, with no network but this machine."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

SCREENSHOTS = Path(__file__).parent.parent / "screenshots"
NAMES = ("chromium", "chromium-browser", "google-chrome")
NO_CHROMIUM = f"no {', '.join(NAMES)} on this machine (apt-get install chromium)"
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}
LOCAL = ("file:", "data:", "blob:", "http://127.0.0.1:")
ARGUMENTS = [
    "--no-sandbox",  # root may not run one
    "--proxy-server=127.0.0.1:9",  # nobody there: what is not of this machine fails
    "--use-fake-device-for-media-stream",  # a microphone that hears beeps
    "--use-fake-ui-for-media-stream",  # and may be used
]

_SOUNDS = """
async (selector) => {
  const found = [];
  for (const element of document.querySelectorAll(selector)) {
    if (element.readyState < 1 && !element.error) await new Promise(done => {
      for (const event of ["loadedmetadata", "error"]) element.addEventListener(event, done);
      element.load();
    });
    try {
      const content = await (await fetch(element.currentSrc || element.src)).arrayBuffer();
      const decoded = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(content);
      const peak = decoded.getChannelData(0).reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      found.push([element.duration, decoded.duration, peak, element.error?.message ?? ""]);
    } catch (error) {
      found.push([0, 0, 0, `${element.error?.message} ${error.message}`]);
    }
  }
  return found;
}
"""

_OVERFLOW = """
() => {
  const scrolls = element => element && element !== document.body && (
    ["auto", "scroll"].includes(getComputedStyle(element).overflowX) || scrolls(element.parentElement));
  const right = [...document.body.querySelectorAll("*")]
    .filter(element => element.checkVisibility() && !scrolls(element))
    .map(element => element.getBoundingClientRect().right);
  return Math.max(document.documentElement.scrollWidth, ...right) - window.innerWidth;
}
"""


def chromium() -> str | None:
    """The program, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Heard(NamedTuple):
    """What the browser made of one `<audio>`: by its player, and decoded."""

    seconds: float
    decoded_seconds: float
    peak: float
    error: str


@dataclass
class Visit:
    """A page that is open, and what went wrong in it."""

    page: Page
    size: str
    faults: list[str] = field(default_factory=list)

    def sounds(self, selector: str = "audio") -> list[Heard]:
        """Every `<audio>` of the page, loaded and decoded."""
        return [Heard(*sound) for sound in self.page.evaluate(_SOUNDS, selector)]

    def overflow(self) -> int:
        """Pixels by which anything lies right of the window, unless it can be scrolled there."""
        return round(self.page.evaluate(_OVERFLOW))

    def pictures(self) -> list[int]:
        """The true width in pixels of every `<img>`; 0 for one that cannot be shown."""
        return self.page.evaluate("[...document.images].map(image => image.naturalWidth)")

    def keep(self, name: str) -> Path:
        """Keep a screenshot of the whole page."""
        SCREENSHOTS.mkdir(exist_ok=True)
        path = SCREENSHOTS / f"{name}-{self.size}.png"
        self.page.screenshot(path=path, full_page=True)
        return path

    def heed_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(f"console: {message.text}")

    def heed_request(self, request: Request) -> None:
        if not request.url.startswith(LOCAL):
            self.faults.append(f"asks elsewhere: {request.url[:200]}")

    def heed_failure(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # that is how a page ends what it listens to
            self.faults.append(f"failed: {request.url[:200]}")


class Window:
    """A browser that opens pages, each with a new profile."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    @contextmanager
    def visit(self, address: str | Path, size: str = "desktop", dark: bool = False) -> Iterator[Visit]:
        """Open a file or an address of this machine, in a window of one of `SIZES`."""
        width, height = SIZES[size]
        context = self._browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        try:
            visit = Visit(context.new_page(), size)
            visit.page.on("console", visit.heed_console)
            visit.page.on("pageerror", lambda error: visit.faults.append(f"script: {error}"))
            visit.page.on("request", visit.heed_request)
            visit.page.on("requestfailed", visit.heed_failure)
            visit.page.goto(address.as_uri() if isinstance(address, Path) else address)
            yield visit
        finally:
            context.close()


@contextmanager
def open_window() -> Iterator[Window]:
    """Chromium for as long as it is needed; while it is there, nothing else can use asyncio."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        try:
            yield Window(browser)
        finally:
            browser.close()
