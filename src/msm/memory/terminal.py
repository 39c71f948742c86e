"""The layout as text: a ruler of words, bars under it, and a list of what they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from msm.memory.image import WORD_TABLES
from msm.memory.lint import Finding
from msm.memory.pieces import TITLES, LaidTable, Piece, bits_text, cells_text
from msm.memory.rows import Bar, Item, Row, Skip, rows_of, shorten
from msm.memory.textwidth import columns, hard, pad, printable, wrap

NARROWEST = 40  # columns below which there is no room for a list
_NOTES = 20  # columns that the last column of the list needs at least
_FOUND = 10  # findings of one kind that are listed
_SECTION = 16  # rows after which the list of their variables follows


class Glyphs(NamedTuple):
    """What the picture is drawn with, one column each."""

    tick: str
    left: str
    line: str
    right: str
    divided: str
    free: str
    bit: str
    skip: str


UNICODE = Glyphs("│", "├", "─", "┤", "╎", "·", "■", "…")
ASCII = Glyphs("|", "[", "-", "]", ":", ".", "#", "...")


class Section(NamedTuple):
    """Some rows, and the variables that begin in them or in what is left out between them."""

    items: list[Item]
    pieces: list[Piece]


class Terminal:
    """Draws tables as text of at most `width` columns."""

    def __init__(self, width: int, ascii: bool) -> None:
        self._width = width
        self._ascii = ascii
        self._glyphs = ASCII if ascii else UNICODE

    def draw(self, table: LaidTable) -> Iterator[str]:
        """The lines of one table."""
        yield from wrap(f"{TITLES[table.name]}: {table.summary}", self._width)
        per_row, cell = self._grid(table)
        items = shorten(table, rows_of(table, per_row))
        keys = self._keys(items, cell)
        for section in _sections(items, table.pieces):
            yield ""
            yield from self._rows(table, section.items, cell, keys)
            if section.pieces:
                yield ""
                yield from self._list(section.pieces, keys)

    def _grid(self, table: LaidTable) -> tuple[int, int]:
        """How many cells a row has, and how many columns each: the address, and the number of a bar, fit in."""
        least = max(
            8 if table.name in WORD_TABLES else 5, len(str(table.size)) + 1, len(str(len(table.pieces))) + 2
        )  # fmt: skip
        per_row = 1 << (self._width // least).bit_length() - 1
        return per_row, self._width // per_row

    def findings(self, findings: Sequence[Finding]) -> Iterator[str]:
        """The lines of what the linter found: those of one kind together, with their advice once."""
        groups: dict[tuple[str, str, str], list[Finding]] = {}
        for finding in findings:
            groups.setdefault((finding.severity, finding.code, finding.advice), []).append(finding)
        for number, ((severity, code, advice), same) in enumerate(groups.items()):
            if number == 0:
                yield f"{len(findings)} finding{'s' * (len(findings) != 1)}"
            yield ""
            yield f"{severity}: {code}"
            for finding in same[:_FOUND]:
                yield from _hang("  ", self._shown(f"{finding.where}: {finding.message}."), self._width)
            if len(same) > _FOUND:
                yield f"  {self._glyphs.skip} {len(same) - _FOUND} more"
            yield from _hang("  ", self._shown(advice), self._width)

    # -- the picture

    def _rows(self, table: LaidTable, items: Sequence[Item], cell: int, keys: dict[str, int]) -> Iterator[str]:
        for item in items:
            if isinstance(item, Skip):
                place = cells_text(table.name, item.first, item.end)
                yield from wrap(f"{self._glyphs.skip} {place}: {self._shown(item.why)}", self._width)
                continue
            ruler = (pad(f"{self._glyphs.tick}{address}", cell) for address in range(item.first, item.end))
            yield "".join(ruler).rstrip()
            yield from self._lanes(item, cell, keys)

    def _lanes(self, row: Row, cell: int, keys: dict[str, int]) -> Iterator[str]:
        dots = self._glyphs.free.center(cell)
        lanes: dict[int, list[tuple[int, str]]] = {}
        for bar in row.bars:
            lanes.setdefault(bar.lane, []).append((max(bar.first, row.first), self._bar(bar, row, cell, keys)))
        free = [(address, dots) for address in row.free]
        top = min(lanes, default=0)
        lanes.setdefault(top, []).extend(free)
        for _, parts in sorted(lanes.items()):
            line, at = "", row.first
            for first, text in sorted(parts):
                line += " " * cell * (first - at) + text
                at = first + columns(text) // cell
            yield line.rstrip()

    def _bar(self, bar: Bar, row: Row, cell: int, keys: dict[str, int]) -> str:
        """The part of a bar that lies in a row: exactly as wide as its cells. Where it goes on there is no end."""
        width = _width(bar, row, cell)
        if bar.divided:
            inner = width - 2
            labels = (bits_text(bar.mask), f"{bar.mask.bit_count()} bits", "bits")
            label = next(text for text in labels if len(text) <= inner)
            return f"{self._glyphs.divided}{label.center(inner)}{self._glyphs.divided}"
        left = self._glyphs.left if bar.first >= row.first else self._glyphs.line
        right = self._glyphs.right if bar.end <= row.end else self._glyphs.line
        label = self._name(bar)
        if columns(label) > width - 2:
            label = str(keys[bar.pieces[0].name])
        room = width - 2 - columns(label)
        if room >= 2:
            label, room = f" {label} ", room - 2
        before = room // 2
        return f"{left}{self._glyphs.line * before}{label}{self._glyphs.line * (room - before)}{right}"

    def _keys(self, items: Iterable[Item], cell: int) -> dict[str, int]:
        """A number for each variable whose name does not fit on its bar, in the order in which they lie."""
        keys: dict[str, int] = {}
        for row in items:
            if isinstance(row, Row):
                for bar in row.bars:
                    if not bar.divided and columns(self._name(bar)) > _width(bar, row, cell) - 2:
                        keys.setdefault(bar.pieces[0].name, len(keys) + 1)
        return keys

    def _name(self, bar: Bar) -> str:
        return self._shown(bar.pieces[0].name)

    def _shown(self, text: str) -> str:
        return printable(text, ascii=self._ascii)

    # -- the list

    def _list(self, pieces: Sequence[Piece], keys: dict[str, int]) -> Iterator[str]:
        entries = [
            (str(keys.get(piece.name, "")), self._shown(piece.name), self._shown(piece.type), piece.place, piece.access)
            for piece in pieces
        ]
        widths = [max(columns(entry[at]) for entry in entries) for at in range(5)]
        widths[1] = min(widths[1], self._width // 3)
        indent = sum(widths) + 2 * len(widths) - (0 if widths[0] else 2)
        narrow = indent + _NOTES > self._width
        for piece, (key, name, *fields) in zip(pieces, entries, strict=True):
            lead = f"{key:>{widths[0]}}  " if widths[0] else ""
            notes = self._notes(piece)
            if narrow:
                yield from _hang(lead, name, self._width)
                text = "  ".join(hard(field) for field in (*fields, notes) if field)
                yield from _hang(" " * (len(lead) + 2), text, self._width)
                continue
            first = name
            if columns(name) > widths[1]:
                yield from _hang(lead, name, self._width)
                lead, first = " " * len(lead), ""
            padded = [pad(text, width) for text, width in zip((first, *fields), widths[1:], strict=True)]
            yield from _hang(f"{lead}{'  '.join(padded)}  ", notes, self._width)
        orders = {piece.letters: piece.order for piece in pieces if piece.letters and piece.order}
        if orders:
            meant = ", ".join(f"{letters} is {order}" for letters, order in sorted(orders.items()))
            yield ""
            yield from wrap(f"{meant}; A is the highest byte.", self._width)

    def _notes(self, piece: Piece) -> str:
        notes = []
        if piece.part:
            bits = f"{piece.bits(piece.first, piece.end):016b}".replace("0", self._glyphs.free)
            bits = bits.replace("1", self._glyphs.bit)
            notes.append(hard(" ".join(bits[at : at + 4] for at in range(0, 16, 4))))
        if piece.order:
            notes.append(piece.letters or piece.order)
        notes += [self._shown(text) for text in (piece.variable.unit, piece.variable.label) if text]
        return ", ".join(notes)


def _sections(items: Sequence[Item], pieces: Sequence[Piece]) -> list[Section]:
    """The rows in sections, so that the list of a long table's variables is never far from their bars."""
    cuts: list[list[Item]] = [[]]
    for item in items:
        drawn = sum(isinstance(each, Row) for each in cuts[-1])
        empty = isinstance(item, Skip) and item.empty
        if drawn >= _SECTION or (drawn >= _SECTION // 2 and empty):
            cuts.append([])
        cuts[-1].append(item)
    sections = []
    at = 0
    for cut in cuts:
        begin = at
        while cut and at < len(pieces) and pieces[at].first < cut[-1].end:
            at += 1
        sections.append(Section(cut, list(pieces[begin:at])))
    return [section for section in sections if section.items]


def _width(bar: Bar, row: Row, cell: int) -> int:
    return cell * (min(bar.end, row.end) - max(bar.first, row.first))


def _hang(lead: str, text: str, width: int) -> Iterator[str]:
    """Text wrapped behind a lead, with the following lines below its beginning."""
    indent = columns(lead)
    for line in wrap(text, width - indent):
        yield (lead + line).rstrip()
        lead = " " * indent
