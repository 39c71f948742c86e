"""The layout as SVG: the same bars as in the text, with the bits of a word enlarged, for light and dark pages."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from msm.memory.image import WORD_TABLES
from msm.memory.palette import style_sheet
from msm.memory.pieces import TITLES, LaidTable, Piece, bit_runs, cells_text
from msm.memory.rows import Bar, Row, Skip, into_lanes, rows_of, shorten
from msm.memory.textwidth import columns, printable, squeeze

MARGIN = 16
GUTTER = 64  # where it is said what a row of bits belongs to
CELL = 112  # a word
BIT = CELL * 8 // 16  # a bit of an enlarged word, and a cell of a table of bits
WIDTH = MARGIN + GUTTER + 8 * CELL + MARGIN
RULER = 17
BAR = 36
STRIP = 14  # the sixteen bits of a divided word, small
GAP = 4
HATCH = 6  # the lower edge of a bar, where no text is
LETTER = 6.7  # a letter of 11 pixels in the widest of the fonts
SMALL = 6.1  # a letter of 10 pixels

LEGEND = (
    ("rw", "rw: both sides write"),
    ("ro", "ro: only the device writes"),
    ("wo", "wo: only clients write"),
    ("f", "nothing declared"),
    ("o", "bits in several variables"),
)


def draw_svg(tables: Sequence[LaidTable]) -> str:
    """The drawing of these tables."""
    drawing = Drawing()
    drawing.legend()
    for table in tables:
        drawing.table(table)
    return drawing.finish("Memory layout. " + " ".join(f"{TITLES[table.name]}: {table.summary}." for table in tables))


class Drawing:
    """Draws downwards: `_y` is where the next thing begins."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._y = MARGIN

    def finish(self, label: str) -> str:
        """The whole SVG. The id of its hatching differs from those of other drawings in the same page."""
        height = self._y + MARGIN
        body = "".join(self._parts)
        hatch = f"msm-{zlib.crc32(body.encode()):08x}"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="msm-layout" role="img" aria-label={quoteattr(label)} '
            f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">'
            f"<title>{escape(label)}</title><style>{style_sheet()}</style>"
            f'<defs><pattern id="{hatch}" width="6" height="6" patternUnits="userSpaceOnUse">'
            '<path class="o" d="M-1 1L1 -1M0 6L6 0M5 7L7 5"/></pattern></defs>'
            f'<rect class="p" width="{WIDTH}" height="{height}"/>{body.replace(_HATCH, hatch)}</svg>'
        )

    def legend(self) -> None:
        """What the colours, lines and hatchings mean."""
        x = MARGIN
        for name, meaning in LEGEND:
            self._parts.append(_rect(x, self._y, 26, 14, "b " + name) if name != "o" else _hatched(x, self._y, 26, 14))
            self._parts.append(_text(x + 32, self._y + 11, meaning))
            x += 32 + round(len(meaning) * LETTER) + 16
        self._y += 14 + 2 * GAP

    def table(self, table: LaidTable) -> None:
        """One table under its heading."""
        self._y += 28
        self._parts.append(_text(MARGIN, self._y, TITLES[table.name], "h"))
        self._parts.append(_text(MARGIN + 170, self._y, table.summary, "q"))
        self._y += 12
        words = table.name in WORD_TABLES
        cell = CELL if words else BIT
        # Names are nowhere but on the bars, so rows that look alike are drawn all the same.
        for item in shorten(table, rows_of(table, 8 if words else 16), alike=False):
            if isinstance(item, Skip):
                self._skip(table, item)
            else:
                self._row(item, cell)

    def _skip(self, table: LaidTable, skip: Skip) -> None:
        x = MARGIN + GUTTER
        self._parts.append(_path(f"M{x} {self._y + 13}H{WIDTH - MARGIN}", "k"))
        text = f"… {cells_text(table.name, skip.first, skip.end)}: {printable(skip.why)}"
        text = squeeze(text, round((WIDTH - x) / LETTER) - 4, 1)[0]
        self._parts.append(_rect(x + 12, self._y + 4, round(len(text) * LETTER) + 12, 18, "p"))
        self._parts.append(_text(x + 18, self._y + 17, text, "q"))
        self._y += 30

    def _row(self, row: Row, cell: int) -> None:
        """A ruler with addresses, the lanes of bars below it, then the words that are divided, enlarged."""
        left = MARGIN + GUTTER
        heights: dict[int, int] = {}
        for bar in row.bars:
            heights[bar.lane] = max(heights.get(bar.lane, 0), STRIP if bar.divided else BAR)
        heights = heights or {0: STRIP}
        tops, y = {}, self._y + RULER
        for lane in sorted(heights):
            tops[lane] = y
            y += heights[lane] + GAP
        ticks = "".join(f"M{left + cell * at} {self._y}V{y - GAP}" for at in range(row.end - row.first + 1))
        self._parts.append(_path(ticks, "g"))
        for at, address in enumerate(range(row.first, row.end)):
            self._parts.append(_text(left + cell * at + 4, self._y + 11, str(address), "s q"))
        top = min(tops)
        for address in row.free:
            x = left + cell * (address - row.first)
            self._parts.append(_rect(x + 2, tops[top], cell - 4, heights[top], "f"))
        for bar in row.bars:
            x = left + cell * (max(bar.first, row.first) - row.first)
            width = cell * (min(bar.end, row.end) - max(bar.first, row.first))
            if bar.divided:
                self._strip(bar, x, tops[bar.lane])
            else:
                cut = (bar.first < row.first, bar.end > row.end)
                self._bar(bar.pieces[0], x, tops[bar.lane], width, cut)
        self._overlaps(row, cell, tops)
        self._y = y + GAP
        for bar in row.bars:
            if bar.divided:
                self._zoom(bar)

    def _bar(self, piece: Piece, x: int, y: int, width: int, cut: tuple[bool, bool] = (False, False)) -> None:
        """A variable. Where it goes on in another row its end is open and has an arrow."""
        x, width = x + 2, width - 4
        room = width - 8 - 12 * sum(cut)
        lines = squeeze(printable(piece.name), round(room / LETTER), 2)
        details = [piece.access, piece.type, piece.order and piece.letters, piece.variable.unit]
        details = [printable(detail) for detail in details if detail]
        while columns(" ".join(details)) > room / SMALL:
            details.pop()  # the tooltip has them all
        if len(lines) == 1:
            lines.append(" ".join(details))
        middle = x + width / 2
        self._parts.append(f"<g><title>{escape(describe(piece))}</title>")
        if any(cut):
            left = f"M{x} {y}v{BAR}" if not cut[0] else f"M{x - 2} {y}l-4 {BAR // 2} 4 {BAR // 2}"
            self._parts.append(
                _path(
                    f"{left}H{x + width}V{y}z"
                    if not cut[1]
                    else f"{left}H{x + width + 2}l4 -{BAR // 2} -4 -{BAR // 2}z",
                    f"b {piece.access}",
                )
            )
        else:
            self._parts.append(_rect(x, y, width, BAR, f"b {piece.access}"))
        self._parts.append(_text(middle, y + 13, lines[0], "m"))
        if len(lines) > 1:
            self._parts.append(_text(middle, y + 26, lines[1], "m s"))
        self._parts.append("</g>")

    def _strip(self, bar: Bar, x: int, y: int) -> None:
        """The sixteen bits of a divided word, small: bit 15 is on the left."""
        size = CELL // 16
        self._parts.append(_rect(x, y, CELL, STRIP - 2, "f"))
        for piece in bar.pieces:
            self._parts.append(f"<g><title>{escape(describe(piece))}</title>")
            for high, low in bit_runs(piece.bits(bar.first, bar.end)):
                self._parts.append(
                    _rect(x + size * (15 - high), y, size * (high - low + 1), STRIP - 2, f"b {piece.access}")
                )
            self._parts.append("</g>")

    def _zoom(self, bar: Bar) -> None:
        """The sixteen bits of a divided word, with names."""
        left = MARGIN + GUTTER
        runs = [
            (15 - high, 16 - low, piece)
            for piece in bar.pieces
            for high, low in bit_runs(piece.bits(bar.first, bar.end))
        ]
        runs.sort(key=lambda run: (run[0], -run[1]))
        lanes = into_lanes([(first, end) for first, end, _ in runs])
        self._parts.append(_text(MARGIN, self._y + 11, f"word {bar.first}", "q"))
        self._parts.append(_text(MARGIN, self._y + 25, "bits", "q s"))
        bottom = self._y + RULER - 3 + (max(lanes) + 1) * (BAR + GAP) - GAP
        self._parts.append(_path("".join(f"M{left + BIT * at} {self._y}v{RULER - 5}" for at in range(17)), "g"))
        for at in range(16):
            x = left + BIT * at
            self._parts.append(_text(x + 4, self._y + 10, str(15 - at), "s q"))
            if not bar.mask >> (15 - at) & 1:
                self._parts.append(_rect(x + 2, self._y + RULER - 3, BIT - 4, BAR, "f"))
        for (first, end, piece), lane in zip(runs, lanes, strict=True):
            y = self._y + RULER - 3 + lane * (BAR + GAP)
            self._bit(piece, left + BIT * first, y, BIT * (end - first))
            for other_first, other_end, other in runs:
                shared = min(end, other_end) - max(first, other_first)
                if other is not piece and shared > 0:
                    x = left + BIT * max(first, other_first)
                    self._parts.append(_hatched(x + 2, y + BAR - HATCH, BIT * shared - 4, HATCH))
        self._y = bottom + 2 * GAP

    def _bit(self, piece: Piece, x: int, y: int, width: int) -> None:
        room = int((width - 6) / SMALL)
        lines = squeeze(printable(piece.name), room, 2)
        details = f"{piece.access} {piece.type}"
        if len(lines) == 1 and len(details) <= room:
            lines.append(printable(details))
        middle = x + width / 2
        self._parts.append(f"<g><title>{escape(describe(piece))}</title>")
        self._parts.append(_rect(x + 2, y, width - 4, BAR, f"b {piece.access}"))
        for at, line in enumerate(lines):
            self._parts.append(_text(middle, y + (13 if len(lines) > 1 else 18) + 12 * at, line, "m s"))
        self._parts.append("</g>")

    def _overlaps(self, row: Row, cell: int, tops: dict[int, int]) -> None:
        """Hatch the lower edge of every bar where it has bits in common with another one."""
        bars = [bar for bar in row.bars if not bar.divided]
        for bar in bars:
            for other in bars:
                first, end = max(bar.first, other.first, row.first), min(bar.end, other.end, row.end)
                if other is not bar and first < end and bar.pieces[0].shares_bits(other.pieces[0]):
                    x = MARGIN + GUTTER + cell * (first - row.first)
                    self._parts.append(_hatched(x + 2, tops[bar.lane] + BAR - HATCH, cell * (end - first) - 4, HATCH))


def describe(piece: Piece) -> str:
    """All that is known of a variable, for a tooltip."""
    variable = piece.variable
    writes = dict(entry for entry in LEGEND)[piece.access]
    order = f"{piece.order} ({piece.letters})" if piece.order and piece.letters else piece.order
    texts = (variable.label, piece.type, f"{piece.table} {piece.place}", order, writes, variable.unit)
    return printable(f"{piece.name}: {', '.join(text for text in texts if text)}")


_HATCH = "\0"  # in no text that is drawn; becomes an id that depends on the rest of the drawing


def _hatched(x: int, y: int, width: int, height: int) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="url(#{_HATCH})"/>'


def _rect(x: int, y: int, width: int, height: int, kind: str) -> str:
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}"/>'


def _path(steps: str, kind: str) -> str:
    return f'<path class="{kind}" d="{steps}"/>'


def _text(x: float, y: int, text: str, kind: str = "") -> str:
    kind = f' class="{kind}"' if kind else ""
    return f'<text{kind} x="{x:g}" y="{y}">{escape(text)}</text>'
