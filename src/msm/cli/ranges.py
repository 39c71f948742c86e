"""Which cells of a table can be read: what to ask next, and what the answers mean. No device, and no clock.

`TableScan.steps()` is a generator. It yields what to read, as (address, count), and is sent what became of it::

    scan = TableScan("holding")
    steps = scan.steps()
    asked = next(steps)
    asked = steps.send("good")
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Literal, NamedTuple, TypeAlias

from msm.memory.image import TableName

Outcome: TypeAlias = Literal["good", "refused", "no function", "silent", "gone"]
"""What became of a read. "refused": an exception that is about these cells. "no function": exception 01. "silent": no
answer, but the unit still answers others. "gone": the unit answers no more."""

Steps: TypeAlias = Generator[tuple[int, int], Outcome, None]

MOST: dict[TableName, int] = {"holding": 125, "input": 125, "coil": 2000, "discrete": 2000}
"""Cells in a request (application protocol V1.1b3, sections 6.1 to 6.4)."""
PROBES: dict[TableName, int] = {"holding": 25, "input": 25, "coil": 100, "discrete": 100}
"""In a block that is refused, each so-manieth cell is asked for by itself: is anything there?"""
CELLS = 65536
FIRST = 2000  # cells from 0 that are looked at closely
BASES = sorted({*range(2000, 10000, 1000), *range(0x1000, CELLS, 0x1000), *range(10000, CELLS, 5000), 40001, 50001})
"""Where else the ranges of devices like to begin."""
SILENCES = 8  # unanswered requests after which a table is left alone: each costs a whole time-out
UNKNOWN, READABLE, REFUSED = 0, 1, 2


class Run(NamedTuple):
    """Cells in a row that can be read: `first` to `end`, which is not included."""

    first: int
    end: int

    @property
    def cells(self) -> int:
        return self.end - self.first


class TableScan:
    """What is known of a table of a unit.

    :param table: "holding", "input", "coil" or "discrete".
    :param addresses: all of these are looked at; None looks where devices like to have something.
    """

    def __init__(self, table: TableName, addresses: range | None = None) -> None:
        self.table = table
        self.largest = 0
        """Cells in the largest block that the device has given."""
        self.limited = False
        """Has it refused a larger block, all of whose cells can be read?"""
        self.has_function = True
        self.gave_up = ""
        """Why not all was looked at, if so."""
        self.done = 0.0
        """How much of it is done, from 0 to 1."""
        self._most = MOST[table]
        self._limit = self._most  # cells that are asked for at a time
        self._addresses = addresses
        self._known = bytearray(CELLS)
        self._silent = 0
        self._pairs = False  # does it give single words only with their other half?

    @property
    def runs(self) -> list[Run]:
        """What can be read, in order."""
        runs = []
        at = self._known.find(READABLE)
        while at >= 0:
            end = at
            while end < CELLS and self._known[end] == READABLE:
                end += 1
            runs.append(Run(at, end))
            at = self._known.find(READABLE, end)
        return runs

    def steps(self) -> Steps:
        """What to read, one after the other, until nothing is left to ask."""
        places = list(self._places())
        for number, place in enumerate(places):
            yield from self._region(place)
            self.done = (number + 1) / len(places)
            if self._over:
                return
        if self._addresses is None:
            while not self._over and (more := self._next_to_what_was_found()):
                yield from self._region(more)
        if not self._over:
            yield from self._measure()

    @property
    def _over(self) -> bool:
        return not self.has_function or bool(self.gave_up)

    def _places(self) -> Iterator[range]:
        if self._addresses is not None:
            for first in range(self._addresses.start, self._addresses.stop, self._most):
                yield range(first, min(first + self._most, self._addresses.stop))
            return
        for first in range(0, FIRST, self._most):
            yield range(first, min(first + self._most, FIRST))
        for base in BASES:
            yield range(base, base + 1)

    def _next_to_what_was_found(self) -> range | None:
        """A block that nobody has asked for, in reach of what can be read: behind it first."""
        for run in self.runs:
            behind = self._known.find(UNKNOWN, run.end, run.end + self._most)
            if behind >= 0:
                known = next((at for at in range(behind, behind + self._most) if self._is_known(at)), None)
                return range(behind, behind + self._most if known is None else known)
            before = self._known.rfind(UNKNOWN, max(0, run.first - self._most), run.first)
            if before >= 0:
                known = next((at for at in range(before, before - self._most, -1) if self._is_known(at)), None)
                return range(before - self._most + 1 if known is None else known + 1, before + 1)
        return None

    def _is_known(self, at: int) -> bool:
        return not 0 <= at < CELLS or self._known[at] != UNKNOWN

    # -- one region

    def _region(self, place: range) -> Steps:
        at = place.start
        while at < place.stop and not self._over:
            count = min(self._limit, place.stop - at)
            outcome = yield from self._ask(at, count)
            if outcome != "good" and count > 1 and not self._over:
                there = yield from self._anything_there(at, count)
                if there:
                    yield from self._halves(at, count)
            at += count

    def _ask(self, first: int, count: int) -> Generator[tuple[int, int], Outcome, Outcome]:
        outcome = yield first, count
        if outcome == "good":
            self._known[first : first + count] = bytes([READABLE]) * count
            self.largest = max(self.largest, count)
        elif outcome == "no function":
            self.has_function = False
        elif outcome == "gone":
            self.gave_up = "the unit answers no more"
        elif outcome == "silent":
            self._silent += 1
            if self._silent >= SILENCES:
                self.gave_up = f"{SILENCES} requests were not answered"
        if outcome != "good" and count == 1 and self._known[first] == UNKNOWN:
            self._known[first] = REFUSED
        return outcome

    def _anything_there(self, first: int, count: int) -> Generator[tuple[int, int], Outcome, bool]:
        """Ask for some of these cells, so that an empty block costs few requests."""
        there = False
        for at in range(first, first + count, PROBES[self.table]):
            if not self._over and not self._pairs:
                outcome = yield from self._ask(at, 1)
                there = there or outcome == "good"
            even = at + at % 2
            # Some devices give no half of a value of two words.
            if not self._over and not there and (self._pairs or at == first) and even + 2 <= first + count:
                outcome = yield from self._ask(even, 2)
                there = outcome == "good"
                self._pairs = self._pairs or there
        if not there:
            for at in range(first, first + count):
                self._known[at] = self._known[at] or REFUSED
        return there

    def _halves(self, first: int, count: int) -> Steps:
        """A block that is refused as a whole, although there is something in it."""
        half = count // 2
        if count > 2:
            half += (first + half) % 2  # values of two words begin at even addresses most often: they are not cut
        for at, cells in ((first, half), (first + half, count - half)):
            if self._over or UNKNOWN not in self._known[at : at + cells]:
                continue
            outcome: Outcome = "refused"
            if cells <= self._limit:
                outcome = yield from self._ask(at, cells)
            if outcome != "good" and cells > 1:
                yield from self._halves(at, cells)
        if self._known[first : first + count].count(READABLE) == count and count <= self._limit:
            self._limit = max(half, count - half)
            self.limited = True

    # -- the block size

    def _measure(self) -> Steps:
        """The largest block that the device gives, in the longest run that it has."""
        run = max(self.runs, key=lambda run: run.cells, default=Run(0, 0))
        works, fails = self.largest, min(run.cells, self._most) + 1
        size = fails - 1
        while works < size and not self._over:
            outcome = yield from self._ask(run.first, size)
            if outcome == "good":
                works = size
            else:
                fails = size
                self.limited = True
            size = (works + fails) // 2
        if works == min(run.cells, self._most):
            self.limited = False
