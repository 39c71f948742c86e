"""Which requests to send: blocks to read, runs to write."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping
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

    @property
    def cells(self) -> int:
        """One word."""
        return 1


class Piece(NamedTuple):
    """A variable, as far as the exchange has to know it."""

    table: str
    address: int
    cells: int
    mask: int
    name: str
    period: float | None = None
    """Seconds between its polls, where it has a period of its own."""
    heartbeat: float | None = None
    conflict: str | None = None
    readable: bool = True


def read_blocks(
    size: int,
    whole: Iterable[tuple[int, int]],
    limit: int,
    *,
    wanted: bytes | bytearray | None = None,
    gap: int = 0,
    holes: Container[int] = (),
    cuts: Container[int] = (),
) -> list[tuple[int, int]]:
    """Cut a table of `size` cells into blocks (address, count) of at most `limit`.

    :param whole: the (address, count) of variables that are not to be cut in two. One that is longer than a
        request is cut all the same: there is no other way to read it.
    :param wanted: a byte for each cell, not 0 where it is to be read; by default all are.
    :param gap: so many cells that are not wanted are read along where that saves a request.
    :param holes: cells that cannot be read: no block touches them.
    :param cuts: addresses where a block has to begin anew.
    """
    joined = bytearray(size + 1)
    for address, count in whole:
        if count <= limit:
            joined[address + 1 : address + count] = b"\x01" * (count - 1)
    blocks: list[tuple[int, int]] = []
    for begin, end in _stretches(size, wanted, gap, holes, cuts):
        start = begin
        while start < end:
            stop = min(start + limit, end)
            cut = stop
            while cut > start and cut < end and joined[cut]:
                cut -= 1
            # A chain of overlapping variables longer than a request has no good place to be cut.
            stop = cut if cut > start else stop
            last = stop
            if wanted is not None:
                # A cut may fall into a gap or beside it: of that nothing is read along.
                while not wanted[last - 1]:
                    last -= 1
                while stop < end and not wanted[stop]:
                    stop += 1
            blocks.append((start, last - start))
            start = stop
    return blocks


def _stretches(
    size: int, wanted: bytes | bytearray | None, gap: int, holes: Container[int], cuts: Container[int]
) -> Iterator[tuple[int, int]]:
    """Runs of cells to read: from one that is wanted to one that is, over gaps that are cheaper than a request."""
    if wanted is None and not holes and not cuts:
        if size:
            yield 0, size
        return
    start = last = -1
    for at in range(size):
        if start >= 0 and (at in holes or at in cuts or at - last > gap + 1):
            yield start, last + 1
            start = -1
        if at not in holes and (wanted is None or wanted[at]):
            if start < 0:
                start = at
            last = at
    if start >= 0:
        yield start, last + 1


def worth_joining(latency: float, seconds_per_cell: float, most: int) -> int:
    """How many unwanted cells are cheaper to read along than to pay for one more request.

    :param latency: seconds that a request costs by itself: the way there and back, and the pauses around it.
    :param seconds_per_cell: seconds that one more cell costs in the reply.
    """
    return most if seconds_per_cell <= 0 else min(most, int(latency / seconds_per_cell))


def split_point(
    address: int, count: int, whole: Iterable[tuple[int, int]], wanted: bytes | bytearray | None = None
) -> int | None:
    """Where to cut a block that the device refuses, to find what is to blame.

    In a gap, where it was read along; else between two variables, about the middle.

    :param wanted: a byte for each cell of the table, 0 where it is only read along.
    :returns: the address of the second half; None where the block is one variable, or one cell.
    """
    end = address + count
    inside = bytearray(count + 1)
    for first, many in whole:
        low, high = max(first + 1, address), min(first + many, end)
        if low < high:
            inside[low - address : high - address] = b"\x01" * (high - low)
    places = [at for at in range(1, count) if not inside[at]]
    if wanted is not None:
        places = [at for at in places if not wanted[address + at]] or places
    return address + min(places, key=lambda at: abs(2 * at - count)) if places else None


def next_write(
    ledger: Ledger,
    limits: Mapping[str, int],
    *,
    blocked: Collection[tuple[str, int]] = (),
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
        low, high = first, end
        if entry is not oldest:
            low, high = entry.reach
            stranger = entry.values is not None or entry.table != table
            if oldest.sequence <= alone or stranger or low > end or high < first:
                break
            low, high = min(first, low), max(end, high)
        if high - low > limit or (blocked and any((table, at) in blocked for at in range(low, high))):
            break
        first, end = low, high
        for at, part in entry.waiting.items():
            bits[at] = bits.get(at, 0) | part
        if list(bits.values()).count(full) == end - first:
            run = first, end
    if run is not None:
        return Write(table, run[0], run[1] - run[0])
    return _part(ledger, oldest, limit, blocked, alone)


def _part(
    ledger: Ledger, oldest: Entry, limit: int, blocked: Collection[tuple[str, int]], alone: int
) -> Write | MaskWrite | None:
    """What to write where the oldest assignment does not cover whole cells, or is longer than a request."""
    table = oldest.table
    full = (1 << WIDTH[table]) - 1
    first, end = oldest.reach
    bits: dict[int, int] = {}
    if end - first > 1:
        low, high = _closed(ledger, table, first, end)
        if high - low <= limit:
            # A later assignment has taken some of its bits: it comes along, so that no value is torn.
            first, end = low, high
            bits = {at: ledger.waiting_bits(table, at) for at in range(first, end)}
        else:
            # It cannot arrive whole, so nothing is to overtake for its sake.
            end = min(end, first + limit)
            bits = {at: oldest.waiting.get(at, 0) for at in range(first, end)}
    else:
        for entry in ledger.waiting():
            stranger = entry.table != table or entry.reach != (first, end) or entry.values is not None
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
