"""`MemoryVariable`: the declaration itself."""

from __future__ import annotations

from typing import assert_type

import pytest

from msm import MemoryStore, MemoryVariable
from msm.memory.store import image_of, revision_of, spans_of


class Typed(MemoryStore, size=8):
    flag = MemoryVariable.bool(0, 3)
    small = MemoryVariable.byte(1, 1)
    word = MemoryVariable.word(2)
    long = MemoryVariable.uint32(4)


def test_types_are_known_to_a_type_checker() -> None:
    store = Typed()
    assert_type(store.flag, bool)
    assert_type(store.small, int)
    assert_type(store.long, int)
    assert_type(Typed.flag, MemoryVariable[bool])
    assert_type(Typed.word, MemoryVariable[int])


def test_read_on_the_class_it_is_the_declaration() -> None:
    assert (Typed.long.name, Typed.long.kind, Typed.long.address, Typed.long.table) == ("long", "uint32", 4, "holding")
    assert repr(Typed.word) == "<MemoryVariable word: word at holding 2>"
    assert "no name" in repr(MemoryVariable.word(0))


def test_a_declaration_is_told_apart_from_its_copies() -> None:
    variable = MemoryVariable.word(2)
    named = variable.named("A")
    assert named.named("A") is named
    assert named.named("B").name == "B"
    assert (named.name, variable.name) == ("A", "")


@pytest.mark.parametrize(
    ("variable", "span"),
    [
        (MemoryVariable.word(2), (2, 1, 0xFFFF)),
        (MemoryVariable.uint32(2), (2, 2, 0xFFFFFFFF)),
        (MemoryVariable.byte(2, 0), (2, 1, 0x00FF)),
        (MemoryVariable.byte(2, 1), (2, 1, 0xFF00)),
        *((MemoryVariable.bool(2, bit), (2, 1, 1 << bit)) for bit in range(16)),
    ],
)
def test_the_bits_that_a_variable_covers(variable: MemoryVariable[int], span: tuple[int, int, int]) -> None:
    mem = MemoryStore(8)
    mem.X = variable
    (there,) = spans_of(mem)
    assert (there.table, there.address, there.cells, there.mask, there.name) == ("holding", *span, "X")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        (MemoryVariable.word(2), 0xFFFF),
        (MemoryVariable.uint32(2), 0xFFFFFFFF),
        (MemoryVariable.byte(2, 0), 255),
        (MemoryVariable.byte(2, 1), 255),
        *((MemoryVariable.bool(2, bit), True) for bit in range(16)),
    ],
)
def test_assigning_changes_these_bits_and_no_other(variable: MemoryVariable[int], value: int) -> None:
    mem = MemoryStore(8)
    mem.X = variable
    (span,) = spans_of(mem)
    mem.X = value
    assert int.from_bytes(image_of(mem).read("holding", span.address, span.cells), "big") == span.mask
    assert sum(mem[:]) == sum(mem[span.address : span.address + span.cells])
    mem[0:8] = [0xFFFF] * 8
    mem.X = 0
    assert int.from_bytes(image_of(mem).read("holding", span.address, span.cells), "big") == span.mask ^ (
        (1 << 16 * span.cells) - 1
    )


def test_every_declaration_is_noticed() -> None:
    mem = MemoryStore(8)
    seen = {revision_of(mem)}
    mem.A = MemoryVariable.word(0)
    seen.add(revision_of(mem))
    mem.A = 5
    seen.add(revision_of(mem))
    mem.A = MemoryVariable.word(1)
    seen.add(revision_of(mem))
    del mem.A
    seen.add(revision_of(mem))
    assert len(seen) == 4
