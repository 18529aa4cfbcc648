"""Leaflet from the installed package, ready to stand within a page: no file beside it, no host to ask."""

from __future__ import annotations

import base64
import re
from functools import cache
from importlib.resources import files

FOLDER = files("js_lib_leaflet") / "static" / "js_lib_leaflet"


@cache
def script() -> str:
    """Its code, without the last line, which would have a browser's debugger ask for one more file."""
    text = (FOLDER / "leaflet.js").read_text(encoding="utf-8")
    return re.sub(r"^//# sourceMappingURL=.*$", "", text, flags=re.MULTILINE)


@cache
def styles() -> str:
    """Its style sheet, with its images in it."""
    text = (FOLDER / "leaflet.css").read_text(encoding="utf-8")
    return re.sub(r"url\((images/[\w-]+\.png)\)", lambda found: f"url({_data(found[1])})", text)


def _data(name: str) -> str:
    return "data:image/png;base64," + base64.b64encode((FOLDER / name).read_bytes()).decode()
