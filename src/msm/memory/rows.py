"""The geometry that both pictures share: bars over cells, in lanes, cut into rows, with what repeats left out."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from msm.memory.pieces import LaidTable, Piece, cells_text

FEWEST_EMPTY = 2  # rows with nothing in them that are worth leaving out
FEWEST_INSIDE = 3  # likewise of rows that lie wholly inside the same long values
FEWEST_ALIKE = 32  # likewise of rows that look like the ones before them
LONGEST_PERIOD = 8  # rows of the longest pattern whose repetition is noticed


class Bar(NamedTuple):
    """A bar over the cells `first` to `end`: a whole variable, or the parts into which a word is divided."""

    first: int
    end: int
    lane: int
    pieces: tuple[Piece, ...]

    @property
    def divided(self) -> bool:
        """Does it stand for the parts of a word?"""
        return self.pieces[0].part

    @property
    def mask(self) -> int:
        """The bits of a divided word that its parts take."""
        mask = 0
        for piece in self.pieces:
            mask |= piece.bits(self.first, self.end)
        return mask


class Row(NamedTuple):
    """Some cells next to each other, and the bars that touch them, from left to right."""

    first: int
    end: int
    bars: tuple[Bar, ...]

    @property
    def free(self) -> list[int]:
        """The cells that no bar touches."""
        taken = {cell for bar in self.bars for cell in range(max(bar.first, self.first), min(bar.end, self.end))}
        return [cell for cell in range(self.first, self.end) if cell not in taken]


class Skip(NamedTuple):
    """Rows that are left out, and why."""

    first: int
    end: int
    why: str
    empty: bool


Item: TypeAlias = Row | Skip


def bars_of(table: LaidTable) -> list[Bar]:
    """The bars of a table, each in the first lane that has room for it."""
    divided: dict[int, list[Piece]] = {}
    groups: list[tuple[Piece, ...]] = []
    for piece in table.pieces:
        if piece.part:
            divided.setdefault(piece.first, []).append(piece)
        else:
            groups.append((piece,))
    groups += [tuple(parts) for parts in divided.values()]
    groups.sort(key=lambda pieces: (pieces[0].first, pieces[0].part, -pieces[0].cells))
    lanes = into_lanes([(pieces[0].first, pieces[0].end) for pieces in groups])
    return [Bar(pieces[0].first, pieces[0].end, lane, pieces) for pieces, lane in zip(groups, lanes, strict=True)]


def into_lanes(ranges: Sequence[tuple[int, int]]) -> list[int]:
    """For each range, sorted by its start, the lowest lane in which it touches none of those before it."""
    taken: list[tuple[int, int]] = []
    free: list[int] = []
    lanes = []
    for first, end in ranges:
        while taken and taken[0][0] <= first:
            heapq.heappush(free, heapq.heappop(taken)[1])
        lane = heapq.heappop(free) if free else len(taken)
        heapq.heappush(taken, (end, lane))
        lanes.append(lane)
    return lanes


def rows_of(table: LaidTable, per_row: int) -> list[Row]:
    """The table cut into rows of so many cells, the last one shorter."""
    touching: dict[int, list[Bar]] = {}
    for bar in bars_of(table):
        for row in range(bar.first // per_row, (bar.end - 1) // per_row + 1):
            touching.setdefault(row, []).append(bar)
    return [
        Row(first, min(first + per_row, table.size), tuple(touching.get(first // per_row, ())))
        for first in range(0, table.size, per_row)
    ]


def shorten(table: LaidTable, rows: Sequence[Row], *, alike: bool = True) -> list[Item]:
    """The rows without those that show nothing new: empty ones, the inside of long values, repetitions.

    :param alike: leave out also long repetitions of the same pattern of types, whose names differ.
    """
    looks = [_looks(row) for row in rows]
    inside = [_inside(row) for row in rows]
    items: list[Item] = []
    at = 0
    while at < len(rows):
        end = at
        while end < len(rows) and inside[end] is not None and inside[end] == inside[at]:
            end += 1
        if end - at >= (FEWEST_INSIDE if rows[at].bars else FEWEST_EMPTY):
            items.append(_skip(table, rows[at:end]))
            at = end
            continue
        period, end = _repetition(looks, at) if alike else (0, at)
        if period:
            items += rows[at : at + period]
            like = cells_text(table.name, rows[at].first, rows[at + period - 1].end)
            items.append(Skip(rows[at + period].first, rows[end - 1].end, f"laid out like {like}", False))
            at = end
            continue
        items.append(rows[at])
        at += 1
    return items


def _skip(table: LaidTable, rows: Sequence[Row]) -> Skip:
    first, end = rows[0].first, rows[-1].end
    if not rows[0].bars:
        return Skip(first, end, "nothing declared", True)
    names = " and ".join(bar.pieces[0].name for bar in rows[0].bars)
    return Skip(first, end, f"inside {names}", False)


def _inside(row: Row) -> tuple[Bar, ...] | None:
    """The bars that go through the whole of a row; None where one begins or ends."""
    inside = all(bar.first < row.first and row.end < bar.end for bar in row.bars)
    return row.bars if inside else None


def _looks(row: Row) -> tuple[object, ...]:
    """What a row looks like, apart from names and addresses. A shorter row looks different."""
    return row.end - row.first, *(
        (
            max(bar.first - row.first, -1),
            min(bar.end, row.end + 1) - row.first,
            bar.lane,
            tuple((piece.type, piece.access, piece.order, piece.mask) for piece in bar.pieces),
        )
        for bar in row.bars
    )


def _repetition(looks: Sequence[object], at: int) -> tuple[int, int]:
    """The length of the pattern of rows that begins here and the end of its repetitions; (0, at) where none does."""
    for period in range(1, LONGEST_PERIOD + 1):
        end = at + period
        while end < len(looks) and looks[end] == looks[end - period]:
            end += 1
        if end - at - period >= FEWEST_ALIKE:
            return period, end
    return 0, at
