"""What lies where: the declared variables of a store as pieces of its tables.

The pictures and the linter begin here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from msm.memory.codec import Orders
from msm.memory.image import WORD_TABLES, TableName
from msm.memory.journal import Span
from msm.memory.kinds import Access
from msm.memory.named import LAYOUTS
from msm.memory.variable import MemoryVariable

if TYPE_CHECKING:
    from msm.memory.store import MemoryStore

TITLES: dict[TableName, str] = {
    "holding": "Holding registers",
    "input": "Input registers",
    "coil": "Coils",
    "discrete": "Discrete inputs",
}
_CELLS: dict[TableName, tuple[str, str]] = {
    "holding": ("word", "words"),
    "input": ("word", "words"),
    "coil": ("coil", "coils"),
    "discrete": ("input", "inputs"),
}


@dataclass(frozen=True, slots=True)
class Piece:
    """One variable where it lies: the cells `first` to `end` (not included) of its table."""

    name: str
    variable: MemoryVariable[Any]
    table: TableName
    first: int
    end: int
    orders: Orders
    mask: bytes | None
    """The bits that are its own, as they travel: two bytes for each word. None: all of them."""

    @classmethod
    def of(cls, variable: MemoryVariable[Any], span: Span, defaults: Orders) -> Piece:
        """The piece for a variable of a store with those defaults."""
        mask = None
        if variable.table in WORD_TABLES and span.mask != (1 << 16 * span.cells) - 1:
            mask = span.mask.to_bytes(2 * span.cells, "big")
        end = span.address + span.cells
        return cls(span.name, variable, variable.table, span.address, end, variable.orders(defaults), mask)

    @property
    def cells(self) -> int:
        """How many words or bits of its table it touches."""
        return self.end - self.first

    @property
    def part(self) -> bool:
        """Is it only a part of one word: a bit, a byte, some bits?"""
        return self.mask is not None and self.cells == 1

    @property
    def count(self) -> int | None:
        """How many items it has, if it is an array."""
        count: int | None = self.variable.keywords.get("count")
        return count

    @property
    def item_cells(self) -> int:
        """How many cells one item takes; of what is no array, the whole."""
        return self.cells // (self.count or 1)

    @property
    def access(self) -> Access:
        """Who writes it. Nobody but the device writes input registers and discrete inputs, whatever was declared."""
        return self.variable.access if self.table in ("holding", "coil") else "ro"

    def bits(self, first: int, end: int) -> int:
        """Its bits in these words, which it touches, as one number: the first word is the most significant."""
        if self.mask is None:
            return (1 << 16 * (end - first)) - 1
        return int.from_bytes(self.mask[2 * (first - self.first) : 2 * (end - self.first)], "big")

    def shares_bits(self, other: Piece) -> bool:
        """Do both have a bit in common? They are of the same table."""
        first, end = max(self.first, other.first), min(self.end, other.end)
        return first < end and self.bits(first, end) & other.bits(first, end) != 0

    def contains(self, other: Piece) -> bool:
        """Are all bits of the other one also bits of this one?"""
        if not self.first <= other.first < other.end <= self.end:
            return False
        return other.bits(other.first, other.end) & ~self.bits(other.first, other.end) == 0

    @property
    def is_number(self) -> bool:
        """Is an item one number, whose words have an order? Texts and dates made of fields run from word to word."""
        if self.variable.kind == "datetime":
            return LAYOUTS[self.variable.arguments["layout"]].swaps
        return self.variable.kind != "string"

    @property
    def type(self) -> str:
        """Its type for people, e.g. "uint32", "float32[4]", "string(16)", "enum State"."""
        kind, arguments = self.variable.kind, self.variable.arguments
        if kind == "string":
            kind = f"string({arguments['length']})"
        elif kind in ("enum", "flags"):
            kind = f"{kind} {arguments['enum_type'].__name__}"
        elif kind == "datetime":
            kind = f"datetime {arguments['layout']}"
        elif kind == "bits":
            kind = f"bits({arguments['length']})"
        return kind if self.count is None else f"{kind}[{self.count}]"

    @property
    def place(self) -> str:
        """Where it lies, e.g. "words 1-2" or "word 3 bit 0"."""
        place = cells_text(self.table, self.first, self.end)
        if not self.part:
            return place
        mask = self.bits(self.first, self.end)
        if mask in (0x00FF, 0xFF00):
            return f"{place} byte {0 if mask == 0x00FF else 1}"
        return f"{place} {bits_text(mask)}"

    @property
    def letters(self) -> str:
        """The bytes of a number of several bytes in the order in which they lie; A is its highest one."""
        size = 2 * self.item_cells
        if self.table not in WORD_TABLES or self.part or not self.is_number or size > 8:
            return ""
        return bytes(self.orders.arrange(b"ABCDEFGH"[:size])).decode()

    @property
    def order(self) -> str:
        """The order of its words, if it has several, and of its bytes, if it is not the usual one."""
        if self.table not in WORD_TABLES:
            return ""
        swapped = "bytes swapped" if self.orders.byte_order == "little" else ""
        if self.item_cells == 1:
            return swapped
        if not self.is_number:
            return f"first word first{', ' if swapped else ''}{swapped}"
        words = "low word first" if self.orders.word_order == "little" else "high word first"
        return f"{words}{', ' if swapped else ''}{swapped}"


class LaidTable(NamedTuple):
    """One table with its pieces, sorted by where they lie."""

    name: TableName
    size: int
    pieces: tuple[Piece, ...]

    @property
    def free(self) -> int:
        """How many of its cells no variable touches."""
        used = bytearray(self.size)
        for piece in self.pieces:
            used[piece.first : piece.end] = b"\x01" * piece.cells
        return used.count(0)

    @property
    def summary(self) -> str:
        """Its size and contents in a few words, e.g. "8 words, 4 variables, 4 words free"."""
        cells = _CELLS[self.name]
        variables = len(self.pieces)
        return (
            f"{self.size} {cells[self.size != 1]}, {variables} variable{'s' * (variables != 1)}, "
            f"{self.free} {cells[self.free != 1]} free"
        )


def cells_text(table: TableName, first: int, end: int) -> str:
    """Some cells of a table for people, e.g. "word 3" or "coils 5-8"."""
    one, many = _CELLS[table]
    return f"{one} {first}" if end - first == 1 else f"{many} {first}-{end - 1}"


def bits_text(mask: int) -> str:
    """Some bits of a word for people, e.g. "bit 0" or "bits 15-12, 3"."""
    runs = [f"{high}" if high == low else f"{high}-{low}" for high, low in bit_runs(mask)]
    return f"{'bit' if mask.bit_count() == 1 else 'bits'} {', '.join(runs)}"


def bit_runs(mask: int) -> list[tuple[int, int]]:
    """The runs (highest, lowest) of the bits of a word that are set, from the highest down."""
    runs = []
    high: int | None = None
    for bit in range(15, -2, -1):
        on = bit >= 0 and mask >> bit & 1
        if on and high is None:
            high = bit
        elif not on and high is not None:
            runs.append((high, bit + 1))
            high = None
    return runs


def tables_of(store: MemoryStore) -> tuple[LaidTable, ...]:
    """The tables that a store has, with the pieces that its variables are."""
    from msm.memory.store import bound_of, image_of, orders_of  # noqa: PLC0415 - the store imports the layout

    defaults = orders_of(store)
    bound = bound_of(store)
    pieces: dict[str, list[Piece]] = {}
    for name, variable in store.variables().items():
        if name in bound:  # not one that another thread has just withdrawn
            pieces.setdefault(variable.table, []).append(Piece.of(variable, bound[name].span, defaults))
    return tuple(
        LaidTable(table.name, table.size, tuple(sorted(pieces.get(table.name, ()), key=_by_place)))
        for table in image_of(store).tables.values()
        if table.size
    )


def _by_place(piece: Piece) -> tuple[int, bool, int, int]:
    # Where several begin, first the longest, and the parts of a word last, from bit 0 up.
    lowest = piece.bits(piece.first, piece.end) if piece.part else 0
    return piece.first, piece.part, -piece.cells, lowest
