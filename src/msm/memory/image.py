"""The four tables of a Modbus device as bytes, behind one lock.

All tables lie in one buffer. Words are kept as they travel, high byte first; coils and discrete inputs are
packed eight to a byte, the first one in the lowest bit (application protocol V1.1b3, section 6.1). So a reply
is a slice of the image, and a request is stored as it came.

Readers take no lock: one slice of a bytearray is one step of the interpreter. Writers hold the lock and change
the buffer by one slice assignment, so no reader ever sees half of a write.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from msm.errors import AddressError, DeclarationError
from msm.memory.journal import Backlog, Journal, Region, Span

TableName: TypeAlias = Literal["holding", "input", "coil", "discrete"]

TABLE_NAMES: tuple[TableName, ...] = ("holding", "input", "coil", "discrete")
WORD_TABLES: tuple[TableName, ...] = ("holding", "input")
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


class Image:
    """The memory itself: bytes, a lock, and the journals of what was assigned."""

    __slots__ = ("_backlog", "_journals", "buffer", "lock", "tables")

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
        self._backlog = Backlog(offset)
        self._journals: tuple[Journal, ...] = ()

    def table(self, name: str) -> Table:
        """One of the four tables.

        :raises DeclarationError: there is no table of that name.
        """
        if name not in TABLE_NAMES:
            raise DeclarationError(f"table {name!r} is none of {', '.join(TABLE_NAMES)}")
        return self.tables[name]

    def read(self, table: str, address: int, count: int) -> bytes:
        """`count` cells as they travel: words high byte first, bits packed from the lowest bit."""
        _, _, width, offset = self.tables[table]
        if width == 16:
            start = offset + 2 * address
            return bytes(self.buffer[start : start + 2 * count])
        raw = self.buffer[offset + address // 8 : offset + (address + count + 7) // 8]
        bits = int.from_bytes(raw, "little") >> address % 8 & (1 << count) - 1
        return bits.to_bytes((count + 7) // 8, "little")

    def assign(self, span: Span, region: Region, data: bytes) -> None:
        """What the application assigns: changed at once and noted for every client.

        :param region: the bits of the span in the buffer; `data` are the new bytes of the region.
        """
        with self.lock:
            self._store(region, data)
            self._backlog.mark(span, region)
            for journal in self._journals:
                journal.mark(span)
        self._ring()

    def accept(
        self,
        table: str,
        address: int,
        count: int,
        change: Callable[[bytes], bytes],
        mask: int | None = None,
    ) -> None:
        """What a remote client writes: the clients of this memory forward it like an assignment.

        :param change: gets the cells as they travel and gives the new ones; called under the lock.
        :param mask: the bits that are written, where it is not the whole of the cells.
        """
        span = Span(table, address, count, self._all(table, count) if mask is None else mask, "")
        region = self.region(span)
        with self.lock:
            self._store(region, self._align(span, change(self.read(table, address, count))))
            self._backlog.forget(region)
            if self._journals:
                named = span._replace(name=f"{table}[{address}]")
                for journal in self._journals:
                    journal.mark(named)
        self._ring()

    def merge(self, table: str, address: int, count: int, change: Callable[[bytes], bytes]) -> None:
        """What a poll brings: noted for nobody, since it is the device's own.

        :param change: gets the cells as they are and gives them as they shall be; called under the lock.
        """
        with self.lock:
            ours = self.read(table, address, count)
            merged = change(ours)
            if merged != ours:
                span = Span(table, address, count, self._all(table, count), "")
                self._store(self.region(span), self._align(span, merged))

    def delivered(self, span: Span) -> None:
        """These bits met their fate at a device: a later client need not send them. The lock is held."""
        self._backlog.forget(self.region(span))

    def attach(self, journal: Journal) -> None:
        """Note every assignment in this journal from now on; it begins with what nobody has delivered."""
        with self.lock:
            for span, bits in self._backlog.remaining().items():
                journal.mark(span._replace(mask=self._cells(span, bits)))
            held = (other for other in self._journals if other.held)
            self._journals = (*held, journal)

    def detach(self, journal: Journal) -> None:
        """No longer note assignments in this journal. What it did not deliver stays for the next one."""
        with self.lock:
            self._journals = tuple(other for other in self._journals if other is not journal)

    def region(self, span: Span) -> Region:
        """Where the bits of a span lie in the buffer."""
        table, address, count, mask, _ = span
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

    def _store(self, region: Region, data: bytes) -> None:
        offset, size, bits = region
        if bits != (1 << 8 * size) - 1:
            old = int.from_bytes(self.buffer[offset : offset + size], "big")
            data = (old & ~bits | int.from_bytes(data, "big") & bits).to_bytes(size, "big")
        self.buffer[offset : offset + size] = data

    def _ring(self) -> None:
        for journal in self._journals:
            journal.ring()
