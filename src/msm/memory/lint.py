"""The linter: what looks unintended in the declarations of a store. It says nothing of a clean one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from msm.memory.image import WORD_TABLES
from msm.memory.pieces import LaidTable, Piece, cells_text

# What one request carries, reading and writing (application protocol V1.1b3, sections 6.1, 6.3, 6.11 and 6.12).
LIMITS = {16: (125, 123), 1: (2000, 1968)}

_UNDIVIDED = {"float16", "float32", "float64", "string", "datetime"}  # what has no parts that mean something
_WHOLE_NUMBERS = {
    "word", "uint16", "int16", "uint32", "int32", "uint64", "int64", "bcd16", "bcd32", "enum", "flags",
}  # fmt: skip
_NAMED = 5  # names that a message lists before it counts the others


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in the declarations that looks wrong, or that one should know."""

    code: str
    """What kind of finding it is, e.g. "overlap"."""
    severity: Literal["warning", "info"]
    names: tuple[str, ...]
    """The variables that it is about."""
    where: str
    """Where that is, e.g. "holding words 1-2"."""
    message: str
    """What was found."""
    advice: str
    """What to do."""

    def __str__(self) -> str:
        return f"{self.severity} [{self.code}] {self.where}: {self.message}. {self.advice}"


def lint(tables: Sequence[LaidTable]) -> list[Finding]:
    """What looks wrong with these tables, warnings first, in the order in which it lies."""
    findings: list[Finding] = []
    for table in tables:
        findings += _overlaps(table)
        if table.name == "holding":
            findings += _both_sides(table)
        findings += _limits(table)
        findings += _unreachable(table)
    pieces = [piece for table in tables for piece in table.pieces]
    findings += _mixed_orders(pieces)
    findings += _similar_names(pieces)
    return sorted(findings, key=lambda finding: finding.severity != "warning")


# -- overlaps


def _overlaps(table: LaidTable) -> Iterator[Finding]:
    for first, second in _touching(table):
        if first.shares_bits(second):
            found = _overlap(first, second)
            if found is not None:
                yield found


def _touching(table: LaidTable) -> Iterator[tuple[Piece, Piece]]:
    """The pairs that have a cell in common; first the one that begins first, or else the longer one."""
    open_pieces: list[Piece] = []
    for piece in table.pieces:
        open_pieces = [other for other in open_pieces if other.end > piece.first]
        for other in open_pieces:
            yield other, piece
        open_pieces.append(piece)


def _overlap(first: Piece, second: Piece) -> Finding | None:
    """What is to be said of two pieces that share bits; nothing where one is part of the other by design."""
    if first.contains(second) and second.contains(first):
        return Finding(
            "alias", "info", (first.name, second.name), _where(first),
            f"{first.name} ({first.type}) and {second.name} ({second.type}) are two names of the same bits",
            "Assigning one changes the other: keep both only if that is what you want.",
        )  # fmt: skip
    if first.contains(second) or second.contains(first):
        outer, inner = (first, second) if first.contains(second) else (second, first)
        if _part_by_design(outer, inner):
            return None
        if outer.variable.kind in _WHOLE_NUMBERS and inner.variable.kind in _WHOLE_NUMBERS:
            return Finding(
                "part", "info", (outer.name, inner.name), _where(inner),
                f"{inner.name} ({inner.type}) is a part of {outer.name} ({outer.type}, {outer.place})",
                "Assigning one changes the other: keep both only if that is what you want.",
            )  # fmt: skip
        return Finding(
            "overlap", "warning", (outer.name, inner.name), _where(inner),
            f"{inner.name} ({inner.type}) lies inside {outer.name} ({outer.type}, {outer.place})",
            "Check both addresses: a part of such a value means nothing by itself.",
        )  # fmt: skip
    start, end = max(first.first, second.first), min(first.end, second.end)
    return Finding(
        "overlap", "warning", (first.name, second.name), _at(first.table, cells_text(first.table, start, end)),
        f"{first.name} ({first.type}, {first.place}) and {second.name} ({second.type}, {second.place}) overlap",
        "Check both addresses, or whether one of the types is too long: assigning one destroys the other.",
    )  # fmt: skip


def _part_by_design(outer: Piece, inner: Piece) -> bool:
    """Bits of a word, items of an array, and anything in an array of raw words."""
    if outer.count is not None:
        if outer.variable.kind in ("word", "uint16"):
            return True
        whole_items = (inner.first - outer.first) % outer.item_cells == 0 and inner.cells % outer.item_cells == 0
        if outer.variable.kind == inner.variable.kind and outer.orders == inner.orders and whole_items:
            return True
    return inner.part and outer.variable.kind not in _UNDIVIDED


# -- who writes


def _both_sides(table: LaidTable) -> Iterator[Finding]:
    """Words of which the device writes some bits and its clients others."""
    words: dict[int, list[Piece]] = defaultdict(list)
    whole: dict[str, tuple[Piece, list[Piece]]] = {}
    for first, second in _touching(table):
        same = first.contains(second) and second.contains(first)
        if (first.access == "ro") == (second.access == "ro") or same:
            # Two names of the same bits are left in peace: status when read, command when written is common.
            continue
        if first.part and second.part:
            words[first.first] += [first, second]
        elif first.contains(second) or second.contains(first) or not first.shares_bits(second):
            # Where something longer is involved, one finding for all that lies in it is enough. What overlaps without
            # the one being a part of the other was told already.
            outer, inner = (first, second) if not first.part else (second, first)
            whole.setdefault(outer.name, (outer, []))[1].append(inner)
    for word, pieces in words.items():
        unique = {piece.name: piece for piece in pieces}
        device = [piece for piece in unique.values() if piece.access == "ro"]
        clients = [piece for piece in unique.values() if piece.access != "ro"]
        yield Finding(
            "both-sides", "warning", tuple(unique), f"holding word {word}",
            f"the device writes {_listed(device)} and its clients write {_listed(clients)}, in the same word",
            _BOTH_SIDES,
        )  # fmt: skip
    for outer, inside in whole.values():
        by_device, by_clients = ([outer], inside) if outer.access == "ro" else (inside, [outer])
        yield Finding(
            "both-sides", "warning", (outer.name, *(piece.name for piece in inside)), _where(outer),
            f"the device writes {_listed(by_device)} and its clients write {_listed(by_clients)}, which share words",
            _BOTH_SIDES if outer.access == "ro" else
            f"Assigning {outer.name} overwrites what the device has written: assign its writable parts one by one.",
        )  # fmt: skip


_BOTH_SIDES = (
    "This needs a device with mask write (function 22): without it, writing the bits of the one side "
    "may undo what the other has just written."
)


# -- what one request carries


def _limits(table: LaidTable) -> Iterator[Finding]:
    read, write = LIMITS[16 if table.name in WORD_TABLES else 1]
    for piece in table.pieces:
        cells = cells_text(piece.table, 0, 2).split()[0]  # "words"
        cannot = []
        if piece.cells > read and piece.access != "wo":
            cannot.append(f"read ({read})")
        if piece.cells > write and piece.access != "ro":
            cannot.append(f"write ({write})")
        if cannot:
            yield Finding(
                "too-long", "warning", (piece.name,), _where(piece),
                f"{piece.name} has {piece.cells} {cells}, more than one request can {' or '.join(cannot)}",
                "It travels in parts, so one part may be older than the other: split it, or have the device say "
                "when it is complete.",
            )  # fmt: skip
        limit = (piece.first // read + 1) * read
        if limit < piece.end and piece.cells <= read and piece.access != "wo":
            yield Finding(
                "block-limit", "info", (piece.name,), _where(piece),
                f"{piece.name} is cut by blocks of {read} read from 0 on, between {limit - 1} and {limit}",
                "MSM reads it in one piece all the same; other programs that poll this device may not.",
            )  # fmt: skip


# -- what cannot be


def _unreachable(table: LaidTable) -> Iterator[Finding]:
    for piece in table.pieces:
        name, keywords, declared = piece.name, piece.variable.keywords, piece.variable.access
        if table.name in ("input", "discrete") and "access" in keywords and declared != "ro":
            what = "input registers" if table.name == "input" else "discrete inputs"
            means = "only written" if declared == "wo" else "also written by clients"
            yield Finding(
                "unreachable", "warning", (name,), _where(piece),
                f"{name} is declared as {means} (access={declared!r}), but no client can write {what}",
                "Leave access out, or move it to the table that is meant.",
            )  # fmt: skip
        for keyword in ("command", "heartbeat"):
            if keywords.get(keyword) and piece.access == "ro":
                yield Finding(
                    f"{keyword}-read-only", "warning", (name,), _where(piece),
                    f"{name} has {keyword}={keywords[keyword]!r}, but only the device writes it",
                    f"Leave {keyword} out, or make it writable.",
                )  # fmt: skip
        if keywords.get("period") is not None and declared == "wo":
            yield Finding(
                "period-write-only", "warning", (name,), _where(piece),
                f"{name} has period={keywords['period']!r}, but it is never read (access='wo')",
                "Leave period out, or make it readable.",
            )  # fmt: skip


# -- the whole store


def _mixed_orders(pieces: Sequence[Piece]) -> Iterator[Finding]:
    words: dict[str, list[Piece]] = defaultdict(list)
    bytes_: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        if piece.table in WORD_TABLES:
            bytes_[piece.orders.byte_order].append(piece)
            if piece.item_cells > 1 and piece.is_number:
                words[piece.orders.word_order].append(piece)
    for what, orders, names in (
        ("word", words, {"little": "low word first", "big": "high word first"}),
        ("byte", bytes_, {"little": "low byte first", "big": "high byte first"}),
    ):
        if len(orders) > 1:
            (few, fewer), (most, more) = sorted(orders.items(), key=lambda item: len(item[1]))
            yield Finding(
                f"mixed-{what}-order", "info", tuple(piece.name for piece in fewer), "the whole store",
                f"{len(fewer)} of {len(fewer) + len(more)} values lie {names[few]}, the others {names[most]}: "
                f"{_listed(fewer)}",
                "Few devices mix them: check the manual.",
            )  # fmt: skip


def _similar_names(pieces: Sequence[Piece]) -> Iterator[Finding]:
    names: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        names[piece.name.casefold()].append(piece)
    for same in names.values():
        if len(same) > 1:
            where = ", ".join(dict.fromkeys(_where(piece) for piece in same))
            yield Finding(
                "similar-names", "info", tuple(piece.name for piece in same), where,
                f"{_listed(same)} differ only in upper and lower case",
                "Rename one, before somebody assigns the other.",
            )  # fmt: skip


def _where(piece: Piece) -> str:
    return _at(piece.table, piece.place)


def _at(table: str, place: str) -> str:
    return place if table == "coil" else f"{table} {place}"


def _listed(pieces: Sequence[Piece]) -> str:
    names = [piece.name for piece in pieces[:_NAMED]]
    if len(pieces) > _NAMED:
        names.append(f"{len(pieces) - _NAMED} more")
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
