"""The colours of the SVG, for light and for dark pages, and its style sheet."""

from __future__ import annotations

from typing import NamedTuple


class Palette(NamedTuple):
    """The colours of one theme. `text` stands on all fills and on the page, `quiet` on the page and on free cells."""

    page: str
    text: str
    quiet: str
    grid: str
    free: str
    rw: str
    ro: str
    wo: str
    rw_line: str
    ro_line: str
    wo_line: str
    hatch: str


LIGHT = Palette(
    page="#ffffff", text="#15202b", quiet="#56616d", grid="#c3ccd5", free="#f3f5f7",
    rw="#cfe2fb", ro="#d3ecd6", wo="#fbe0bd", rw_line="#2f6fc2", ro_line="#2e7d3d", wo_line="#ad6200",
    hatch="#b3261e",
)  # fmt: skip
DARK = Palette(
    page="#13181e", text="#edf2f7", quiet="#a3afbb", grid="#3f4a55", free="#1b2229",
    rw="#1d4272", ro="#1e4d2b", wo="#65400c", rw_line="#7fb2f5", ro_line="#7ccf8d", wo_line="#f0b35c",
    hatch="#ff9d94",
)  # fmt: skip

# What tells the accesses apart besides their colours: the line around the bar.
DASHES = {"rw": "none", "ro": "5 2.5", "wo": "1.5 2.5"}

_FONT = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"


def style_sheet() -> str:
    """The rules of both themes; all of them begin with the class of the drawing, so a page around it is unharmed."""
    dark = _rules(DARK)
    return f"{_shapes()}{_rules(LIGHT)}@media (prefers-color-scheme:dark){{{dark}}}"


def _shapes() -> str:
    rules = {
        "text": f"font-family:{_FONT};font-size:11px",
        ".h": "font-size:15px;font-weight:bold",
        ".s": "font-size:10px",
        ".m": "text-anchor:middle",
        ".b": "stroke-width:1.2",
        **{f".{access}": f"stroke-dasharray:{dashes}" for access, dashes in DASHES.items()},
        ".g": "stroke-width:1;fill:none",
        ".k": "stroke-width:1;stroke-dasharray:2 4;fill:none",
    }
    return _sheet(rules)


def _rules(palette: Palette) -> str:
    rules = {
        "text": f"fill:{palette.text}",
        ".p": f"fill:{palette.page}",
        ".q": f"fill:{palette.quiet}",
        ".g": f"stroke:{palette.grid}",
        ".k": f"stroke:{palette.quiet}",
        ".f": f"fill:{palette.free};stroke:{palette.grid}",
        ".rw": f"fill:{palette.rw};stroke:{palette.rw_line}",
        ".ro": f"fill:{palette.ro};stroke:{palette.ro_line}",
        ".wo": f"fill:{palette.wo};stroke:{palette.wo_line}",
        ".o": f"stroke:{palette.hatch};stroke-width:1.6",
    }
    return _sheet(rules)


def _sheet(rules: dict[str, str]) -> str:
    return "".join(f".msm-layout {selector}{{{body}}}" for selector, body in rules.items())
