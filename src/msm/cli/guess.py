"""What registers may mean: types and word orders side by side, and which of them look like values of a device."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

from msm.memory.codec import Order
from msm.memory.store import MemoryStore
from msm.memory.variable import MemoryVariable

WordTable: TypeAlias = Literal["holding", "input"]
ORDERS: dict[str, tuple[Order, Order]] = {
    "ABCD": ("big", "big"),
    "CDAB": ("little", "big"),
    "BADC": ("big", "little"),
    "DCBA": ("little", "little"),
}
"""How the bytes of a longer value may lie, A is the highest: as word_order and byte_order."""
KINDS = ("float32", "int32")
REFERENCES = {"holding": 400001, "input": 300001}
LIKELY = 0.5  # the score from which something looks like values
SHOWN = 3  # readings that are named


class Reading(NamedTuple):
    """A way to read the words of a range, and how much the values look like those of a device: 1 is the most."""

    kind: str
    letters: str
    first: int
    """The address of the first value."""
    values: int
    """How many of them say something: a zero does not."""
    score: float


def plausible(kind: str, value: float) -> float:
    """How much a number looks like one that a device means: 1 is yes, -1 is no, 0 says nothing."""
    size = abs(value)
    if value == 0:
        return 0.0
    if kind == "int16":
        return 0.55 if size < 10_000 else -0.3
    if kind == "int32":
        # A small number may as well be a word beside a zero; a float that is taken for a whole number is a large one.
        return 0.6 if size < 65_536 else 0.9 if size < 10_000_000 else -1.0
    if not math.isfinite(value) or not 1e-6 <= size <= 1e9:
        return -1.0
    if not 1e-3 <= size <= 1e7:
        return -0.3
    # What people have set has few digits. What was measured has many, and proves less.
    return 1.0 if struct.pack(">f", float(f"{value:.4g}")) == struct.pack(">f", value) else 0.8


def number(words: Sequence[int], at: int, kind: str, letters: str) -> float:
    """What is there as a number of that kind."""
    word_order, byte_order = ORDERS.get(letters, ("big", "big"))
    store = MemoryStore(2, word_order=word_order, byte_order=byte_order)
    store[0 : len(words[at : at + 2])] = words[at : at + 2]
    store.value = getattr(MemoryVariable, kind)(0)
    value: float = store.value
    return value


def readings(words: Sequence[int], first: int) -> list[Reading]:
    """The ways to read the words of a range, which begins at address `first`; the most plausible ones first."""
    ways = [("int16", "AB", 0, 1), *((kind, letters, at, 2) for at in (0, 1) for kind in KINDS for letters in ORDERS)]
    found = []
    for kind, letters, start, size in ways:
        scores = [plausible(kind, number(words, at, kind, letters)) for at in range(start, len(words) - size + 1, size)]
        told = [score for score in scores if score]
        if told:
            found.append(Reading(kind, letters, first + start, len(told), sum(told) / len(told)))
    # With a zero between them, values look alike from either side: of equals, the one that explains more words.
    return sorted(found, key=lambda reading: (-round(reading.score, 2), -reading.values))


def report(words: Sequence[int], first: int, table: str) -> Iterator[str]:
    """Each register under each of its readings, and which of them are likely: at most 80 columns."""
    yield f"{'address':>7}{'reference':>11}{'hex':>7}{'uint16':>8}{'int16':>8}  text"
    for at, word in enumerate(words):
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in word.to_bytes(2, "big"))
        signed = number(words, at, "int16", "AB")
        yield f"{first + at:7}{REFERENCES[table] + first + at:11}{word:7x}{word:8}{signed:8}  {text}"
    for kind in KINDS:
        yield ""
        yield f"{'address':>7}" + "".join(f"{f'{kind} {letters}':>15} " for letters in ORDERS).rstrip()
        for at in range(len(words) - 1):
            yield (
                f"{first + at:7}"
                + "".join(_cell(kind, number(words, at, kind, letters)) for letters in ORDERS).rstrip()
            )
    yield ""
    likely = [reading for reading in readings(words, first) if reading.score >= LIKELY][:SHOWN]
    for reading in likely:
        yield f"likely: {_named(reading)}"
    if not likely:
        yield "likely: nothing of this; texts, dates and bits are not looked for"
    yield f"Addresses count from 0, references from 1: address {first} is {REFERENCES[table] + first}."


def _cell(kind: str, value: float) -> str:
    mark = "*" if plausible(kind, value) >= LIKELY else " "
    return f"{f'{value:.6g}' if kind == 'float32' else value:>15}{mark}"


def _named(reading: Reading) -> str:
    values = f"{reading.values} value{'s' * (reading.values != 1)} from address {reading.first}"
    if reading.kind == "int16":
        return f"int16 or uint16, {values}"
    word_order, byte_order = ORDERS[reading.letters]
    swapped = ', byte_order="little"' if byte_order == "little" else ""
    return f'{reading.kind} {reading.letters}, word_order="{word_order}"{swapped}, {values}'
