"""Words to values and back, against `struct`."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msm import MemoryStore, MemoryVariable, ValueRangeError, ValueTypeError
from msm.memory.codec import BoolCodec, Codec, IntCodec, Orders, reverse_words

words = st.lists(st.integers(0, 0xFFFF), min_size=4, max_size=4)


def store(*values: int) -> MemoryStore:
    mem = MemoryStore(4)
    mem.BIT = MemoryVariable.bool(1, 0)
    mem.BYTE = MemoryVariable.byte(1, 0)
    mem.WORD = MemoryVariable.word(1)
    mem.LONG = MemoryVariable.uint32(1)
    if values:
        mem[0:4] = values
    return mem


# -- where bits lie


@given(words, st.integers(0, 3), st.integers(0, 15), st.booleans())
def test_bool(values: list[int], address: int, bit: int, value: bool) -> None:
    mem = store(*values)
    mem.X = MemoryVariable.bool(address, bit)
    assert mem.X is bool(values[address] >> bit & 1)
    mem.X = value
    assert mem.X is value
    values[address] = values[address] & ~(1 << bit) | value << bit
    assert mem[:] == values


@given(words, st.integers(0, 3), st.integers(0, 1), st.integers(0, 255))
def test_byte(values: list[int], address: int, number: int, value: int) -> None:
    mem = store(*values)
    mem.X = MemoryVariable.byte(address, number)
    assert struct.pack("<H", values[address])[number] == mem.X, "byte 0 is the low byte"
    mem.X = value
    assert value == mem.X
    raw = bytearray(struct.pack("<H", values[address]))
    raw[number] = value
    (values[address],) = struct.unpack("<H", raw)
    assert mem[:] == values


@given(words, st.integers(0, 3), st.integers(0, 0xFFFF))
def test_word(values: list[int], address: int, value: int) -> None:
    mem = store(*values)
    mem.X = MemoryVariable.word(address)
    assert values[address] == mem.X
    mem.X = value
    values[address] = value
    assert (mem.X, mem[:]) == (value, values)


@given(words, st.integers(0, 2), st.integers(0, 0xFFFFFFFF))
def test_uint32_is_laid_low_word_first(values: list[int], address: int, value: int) -> None:
    mem = store(*values)
    mem.X = MemoryVariable.uint32(address)
    (there,) = struct.unpack("<I", struct.pack("<HH", *values[address : address + 2]))
    assert there == mem.X
    mem.X = value
    values[address : address + 2] = struct.unpack("<HH", struct.pack("<I", value))
    assert (mem.X, mem[:]) == (value, values)


def test_the_value_of_the_quickstart() -> None:
    mem = store()
    mem.LONG = 99999
    assert mem[0:4] == [0, 34463, 1, 0]


@given(st.binary(max_size=32).filter(lambda raw: len(raw) % 2 == 0))
def test_reverse_words(raw: bytes) -> None:
    count = len(raw) // 2
    assert reverse_words(raw) == struct.pack(f">{count}H", *reversed(struct.unpack(f">{count}H", raw)))
    assert reverse_words(reverse_words(raw)) == raw


@pytest.mark.parametrize(
    ("codec", "values"),
    [
        *((BoolCodec("bool", bit), (False, True)) for bit in range(8)),
        (IntCodec("byte", 1, False, Orders()), (0, 1, 127, 128, 255)),
        (IntCodec("word", 2, False, Orders()), (0, 1, 255, 256, 65535)),
        (IntCodec("uint32", 4, False, Orders()), (0, 1, 65535, 65536, 0xFFFFFFFF)),
    ],
)
def test_round_trip(codec: Codec[Any], values: tuple[Any, ...]) -> None:
    for value in values:
        raw = codec.encode(value, "X")
        assert len(raw) == codec.size
        assert codec.decode(raw) == value
        assert codec.decode(bytearray(raw)) == value
        if codec.mask is not None:
            assert int.from_bytes(raw, "big") & ~codec.mask == 0, "bits outside the mask are 0"


# -- what is refused


class Five:
    def __index__(self) -> int:
        return 5


LIMITS = {"BYTE": 255, "WORD": 65535, "LONG": 4294967295}


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("beyond", [-1, 1, 10**30])
def test_out_of_range(name: str, beyond: int) -> None:
    mem = store(1, 2, 3, 4)
    value = beyond if beyond < 0 else LIMITS[name] + beyond
    with pytest.raises(ValueRangeError, match=f"^{name}: {value} is out of range.* 0 to {LIMITS[name]}$") as caught:
        setattr(mem, name, value)
    assert isinstance(caught.value, ValueError)
    assert mem[:] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [1.0, 2.5, "1", None, b"1", [1], 1j, float("nan")])
def test_wrong_types(name: str, value: Any) -> None:
    mem = store(1, 2, 3, 4)
    with pytest.raises(ValueTypeError, match=rf"^{name}: .*{type(value).__name__}.*takes an int") as caught:
        setattr(mem, name, value)
    assert isinstance(caught.value, TypeError)
    assert mem[:] == [1, 2, 3, 4]


@pytest.mark.parametrize("value", [2, -1, 1.0, 0.0, "True", None, b"", [], 10**30])
def test_what_is_no_bool(value: Any) -> None:
    mem = store(1, 2, 3, 4)
    with pytest.raises(ValueTypeError, match=r"^BIT: .*takes True, False, 0 or 1"):
        mem.BIT = value
    assert mem[:] == [1, 2, 3, 4]


@pytest.mark.parametrize(("value", "read"), [(True, True), (False, False), (1, True), (0, False)])
def test_what_is_a_bool(value: Any, read: bool) -> None:
    mem = store()
    mem.BIT = value
    assert mem.BIT is read


def test_what_counts_as_an_int() -> None:
    mem = store()
    for name in LIMITS:
        setattr(mem, name, Five())
        assert getattr(mem, name) == 5
        setattr(mem, name, True)
        assert type(getattr(mem, name)) is int
