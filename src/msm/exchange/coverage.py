"""What is read of a device: which cells, in which blocks, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from msm.exchange.holes import Holes
from msm.exchange.job import Terms
from msm.exchange.plan import MAX_READ_BITS, WIDTH, Piece, Read, read_blocks, split_point

ILLEGAL_FUNCTION = 1
MOST_REFUSALS = 64  # of a table of which nothing could be read: more would be a storm


class Coverage:
    """Knows the variables, the terms, and what the device cannot read.

    :param sizes: the cells of each table that has any.
    """

    def __init__(self, sizes: Mapping[str, int], terms: Terms) -> None:
        self.holes = Holes()
        self.pieces: list[Piece] = []
        self._sizes = sizes
        self._terms = terms
        self._gap = terms.gap
        self._limits = {table: terms.max_read if WIDTH[table] == 16 else MAX_READ_BITS for table in WIDTH}
        self._refusals: Counter[str] = Counter()
        self._readable: set[str] = set()

    def join_over(self, gap: int) -> bool:
        """So many cells that nobody wants are cheaper to read along than another request. Is that new?"""
        changed, self._gap = gap != self._gap, gap
        return changed

    def blocks(self) -> dict[float, list[Read]]:
        """The blocks to read with each period."""
        blocks: dict[float, list[Read]] = {self._terms.period: []}
        for table, size in self._sizes.items():
            pieces = self._of(table)
            whole = [(piece.address, piece.cells) for piece in pieces]
            limit = self._limits[table]
            holes, cuts = self.holes.cells(table), self.holes.cuts(table)
            for period, wanted in self._wanted(table, size, pieces).items():
                blocks.setdefault(period, []).extend(
                    Read(table, *block)
                    for block in read_blocks(size, whole, limit, wanted=wanted, gap=self._gap, holes=holes, cuts=cuts)
                )
        return blocks

    def _of(self, table: str) -> list[Piece]:
        return [piece for piece in self.pieces if piece.table == table]

    def read_whole(self, table: str, first: int, end: int) -> Read | None:
        """A read of these cells, and of the rest of every variable that they are a part of: no value is torn.

        :returns: None where that is more than a request takes, or where it would run into a hole.
        """
        low, high = first, end
        grown = True
        while grown:
            reaches = [
                (piece.address, piece.address + piece.cells)
                for piece in self._of(table)
                if piece.readable and piece.address < high and low < piece.address + piece.cells
            ]
            wider = min([low, *(begin for begin, _ in reaches)]), max([high, *(stop for _, stop in reaches)])
            grown, (low, high) = wider != (low, high), wider
        holes = self.holes.cells(table)
        spoilt = any(at in holes for at in range(low, high)) and not any(at in holes for at in range(first, end))
        return None if spoilt or high - low > self._limits[table] else Read(table, low, high - low)

    def answered(self, table: str, address: int, cells: int) -> bool:
        """These cells were read. Are there other blocks to read from now on?"""
        self._readable.add(table)
        return self.holes.heal(table, address, cells)

    def where_to_cut(self, refused: Read, code: int, period: float | None = None) -> int | None:
        """Where to look for what is to blame; None where there is nothing smaller to ask for, or no hope.

        :param period: where it is a block of the regular poll.
        """
        table, address, cells = refused
        self._refusals[table] += 1
        # A table of which nothing could ever be read is not searched word by word, over thousands of requests.
        hopeless = self._refusals[table] > MOST_REFUSALS and table not in self._readable
        if hopeless or code == ILLEGAL_FUNCTION:
            return None
        pieces = self._of(table)
        wanted = None if period is None else self._wanted(table, self._sizes[table], pieces).get(period)
        return split_point(address, cells, [(piece.address, piece.cells) for piece in pieces], wanted)

    def _wanted(self, table: str, size: int, pieces: list[Piece]) -> dict[float, bytearray | None]:
        """For each period, which cells of a table to read with it; None is all of them."""
        base = self._terms.period
        own = [piece for piece in pieces if piece.period not in (None, base)]
        if self._terms.blocks:
            wanted = bytearray(size)
            for read in self._terms.blocks:
                if read.table == table:
                    wanted[read.address : read.address + read.cells] = b"\x01" * read.cells
        elif self._terms.poll == "all":
            if not own:
                return {base: None}
            wanted = bytearray(b"\x01") * size
        else:
            wanted = bytearray(size)
        groups: dict[float, bytearray | None] = {base: wanted}
        for piece in own:
            assert piece.period is not None
            group = groups.setdefault(piece.period, bytearray(size))
            assert group is not None
            if piece.readable:
                group[piece.address : piece.address + piece.cells] = b"\x01" * piece.cells
            wanted[piece.address : piece.address + piece.cells] = bytes(piece.cells)
        if self._terms.poll == "declared" or own:
            for piece in pieces:
                if piece not in own and piece.readable and not self._terms.blocks:
                    wanted[piece.address : piece.address + piece.cells] = b"\x01" * piece.cells
        whole = [piece for piece in pieces if piece.readable and 1 < piece.cells <= self._limits[table]]
        for group in groups.values():
            _complete(group, whole)
        return groups


def _complete(wanted: bytearray | None, whole: Iterable[Piece]) -> None:
    """Also want the rest of a variable of which a part is wanted: overlapping variables may have different periods."""
    torn = True
    while wanted is not None and torn:
        torn = False
        for piece in whole:
            cells = wanted[piece.address : piece.address + piece.cells]
            if any(cells) and not all(cells):
                wanted[piece.address : piece.address + piece.cells] = b"\x01" * piece.cells
                torn = True
