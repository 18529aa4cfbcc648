"""Every page of the dashboard in one browser, opened once and never reloaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import Browser, Error, Page

from headwater.contracts import STREAMS, Stream
from tests.browser import chromium

# What a page shows, whether something on it says that all is not well, and the mark that a reload would wipe out.
LOOK = """() => {
  const said = [...document.querySelectorAll('[id$="-banner"]')].map(place => place.innerText.trim()).filter(Boolean);
  if (document.querySelector('#lost.shown')) said.push('the dashboard does not answer');
  const alarms = [...document.querySelectorAll('#home-status .hw-alarm')].map(alarm => alarm.innerText.trim());
  return [document.body.innerText, said, window.chaosOpenedAt ?? 0, alarms];
}"""
FAULT, BEHIND = "▲", "▲ behind"
"""As the overview marks its alarms. That a query is behind may be the truth for long after a fault: two cores that
carry all of this, a browser with every page among it, catch up slowly. Whether it moves is seen by the signs.
"""
OPEN_MS = 120_000
"""All of them load at once, beside everything else."""


@dataclass
class Seen:
    """A page as it was last looked at."""

    path: str
    page: Page
    text: str = ""
    trouble: list[str] = field(default_factory=list)
    was_reloaded: bool = False


class Pages:
    """The pages of some streams, each in a tab of its own."""

    def __init__(self, browser: Browser, address: str, streams: Sequence[Stream]) -> None:
        self._is_whole = len(streams) == len(STREAMS)
        paths = ["/", *(path for stream in streams for path in paths_of(stream))]
        self.pages = [Seen(path, browser.new_page(viewport={"width": 1280, "height": 900})) for path in paths]
        for seen in self.pages:
            seen.page.goto(address + seen.path, timeout=OPEN_MS)
            seen.page.evaluate("window.chaosOpenedAt = Date.now()")

    def look(self) -> None:
        """Takes in what every page shows now."""
        for seen in self.pages:
            try:
                seen.text, seen.trouble, mark, alarms = seen.page.evaluate(LOOK)
            except Error as error:
                seen.trouble = [str(error).splitlines()[0]]
                continue
            seen.was_reloaded = seen.was_reloaded or not mark
            # With some of the streams alone the overview rightly misses the others.
            if self._is_whole:
                faults = [alarm for alarm in alarms if alarm.startswith(FAULT) and not alarm.startswith(BEHIND)]
                seen.trouble = [*seen.trouble, *faults]

    def texts(self) -> dict[str, str]:
        return {seen.path: seen.text for seen in self.pages}

    def troubled(self) -> dict[str, list[str]]:
        return {seen.path: seen.trouble for seen in self.pages if seen.trouble}


def paths_of(stream: Stream) -> list[str]:
    """Where a stream is shown."""
    return [f"/{stream.name}", *(["/sales/graph"] if stream.name == "sales" else [])]


@contextmanager
def opened(address: str, streams: Sequence[Stream]) -> Iterator[Pages]:
    with chromium() as browser:
        yield Pages(browser, address, streams)
