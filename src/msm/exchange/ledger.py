"""What became of every assignment.

An entry is one assignment. Each bit belongs to the newest entry that assigned it; an entry that loses its last
bit to newer ones is superseded. Entries keep the order of their assignment, since parameters are
assigned before the start bit that uses them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

Fate: TypeAlias = Literal["acknowledged", "superseded", "rejected", "expired", "unknown"]
FATES: tuple[Fate, ...] = ("acknowledged", "superseded", "rejected", "expired", "unknown")
FAILED: tuple[Fate, ...] = ("rejected", "expired", "unknown")

MAX_FAILURES = 1000  # kept for the next flush(); the totals count all of them

Done: TypeAlias = Callable[[str, str, int], None]  # fate, cause, and the exception code of the device or 0
Bits: TypeAlias = dict[int, int]  # address -> which bits of that cell


class Entry:
    """An assignment without a fate: which of its bits wait to be sent, and which are sent and not answered."""

    __slots__ = ("counted", "done", "expires", "name", "sent", "sequence", "table", "values", "waiting")

    def __init__(self, sequence: int, table: str, name: str, waiting: Bits) -> None:
        self.sequence = sequence
        self.table = table
        self.name = name
        self.waiting = waiting
        self.sent: Bits = {}
        self.values: Bits | None = None
        """Of a command: the value of each cell. All else is sent with the value that the memory has by then."""
        self.expires = math.inf
        """When it is too late to send it."""
        self.done: Done | None = None
        """Somebody who waits for its fate."""
        self.counted = True
        """False for what is sent again by itself: a heartbeat is nobody's assignment."""

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
        self.open: dict[int, Entry] = {}
        """The entries without a fate, by the order of their assignment; heartbeats too."""
        self._waiting: dict[int, Entry] = {}
        self._owners: dict[tuple[str, int], list[Entry]] = {}
        self._sequence = 0
        self._uncounted = 0
        self._commands: dict[int, Entry] = {}
        self._failures: list[tuple[int, str, str]] = []
        self.ended: list[tuple[str, Bits]] = []
        """The bits that met a fate, (table, address -> bits), until somebody takes note and clears it."""

    @property
    def pending(self) -> int:
        """Assignments that have no fate yet: not sent, or sent and not answered."""
        return len(self.open) - self._uncounted

    @property
    def total(self) -> int:
        """All assignments since this ledger was opened."""
        return self.acknowledged + self.superseded + self.rejected + self.expired + self.unknown + self.pending

    # -- what is assigned, and what of it waits

    def assign(self, table: str, address: int, count: int, width: int, mask: int, name: str, times: int = 1) -> None:
        """Enter `times` assignments in a row of the same bits: `mask` over `count` cells of `width` bits."""
        self._sequence += times
        bits = {address: mask} if count == 1 else dict(split(address, count, width, mask))
        self._enter(Entry(self._sequence, table, name, bits))
        self.superseded += times - 1

    def repeat(self, table: str, address: int, count: int, width: int, mask: int, name: str) -> None:
        """Send these bits again, as a heartbeat does; unless an assignment of them is on its way anyway."""
        bits = dict(split(address, count, width, mask))
        if not any((table, at) in self._owners for at in bits):
            self._sequence += 1
            entry = Entry(self._sequence, table, name, bits)
            entry.counted = False
            self._uncounted += 1
            self._enter(entry)

    def command(
        self,
        table: str,
        address: int,
        count: int,
        width: int,
        mask: int,
        name: str,
        value: int,
        expires: float,
        done: Done | None = None,
    ) -> None:
        """Enter an assignment that is sent by itself with this value, in its turn, and not after `expires`."""
        self._sequence += 1
        entry = Entry(self._sequence, table, name, dict(split(address, count, width, mask)))
        entry.values = {at: cell_of(address, count, width, value, at) for at in entry.waiting}
        entry.expires = expires
        entry.done = done
        self._commands[entry.sequence] = entry
        self._enter(entry)

    def _enter(self, entry: Entry) -> None:
        for at, part in entry.waiting.items():
            self._take_over(entry.table, at, part)
        self.open[entry.sequence] = self._waiting[entry.sequence] = entry
        for at in entry.waiting:
            self._owners.setdefault((entry.table, at), []).append(entry)

    def expire(self, now: float) -> None:
        """Commands whose time is over are not sent any more."""
        if not self._commands:
            return
        for entry in [entry for entry in self._commands.values() if entry.expires <= now]:
            if entry.waiting and not entry.sent:
                self._drop(entry, "expired", "it could not be sent in time")

    def abandon(self, cause: str) -> None:
        """Nothing is sent any more. A command is not left for a later client, which would send it late."""
        for entry in [entry for entry in self._commands.values() if entry.waiting]:
            self._drop(entry, "expired", cause)

    def next_expiry(self) -> float:
        """When the next command expires."""
        if not self._commands:
            return math.inf
        return min(
            (entry.expires for entry in self._commands.values() if entry.waiting and not entry.sent), default=math.inf
        )

    def give_way(self, entry: Entry) -> None:
        """The device has changed the same bits, and its value wins."""
        self._drop(entry, "superseded", "")

    def _drop(self, entry: Entry, fate: Fate, cause: str) -> None:
        cells = list(entry.waiting)
        self.ended.append((entry.table, dict(entry.waiting)))
        entry.waiting.clear()
        self._waiting.pop(entry.sequence, None)
        if fate in FAILED:
            self._fail(entry, fate, cause)
        self._close_if_done(entry, fate, cells, cause)

    def waiting(self) -> Iterable[Entry]:
        """The entries of which something is still to be sent, oldest first."""
        return self._waiting.values()

    def waiting_in(self, table: str, first: int, end: int) -> list[Entry]:
        """Those of them that have something to send in these cells; not commands, which travel by themselves."""
        if len(self._waiting) == 1:
            (entry,) = self._waiting.values()
            if entry.table == table and entry.values is None:
                for at in entry.waiting:
                    if first <= at < end:
                        return [entry]
            return []
        found = {
            entry.sequence: entry
            for at in range(first, end)
            for entry in self._owners.get((table, at), ())
            if at in entry.waiting and entry.values is None
        }
        return [found[sequence] for sequence in sorted(found)]

    def waiting_bits(self, table: str, address: int) -> int:
        """The bits of a cell that are still to be sent."""
        bits = 0
        for entry in self._owners.get((table, address), ()):
            if entry.values is None:
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
            shipment.append(self._load(entry, bits))
        return shipment

    def ship_command(self, entry: Entry, limit: int) -> Shipment:
        """A command is on its way, or the first `limit` cells of it."""
        return [self._load(entry, {at: entry.waiting[at] for at in sorted(entry.waiting)[:limit]})]

    def _load(self, entry: Entry, bits: Bits) -> tuple[Entry, Bits]:
        _remove(entry.waiting, bits)
        _add(entry.sent, bits)
        if not entry.waiting:
            del self._waiting[entry.sequence]
        return entry, bits

    def take_back(self, shipment: Shipment) -> None:
        """This did not reach the device: it is to be sent again in its old place, unless it was assigned anew."""
        for entry, bits in shipment:
            if entry.sequence not in self.open:
                continue
            _remove(entry.sent, bits)
            for at, part in bits.items():
                newer = 0
                for owner in self._owners[entry.table, at]:
                    if owner.sequence > entry.sequence and entry.values is None:
                        newer |= owner.waiting.get(at, 0) | owner.sent.get(at, 0)
                if part & ~newer:
                    _add(entry.waiting, {at: part & ~newer})
            if entry.waiting:
                self._waiting[entry.sequence] = entry
                self._waiting = dict(sorted(self._waiting.items()))
            self._close_if_done(entry, "superseded", bits)

    def settle(self, shipment: Shipment, fate: Fate, cause: str = "", code: int = 0) -> None:
        """The device answered, or did not. A failed entry is told to the next `flush()`."""
        for entry, bits in shipment:
            if entry.sequence not in self.open:
                continue
            _remove(entry.sent, bits)
            self.ended.append((entry.table, bits))
            if fate in FAILED:
                # One fate for an assignment: of one that was too long for a request, the rest is not sent.
                self.ended += [(entry.table, dict(entry.waiting)), (entry.table, dict(entry.sent))]
                rest = [*entry.waiting, *entry.sent]
                entry.waiting.clear()
                entry.sent.clear()
                self._waiting.pop(entry.sequence, None)
                self._fail(entry, fate, cause)
                self._close_if_done(entry, fate, {*bits, *rest}, cause, code)
            else:
                self._close_if_done(entry, fate, bits)

    # -- waiting for fates

    def mark(self) -> int:
        """A point in the order of assignments: behind all that were entered until now."""
        return self._sequence

    def settled(self, mark: int) -> bool:
        """Has everything that was entered before the mark met its fate?"""
        return next(iter(self.open), mark + 1) > mark

    def failures(self, mark: int) -> list[tuple[str, str]]:
        """What did not arrive of all that was entered before the mark: (name, cause), each told once."""
        told = [(name, cause) for sequence, name, cause in self._failures if sequence <= mark]
        self._failures = [failure for failure in self._failures if failure[0] > mark]
        return told

    # -- inside

    def _take_over(self, table: str, address: int, bits: int) -> None:
        for older in list(self._owners.get((table, address), ())):
            if older.values is None and older.waiting.get(address, 0) & bits:
                _remove(older.waiting, {address: bits})
                if not older.waiting:
                    del self._waiting[older.sequence]
                self._close_if_done(older, "superseded", {address: bits})

    def _close_if_done(self, entry: Entry, fate: Fate, touched: Iterable[int], cause: str = "", code: int = 0) -> None:
        for at in touched:
            if at not in entry.waiting and at not in entry.sent:
                owners = self._owners[entry.table, at]
                owners.remove(entry)
                if not owners:
                    del self._owners[entry.table, at]
        if not entry.waiting and not entry.sent:
            del self.open[entry.sequence]
            self._commands.pop(entry.sequence, None)
            if entry.counted:
                setattr(self, fate, getattr(self, fate) + 1)
            else:
                self._uncounted -= 1
            if entry.done is not None:
                entry.done(fate, cause, code)  # when it is counted: whoever hears of it may look at the totals

    def _fail(self, entry: Entry, fate: Fate, cause: str) -> None:
        if entry.counted:
            self._failures.append((entry.sequence, entry.name, f"{fate}, {cause}" if cause else fate))
            del self._failures[:-MAX_FAILURES]

    def __repr__(self) -> str:
        return _told(self, "Ledger")


class Totals:
    """The fates of several ledgers, added up."""

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        for name in (*FATES, "pending", "total"):
            setattr(self, name, sum(getattr(ledger, name) for ledger in ledgers))

    acknowledged: int
    superseded: int
    rejected: int
    expired: int
    unknown: int
    pending: int
    total: int

    def __repr__(self) -> str:
        return _told(self, "Totals")


def _told(counts: Ledger | Totals, name: str) -> str:
    return f"<{name}: " + ", ".join(f"{fate} {getattr(counts, fate)}" for fate in (*FATES, "pending", "total")) + ">"


def split(address: int, count: int, width: int, mask: int) -> Iterator[tuple[int, int]]:
    """The cells of a span that have bits in its mask: (address, bits)."""
    for at in range(count):
        bits = cell_of(address, count, width, mask, address + at)
        if bits:
            yield address + at, bits


def cell_of(address: int, count: int, width: int, value: int, at: int) -> int:
    """The part of a value over `count` cells that lies in the cell `at`."""
    return value >> (width * (address + count - 1 - at) if width > 1 else at - address) & (1 << width) - 1


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
