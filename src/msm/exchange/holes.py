"""Addresses that a device does not have: found, left out, and asked for again now and then."""

from __future__ import annotations

import math
from dataclasses import dataclass

FIRST_PROBE = 30.0  # seconds until a hole is asked for again; twice as long after each refusal
LAST_PROBE = 600.0


@dataclass(slots=True)
class Hole:
    """Cells that the device refuses to read."""

    table: str
    address: int
    cells: int
    cause: str
    pause: float
    due: float


class Holes:
    """What cannot be read, and where blocks are cut to find it."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, int], Hole] = {}
        """By table and address."""
        self._cuts: dict[str, set[int]] = {}

    def add(self, table: str, address: int, cells: int, cause: str, now: float) -> None:
        """These cells are refused, and there is nothing smaller to ask for."""
        self.found[table, address] = Hole(table, address, cells, cause, FIRST_PROBE, now + FIRST_PROBE)

    def cut(self, table: str, address: int) -> None:
        """A block that is refused is asked for in two parts."""
        self._cuts.setdefault(table, set()).add(address)

    def refused_again(self, table: str, address: int, cells: int, now: float, cut: int | None = None) -> None:
        """A hole was asked for and is still one; or a part of it, where there is a place to cut it in two."""
        hole = self.found.get((table, address))
        if hole is None or hole.cells != cells:
            return
        if cut is None:
            hole.pause = min(2 * hole.pause, LAST_PROBE)
            hole.due = now + hole.pause
            return
        for first, end in ((address, cut), (cut, address + cells)):
            self.add(table, first, end - first, hole.cause, now)
            self.found[table, first].due = now
        self.cut(table, cut)

    def heal(self, table: str, address: int, cells: int) -> bool:
        """These cells were read. Returns whether that fills a hole."""
        if not self.found:
            return False
        healed = [
            key
            for key, hole in self.found.items()
            if key[0] == table and address <= hole.address and hole.address + hole.cells <= address + cells
        ]
        for key in healed:
            del self.found[key]
        if healed and not any(hole.table == table for hole in self.found.values()):
            self._cuts.pop(table, None)
        return bool(healed)

    def probe(self, now: float) -> tuple[str, int, int] | None:
        """A hole whose time to be asked for has come."""
        for hole in self.found.values():
            if hole.due <= now:
                hole.due = now + hole.pause
                return hole.table, hole.address, hole.cells
        return None

    def next_probe(self) -> float:
        """When `probe()` has something."""
        if not self.found:
            return math.inf
        return min((hole.due for hole in self.found.values()), default=math.inf)

    def cells(self, table: str) -> frozenset[int]:
        """The cells of a table that are left out."""
        return frozenset(
            at
            for hole in self.found.values()
            if hole.table == table
            for at in range(hole.address, hole.address + hole.cells)
        )

    def cuts(self, table: str) -> frozenset[int]:
        """The addresses of a table where blocks begin anew."""
        return frozenset(self._cuts.get(table, ()))

    def known(self) -> list[Hole]:
        """All holes, in the order of their addresses."""
        return sorted(self.found.values(), key=lambda hole: (hole.table, hole.address))
