"""Putting together what the device says and what the application assigned, bit by bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

Order: TypeAlias = Literal["little", "big"]


class Clash(NamedTuple):
    """The device changed bits while an assignment of them was waiting to be sent.

    `base` is what the device said before, `mine` what was assigned, `theirs` what the device says now: integers over
    `cells` cells from `address`. `winner` is "mine" or "device".
    """

    name: str
    table: str
    address: int
    cells: int
    base: int
    mine: int
    theirs: int
    winner: str


def merge(ours: bytes, theirs: bytes, keep: int, order: Order = "big") -> bytes:
    """The cells as they shall be: `theirs`, but for the bits in `keep`, which stay `ours`.

    :param ours: the cells in the memory, as they travel.
    :param theirs: the same cells as the device sent them.
    :param keep: the bits that are assigned and not yet settled, as an integer over the cells.
    :param order: "big" for words, whose first one is the most significant; "little" for packed bits.
    """
    if not keep or ours == theirs:
        return theirs
    mine = int.from_bytes(ours, order)
    merged = mine ^ (mine ^ int.from_bytes(theirs, order)) & ~keep
    return merged.to_bytes(len(ours), order)


def clashing(base: int, known: int, mine: int, theirs: int, waiting: int) -> bool:
    """Has the device changed what was assigned, to another value?

    It is the whole of the assignment that clashes, not bit by bit: from 0, to 6 there and to 7 here, is a conflict,
    although no bit was changed to two different values.

    :param base: what the device said last; `known` says of which bits it said anything.
    :param waiting: the bits that are assigned and still to be sent.
    """
    return bool((base ^ theirs) & known & waiting and (mine ^ theirs) & waiting)


class Known:
    """What the device said last, of every bit of every table."""

    def __init__(self, sizes: Mapping[str, int], widths: Mapping[str, int]) -> None:
        self._widths = widths
        self._words = {table: bytearray(2 * size) for table, size in sizes.items() if widths[table] == 16}
        self._heard = {table: bytearray(2 * size) for table, size in sizes.items() if widths[table] == 16}
        self._places: dict[tuple[str, int, int], list[bytes | bytearray]] = {}
        self._new = False
        self._bits = {table: [0, 0] for table in sizes if widths[table] == 1}

    def hear(self, table: str, address: int, cells: int, raw: bytes) -> None:
        """The device said this."""
        self.enter()
        if self._widths[table] == 16:
            self._words[table][2 * address : 2 * (address + cells)] = raw
            self._heard[table][2 * address : 2 * (address + cells)] = b"\xff" * (2 * cells)
        else:
            self.learn(table, address, cells, int.from_bytes(raw, "little"), (1 << cells) - 1)

    def place(self, table: str, address: int, cells: int) -> list[bytes | bytearray] | None:
        """Where to put what the device says of these words, in place of `hear()`; before `entered()` it is not known.

        :returns: None where it has not yet said all of it, or where it is no words.
        """
        if self._widths[table] != 16:
            return None
        first, end = 2 * address, 2 * (address + cells)
        heard = self._heard[table][first:end]
        if heard.count(0xFF) != len(heard):
            return None
        return self._places.setdefault((table, first, end), [b""])

    def entered(self) -> None:
        """Something was put into places. It is looked at when it is needed: mostly it is put there again before."""
        self._new = True

    def enter(self) -> None:
        """Enter what was put into places. Necessary before other places are used, which may overlap with these."""
        if self._new:
            self._new = False
            for (table, first, end), said in self._places.items():
                if said[0]:
                    self._words[table][first:end] = said[0]
                    said[0] = b""

    def forget_places(self) -> None:
        """Other blocks are read from now on."""
        self.enter()
        self._places.clear()

    def learn(self, table: str, address: int, cells: int, value: int, mask: int) -> None:
        """The device has these bits now: it acknowledged them."""
        self.enter()
        if self._widths[table] == 1:
            bits = self._bits[table]
            bits[0] = bits[0] & ~(mask << address) | (value & mask) << address
            bits[1] |= mask << address
            return
        place = slice(2 * address, 2 * (address + cells))
        old = int.from_bytes(self._words[table][place], "big")
        heard = int.from_bytes(self._heard[table][place], "big")
        self._words[table][place] = (old & ~mask | value & mask).to_bytes(2 * cells, "big")
        self._heard[table][place] = (heard | mask).to_bytes(2 * cells, "big")

    def recall(self, table: str, address: int, cells: int) -> tuple[int, int]:
        """What it said last, and of which bits it ever said anything: integers over the cells."""
        self.enter()
        if self._widths[table] == 1:
            whole = (1 << cells) - 1
            value, heard = self._bits[table]
            return value >> address & whole, heard >> address & whole
        place = slice(2 * address, 2 * (address + cells))
        return int.from_bytes(self._words[table][place], "big"), int.from_bytes(self._heard[table][place], "big")
