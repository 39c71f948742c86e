"""A scan: asks what is to be asked next until the time is up, shows how far it is, and tells what it has found."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from msm.cli.asking import Asker, asking, together
from msm.cli.draft import UnitFound, draft_text, report
from msm.cli.ranges import MOST, TableScan
from msm.memory.image import TableName
from msm.memory.pieces import TITLES

UNITS_PART = 0.5  # of the time may be spent on finding units
ALIKE = 5  # so many units, and all of them answer: a device that does not look at the unit
ALIASES = (0, 255)  # what devices on a network call themselves besides their unit


@dataclass(frozen=True)
class Wanted:
    """What is to be looked at."""

    units: Sequence[int]
    addresses: range | None
    """None: where devices like to have something."""
    write_checks: bool
    together: bool
    """May several requests be sent together, to see whether that works?"""


@dataclass
class Pace:
    """How long the rest takes: what is done of each kind of work, what is left, and the seconds that were spent."""

    done: dict[str, float] = field(default_factory=dict)
    left: dict[str, float] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)

    def seconds_left(self, at_most: float) -> float:
        """An estimate; `at_most` is what is left until the time is up."""
        rest = sum(
            left * self.spent.get(kind, 0.0) / self.done[kind]
            for kind, left in self.left.items()
            if self.done.get(kind)
        )
        return max(0.0, min(rest, at_most))


def worth_scanning(asked: Sequence[int], there: Sequence[int]) -> tuple[list[int], str]:
    """Which of the units that answer are worth a look, and a remark on the others."""
    own = [unit for unit in there if unit not in ALIASES] or list(there[:1])
    if len(asked) >= ALIKE and len(there) == len(asked):
        return own[:1], f"all units answer: the device does not look at the unit, so only unit {own[0]} is looked at"
    others = [unit for unit in there if unit not in own]
    remark = f"an answer from {units_text(others)} as well: most often that is the device itself" if others else ""
    return own, remark


def units_text(units: Sequence[int]) -> str:
    """Units for people, e.g. "units 2-16, 247"."""
    runs: list[list[int]] = []
    for unit in sorted(units):
        if runs and runs[-1][1] == unit - 1:
            runs[-1][1] = unit
        else:
            runs.append([unit, unit])
    listed = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
    return f"unit{'s' * (len(units) != 1)} {listed}"


class Scan:
    """Looks at what is behind an endpoint."""

    def __init__(self, endpoint: str, wanted: Wanted, timeout: float, pause: float) -> None:
        self.found: list[UnitFound] = []
        self.interrupted = False
        """Has the person at the keyboard had enough?"""
        self._endpoint = endpoint
        self._wanted = wanted
        self._timeout = timeout
        self._pause = pause
        self._remarks: list[str] = []
        self._pace = Pace()
        self._end = 0.0
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description:32}"), BarColumn(None), TextColumn("{task.fields[left]:.0f} s left"),
            console=console, transient=True, disable=not console.is_terminal, expand=True,
        )  # fmt: skip
        self._bar = self._progress.add_task("connecting", total=None, left=0.0)

    def run(self, end: float) -> None:
        """Look, until all is seen or this moment of `time.monotonic()` has come.

        :raises ConnectError: nobody there.
        """
        self._end = end
        try:
            with self._progress:
                with asking(self._endpoint, self._timeout, self._pause) as asker:
                    self._scan(asker)
                self._try_together()
        except KeyboardInterrupt:
            self.interrupted = True
            self._remarks.append("interrupted: not all was looked at")

    def _scan(self, asker: Asker) -> None:
        began = time.monotonic()
        units_end = began + UNITS_PART * (self._end - began)
        there: list[int] = []
        asked = 0
        self._pace.left["unit"] = len(self._wanted.units)
        for unit in self._wanted.units:
            if time.monotonic() >= units_end:
                break
            if asker.is_there(unit):
                there.append(unit)
            asked += 1
            self._step("unit", asked, len(self._wanted.units) - asked, began, f"unit {unit}")
        silent = [unit for unit in self._wanted.units[:asked] if unit not in there]
        if silent:
            self._remarks.append(f"no answer from {units_text(silent)}")
        if self._wanted.units[asked:]:
            self._remarks.append(f"the time was up before {units_text(self._wanted.units[asked:])} could be asked")
        units, remark = worth_scanning(self._wanted.units, there)
        self._remarks += [remark] if remark else []
        self.found = [UnitFound(unit) for unit in units]
        began = time.monotonic()
        for number, found in enumerate(self.found):
            found.identification = asker.identification(found.unit)
            for at, table in enumerate(MOST):
                self._look_at(asker, found, table, began, len(MOST) * number + at)
            if self._wanted.write_checks:
                _check_writes(asker, found)

    def _look_at(self, asker: Asker, found: UnitFound, table: TableName, began: float, before: int) -> None:
        scan = found.tables[table] = TableScan(table, self._wanted.addresses)
        steps = scan.steps()
        tables = len(MOST) * len(self.found)
        asked = next(steps)
        while time.monotonic() < self._end:
            doing = f"unit {found.unit}, {TITLES[table].lower()} {asked[0]}"
            self._step("table", before + scan.done, tables - before - scan.done, began, doing)
            try:
                asked = steps.send(asker.read(found.unit, table, *asked))
            except StopIteration:
                return

    def _step(self, kind: str, done: float, left: float, began: float, doing: str) -> None:
        now = time.monotonic()
        self._pace.done[kind], self._pace.left[kind], self._pace.spent[kind] = done, left, now - began
        rest = self._pace.seconds_left(self._end - now)
        spent = sum(self._pace.spent.values())
        self._progress.update(self._bar, description=doing, completed=spent, total=spent + rest, left=rest)

    def _try_together(self) -> None:
        for found in self.found:
            place = found.first("holding", "input", "coil", "discrete")
            if not self._wanted.together:
                found.pipelining = "not tried: a line carries one request at a time"
            elif place is not None and time.monotonic() < self._end:
                found.pipelining = asyncio.run(together(self._endpoint, self._timeout, found.unit, *place))

    # -- what was found

    def tell(self, output: Path | None) -> None:
        """Write the drafts and print the report. A draft without a file is printed, and the report goes to stderr."""
        to = sys.stderr if output is None else sys.stdout
        print(self._endpoint, file=to)
        for found in self.found:
            print("\n".join(report(found)), file=to)
        for remark in self._remarks:
            print(remark, file=to)
        for number, found in enumerate(self.found):
            if output is None:
                if number == 0:
                    print(draft_text(found, ".toml", self._endpoint), end="")
                continue
            file = output if number == 0 else output.with_stem(f"{output.stem}-unit{found.unit}")
            file.write_text(draft_text(found, output.suffix, self._endpoint), "utf-8")
            print(f"unit {found.unit}: a draft of its map is in {file}", file=to)
        if output is None and len(self.found) > 1:
            print(f"this is the map of unit {self.found[0].unit}: -o FILE writes one for each", file=to)


def _check_writes(asker: Asker, found: UnitFound) -> None:
    place = found.first("holding")
    if place is None:
        found.mask_write = found.read_write = "not tried: no holding register can be read"
    else:
        found.mask_write = asker.mask_write(found.unit, place[1])
        found.read_write = asker.read_write(found.unit, place[1])
