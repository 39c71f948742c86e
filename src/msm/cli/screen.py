"""The live table: what is drawn of a memory, and what is remembered for it."""

from __future__ import annotations

import math
import textwrap
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from msm.cli.text import shown, with_unit
from msm.memory.textwidth import columns, printable
from msm.memory.view import Info

FLASH = 0.7  # seconds that a changed value stands out
REST = 2.0  # seconds without a change, after which the next one is an event
SAMPLE = 0.5  # seconds between two points of a trend
KEPT = 200  # points of a trend
BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=+*#@"
STYLES = {"good": "green", "stale": "yellow", "bad": "bold red", "never": "dim"}
GAP = 2  # columns between two columns
HEADS_AND_BAR = 2  # lines that are always there
MOST_TOLD = 3  # lines for what is wrong
HINT = "NAME=VALUE and Enter sets a value"
NARROW = 80  # columns of a small terminal
LEAST_TREND = 8  # columns below which a trend tells nothing


@dataclass
class Bar:
    """What is said below the table."""

    state: str
    """The state of the link, in a word."""
    well: bool
    """Is all as it should be?"""
    facts: Sequence[str] = ()
    told: str = ""
    """What is wrong with the link, or else what was told last."""
    wrong: bool = True
    """Is that a complaint?"""
    prompt: str | None = None
    """What is typed; None where nothing can be."""


class Trace:
    """What is remembered of a variable from one drawing to the next."""

    def __init__(self) -> None:
        self.points: deque[float] = deque(maxlen=KEPT)
        self._changed = float("-inf")
        self._event = False
        self._text: str | None = None
        self._sampled = float("-inf")

    def note(self, info: Info, text: str, now: float) -> None:
        """The variable is so at that time (in seconds of a monotonic clock)."""
        if self._text is not None and text != self._text:
            self._event = now - self._changed > REST
            self._changed = now
        self._text = text
        if now - self._sampled >= SAMPLE and (point := _point(info.value)) is not None:
            self.points.append(point)
            self._sampled = now

    def flash(self, now: float) -> str:
        """How the value stands out: what changes all the time does less than what has been at rest."""
        if now - self._changed >= FLASH:
            return ""
        return "reverse" if self._event else "bold cyan"


NOTHING = Trace()


def _point(value: Any) -> float | None:
    number = getattr(value, "value", value)
    return float(number) if isinstance(number, int | float) and math.isfinite(number) else None


def sparkline(points: Sequence[float], width: int, *, ascii_only: bool = False) -> str:
    """The last points as a row of blocks, between the lowest and the highest of them."""
    blocks = ASCII_BLOCKS if ascii_only else BLOCKS
    last = list(points)[-width:]
    if not last:
        return ""
    low, span = min(last), max(last) - min(last)
    return "".join(blocks[int((point - low) / span * (len(blocks) - 1) + 0.5) if span else 0] for point in last)


def age(seconds: float) -> str:
    """A time that has passed, in a few characters."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s"
    for below, length, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < below:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


@dataclass
class Screen:
    """Draws variables as a table, as wide and as high as the terminal is.

    :param kinds: the type of each variable.
    :param qualities: show how good values are and how old: for a client's memory.
    """

    kinds: Mapping[str, str]
    qualities: bool = True
    top: int = 0
    """The first variable that is shown."""
    infos: Sequence[Info] = ()
    bar: Bar = field(default_factory=lambda: Bar("", well=True))
    _traces: dict[str, Trace] = field(default_factory=dict)
    _widths: dict[str, int] = field(default_factory=dict)

    def note(self, infos: Sequence[Info], bar: Bar) -> None:
        """What is to be drawn next."""
        self.infos, self.bar = infos, bar
        now = time.monotonic()
        for info in filter(self._has_value, infos):
            self._traces.setdefault(info.name, Trace()).note(info, shown(info.value, self.kinds[info.name]), now)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.size.width, options.size.height
        told = self._told(width)
        rows = max(1, height - HEADS_AND_BAR - len(told) - (self.bar.prompt is not None))
        self.top = max(0, min(self.top, len(self.infos) - rows))
        seen = self.infos[self.top : self.top + rows]
        table = self._table(seen, width, ascii_only=options.ascii_only)
        blank = [Text("")] * (rows - len(seen))
        part = f"{self.top + 1}-{self.top + len(seen)} of {len(self.infos)}" if len(seen) < len(self.infos) else ""
        prompt = [] if self.bar.prompt is None else [self._prompt(width)]
        yield Group(table, *blank, self._state(width, part), *told, *prompt)

    def _table(self, seen: Sequence[Info], width: int, *, ascii_only: bool) -> Table:
        now, clock = time.monotonic(), time.time()
        cells = [self._cells(info, clock) for info in seen]
        widths = self._fit(cells, width)
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold underline", width=width)
        for head, wide in widths.items():
            right = head in ("value", "age")
            table.add_column(head, width=wide, no_wrap=True, overflow="ellipsis", justify="right" if right else "left")
        for info, row in zip(seen, cells, strict=True):
            trace = self._traces.get(info.name, NOTHING)
            dim = "dim" if self.qualities and info.quality != "good" else ""
            styles = {"value": dim or trace.flash(now), "quality": STYLES[info.quality], "words": "dim", "age": "dim"}
            row["trend"] = sparkline(trace.points, widths.get("trend", 0), ascii_only=ascii_only)
            styles["trend"] = "cyan"
            table.add_row(*(Text(row[head], styles.get(head, "")) for head in widths))
        return table

    def _has_value(self, info: Info) -> bool:
        return info.at is not None or not self.qualities

    def _cells(self, info: Info, clock: float) -> dict[str, str]:
        read = self._has_value(info)
        digits = 4 if info.table in ("holding", "input") else 1
        return {
            "name": printable(info.name),
            "value": with_unit(info, self.kinds[info.name]) if read else "",
            **({"quality": info.quality} if self.qualities else {}),
            **({"age": age(clock - info.at) if info.at is not None else ""} if self.qualities else {}),
            "words": " ".join(f"{word:0{digits}x}" for word in info.words) if read else "",
            "trend": "",
        }

    def _fit(self, cells: Sequence[Mapping[str, str]], width: int) -> dict[str, int]:
        """The width of each column; they do not jump while values come and go."""
        most = {"name": width * 3 // 10, "value": width * 3 // 10, "words": 9 + max(0, width - NARROW) // 4}
        widths = {}
        for head in cells[0] if cells else ():
            need = max(columns(head), *(columns(row[head]) for row in cells), self._widths.get(head, 0))
            self._widths[head] = need
            widths[head] = min(need, most.get(head, width))
        widths["age"] = max(widths["age"], 6) if "age" in widths else 0
        widths = {head: wide for head, wide in widths.items() if wide}
        widths.pop("trend", None)
        left = width - sum(widths.values()) - GAP * len(widths)
        return {**widths, "trend": left} if left >= LEAST_TREND else widths

    def _state(self, width: int, part: str) -> Text:
        facts = [part, *self.bar.facts] if part else self.bar.facts
        style = "bold white on green" if self.bar.well else "bold white on red"
        return _line(width, (f" {self.bar.state.upper()} ", style), "  ", "  ".join(map(printable, facts)))

    def _told(self, width: int) -> list[Text]:
        """What was told; nothing is an empty line, so that the table does not jump when something is."""
        lines = textwrap.wrap(printable(self.bar.told), width) or [""]
        if len(lines) > MOST_TOLD:
            lines[MOST_TOLD - 1] += " …"
        return [_line(width, (line, "yellow" if self.bar.wrong else "")) for line in lines[:MOST_TOLD]]

    def _prompt(self, width: int) -> Text:
        typed = (printable(self.bar.prompt or ""), "") if self.bar.prompt else (HINT, "dim")
        return _line(width, ("> ", "bold"), typed)


def _line(width: int, *parts: str | tuple[str, str]) -> Text:
    line = Text.assemble(*parts, no_wrap=True, overflow="ellipsis")
    line.truncate(width, overflow="ellipsis")
    return line
