"""Which requests to send: blocks to read, runs to write."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

from msm.exchange.ledger import Entry, Ledger

MAX_READ_WORDS = 125  # application protocol V1.1b3, section 6.3
MAX_WRITE_WORDS = 123  # section 6.12
MAX_READ_BITS = 2000  # section 6.1
MAX_WRITE_BITS = 1968  # section 6.11

WIDTH = {"holding": 16, "input": 16, "coil": 1, "discrete": 1}  # bits of a cell
WRITABLE = ("holding", "coil")  # the other two are the device's own (section 4.3)


class Read(NamedTuple):
    """Read `cells` cells from `address`."""

    table: str
    address: int
    cells: int


class Write(NamedTuple):
    """Write whole cells: `cells` of them from `address`, with the values that the memory has now."""

    table: str
    address: int
    cells: int


class MaskWrite(NamedTuple):
    """Write the bits `mask` of one word and leave its other bits to the device."""

    table: str
    address: int
    mask: int


def read_blocks(size: int, whole: Iterable[tuple[int, int]], limit: int) -> list[tuple[int, int]]:
    """Cut `size` cells into blocks (address, count) of at most `limit`.

    :param whole: the (address, count) of variables that are not to be cut in two. One that is longer than a
        request is cut all the same: there is no other way to read it.
    """
    joined = bytearray(size + 1)
    for address, count in whole:
        if count <= limit:
            joined[address + 1 : address + count] = b"\x01" * (count - 1)
    blocks = []
    start = 0
    while start < size:
        end = min(start + limit, size)
        cut = end
        while cut > start and cut < size and joined[cut]:
            cut -= 1
        # A chain of overlapping variables longer than a request has no good place to be cut.
        end = cut if cut > start else end
        blocks.append((start, end - start))
        start = end
    return blocks


def next_write(
    ledger: Ledger,
    limits: Mapping[str, int],
    *,
    blocked: Container[tuple[str, int]] = (),
    alone: int = 0,
) -> Write | MaskWrite | None:
    """The next request that brings assignments to the device, the oldest assignment first.

    Later assignments ride along as long as they follow in order and lie next to each other: so they
    arrive in the order they were made. A variable that fits in a request never straddles two.

    :param limits: for each table the number of cells that one request may write.
    :param blocked: (table, address) of cells that have to be read back before anything is written there.
    :param alone: assignments up to this one travel by themselves: the device refused them together.
    """
    waiting = ledger.waiting()
    oldest = next(iter(waiting), None)
    if oldest is None:
        return None
    table = oldest.table
    limit = limits[table]
    full = (1 << WIDTH[table]) - 1
    run = None
    first, end = oldest.reach
    bits: dict[int, int] = {}
    for entry in waiting:
        low, high = entry.reach
        if entry is not oldest and (oldest.sequence <= alone or entry.table != table or low > end or high < first):
            break
        low, high = min(first, low), max(end, high)
        if high - low > limit or any((table, at) in blocked for at in range(low, high)):
            break
        first, end = low, high
        for at, part in entry.waiting.items():
            bits[at] = bits.get(at, 0) | part
        if all(bits.get(at) == full for at in range(first, end)):
            run = first, end
    if run is not None:
        return Write(table, run[0], run[1] - run[0])
    return _part(ledger, oldest, limit, blocked, alone)


def _part(
    ledger: Ledger, oldest: Entry, limit: int, blocked: Container[tuple[str, int]], alone: int
) -> Write | MaskWrite | None:
    """What to write where the oldest assignment does not cover whole cells, or is longer than a request."""
    table = oldest.table
    full = (1 << WIDTH[table]) - 1
    first, end = oldest.reach
    bits: dict[int, int] = {}
    if end - first > 1:
        # A later assignment has taken some of its bits: it comes along, so that no value is torn.
        closed = _closed(ledger, table, first, end)
        first, end = closed if closed[1] - closed[0] <= limit else (first, min(end, first + limit))
        bits = {at: ledger.waiting_bits(table, at) for at in range(first, end)}
    else:
        for entry in ledger.waiting():
            stranger = entry.table != table or entry.reach != (first, end)
            if entry is not oldest and (oldest.sequence <= alone or stranger):
                break
            bits[first] = bits.get(first, 0) | entry.waiting[first]
    if any((table, at) in blocked for at in range(first, end)):
        return None
    if bits[first] != full:
        return MaskWrite(table, first, bits[first])
    end = next((at for at in range(first, end) if bits[at] != full), end)
    return Write(table, first, end - first)


def _closed(ledger: Ledger, table: str, first: int, end: int) -> tuple[int, int]:
    """The range, widened until no assignment that waits is cut by its edges."""
    while True:
        reaches = [entry.reach for entry in ledger.waiting_in(table, first, end)]
        wider = min([first, *(low for low, _ in reaches)]), max([end, *(high for _, high in reaches)])
        if wider == (first, end):
            return wider
        first, end = wider
