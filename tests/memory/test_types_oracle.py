"""Every type against `struct` and against pymodbus' register conversion: two oracles that know nothing of MSM."""

# ruff: noqa: SIM300 - mem.X is not a constant

from __future__ import annotations

import itertools
import math
import struct
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.pdu.bit_message import ReadCoilsResponse

from msm import MemoryStore, MemoryVariable
from msm.memory.codec import Order
from msm.memory.store import image_of

ORDERS: tuple[Order, Order] = ("little", "big")
COMBINATIONS = list(itertools.product(ORDERS, ORDERS))

DATATYPE = ModbusClientMixin.DATATYPE

# For tests that are run for every type and every order: these are examples enough.
fewer = settings(max_examples=max(10, settings.default.max_examples // 4) if settings.default else 25)


class Number(NamedTuple):
    """A number type: its format for `struct`, and its name in pymodbus where it is known there."""

    kind: str
    format: str
    pymodbus: ModbusClientMixin.DATATYPE | None
    values: st.SearchStrategy[Any]

    @property
    def make(self) -> Any:
        return getattr(MemoryVariable, self.kind)


def integers(bits: int, signed: bool) -> st.SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high) | st.sampled_from([low, low + 1, 0, 1, high - 1, high])


def floats(width: Literal[16, 32, 64]) -> st.SearchStrategy[float]:
    return st.floats(width=width, allow_nan=False)


NUMBERS = [
    Number("word", "H", DATATYPE.UINT16, integers(16, False)),
    Number("uint16", "H", DATATYPE.UINT16, integers(16, False)),
    Number("int16", "h", DATATYPE.INT16, integers(16, True)),
    Number("uint32", "I", DATATYPE.UINT32, integers(32, False)),
    Number("int32", "i", DATATYPE.INT32, integers(32, True)),
    Number("uint64", "Q", DATATYPE.UINT64, integers(64, False)),
    Number("int64", "q", DATATYPE.INT64, integers(64, True)),
    Number("float16", "e", None, floats(16)),
    Number("float32", "f", DATATYPE.FLOAT32, floats(32)),
    Number("float64", "d", DATATYPE.FLOAT64, floats(64)),
]

every_number = pytest.mark.parametrize("number", NUMBERS, ids=[number.kind for number in NUMBERS])
every_order = pytest.mark.parametrize(("word_order", "byte_order"), COMBINATIONS)


def laid_out(value: bytes, word_order: Order, byte_order: Order) -> list[int]:
    """The words for a value whose bytes are given from the highest: the definition, in the plainest way."""
    words = [value[at : at + 2] for at in range(0, len(value), 2)]
    if word_order == "little":
        words.reverse()
    if byte_order == "little":
        words = [word[::-1] for word in words]
    return [word[0] * 256 + word[1] for word in words]


def same(one: Any, other: Any) -> bool:
    """Equal, and -0.0 is not 0.0."""
    return one == other and (not isinstance(one, float) or math.copysign(1, one) == math.copysign(1, other))


@every_number
@every_order
@fewer
@given(data=st.data())
def test_numbers_lie_as_struct_says(data: st.DataObject, number: Number, word_order: Order, byte_order: Order) -> None:
    value = data.draw(number.values)
    mem = MemoryStore(8)
    mem.X = number.make(2, word_order=word_order, byte_order=byte_order)
    words = laid_out(struct.pack(">" + number.format, value), word_order, byte_order)
    mem.X = value
    assert mem[:] == [0, 0, *words, *[0] * (6 - len(words))]
    assert same(mem.X, value)
    mem[:] = [0xFFFF] * 8
    mem[2 : 2 + len(words)] = words
    assert same(mem.X, value)


@every_number
@every_order
@fewer
@given(data=st.data())
def test_orders_of_the_store_are_those_of_its_variables(
    data: st.DataObject, number: Number, word_order: Order, byte_order: Order
) -> None:
    value = data.draw(number.values)
    mem = MemoryStore(4, word_order=word_order, byte_order=byte_order)
    mem.X = number.make(0)
    mem.X = value
    words = laid_out(struct.pack(">" + number.format, value), word_order, byte_order)
    assert mem[: len(words)] == words
    mem.X = number.make(0, word_order="big", byte_order="big")  # its own go before the store's
    mem.X = value
    assert mem[: len(words)] == laid_out(struct.pack(">" + number.format, value), "big", "big")


@pytest.mark.parametrize("number", [each for each in NUMBERS if each.pymodbus], ids=lambda each: each.kind)
@pytest.mark.parametrize("word_order", ORDERS)
@fewer
@given(data=st.data())
def test_numbers_lie_as_pymodbus_says(data: st.DataObject, number: Number, word_order: Order) -> None:
    assert number.pymodbus is not None
    value = data.draw(number.values)
    mem = MemoryStore(4)
    mem.X = number.make(0, word_order=word_order)
    mem.X = value
    words = ModbusClientMixin.convert_to_registers(value, number.pymodbus, word_order=word_order)
    assert mem[: len(words)] == words
    read = ModbusClientMixin.convert_from_registers(mem[: len(words)], number.pymodbus, word_order=word_order)
    assert same(read, mem.X)


@pytest.mark.parametrize("number", [each for each in NUMBERS if each.pymodbus], ids=lambda each: each.kind)
@fewer
@given(data=st.data())
def test_arrays_lie_as_pymodbus_says(data: st.DataObject, number: Number) -> None:
    assert number.pymodbus is not None
    values = data.draw(st.lists(number.values, min_size=2, max_size=4))
    mem = MemoryStore(20)
    mem.X = number.make(3, count=len(values), word_order="big")
    mem.X = values
    words = ModbusClientMixin.convert_to_registers(values, number.pymodbus)
    assert mem[:] == [0, 0, 0, *words, *[0] * (17 - len(words))]
    assert mem.X == tuple(values)


@every_number
@every_order
@fewer
@given(words=st.lists(st.integers(0, 65535), min_size=4, max_size=4))
def test_whatever_the_words_are_there_is_a_value(
    words: list[int], number: Number, word_order: Order, byte_order: Order
) -> None:
    size = struct.calcsize(number.format) // 2
    mem = MemoryStore(4)
    mem.X = number.make(0, word_order=word_order, byte_order=byte_order)
    mem[:] = words
    raw = struct.pack(f">{size}H", *laid_out(struct.pack(f">{size}H", *words[:size]), word_order, byte_order))
    (expected,) = struct.unpack(">" + number.format, raw)
    value = mem.X
    if math.isnan(expected):
        assert math.isnan(value)
    else:
        assert same(value, expected)
        mem[:] = [0] * 4
        mem.X = value
        assert mem[:size] == words[:size]


# -- strings

TEXTS = st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=12)


@pytest.mark.parametrize("byte_order", ORDERS)
@pytest.mark.parametrize("word_order", ORDERS)
@fewer
@given(text=TEXTS, spare=st.integers(0, 5))
def test_strings_lie_byte_after_byte(text: str, spare: int, word_order: Order, byte_order: Order) -> None:
    length = max(1, len(text) + spare)
    mem = MemoryStore(12, word_order=word_order)
    mem.X = MemoryVariable.string(1, length, byte_order=byte_order)
    before = [0xA5A5] * 12
    mem[:] = before
    mem.X = text
    cells = bytearray(struct.pack(">12H", *before))
    if byte_order == "little":
        cells[0::2], cells[1::2] = cells[1::2], cells[0::2]
    cells[2 : 2 + length] = text.encode().ljust(length, b"\x00")
    if byte_order == "little":
        cells[0::2], cells[1::2] = cells[1::2], cells[0::2]
    assert mem[:] == list(struct.unpack(">12H", cells))  # also the byte after an odd length, untouched
    assert mem.X == text


@given(text=TEXTS.filter(lambda text: len(text) % 2 == 0 and len(text) > 0))
def test_strings_lie_as_pymodbus_says(text: str) -> None:
    mem = MemoryStore(8)
    mem.X = MemoryVariable.string(0, len(text))
    mem.X = text
    words = ModbusClientMixin.convert_to_registers(text, DATATYPE.STRING)
    assert mem[: len(words)] == words
    assert ModbusClientMixin.convert_from_registers(words, DATATYPE.STRING) == mem.X


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252", "koi8-r"])
@fewer
@given(data=st.data())
def test_strings_of_other_encodings(encoding: str, data: st.DataObject) -> None:
    text = data.draw(st.text(st.characters(codec=encoding, exclude_characters="\0"), max_size=8))
    mem = MemoryStore(20)
    mem.X = MemoryVariable.string(0, 40, encoding)
    mem.X = text
    assert mem.X == text.encode(encoding).decode(encoding)
    assert struct.pack(">20H", *mem).rstrip(b"\x00") == text.encode(encoding)


# -- parts of words, bits and digits


@every_order
@fewer
@given(word=st.integers(0, 65535), bit=st.integers(0, 15), value=st.booleans())
def test_bools_are_bits_of_the_number(word: int, bit: int, value: bool, word_order: Order, byte_order: Order) -> None:
    mem = MemoryStore(3, word_order=word_order, byte_order=byte_order)
    mem.WORD = MemoryVariable.word(1)
    mem.X = MemoryVariable.bool(1, bit)
    mem.WORD = word
    assert mem.X is bool(word >> bit & 1)
    mem.X = value
    assert mem.WORD == word & ~(1 << bit) | value << bit
    assert (mem[0], mem[2]) == (0, 0)


@every_order
@fewer
@given(word=st.integers(0, 65535), number=st.integers(0, 1), value=st.integers(0, 255))
def test_bytes_are_halves_of_the_number(
    word: int, number: int, value: int, word_order: Order, byte_order: Order
) -> None:
    mem = MemoryStore(3, word_order=word_order, byte_order=byte_order)
    mem.WORD = MemoryVariable.word(1)
    mem.X = MemoryVariable.byte(1, number)
    mem.SIGNED = MemoryVariable.int8(1, number)
    mem.WORD = word
    assert mem.X == word >> 8 * number & 0xFF
    mem.X = value
    assert mem.WORD == word & ~(0xFF << 8 * number) | value << 8 * number
    (signed,) = struct.unpack("b", bytes([value]))
    assert (mem.X, mem.SIGNED) == (value, signed)
    mem.WORD = word
    mem.SIGNED = signed
    assert mem.X == value


@every_order
@fewer
@given(word=st.integers(0, 65535), first=st.integers(0, 15), data=st.data())
def test_runs_of_bits_are_bits_of_the_number(
    word: int, first: int, data: st.DataObject, word_order: Order, byte_order: Order
) -> None:
    length = data.draw(st.integers(1, 16 - first))
    value = data.draw(st.integers(0, 2**length - 1))
    mem = MemoryStore(3, word_order=word_order, byte_order=byte_order)
    mem.WORD = MemoryVariable.word(1)
    mem.X = MemoryVariable.bits(1, first, length)
    mem.WORD = word
    assert f"{mem.X:0{length}b}" == f"{word:016b}"[16 - first - length : 16 - first]
    mem.X = value
    digits = f"{word:016b}"
    assert f"{mem.WORD:016b}" == digits[: 16 - first - length] + f"{value:0{length}b}" + digits[16 - first :]
    assert (mem[0], mem[2]) == (0, 0)


@given(bits=st.lists(st.booleans(), min_size=16, max_size=16))
def test_bits_of_a_word_are_numbered_as_pymodbus_says(bits: list[bool]) -> None:
    # It packs them as coils travel, the first eight in the first byte: as MSM in a word with its bytes swapped.
    mem = MemoryStore(1, byte_order="little")
    for at in range(16):
        mem[f"B{at}"] = MemoryVariable.bool(0, at)
        mem[f"B{at}"] = bits[at]
    (word,) = ModbusClientMixin.convert_to_registers(bits, DATATYPE.BITS)
    assert mem[0] == word


@every_order
@pytest.mark.parametrize(("kind", "digits"), [("bcd16", 4), ("bcd32", 8)])
@fewer
@given(data=st.data())
def test_bcd_is_the_digits_in_hex(
    kind: str, digits: int, data: st.DataObject, word_order: Order, byte_order: Order
) -> None:
    value = data.draw(st.integers(0, 10**digits - 1))
    mem = MemoryStore(3, word_order=word_order, byte_order=byte_order)
    mem.X = getattr(MemoryVariable, kind)(1)
    mem.X = value
    words = laid_out(bytes.fromhex(f"{value:0{digits}}"), word_order, byte_order)
    assert mem[1 : 1 + len(words)] == words
    assert mem.X == value


@every_order
@pytest.mark.parametrize(("kind", "digits"), [("bcd16", 4), ("bcd32", 8)])
@fewer
@given(words=st.lists(st.integers(0, 65535), min_size=2, max_size=2))
def test_bcd_that_is_not_decimal_is_none(
    kind: str, digits: int, words: list[int], word_order: Order, byte_order: Order
) -> None:
    mem = MemoryStore(2, word_order=word_order, byte_order=byte_order)
    mem.X = getattr(MemoryVariable, kind)(0)
    mem[:] = words
    raw = struct.pack(f">{digits // 4}H", *words[: digits // 4])
    text = "".join(f"{word:04x}" for word in laid_out(raw, word_order, byte_order))
    assert mem.X == (int(text) if set(text) <= set("0123456789") else None)


# -- coils


@pytest.mark.parametrize(("kind", "table"), [("coil", "coil"), ("discrete", "discrete")])
@fewer
@given(address=st.integers(0, 19), data=st.data())
def test_coils_are_cells(kind: str, table: str, address: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.booleans(), min_size=1, max_size=20 - address))
    before = data.draw(st.lists(st.booleans(), min_size=20, max_size=20))
    mem = MemoryStore(1, coils=20, discrete_inputs=20)
    mem.X = getattr(MemoryVariable, kind)(address, count=len(values))
    mem.ONE = getattr(MemoryVariable, kind)(address)
    for at, bit in enumerate(before):
        mem.set_value(at, bit, table)
    mem.X = values
    after = [bool(mem.get_value(at, table)) for at in range(20)]
    assert after == [*before[:address], *values, *before[address + len(values) :]]
    assert mem.X == tuple(values)
    assert mem.ONE is values[0]
    mem.ONE = not values[0]
    assert mem.X == (not values[0], *values[1:])


@given(bits=st.lists(st.booleans(), min_size=1, max_size=40))
def test_coils_are_packed_as_pymodbus_says(bits: list[bool]) -> None:
    mem = MemoryStore(0, coils=64)
    mem.X = MemoryVariable.coil(3, count=len(bits))
    mem.X = bits
    reply = ReadCoilsResponse(bits=bits).encode()[1:]  # without the byte count
    assert image_of(mem).read("coil", 3, len(bits)) == reply


# -- points in time

SECONDS = st.datetimes(datetime(1970, 1, 1), datetime(2069, 12, 31, 23, 59, 59)).map(
    lambda moment: moment.replace(microsecond=0)
)
MILLISECONDS = st.datetimes(datetime(1970, 1, 1), datetime(2069, 12, 31, 23, 59, 59)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)


@every_order
@pytest.mark.parametrize(
    ("layout", "format_", "unit"), [("unix32", "I", 1), ("unix64", "Q", 1), ("unix64ms", "Q", 1000)]
)
@fewer
@given(data=st.data())
def test_counts_since_1970(
    layout: str, format_: str, unit: int, data: st.DataObject, word_order: Order, byte_order: Order
) -> None:
    last = 2**32 - 1 if format_ == "I" else 253402300799
    count = data.draw(st.integers(0, last * unit))
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=count * 1000 // unit)
    mem = MemoryStore(6)
    mem.X = MemoryVariable.datetime(1, layout, word_order=word_order, byte_order=byte_order)
    mem.X = moment
    words = laid_out(struct.pack(">" + format_, count), word_order, byte_order)
    assert mem[1 : 1 + len(words)] == words
    assert mem.X == moment
    zone = data.draw(st.integers(-14 * 60, 14 * 60))
    mem[:] = [0] * 6
    if datetime(1970, 1, 3, tzinfo=UTC) < moment < datetime(9999, 12, 30, tzinfo=UTC):
        mem.X = moment.astimezone(timezone(timedelta(minutes=zone)))
        assert mem[1 : 1 + len(words)] == words  # the same instant, wherever its clock hangs


def bcd(*numbers: int) -> bytes:
    return bytes.fromhex("".join(f"{number:02}" for number in numbers))


def expected_fields(layout: str, moment: datetime) -> bytes:
    """The bytes of a layout of fields, written down once more from its standard."""
    fields = (moment.month, moment.day, moment.hour, moment.minute, moment.second)
    milliseconds = moment.microsecond // 1000
    if layout == "words":
        return struct.pack(">6H", moment.year, *fields)
    if layout == "bcd":
        return bcd(moment.year % 100, *fields)
    if layout == "s7":
        weekday = (moment.weekday() + 1) % 7 + 1
        return bcd(moment.year % 100, *fields) + bytes.fromhex(f"{milliseconds:03}{weekday}")
    assert layout == "cp56"
    octets = struct.pack("<HBBBBB", moment.second * 1000 + milliseconds, moment.minute, moment.hour,
                         moment.isoweekday() << 5 | moment.day, moment.month, moment.year % 100)  # fmt: skip
    return b"\x00" + octets[::-1]


@every_order
@pytest.mark.parametrize(
    ("layout", "moments"), [("words", SECONDS), ("bcd", SECONDS), ("s7", MILLISECONDS), ("cp56", MILLISECONDS)]
)
@fewer
@given(data=st.data())
def test_fields_of_a_clock(
    layout: str, moments: st.SearchStrategy[datetime], data: st.DataObject, word_order: Order, byte_order: Order
) -> None:
    moment = data.draw(moments)
    mem = MemoryStore(8, word_order=word_order)
    mem.X = MemoryVariable.datetime(1, layout, byte_order=byte_order)
    mem.X = moment
    words = laid_out(expected_fields(layout, moment), "big", byte_order)  # word_order is for one number
    assert mem[1 : 1 + len(words)] == words
    assert mem.X == moment


@pytest.mark.parametrize("layout", ["unix32", "unix64", "unix64ms", "words", "bcd", "s7", "cp56"])
@fewer
@given(words=st.lists(st.integers(0, 65535), min_size=6, max_size=6))
def test_whatever_the_words_are_reading_a_time_raises_nothing(layout: str, words: list[int]) -> None:
    mem = MemoryStore(6)
    mem.X = MemoryVariable.datetime(0, layout)
    mem[:] = words
    value = mem.X
    assert value is None or isinstance(value, datetime)
    if value is not None:
        mem.X = value  # what can be read can be written
        assert mem.X == value
