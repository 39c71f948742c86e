"""What became of every assignment.

An entry is one assignment. Each bit belongs to the newest entry that assigned it; an entry that loses its last
bit to newer ones is superseded. Entries keep the order of their assignment, since parameters are
assigned before the start bit that uses them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, TypeAlias

Fate: TypeAlias = Literal["acknowledged", "superseded", "rejected", "expired", "unknown"]
FATES: tuple[Fate, ...] = ("acknowledged", "superseded", "rejected", "expired", "unknown")
FAILED: tuple[Fate, ...] = ("rejected", "expired", "unknown")

MAX_FAILURES = 1000  # kept for the next flush(); the totals count all of them

Bits: TypeAlias = dict[int, int]  # address -> which bits of that cell


class Entry:
    """An assignment without a fate: which of its bits wait to be sent, and which are sent and not answered."""

    __slots__ = ("name", "sent", "sequence", "table", "waiting")

    def __init__(self, sequence: int, table: str, name: str, waiting: Bits) -> None:
        self.sequence = sequence
        self.table = table
        self.name = name
        self.waiting = waiting
        self.sent: Bits = {}

    @property
    def reach(self) -> tuple[int, int]:
        """The lowest address that waits, and one beyond the highest."""
        return min(self.waiting), max(self.waiting) + 1

    def __repr__(self) -> str:
        return f"<Entry {self.sequence} {self.name}: {self.table}, waiting {self.waiting}, sent {self.sent}>"


Shipment: TypeAlias = list[tuple[Entry, Bits]]  # what one request carries, and for whom


class Ledger:
    """Counts the fates of all assignments, and holds those that have none yet.

    At any time `total` is the sum of `acknowledged`, `superseded`, `rejected`, `expired`, `unknown` and
    `pending`.
    """

    def __init__(self) -> None:
        self.acknowledged = 0
        self.superseded = 0
        self.rejected = 0
        self.expired = 0
        self.unknown = 0
        self._open: dict[int, Entry] = {}
        self._waiting: dict[int, Entry] = {}
        self._owners: dict[tuple[str, int], list[Entry]] = {}
        self._sequence = 0
        self._failures: list[tuple[int, str, str]] = []

    @property
    def pending(self) -> int:
        """Assignments that have no fate yet: not sent, or sent and not answered."""
        return len(self._open)

    @property
    def total(self) -> int:
        """All assignments since this ledger was opened."""
        return self.acknowledged + self.superseded + self.rejected + self.expired + self.unknown + self.pending

    # -- what is assigned, and what of it waits

    def assign(self, table: str, address: int, count: int, width: int, mask: int, name: str, times: int = 1) -> None:
        """Enter `times` assignments in a row of the same bits: `mask` over `count` cells of `width` bits."""
        bits = dict(split(address, count, width, mask))
        self._sequence += times
        for at, part in bits.items():
            self._take_over(table, at, part)
        entry = Entry(self._sequence, table, name, bits)
        self._open[entry.sequence] = self._waiting[entry.sequence] = entry
        for at in bits:
            self._owners.setdefault((table, at), []).append(entry)
        self.superseded += times - 1

    def waiting(self) -> Iterable[Entry]:
        """The entries of which something is still to be sent, oldest first."""
        return self._waiting.values()

    def waiting_in(self, table: str, first: int, end: int) -> list[Entry]:
        """Those of them that have something to send in these cells."""
        found = {
            entry.sequence: entry
            for at in range(first, end)
            for entry in self._owners.get((table, at), ())
            if at in entry.waiting
        }
        return [found[sequence] for sequence in sorted(found)]

    def waiting_bits(self, table: str, address: int) -> int:
        """The bits of a cell that are still to be sent."""
        bits = 0
        for entry in self._owners.get((table, address), ()):
            bits |= entry.waiting.get(address, 0)
        return bits

    def keep(self, table: str, address: int, count: int, width: int) -> int:
        """The bits of a block that have no fate yet, as an integer over its cells: not the device's to change."""
        if not self._owners:
            return 0
        cells = range(address, address + count)
        if len(self._owners) < count:
            owned = [at for name, at in self._owners if name == table and at in cells]
        else:
            owned = [at for at in cells if (table, at) in self._owners]
        mask = 0
        for at in owned:
            bits = 0
            for entry in self._owners[table, at]:
                bits |= entry.waiting.get(at, 0) | entry.sent.get(at, 0)
            mask |= bits << (width * (address + count - 1 - at) if width > 1 else at - address)
        return mask

    # -- on the way to the device and back

    def ship(self, table: str, first: int, end: int, mask: int = -1) -> Shipment:
        """What waits in these cells is on its way to the device: all of it, or the bits `mask` of each cell."""
        shipment: Shipment = []
        for entry in self.waiting_in(table, first, end):
            bits = {at: part for at in range(first, end) if (part := entry.waiting.get(at, 0) & mask)}
            if not bits:
                continue
            _remove(entry.waiting, bits)
            _add(entry.sent, bits)
            shipment.append((entry, bits))
            if not entry.waiting:
                del self._waiting[entry.sequence]
        return shipment

    def take_back(self, shipment: Shipment) -> None:
        """This did not reach the device: it is to be sent again in its old place, unless it was assigned anew."""
        for entry, bits in shipment:
            if entry.sequence not in self._open:
                continue
            _remove(entry.sent, bits)
            for at, part in bits.items():
                newer = 0
                for owner in self._owners[entry.table, at]:
                    if owner.sequence > entry.sequence:
                        newer |= owner.waiting.get(at, 0) | owner.sent.get(at, 0)
                if part & ~newer:
                    _add(entry.waiting, {at: part & ~newer})
            if entry.waiting:
                self._waiting[entry.sequence] = entry
                self._waiting = dict(sorted(self._waiting.items()))
            self._close_if_done(entry, "superseded", bits)

    def settle(self, shipment: Shipment, fate: Fate, cause: str = "") -> None:
        """The device answered, or did not. A failed entry is told to the next `flush()`."""
        for entry, bits in shipment:
            if entry.sequence not in self._open:
                continue
            _remove(entry.sent, bits)
            if fate in FAILED:
                # One fate for an assignment: of one that was too long for a request, the rest is not sent.
                rest = [*entry.waiting, *entry.sent]
                entry.waiting.clear()
                entry.sent.clear()
                self._waiting.pop(entry.sequence, None)
                self._failures.append((entry.sequence, entry.name, f"{fate}, {cause}" if cause else fate))
                del self._failures[:-MAX_FAILURES]
                self._close_if_done(entry, fate, {*bits, *rest})
            else:
                self._close_if_done(entry, fate, bits)

    # -- waiting for fates

    def mark(self) -> int:
        """A point in the order of assignments: behind all that were entered until now."""
        return self._sequence

    def settled(self, mark: int) -> bool:
        """Has everything that was entered before the mark met its fate?"""
        return next(iter(self._open), mark + 1) > mark

    def failures(self, mark: int) -> list[tuple[str, str]]:
        """What did not arrive of all that was entered before the mark: (name, cause), each told once."""
        told = [(name, cause) for sequence, name, cause in self._failures if sequence <= mark]
        self._failures = [failure for failure in self._failures if failure[0] > mark]
        return told

    # -- inside

    def _take_over(self, table: str, address: int, bits: int) -> None:
        for older in list(self._owners.get((table, address), ())):
            if older.waiting.get(address, 0) & bits:
                _remove(older.waiting, {address: bits})
                if not older.waiting:
                    del self._waiting[older.sequence]
                self._close_if_done(older, "superseded", {address: bits})

    def _close_if_done(self, entry: Entry, fate: Fate, touched: Iterable[int]) -> None:
        for at in touched:
            if at not in entry.waiting and at not in entry.sent:
                owners = self._owners[entry.table, at]
                owners.remove(entry)
                if not owners:
                    del self._owners[entry.table, at]
        if not entry.waiting and not entry.sent:
            del self._open[entry.sequence]
            setattr(self, fate, getattr(self, fate) + 1)

    def __repr__(self) -> str:
        counts = ", ".join(f"{fate} {getattr(self, fate)}" for fate in (*FATES, "pending", "total"))
        return f"<Ledger: {counts}>"


def split(address: int, count: int, width: int, mask: int) -> Iterator[tuple[int, int]]:
    """The cells of a span that have bits in its mask: (address, bits)."""
    cell = (1 << width) - 1
    for at in range(count):
        bits = mask >> (width * (count - 1 - at) if width > 1 else at) & cell
        if bits:
            yield address + at, bits


def _add(bits: Bits, more: Mapping[int, int]) -> None:
    for at, part in more.items():
        bits[at] = bits.get(at, 0) | part


def _remove(bits: Bits, less: Mapping[int, int]) -> None:
    for at, part in less.items():
        left = bits.get(at, 0) & ~part
        if left:
            bits[at] = left
        else:
            bits.pop(at, None)
