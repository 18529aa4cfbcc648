"""Pictures of every page in light, dark and on a phone.

``python -m tests.screenshots http://127.0.0.1:8050 FOLDER`` while a dashboard runs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from tests.browser import GRAPHICS, chromium, opened

PAGES = {
    "home": "/", "aircraft": "/aircraft", "co2": "/co2", "events": "/events", "sales": "/sales",
    "sales-graph": "/sales/graph", "trucks": "/trucks",
}  # fmt: skip
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1360, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1360, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "is_mobile": True,
              "has_touch": True, "device_scale_factor": 2},
}  # fmt: skip
SETTLE_MS = 3_500
GROWN_MS = 700


def take(
    browser: Browser, address: str, folder: Path, pages: Mapping[str, str] = PAGES, looks: Iterable[str] = tuple(LOOKS)
) -> list[Path]:
    """One picture a page and look; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    for look in looks:
        for name, path in pages.items():
            with opened(browser, address + path, **LOOKS[look]) as (page, _):
                page.wait_for_timeout(SETTLE_MS)
                # A picture of the full page alone lacks grids that have never been in view: so all of it is.
                height = page.evaluate("document.documentElement.scrollHeight")
                page.set_viewport_size({"width": LOOKS[look]["viewport"]["width"], "height": height})
                page.wait_for_timeout(GROWN_MS)
                file = folder / f"{name}-{look}.png"
                page.screenshot(path=file, full_page=True)
                taken.append(file)
    return taken


def main() -> int:
    address, folder = sys.argv[1:]
    with chromium(GRAPHICS) as browser:
        for file in take(browser, address.rstrip("/"), Path(folder)):
            sys.stdout.write(f"{file}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
