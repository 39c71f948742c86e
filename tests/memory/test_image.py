"""The image: bytes, what was assigned, what a poll may change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msm import AddressError, DeclarationError
from msm.memory.image import Image
from msm.memory.journal import Span


def assign(image: Image, table: str, address: int, data: bytes, mask: int) -> None:
    width = image.tables[table].width
    cells = len(data) * 8 // width if width == 16 else len(data) * 8
    span = Span(table, address, cells, mask, "X")
    image.assign(span, image.region(span), data)


def test_words_are_kept_as_they_travel() -> None:
    image = Image(4, 4, 0, 0)
    assign(image, "holding", 1, b"\x12\x34\x56\x78", 0xFFFFFFFF)
    assert image.read("holding", 0, 4) == b"\0\0\x12\x34\x56\x78\0\0"
    assert image.read("input", 0, 4) == bytes(8)


def test_only_the_bits_of_the_mask_change() -> None:
    image = Image(2, 0, 0, 0)
    assign(image, "holding", 0, b"\xff\xff\xff\xff", 0xFFFFFFFF)
    assign(image, "holding", 0, b"\x00\x00\x00\x00", 0x0000F00F)
    assert image.read("holding", 0, 2) == b"\xff\xff\x0f\xf0"


def bits_of(raw: bytes, count: int) -> list[int]:
    return [raw[at // 8] >> at % 8 & 1 for at in range(count)]


def pack(bits: list[int]) -> bytes:
    raw = bytearray((len(bits) + 7) // 8)
    for at, bit in enumerate(bits):
        raw[at // 8] |= bit << at % 8
    return bytes(raw)


@given(st.integers(0, 39), st.lists(st.integers(0, 1), min_size=1, max_size=40), st.integers(0, 1))
def test_bits_at_any_address(address: int, bits: list[int], before: int) -> None:
    bits = bits[: 40 - address]
    image = Image(1, 0, 40, 5)
    image.accept("coil", 0, 40, lambda _: pack([before] * 40))
    image.accept("coil", address, len(bits), lambda _: pack(bits))
    expected = [before] * 40
    expected[address : address + len(bits)] = bits
    assert bits_of(image.read("coil", 0, 40), 40) == expected
    assert bits_of(image.read("coil", address, len(bits)), len(bits)) == bits
    assert image.read("discrete", 0, 5) == b"\0"
    assert image.read("holding", 0, 1) == b"\0\0"
    image.merge("coil", address, len(bits), lambda ours: pack([1 - bit for bit in bits_of(ours, len(bits))]))
    expected[address : address + len(bits)] = [1 - bit for bit in bits]
    assert bits_of(image.read("coil", 0, 40), 40) == expected


def test_a_change_sees_the_cells_as_they_are() -> None:
    image = Image(2, 0, 0, 0)
    assign(image, "holding", 0, b"\x12\x34\x56\x78", 0xFFFFFFFF)
    seen: list[bytes] = []

    def change(old: bytes) -> bytes:
        seen.append(old)
        return b"\xab\xcd"

    image.accept("holding", 1, 1, change)
    image.merge("holding", 0, 1, change)
    assert seen == [b"\x56\x78", b"\x12\x34"]
    assert image.read("holding", 0, 2) == b"\xab\xcd\xab\xcd"


def test_the_lock_is_free_when_a_change_fails() -> None:
    image = Image(1, 0, 0, 0)

    def fail(_: bytes) -> bytes:
        raise ZeroDivisionError

    for verb in (image.accept, image.merge):
        with pytest.raises(ZeroDivisionError):
            verb("holding", 0, 1, fail)
        assert not image.lock.locked()
    assert image.read("holding", 0, 1) == b"\0\0"


@pytest.mark.parametrize(("address", "count"), [(0, 1), (3, 1), (0, 4), (4, 0)])
def test_addresses_inside(address: int, count: int) -> None:
    assert Image(4, 0, 0, 0).table("holding").check(address, count) == address


@pytest.mark.parametrize(("address", "count"), [(4, 1), (-1, 1), (0, 5), (3, 2), (5, 0), (True, 1), (1.0, 1), ("1", 1)])
def test_addresses_outside(address: object, count: int) -> None:
    with pytest.raises(AddressError):
        Image(4, 0, 0, 0).table("holding").check(address, count)


def test_tables() -> None:
    image = Image(1, 2, 3, 4)
    assert [(table.name, table.size, table.width) for table in image.tables.values()] == [
        ("holding", 1, 16),
        ("input", 2, 16),
        ("coil", 3, 1),
        ("discrete", 4, 1),
    ]
    with pytest.raises(DeclarationError):
        image.table("register")
    with pytest.raises(AddressError, match="no bits"):
        Image(1, 0, 0, 0).table("coil").check(0)
