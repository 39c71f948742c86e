"""The four tables of a Modbus device as bytes, behind one lock.

All tables lie in one buffer. Words are kept as they travel, high byte first; coils and discrete inputs are
packed eight to a byte, the first one in the lowest bit (application protocol V1.1b3, section 6.1). So a reply
is a slice of the image, and a request is stored as it came.

Readers take no lock: one slice of a bytearray is one step of the interpreter. Writers hold the lock and change
the buffer by one slice assignment, so no reader ever sees half of a write.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias

from msm.errors import AddressError, DeclarationError, StaleError
from msm.memory.atomic import Assignment, Transaction, put
from msm.memory.health import Fresh, Health
from msm.memory.journal import Backlog, Done, Journal, Region, Span

TableName: TypeAlias = Literal["holding", "input", "coil", "discrete"]

OnStale: TypeAlias = Literal["hold", "raise", "zero"]
Origin: TypeAlias = Literal["local", "remote", "device"]

TABLE_NAMES: tuple[TableName, ...] = ("holding", "input", "coil", "discrete")
WORD_TABLES: tuple[TableName, ...] = ("holding", "input")
NOTHING = bytearray()  # is protected
MAX_CELLS = 65536  # an address has 16 bits (application protocol V1.1b3, section 4.4)


class Table(NamedTuple):
    """One of the four tables: `size` cells of `width` bits, from byte `offset` of the image's buffer."""

    name: TableName
    size: int
    width: int
    offset: int

    def check(self, address: object, count: int = 1) -> int:
        """The address, if the table has `count` cells from there.

        :raises AddressError: it has not; the message names what was asked and what there is.
        """
        if isinstance(address, bool) or not isinstance(address, int):
            raise AddressError(f"address {address!r} is not an int")
        if not 0 <= address <= address + count <= self.size:
            asked = f"address {address}" if count == 1 else f"addresses {address} to {address + count - 1}"
            there = f"{self.cells} 0 to {self.size - 1}" if self.size else f"no {self.cells}"
            raise AddressError(f"{asked} of the {self.name} table: outside the memory, it has {there}")
        return address

    @property
    def cells(self) -> str:
        """What its cells are called."""
        return "words" if self.width == 16 else "bits"


class Place(NamedTuple):
    """What a watcher watches: bits of the buffer, and by what name it knows them."""

    name: str
    start: int
    end: int
    bits: int


class Watcher(Protocol):
    """Somebody who is told of changes. `note()` is called under the lock, `ring()` after it was let go."""

    places: tuple[Place, ...]

    @property
    def held(self) -> bool:
        """Is there still somebody who wants to know?"""

    def note(self, place: Place, before: bytes, after: bytes, origin: Origin, at: float) -> None:
        """A place has changed."""

    def ring(self) -> None:
        """There may be something to tell."""


class Image:
    """The memory itself: bytes, a lock, and the journals of what was assigned."""

    __slots__ = (
        "_protected",
        "_watchers",
        "backlog",
        "buffer",
        "concerned",
        "exclusive",
        "health",
        "heeded",
        "journals",
        "lock",
        "on_stale",
        "protection",
        "special",
        "tables",
        "transactions",
    )

    def __init__(self, holding: int, input_registers: int, coils: int, discrete_inputs: int) -> None:
        self.tables: dict[str, Table] = {}
        offset = 0
        for name, size in zip(TABLE_NAMES, (holding, input_registers, coils, discrete_inputs), strict=True):
            if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_CELLS:
                raise DeclarationError(f"size {size!r} of the {name} table is not a number from 0 to {MAX_CELLS}")
            width = 16 if name in WORD_TABLES else 1
            self.tables[name] = Table(name, size, width, offset)
            offset += (size * width + 7) // 8
        self.buffer = bytearray(offset)
        self.lock = threading.Lock()
        self.exclusive = threading.RLock()
        self.transactions: list[Transaction] = []
        self.on_stale: OnStale = "hold"
        self.special: list[object] = []
        """Not empty while reading a variable is more than a look into the buffer."""
        self.concerned: list[object] = []
        """Not empty while an assignment is more than a change of the buffer and a note: for a block that is open, for
        those who watch. Under the lock nobody begins or ceases to watch."""
        self.journals: list[Journal] = []
        """Of those who deliver what is assigned. Under the lock nobody comes or goes."""
        self.health = Health({name: table.size for name, table in self.tables.items()})
        self.protection: Callable[[], bytearray] | None = None
        self._protected: bytearray | None = None
        self.backlog = Backlog(offset)
        self._watchers: tuple[Watcher, ...] = ()
        self.heeded = True
        """May anybody have to be told of what a remote client writes, or asked? `accept()` does that. Under the lock it
        does not become so."""

    def table(self, name: str) -> Table:
        """One of the four tables.

        :raises DeclarationError: there is no table of that name.
        """
        if name not in TABLE_NAMES:
            raise DeclarationError(f"table {name!r} is none of {', '.join(TABLE_NAMES)}")
        return self.tables[name]

    def read(self, table: str, address: int, count: int, buffer: bytearray | None = None) -> bytes:
        """`count` cells as they travel: words high byte first, bits packed from the lowest bit.

        :param buffer: where to look, if not in the memory as it is: the view of an `atomic()` block.
        """
        _, _, width, offset = self.tables[table]
        source = self.buffer if buffer is None else buffer
        if width == 16:
            start = offset + 2 * address
            return bytes(source[start : start + 2 * count])
        raw = source[offset + address // 8 : offset + (address + count + 7) // 8]
        bits = int.from_bytes(raw, "little") >> address % 8 & (1 << count) - 1
        return bits.to_bytes((count + 7) // 8, "little")

    def set_on_stale(self, on_stale: OnStale) -> None:
        """What reading a value gives that is not fresh: the last one, a `StaleError`, or zero."""
        if on_stale != "hold" and self.on_stale == "hold":
            self.special.append(on_stale)
        self.on_stale = on_stale

    def special_read(self, span: Span, region: Region) -> bytes:
        """The bytes of a region, for a reader in an `atomic()` block or one who wants no stale values.

        :raises StaleError: the value is not fresh, and `on_stale` is "raise".
        """
        offset, size, _ = region
        raw = bytes(self.view()[offset : offset + size])
        if self.on_stale != "hold":
            with self.lock:
                condition = self.health.of(span.table, span.address, span.cells)
            if condition.quality != "good":
                if self.on_stale == "raise":
                    why = "it was never read" if condition.quality == "never" else f"its value is {condition.quality}"
                    raise StaleError(f"{span.name}: {why}; {condition.error or 'the device has not answered'}")
                return bytes(size)
        return raw

    def view(self) -> bytearray:
        """The buffer as the caller is to see it: inside `atomic()` with what the block has assigned so far."""
        transaction = Transaction.current(self)
        return self.buffer if transaction is None else transaction.view

    def assign(self, span: Span, region: Region, data: bytes, done: Done | None = None) -> int:
        """What the application assigns: changed at once and noted for every client.

        :param region: the bits of the span in the buffer; `data` are the new bytes of the region.
        :param done: called, in whatever thread, by each client with the fate of this assignment, which then travels by
            itself like a command; not from within an `atomic()` block.
        :returns: how many clients will call `done`.
        """
        if self.transactions and (transaction := Transaction.current(self)) is not None:
            transaction.stage(Assignment(span, region, data))
            return 0
        with self.lock:
            self._store(region, data, "local")
            self._mark(span, region, data, done)
            many = len(self.journals)
        self.ring()
        return many if done is not None else 0

    def assign_all(self, assignments: Sequence[Assignment]) -> None:
        """Several assignments that become one for every reader."""
        if not assignments:
            return
        offset = min(region.offset for _, region, _ in assignments)
        end = max(region.offset + region.size for _, region, _ in assignments)
        with self.lock:
            together = self.buffer[offset:end]
            for _, region, data in assignments:
                put(together, region._replace(offset=region.offset - offset), data)
            self._store(Region(offset, end - offset, (1 << 8 * (end - offset)) - 1), bytes(together), "local")
            for span, region, data in assignments:
                self._mark(span, region, data)
        self.ring()

    def accept(
        self,
        table: str,
        address: int,
        count: int,
        change: Callable[[bytes], bytes],
        mask: int | None = None,
        done: Done | None = None,
    ) -> int:
        """What a remote client writes: the clients of this memory forward it like an assignment.

        :param change: gets the cells as they travel and gives the new ones; called under the lock.
        :param mask: the bits that are written, where it is not the whole of the cells.
        :param done: called, in whatever thread, by each client that forwards it, when its device has answered.
        :returns: how many clients will call `done`.
        :raises AddressError: some of these bits are declared as read-only.
        """
        span = Span(table, address, count, self._all(table, count) if mask is None else mask, "")
        region = self.region(span)
        with self.lock:
            self._check_writable(span, region)
            cells = change(self.read(table, address, count))
            self._store(region, self._align(span, cells), "remote")
            self.backlog.forget(region)
            many = len(self.journals)
            if many:
                named = span._replace(name=f"{table}[{address}]")
                order: Literal["big", "little"] = "big" if self.tables[table].width == 16 else "little"
                for journal in self.journals:
                    if done is None:
                        journal.mark(named)
                    else:
                        journal.command(named, int.from_bytes(cells, order), done)
        self.ring()
        return many if done is not None else 0

    def merge(self, table: str, address: int, count: int, change: Callable[[bytes], bytes]) -> None:
        """What a poll brings: noted for nobody, since it is the device's own.

        :param change: gets the cells as they are and gives them as they shall be; called under the lock.
        """
        with self.lock:
            ours = self.read(table, address, count)
            merged = change(ours)
            if merged == ours:
                return
            span = Span(table, address, count, self._all(table, count), "")
            self._store(self.region(span), self._align(span, merged), "device")
        self.ring()

    def bringer(self, read: Fresh, start: int, journal: Journal) -> Callable[[bytearray, float], bool]:
        """Takes what a poll brings, again and again, of the same whole words, where no assignment is on its way.

        :param read: table, address, and number of words, which begin at byte `start` of the buffer.
        :param journal: of the one who polls.
        :returns: what is given the words, and the time at which they were read. It does nothing, and tells so by
            False, where `journal` has something, or all is not well yet: see `merge()`.
        """
        buffer, lock, health = self.buffer, self.lock, self.health
        end = start + 2 * read[2]
        whole = Region(start, end - start, (1 << 8 * (end - start)) - 1)
        with lock:
            stamp = health.stamp(read)

        def bring(words: bytearray, at: float) -> bool:
            if buffer[start:end] == words and not health.errors and not health.trouble:
                stamp[0] = at  # nothing is changed, and so nothing is to be locked
                return True
            with lock:
                if journal.marks or health.errors or health.trouble:
                    return False
                stamp[0] = at
                self._store(whole, bytes(words), "device")
            self.ring()
            return True

        return bring

    def declarations_changed(self) -> None:
        """What is read-only has to be worked out anew."""
        with self.lock:  # a remote write works it out meanwhile, or after both
            self._protected = None
            self.heeded = True

    def _protect(self) -> bytearray:
        """The bits that are read-only, worked out anew where declarations have changed."""
        if self._protected is None:
            protected = NOTHING if self.protection is None else self.protection()
            self._protected = protected if any(protected) else NOTHING
            self._heed()
        return self._protected

    def _check_writable(self, span: Span, region: Region) -> None:
        protected = self._protect()
        offset, size, bits = region
        if protected is not NOTHING and int.from_bytes(protected[offset : offset + size], "big") & bits:
            raise AddressError(f"{span.table} {span.address} to {span.address + span.cells - 1}: read-only")

    # -- those who listen

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher of every change of what it watches, from now on."""
        with self.lock:
            self._watchers = (*(other for other in self._watchers if other.held), watcher)
            self._listeners_changed()

    def unwatch(self, watcher: Watcher) -> None:
        """Tell it no more."""
        with self.lock:
            self._watchers = tuple(other for other in self._watchers if other is not watcher)
            self._listeners_changed()

    def _listeners_changed(self) -> None:
        """The lock is held."""
        self._heed()
        if bool(self._watchers) is not ("watchers" in self.concerned):
            if self._watchers:
                self.concerned.append("watchers")
            else:
                self.concerned.remove("watchers")

    def _heed(self) -> None:
        self.heeded = bool(self.journals or self._watchers) or self._protected is not NOTHING

    def delivered(self, span: Span) -> None:
        """These bits met their fate at a device: a later client need not send them. The lock is held."""
        self.backlog.forget(self.region(span))

    def attach(self, journal: Journal) -> None:
        """Note every assignment in this journal from now on; it begins with what nobody has delivered."""
        with self.lock:
            for span, bits in self.backlog.remaining().items():
                journal.mark(span._replace(mask=self._cells(span, bits), command=False))
            self.journals[:] = [*(other for other in self.journals if other.held), journal]
            self._listeners_changed()

    def detach(self, journal: Journal) -> None:
        """No longer note assignments in this journal. What it did not deliver stays for the next one."""
        with self.lock:
            self.journals[:] = [other for other in self.journals if other is not journal]
            self._listeners_changed()

    def region(self, span: Span) -> Region:
        """Where the bits of a span lie in the buffer."""
        table, address, count, mask = span[:4]
        _, _, width, offset = self.tables[table]
        if width == 16:
            return Region(offset + 2 * address, 2 * count, mask)
        size = (address % 8 + count + 7) // 8
        bits = int.from_bytes((mask << address % 8).to_bytes(size, "little"), "big")
        return Region(offset + address // 8, size, bits)

    def _cells(self, span: Span, bits: int) -> int:
        """The other way round: bits of the span's region as a mask over its cells."""
        if self.tables[span.table].width == 16:
            return bits
        size = self.region(span).size
        return int.from_bytes(bits.to_bytes(size, "big"), "little") >> span.address % 8

    def _align(self, span: Span, cells: bytes) -> bytes:
        """Cells as they travel, moved to where they lie in their bytes."""
        if self.tables[span.table].width == 16:
            return cells
        size = (span.address % 8 + span.cells + 7) // 8
        bits = int.from_bytes(cells, "little") & self._all(span.table, span.cells)
        return (bits << span.address % 8).to_bytes(size, "little")

    def _all(self, table: str, count: int) -> int:
        return (1 << count * self.tables[table].width) - 1

    def note(self, span: Span) -> None:
        """For those who deliver: it was assigned. The lock is held; when it is let go, `ring()`."""
        for journal in self.journals:
            journal.mark(span)

    def _mark(self, span: Span, region: Region, data: bytes, done: Done | None = None) -> None:
        self.backlog.mark(span, region)
        for journal in self.journals:
            if span.command or done is not None:
                journal.command(span, self._value(span, region, data), done)
            else:
                journal.mark(span)

    def _value(self, span: Span, region: Region, data: bytes) -> int:
        """The bytes of a region as an integer over the cells of its span."""
        number = int.from_bytes(data, "big") & region.bits
        if self.tables[span.table].width == 1:
            return self._cells(span, number)
        whole = self.region(span)
        return number << 8 * (whole.offset + whole.size - region.offset - region.size)

    def _store(self, region: Region, data: bytes, origin: Origin) -> None:
        offset, size, bits = region
        end = offset + size
        if bits != (1 << 8 * size) - 1:
            old = int.from_bytes(self.buffer[offset:end], "big")
            data = (old & ~bits | int.from_bytes(data, "big") & bits).to_bytes(size, "big")
        if not self._watchers:
            self.buffer[offset:end] = data
            return
        touched = [
            (watcher, place, bytes(self.buffer[place.start : place.end]))
            for watcher in self._watchers
            for place in watcher.places
            if place.start < end and place.end > offset
        ]
        self.buffer[offset:end] = data
        at = time.time()
        for watcher, place, before in touched:
            after = bytes(self.buffer[place.start : place.end])
            if (int.from_bytes(before, "big") ^ int.from_bytes(after, "big")) & place.bits:
                watcher.note(place, before, after, origin, at)

    def ring(self) -> None:
        """Tell those who deliver and those who watch that there is something for them."""
        for journal in self.journals.copy():  # others may come or go
            journal.ring()
        for watcher in self._watchers:
            watcher.ring()
