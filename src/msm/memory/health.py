"""How good the cells of a memory are: when they were last read from a device, and what went wrong since."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

Quality: TypeAlias = Literal["good", "stale", "bad", "never"]

# From the best to the worst: a value is as good as the worst of its cells.
_RANKS: tuple[Quality, ...] = ("good", "stale", "never", "bad")
_GOOD, _STALE, _NEVER, _BAD = range(4)
_AGED = bytes.maketrans(bytes([_GOOD]), bytes([_STALE]))


Fresh: TypeAlias = tuple[str, int, int]  # table, address, cells


class Condition(NamedTuple):
    """How good a value is: its quality, when it was last read (seconds since 1970), and the last error."""

    quality: Quality
    at: float | None
    error: str


class Health:
    """Quality, time and error of every cell. Written by the engines, under the image's lock."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = sizes
        self._ranks: dict[str, bytearray] = {}
        self._times: dict[str, array[float]] = {}
        self.errors: dict[tuple[str, int], str] = {}
        self._stamps: dict[Fresh, list[float]] = {}
        self._entered: dict[Fresh, float] = {}
        self.trouble = ""
        """What is wrong with all of it: the link."""

    def stamp(self, read: Fresh) -> list[float]:
        """Where to put the time at which these cells were read, in place of `good()`, while nothing is wrong.

        It is entered when somebody asks: polls come more often than questions. No lock is needed to put it there. The
        clock may have been set back meanwhile.
        """
        return self._stamps.setdefault(read, [0.0])

    def _enter(self) -> None:
        new = sorted(
            (stamp[0], read) for read, stamp in self._stamps.items() if stamp[0] != self._entered.get(read, 0.0)
        )
        for at, read in new:
            self._good(*read, at)
            self._entered[read] = at

    def good(self, table: str, address: int, cells: int, at: float) -> None:
        """These cells were read at that time."""
        self._enter()
        self._good(table, address, cells, at)

    def _good(self, table: str, address: int, cells: int, at: float) -> None:
        self.trouble = ""
        ranks, times = self._of(table)
        ranks[address : address + cells] = bytes(cells)
        times[address : address + cells] = array("d", [at]) * cells
        if self.errors:
            for cell in range(address, address + cells):
                self.errors.pop((table, cell), None)

    def bad(self, table: str, address: int, cells: int, error: str) -> None:
        """The device refuses to give these cells."""
        self._enter()
        ranks, _ = self._of(table)
        ranks[address : address + cells] = bytes([_BAD]) * cells
        for cell in range(address, address + cells):
            self.errors[table, cell] = error

    def stale(self, table: str | None = None, address: int = 0, cells: int | None = None, error: str = "") -> None:
        """Nothing new comes for these cells (by default for all): what was good is stale."""
        self._enter()
        for name in [table] if table else list(self._ranks):
            ranks, _ = self._of(name)
            end = len(ranks) if cells is None else address + cells
            ranks[address:end] = ranks[address:end].translate(_AGED)
            if error and table:
                for cell in range(address, end):
                    self.errors[table, cell] = error
        if not table:
            self.trouble = error

    def of(self, table: str, address: int, cells: int) -> Condition:
        """How good the value in these cells is: as good as the worst of them."""
        self._enter()
        if table not in self._ranks:
            return Condition("never", None, "")
        ranks = self._ranks[table][address : address + cells]
        oldest = min(self._times[table][address : address + cells])
        errors = (self.errors.get((table, cell), "") for cell in range(address, address + cells))
        quality = _RANKS[max(ranks)]
        error = next(filter(None, errors), "" if quality == "good" else self.trouble)
        return Condition(quality, oldest or None, error)

    def _of(self, table: str) -> tuple[bytearray, array[float]]:
        if table not in self._ranks:
            self._ranks[table] = bytearray([_NEVER]) * self._sizes[table]
            self._times[table] = array("d", [0.0]) * self._sizes[table]
        return self._ranks[table], self._times[table]
