"""The four tables against a model that could not be plainer: a list of words and lists of booleans."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msm import AddressError, DeclarationError, MemoryStore, MemoryVariable, ValueRangeError, ValueTypeError
from msm.memory.image import TABLE_NAMES, Image
from msm.memory.journal import Journal, Span
from msm.memory.store import image_of

SIZES = {"holding": 5, "input": 3, "coil": 21, "discrete": 13}
WORDS = ("holding", "input")


def new() -> MemoryStore:
    return MemoryStore(SIZES["holding"], input_registers=3, coils=21, discrete_inputs=13)


def packed(table: str, cells: list[int]) -> bytes:
    """Cells as they travel, written down once more from the specification, sections 6.1 and 6.3."""
    if table in WORDS:
        return b"".join(bytes((cell >> 8, cell & 0xFF)) for cell in cells)
    octets = bytearray((len(cells) + 7) // 8)
    for at, cell in enumerate(cells):
        if cell:
            octets[at // 8] += 2 ** (at % 8)
    return bytes(octets)


class Model:
    """What the four tables hold."""

    def __init__(self) -> None:
        self.tables = {name: [0] * size for name, size in SIZES.items()}

    def write(self, table: str, address: int, cells: list[int], which: list[bool]) -> None:
        for at, (cell, chosen) in enumerate(zip(cells, which, strict=True)):
            if chosen:
                self.tables[table][address + at] = cell


@st.composite
def writes(draw: st.DrawFn) -> tuple[str, str, int, list[int]]:
    """Who writes: a table, an address, and cells."""
    how = draw(st.sampled_from(["assign", "single", "accept", "masked", "merge", "atomic", "variable"]))
    table = draw(st.sampled_from(TABLE_NAMES))
    address = draw(st.integers(0, SIZES[table] - 1))
    cell = st.integers(0, 65535 if table in WORDS else 1)
    cells = draw(st.lists(cell, min_size=1, max_size=SIZES[table] - address))
    return how, table, address, cells


def perform(mem: MemoryStore, how: str, table: str, address: int, cells: list[int], which: list[bool]) -> None:
    image = image_of(mem)
    count = len(cells)
    data = packed(table, cells)
    if how == "assign":
        mem._assign_cells(image.tables[table], address, cells)
    elif how in ("single", "atomic"):
        with mem.atomic():
            for at, cell in enumerate(cells):
                mem.set_value(address + at, cell, table)
    elif how == "accept":
        image.accept(table, address, count, lambda _old: data)
    elif how == "masked":
        width = 16 if table in WORDS else 1
        places = range(count - 1, -1, -1) if width == 16 else range(count)
        mask = sum((2**width - 1) << width * place for place, chosen in zip(places, which, strict=True) if chosen)
        image.accept(table, address, count, lambda _old: data, mask=mask)
    elif how == "merge":
        image.merge(table, address, count, lambda _ours: data)
    elif table in WORDS:
        mem.X = MemoryVariable.word(address, count=count, table=table)  # type: ignore[call-overload]
        mem.X = cells
    else:
        mem.X = getattr(MemoryVariable, table)(address, count=count)
        mem.X = [bool(cell) for cell in cells]


@given(steps=st.lists(writes(), max_size=8), data=st.data())
def test_every_way_of_writing_changes_its_cells_and_no_others(
    steps: list[tuple[str, str, int, list[int]]], data: st.DataObject
) -> None:
    mem, model = new(), Model()
    image = image_of(mem)
    for how, table, address, cells in steps:
        which = [True] * len(cells)
        if how == "masked":
            which = data.draw(st.lists(st.booleans(), min_size=len(cells), max_size=len(cells)))
        perform(mem, how, table, address, cells, which)
        model.write(table, address, cells, which)
        for name, size in SIZES.items():
            assert [mem.get_value(at, name) for at in range(size)] == model.tables[name]
    for name, size in SIZES.items():
        start = data.draw(st.integers(0, size - 1))
        count = data.draw(st.integers(1, size - start))
        expected = model.tables[name][start : start + count]
        assert image.read(name, start, count) == packed(name, expected)
        if name in WORDS:
            mem.SEEN = MemoryVariable.word(start, count=count, table=name)  # type: ignore[call-overload]
        else:
            mem.SEEN = getattr(MemoryVariable, name)(start, count=count)
        assert mem.SEEN == mem.snapshot().SEEN == tuple(expected)
        assert mem.info("SEEN").words == tuple(expected)


@given(address=st.integers(0, 20), data=st.data())
def test_the_old_cells_are_given_to_who_changes_them(address: int, data: st.DataObject) -> None:
    bits = data.draw(st.lists(st.integers(0, 1), min_size=21, max_size=21))
    count = data.draw(st.integers(1, 21 - address))
    image = Image(0, 0, 21, 0)
    image.merge("coil", 0, 21, lambda _ours: packed("coil", bits))
    seen: list[bytes] = []

    def change(old: bytes) -> bytes:
        seen.append(old)
        return old

    image.merge("coil", address, count, change)
    image.accept("coil", address, count, change)
    assert seen == [packed("coil", bits[address : address + count])] * 2
    assert image.read("coil", 0, 21) == packed("coil", bits)


@given(address=st.integers(0, 20), data=st.data())
def test_bits_beyond_those_that_were_written_are_of_no_meaning(address: int, data: st.DataObject) -> None:
    """The last byte of a request may be filled up with anything."""
    count = data.draw(st.integers(1, 21 - address))
    image = Image(0, 0, 24, 0)
    for write in (image.accept, image.merge):
        write("coil", 0, 24, lambda _old: bytes(3))
        write("coil", address, count, lambda _old: b"\xff" * ((count + 7) // 8))
        expected = [0] * address + [1] * count + [0] * (24 - address - count)
        assert image.read("coil", 0, 24) == packed("coil", expected)


class Collector:
    def __init__(self, image: Image) -> None:
        self.journal = Journal(weakref.WeakMethod(self.ring))
        image.attach(self.journal)

    def ring(self) -> None:
        """Nobody has to be told here."""


@given(
    spans=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 21)).filter(lambda span: sum(span) <= 21), max_size=4),
    overwritten=st.tuples(st.integers(0, 20), st.integers(1, 21)).filter(lambda span: sum(span) <= 21),
)
def test_what_nobody_has_delivered_is_kept_bit_by_bit(
    spans: list[tuple[int, int]], overwritten: tuple[int, int]
) -> None:
    mem = MemoryStore(0, coils=21)
    image = image_of(mem)
    pending: set[int] = set()
    for at, (address, count) in enumerate(spans):
        mem[f"V{at}"] = MemoryVariable.coil(address, count=count)
        mem[f"V{at}"] = [True] * count
        pending |= set(range(address, address + count))
    address, count = overwritten
    image.accept("coil", address, count, lambda old: old)
    pending -= set(range(address, address + count))
    left = Collector(image).journal.drain()
    spans_left = [span for span in left if isinstance(span, Span)]
    found = {span.address + at for span in spans_left for at in range(span.cells) if span.mask >> at & 1}
    assert found == pending


@pytest.mark.parametrize("table", TABLE_NAMES)
def test_limits_of_raw_cells(table: str) -> None:
    mem = new()
    size = SIZES[table]
    assert mem.get_size(table) == size
    cells = "words" if table in WORDS else "bits"
    for address in (-1, size, 65536):
        for touch in (lambda at: mem.get_value(at, table), lambda at: mem.set_value(at, 0, table)):
            with pytest.raises(
                AddressError, match=f"address {address} of the {table} table: .* {cells} 0 to {size - 1}"
            ):
                touch(address)
    before = bytes(image_of(mem).buffer)
    wrong: list[Any] = ["1", None, 1.0, [1]]
    for value in wrong:
        with pytest.raises(ValueTypeError, match=rf"{table}\[1\]: "):
            mem.set_value(1, value, table)
    if table in WORDS:
        for value in (-1, 65536):
            with pytest.raises(
                ValueRangeError, match=rf"{table}\[1\]: {value} is out of range, a word takes 0 to 65535"
            ):
                mem.set_value(1, value, table)
    else:
        with pytest.raises(ValueTypeError, match=rf"{table}\[1\]: 2 is not a bool"):
            mem.set_value(1, 2, table)
    assert bytes(image_of(mem).buffer) == before


def test_tables_that_are_not_there() -> None:
    mem = MemoryStore(4)
    assert [mem.get_size(table) for table in TABLE_NAMES] == [4, 0, 0, 0]
    with pytest.raises(AddressError, match="address 0 of the coil table: outside the memory, it has no bits"):
        mem.get_value(0, "coil")
    with pytest.raises(AddressError, match="address 0 of the input table: outside the memory, it has no words"):
        mem.set_value(0, 1, "input")
    with pytest.raises(DeclarationError, match=r"DOOR: a coil does not fit, .* no bits"):
        mem.DOOR = MemoryVariable.coil(0)
    with pytest.raises(DeclarationError, match="table 'coils' is none of holding, input, coil, discrete"):
        mem.get_value(0, "coils")


@pytest.mark.parametrize("keyword", ["input_registers", "coils", "discrete_inputs"])
def test_sizes_have_limits(keyword: str) -> None:
    bad: list[Any] = [-1, 65537, "8", 1.0, True, None]
    for size in bad:
        sizes: dict[str, Any] = {keyword: size}
        with pytest.raises(DeclarationError, match=f"size {size!r} of the .* table is not a number from 0 to 65536"):
            MemoryStore(8, **sizes)
    table = {"input_registers": "input", "coils": "coil", "discrete_inputs": "discrete"}[keyword]
    full: dict[str, Any] = {keyword: 65536}
    mem = MemoryStore(65536, **full)
    mem.set_value(65535, 1, table)
    assert (mem.get_value(65535, table), mem.get_size(table), len(mem)) == (1, 65536, 65536)


def test_the_last_cell_of_a_full_memory() -> None:
    mem = MemoryStore(65536, input_registers=65536, coils=65536, discrete_inputs=65536)
    mem.H = MemoryVariable.float64(65532)
    mem.I = MemoryVariable.int64(65532, table="input")
    mem.C = MemoryVariable.coil(65527, count=9)
    mem.D = MemoryVariable.discrete(65535)
    mem.H, mem.I, mem.C, mem.D = 1.5, -2, [True] * 9, True
    assert (mem.H, mem.I, mem.C, mem.D) == (1.5, -2, (True,) * 9, True)
    assert sum(image_of(mem).buffer) == sum(b"\x3f\xf8") + 8 * 255 - 1 + 0x80 + 0xFF + 0x80


def test_journals_name_the_cells_of_coils() -> None:
    mem = new()
    collector = Collector(image_of(mem))
    mem.set_value(9, 1, "coil")
    image_of(mem).accept("coil", 3, 6, lambda _old: b"\x3f")
    assert collector.journal.drain() == {
        Span("coil", 9, 1, 1, "coil[9]"): 1,
        Span("coil", 3, 6, 0b111111, "coil[3]"): 1,
    }
