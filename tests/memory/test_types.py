"""Every type of value: a row for each constructor with what it takes, and what it refuses and says."""

# ruff: noqa: SIM300 - mem.X is not a constant

from __future__ import annotations

import copy
import dataclasses
import enum
import math
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msm import (
    DeclarationError,
    MemoryStore,
    MemoryVariable,
    MsmError,
    UnknownEnumValue,
    ValueRangeError,
    ValueTypeError,
)
from msm.memory.store import image_of
from msm.memory.variable import KINDS, keywords_of

V = MemoryVariable


class State(enum.Enum):
    OFF = 0
    ON = 1
    ERROR = 9


class Fault(enum.Flag):
    HOT = 1
    COLD = 2
    WET = 8


class Letters(enum.Enum):
    A = "a"


class Big(enum.Enum):
    LOW = -70000
    HIGH = 70000


class Few(enum.IntEnum):
    LOW = -1


class Loose(enum.IntFlag):
    A = 1
    B = 2


class Row(NamedTuple):
    """What a constructor takes, what it refuses, and what the message has to say."""

    declare: Callable[..., MemoryVariable[Any]]
    takes: list[Any]
    too_much: list[Any]
    limit: str
    wrong: list[Any]
    wanted: str


TEXT: Any = "40"  # the commonest wrong value: the text of an input field
NOT_INTS: list[Any] = [TEXT, 1.0, 1.5, None, [1], b"1", math.nan]
NOT_FLOATS: list[Any] = [TEXT, None, [1.0], b"1", 1j]
NOT_BOOLS: list[Any] = [2, -1, "on", TEXT, None, 1.0, [True]]


def ints(kind: str, low: int, high: int, *arguments: int) -> Row:
    def declare(**keywords: Any) -> MemoryVariable[Any]:
        return getattr(V, kind)(1, *arguments, **keywords)  # type: ignore[no-any-return]

    over = [low - 1, high + 1, -(10**30), 10**30]
    return Row(declare, [low, low + 1, 0, 1, high - 1, high, True], over, f"{low} to {high}", NOT_INTS, "an int")


def floats(kind: str, over: list[Any], limit: str) -> Row:
    def declare(**keywords: Any) -> MemoryVariable[Any]:
        return getattr(V, kind)(1, **keywords)  # type: ignore[no-any-return]

    takes = [0.0, 0.5, -2.0, 3, math.inf, -math.inf, Fraction(1, 4), True]
    return Row(declare, takes, over, limit, NOT_FLOATS, "a number")


ROWS: dict[str, Row] = {
    "bool": Row(lambda **k: V.bool(1, 9, **k), [True, False, 1, 0], [], "", NOT_BOOLS, "True, False, 0 or 1"),
    "byte": ints("byte", 0, 255, 1),
    "int8": ints("int8", -128, 127, 0),
    "word": ints("word", 0, 65535),
    "uint16": ints("uint16", 0, 65535),
    "int16": ints("int16", -32768, 32767),
    "uint32": ints("uint32", 0, 4294967295),
    "int32": ints("int32", -2147483648, 2147483647),
    "uint64": ints("uint64", 0, 18446744073709551615),
    "int64": ints("int64", -9223372036854775808, 9223372036854775807),
    "float16": floats("float16", [65520.0, -1e9], "-65504.0 to 65504.0"),
    "float32": floats("float32", [3.5e38, -1e300], "-3.4028234663852886e+38 to 3.4028234663852886e+38"),
    "float64": floats("float64", [10**400], "too large for a float64"),
    "bcd16": ints("bcd16", 0, 9999),
    "bcd32": ints("bcd32", 0, 99999999),
    "string": Row(
        lambda **k: V.string(1, 5, **k), ["", "a", "Press"], ["Press1", "é", "a\0b"], "", [5, None, b"Press", ["a"]],
        "a str",
    ),
    "bits": ints("bits", 0, 7, 4, 3),
    "enum": Row(
        lambda **k: V.enum(State, 1, **k), [State.OFF, State.ERROR], [2, 10, -1], "OFF (0), ON (1), ERROR (9)",
        ["ON", None, 1.0, True, Fault.HOT], "a member of State",
    ),
    "flags": Row(
        lambda **k: V.flags(Fault, 1, **k), [Fault.HOT, Fault.HOT | Fault.WET, Fault(0)], [4, 64],
        "HOT (1), COLD (2), WET (8)", ["HOT", None, 1.0, True, State.ON], "a member of Fault",
    ),
    "datetime": Row(
        lambda **k: V.datetime(1, "bcd", **k), [datetime(1970, 1, 1), datetime(2069, 12, 31, 23, 59, 59)],
        [datetime(1969, 12, 31), datetime(2070, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)], "bcd",
        ["2024-01-01", 0, None, datetime(2024, 1, 1).date()], "a datetime",
    ),
    "coil": Row(lambda **k: V.coil(3, **k), [True, False, 1, 0], [], "", NOT_BOOLS, "True, False, 0 or 1"),
    "discrete": Row(lambda **k: V.discrete(3, **k), [True, False, 1, 0], [], "", NOT_BOOLS, "True, False, 0 or 1"),
}  # fmt: skip

every_kind = pytest.mark.parametrize("kind", ROWS)


def store() -> MemoryStore:
    mem = MemoryStore(20, input_registers=20, coils=20, discrete_inputs=20)
    mem[:] = range(100, 120)
    return mem


def memory_of(mem: MemoryStore) -> bytes:
    return bytes(image_of(mem).buffer)


def test_every_constructor_has_its_row() -> None:
    assert set(ROWS) == set(KINDS)


@every_kind
def test_takes(kind: str) -> None:
    for value in ROWS[kind].takes:
        mem = store()
        mem.X = ROWS[kind].declare()
        mem.X = value
        assert mem.X == value
        assert type(mem.X) is not bool or kind in ("bool", "coil", "discrete")


@every_kind
def test_refuses_what_does_not_fit_and_changes_nothing(kind: str) -> None:
    row = ROWS[kind]
    mem = store()
    mem.LIMIT_SWITCH = row.declare()
    before = memory_of(mem)
    for value in row.too_much:
        with pytest.raises(ValueRangeError) as caught:
            mem.LIMIT_SWITCH = value
        message = str(caught.value)
        assert message.startswith("LIMIT_SWITCH: ")
        # An enum is told by its number, a long number is not worth repeating.
        assert kind == "datetime" or repr(value) in message
        assert row.limit in message or kind == "datetime"
        assert memory_of(mem) == before


@every_kind
def test_refuses_the_wrong_type_and_changes_nothing(kind: str) -> None:
    row = ROWS[kind]
    mem = store()
    mem.LIMIT_SWITCH = row.declare()
    before = memory_of(mem)
    for value in row.wrong:
        with pytest.raises(ValueTypeError) as caught:
            mem.LIMIT_SWITCH = value
        message = str(caught.value)
        assert message.startswith("LIMIT_SWITCH: ")
        assert repr(value) in message
        assert row.wanted in message
        assert memory_of(mem) == before


@every_kind
def test_lies_in_the_table_that_was_asked_for(kind: str) -> None:
    mem = store()
    row = ROWS[kind]
    if kind in ("coil", "discrete"):
        with pytest.raises(DeclarationError, match="X: table 'input'"):
            mem.X = row.declare(table="input")
        return
    mem.X = row.declare(table="input")
    before = mem[:]
    mem.X = row.takes[-1]
    assert mem.X == row.takes[-1]
    assert mem[:] == before
    with pytest.raises(DeclarationError, match="X: table 'coil'"):
        mem.X = row.declare(table="coil")


@every_kind
def test_says_which_keywords_it_takes(kind: str) -> None:
    values = {
        "access": "ro", "label": "a", "period": 1.0, "command": True, "heartbeat": 1.0, "word_order": "big",
        "byte_order": "big", "scale": 2, "offset": 1, "min": 0, "max": 1, "nan": 1, "unit": "V", "count": 2, "speed": 1,
        "behaviour": "ramp 0 1 1",
    }  # fmt: skip
    for keyword, value in values.items():
        mem = store()
        taken = keyword in keywords_of(kind)
        if kind == "string" and keyword == "count":
            variable: MemoryVariable[Any] = V.string(1, 4, count=2)
        else:
            variable = ROWS[kind].declare(**{keyword: value})
        if taken:
            mem.X = variable
            assert mem.variables()["X"].keywords[keyword] == value
        else:
            with pytest.raises(DeclarationError, match=f"X: {keyword}"):
                mem.X = variable
            assert "X" not in mem


@pytest.mark.parametrize("kind", [kind for kind in ROWS if "count" in keywords_of(kind)])
def test_arrays(kind: str) -> None:
    row = ROWS[kind]
    mem = store()
    mem.X = V.string(1, 6, count=3) if kind == "string" else row.declare(count=3)
    values = (row.takes * 3)[:3]
    mem.X = values
    assert mem.X == tuple(values)
    mem.X = iter(values)
    assert mem.X == tuple(values)
    before = memory_of(mem)
    for wrong, message in [
        (values[:2], "X: 2 items, the array has 3"),
        ([*values, values[0]], "X: 4 items, the array has 3"),
        ((), "X: 0 items"),
    ]:
        with pytest.raises(ValueRangeError, match=message):
            mem.X = wrong
    for value in ("abc", b"abc", 5, None):
        with pytest.raises(ValueTypeError, match=r"X: .* takes a sequence of 3, since it is an array"):
            mem.X = value
    for value in row.wrong:
        with pytest.raises(ValueTypeError) as caught:
            mem.X = [values[0], value, values[0]]
        assert str(caught.value).startswith("X[1]: ")
    assert memory_of(mem) == before


@pytest.mark.parametrize("count", [0, -1, 65537, 1.0, "3", True])
def test_a_count_that_is_none(count: Any) -> None:
    mem = store()
    for variable in (V.word(0, count=count), V.coil(0, count=count), V.string(0, 2, count=count)):
        with pytest.raises(DeclarationError, match=r"X: count .* is not a number from 1 to 65536"):
            mem.X = variable


def test_an_array_has_to_lie_in_the_memory() -> None:
    mem = MemoryStore(8, coils=8)
    mem.X = V.uint32(0, count=4)
    mem.Y = V.coil(3, count=5)
    with pytest.raises(DeclarationError, match=r"X: .*addresses 1 to 8 .* words 0 to 7"):
        mem.X = V.uint32(1, count=4)
    with pytest.raises(DeclarationError, match=r"Y: .*addresses 4 to 8 .* bits 0 to 7"):
        mem.Y = V.coil(4, count=5)
    with pytest.raises(DeclarationError, match=r"Z: length 3: the texts of an array"):
        mem.Z = V.string(0, 3, count=2)


# -- parts of words


def test_numbers_of_bits_and_bytes_have_limits() -> None:
    mem = store()
    bad: list[tuple[MemoryVariable[Any], str]] = [
        (V.bool(0, 16), "X: bit_number 16 is not a number from 0 to 15"),
        (V.bool(0, -1), "X: bit_number -1 is not a number from 0 to 15"),
        (V.byte(0, 2), "X: byte_number 2 is not a number from 0 to 1"),
        (V.int8(0, True), "X: byte_number True is not a number from 0 to 1"),
        (V.bits(0, 16, 1), "X: bit_number 16 is not a number from 0 to 15"),
        (V.bits(0, 12, 5), "X: length 5 is not a number from 1 to 4"),
        (V.bits(0, 0, 0), "X: length 0 is not a number from 1 to 16"),
        (V.string(0, 0), "X: length 0 is not a number from 1 to 131072"),
        (V.string(0, 4, "klingon"), "X: encoding 'klingon' is not known to Python"),
        (V.string(0, 4, "rot13"), "X: encoding 'rot13' is not known to Python"),
        (V.datetime(0, "sundial"), "X: layout 'sundial' is none of unix32, unix64, "),
        (V.enum(State, 0, bit_number=14, length=3), "X: length 3 is not a number from 1 to 2"),
        (V.enum(State, 0, bit_number=14), "X: State has 9, outside 0 to 3, which is what fits"),
        (V.enum(State, 0, size="byte"), "X: size 'byte' is none of word, int16, uint32, int32"),  # type: ignore[arg-type]
        (V.enum(Fault, 0, length=2), "X: Fault has 8, outside 0 to 3"),
        (V.enum(int, 0), "X: <class 'int'> is not a class derived from enum.Enum"),
        (V.flags(State, 0), "X: <enum 'State'> is not a class derived from enum.Flag"),
        (V.enum(Letters, 0), "X: Letters has members whose values are not whole numbers"),
        (V.word("3"), "X: address '3' is not a number from 0 to 65535"),  # type: ignore[call-overload]
        (V.word(-1), "X: address -1 is not a number from 0 to 65535"),
        (V.word(20), "X: a word does not fit, address 20 of the holding table: outside the memory, it has words 0 to"),
    ]  # fmt: skip
    for variable, message in bad:
        with pytest.raises(DeclarationError) as caught:
            mem.X = variable
        assert message in str(caught.value)
        assert "X" not in mem


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        ("access", "r", "access 'r' is none of rw, ro, wo"),
        ("word_order", "middle", "word_order 'middle' is neither 'little' nor 'big'"),
        ("byte_order", 1, "byte_order 1 is neither"),
        ("scale", 0, "scale 0 makes every value the same"),
        ("scale", "0.1", "scale '0.1' is not a number"),
        ("scale", math.inf, "scale inf is not a finite number"),
        ("offset", math.nan, "offset nan is not a number"),
        ("min", "0", "min '0' is not a number"),
        ("nan", "x", "nan 'x' is not a number"),
        ("nan", 65536, "nan: 65536 is out of range"),
        ("nan", 1.5, "nan: 1.5 is a float"),
        ("unit", 5, "unit 5 is not a str"),
        ("label", None.__class__, "label <class 'NoneType'> is not a str"),
        ("behaviour", 5, "behaviour 5 is not a str"),
        ("period", 0, "period 0 is not a number of seconds"),
        ("heartbeat", "1", "heartbeat '1' is not a number of seconds"),
        ("command", 1, "command 1 is not a bool"),
    ],
)
def test_keywords_have_limits(keyword: str, value: object, message: str) -> None:
    mem = store()
    with pytest.raises(DeclarationError) as caught:
        mem.SPEED = V.word(0, **{keyword: value})  # type: ignore[call-overload]
    assert str(caught.value).startswith("SPEED: ")
    assert message in str(caught.value)


def test_min_above_max() -> None:
    mem = store()
    with pytest.raises(DeclarationError, match="X: min 5 is above max 4"):
        mem.X = V.word(0, min=5, max=4)


# -- strings


def test_the_first_zero_ends_a_text() -> None:
    mem = store()
    mem.X = V.string(0, 6)
    mem[0:3] = [0x4100, 0x4242, 0x4300]
    assert mem.X == "A"


def test_bytes_that_are_no_text_are_replaced() -> None:
    mem = store()
    mem.X = V.string(0, 2)
    mem[0] = 0x41FF
    assert mem.X == "A�"
    mem.Y = V.string(0, 3, "utf-8")
    mem[0:2] = [0x41C3, 0x0000]  # a character cut in two
    assert mem.Y == "A�"


def test_texts_say_what_does_not_fit() -> None:
    mem = store()
    mem.X = V.string(0, 4)
    mem.U = V.string(4, 3, "utf-8")
    with pytest.raises(ValueRangeError, match="X: 'Press' takes 5 bytes, there is room for 4"):
        mem.X = "Press"
    with pytest.raises(ValueRangeError, match="X: 'é' in 'café' cannot be written in ascii"):
        mem.X = "café"
    with pytest.raises(ValueRangeError, match="U: 'éé' takes 4 bytes, there is room for 3"):
        mem.U = "éé"
    with pytest.raises(ValueRangeError, match=r"X: .* has a zero in it"):
        mem.X = "a\0b"
    mem.U = "éa"
    assert mem.U == "éa"


def test_a_shorter_text_leaves_nothing_of_the_longer_one() -> None:
    mem = store()
    mem.X = V.string(0, 6)
    mem.X = "Press"
    mem.X = "Go"
    assert mem[0:3] == [0x476F, 0, 0]


# -- scale, offset, limits


@given(raw=st.integers(-32768, 32767), exponent=st.integers(0, 6), offset=st.integers(-300, 300))
def test_decimal_scales_read_exactly(raw: int, exponent: int, offset: int) -> None:
    """0.1 steps are 0.1 steps: 3 * 0.1 is read as 0.3."""
    mem = MemoryStore(1)
    mem.RAW = V.int16(0)
    mem.X = V.int16(0, scale=float(f"1e-{exponent}"), offset=offset)
    mem.RAW = raw
    exact = Fraction(raw, 10**exponent) + offset
    assert mem.X == float(exact)
    mem.X = mem.X
    assert mem.RAW == raw


@given(
    raw=st.integers(-32768, 32767),
    scale=st.floats(1e-6, 1e6) | st.floats(-1e6, -1e-6),
    offset=st.floats(-1000, 1000),
)
def test_what_is_read_can_be_assigned(raw: int, scale: float, offset: float) -> None:
    mem = MemoryStore(1)
    mem.RAW = V.int16(0)
    mem.X = V.int16(0, scale=scale, offset=offset)
    mem.RAW = raw
    value = mem.X
    assert value == pytest.approx(raw * scale + offset, rel=1e-9, abs=1e-9)
    if abs(offset) < abs(scale) * 1e6:  # else the offset has swallowed the steps
        mem.X = value
        assert mem.RAW == raw


@given(value=st.floats(-3276.8, 3276.7), scale=st.sampled_from([0.1, -0.1, 0.25]))
def test_rounds_to_the_nearest_raw_value(value: float, scale: float) -> None:
    mem = MemoryStore(1)
    mem.RAW = V.int16(0)
    mem.X = V.int16(0, scale=scale)
    step = Fraction(str(scale))
    exact = Fraction(value) / step
    try:
        mem.X = value
    except ValueRangeError:
        assert not -32768 <= round(exact) <= 32767
    else:
        assert abs(exact - mem.RAW) <= Fraction(1, 2) + Fraction(1, 10**9)


@pytest.mark.parametrize(
    "kind", ["byte", "bits", "word", "int16", "uint32", "int64", "bcd16", "float16", "float32", "float64"]
)
@pytest.mark.parametrize("value", [1e300, -1e300, 1.7e308, math.inf, math.nan, 10**400])
def test_a_scaled_value_that_does_not_fit(kind: str, value: float) -> None:
    mem = store()
    arguments = {"byte": (0,), "bits": (2, 5)}.get(kind, ())
    mem.X = getattr(V, kind)(1, *arguments, scale=1e-9, offset=3)
    before = memory_of(mem)
    if kind.startswith("float") and not (isinstance(value, int) or math.isfinite(value)):
        mem.X = value  # these are floats too
        assert str(mem.X) == str(value)
        return
    with pytest.raises(ValueRangeError) as caught:
        mem.X = value
    assert str(caught.value).startswith(f"X: {value!r} ")
    assert memory_of(mem) == before


def test_a_scaled_limit_is_told_exactly() -> None:
    mem = store()
    mem.X = V.uint32(0, scale=0.01)
    with pytest.raises(ValueRangeError, match=r"X: 42949673.0 .*takes 0.0 to 42949672.95"):
        mem.X = 42949673.0
    mem.X = 42949672.95
    assert mem[0:2] == [0xFFFF, 0xFFFF]
    mem.Y = V.int16(0, scale=-0.5, offset=1)
    with pytest.raises(ValueRangeError, match=r"takes -16382.5 to 16385.0"):
        mem.Y = 16386


def test_a_scale_of_wrong_values() -> None:
    mem = store()
    mem.X = V.word(0, scale=0.1)
    for value in NOT_FLOATS:
        with pytest.raises(ValueTypeError, match=r"X: .* takes a number"):
            mem.X = value


def test_bcd_with_a_scale() -> None:
    mem = store()
    mem.X = V.bcd16(0, scale=0.01)
    mem.X = 12.34
    assert (mem[0], mem.X) == (0x1234, 12.34)
    mem[0] = 0x12A4
    assert mem.X is None


def test_an_array_with_a_scale() -> None:
    mem = store()
    mem.X = V.int16(0, count=3, scale=0.1)
    mem.X = [0.3, -0.1, 7]
    assert mem.X == (0.3, -0.1, 7.0)
    assert mem[0:3] == [3, 0xFFFF, 70]
    with pytest.raises(ValueRangeError, match=r"X\[2\]: 5000 is out of range"):
        mem.X = [0, 0, 5000]


def test_numbers_of_numpy_are_numbers() -> None:
    class Float64(float):  # as numpy.float64 is one
        def __repr__(self) -> str:
            return f"np.float64({float(self)})"

        __str__ = float.__repr__

    mem = store()
    mem.X = V.int16(0, scale=Float64(0.1))
    mem.X = Float64(0.3)
    assert mem.X == 0.3


def test_limits() -> None:
    mem = store()
    mem.X = V.int16(0, min=-5, max=1234567)
    mem.S = V.int16(1, scale=0.1, min=0, max=40)
    mem.T = V.float32(2, max=1)
    mem.A = V.int16(4, count=2, min=0)
    mem[0] = 65530
    assert mem.X == -6  # what the device says is not checked
    for name, value, message in [
        ("X", -6, "X: -6 is outside its limits, min -5 and max 1234567"),
        ("S", 40.1, "S: 40.1 is outside its limits, min 0 and max 40"),
        ("S", -0.1, "S: -0.1 is outside its limits"),
        ("T", math.nan, "T: nan is outside its limits, max 1"),
        ("A", (0, -1), r"A[1]: -1 is outside its limits"),
    ]:
        before = memory_of(mem)
        with pytest.raises(ValueRangeError) as caught:
            mem[name] = value
        assert message in str(caught.value)
        assert memory_of(mem) == before
    mem.S = 40
    mem.X = -5
    assert (mem.S, mem.X) == (40.0, -5)
    with pytest.raises(ValueTypeError, match="X: 'no' is a str"):
        mem.X = "no"


# -- no value


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        (V.int16(0, nan=-32768), [0x8000]),
        (V.uint16(0, nan=0xFFFF), [0xFFFF]),
        (V.uint32(0, nan=0xFFFFFFFF), [0xFFFF, 0xFFFF]),
        (V.int16(0, nan=-32768, scale=0.1, min=-100, max=100), [0x8000]),
        (V.uint64(0, nan=1, word_order="big"), [0, 0, 0, 1]),
        (V.byte(0, 0, nan=255), [0xFF]),
        (V.bits(0, 4, 4, nan=15), [0xF0]),
        (V.bcd16(0, nan=9999), [0x9999]),
        (V.float32(0, nan=-9999.0, word_order="big"), [0xC61C, 0x3C00]),
        (V.float32(0, nan=math.nan, word_order="big"), [0x7FC0, 0]),
        (V.float64(0, nan=math.nan, scale=2, word_order="big"), [0x7FF8, 0, 0, 0]),
    ],
)
def test_the_raw_value_for_none(variable: MemoryVariable[Any], words: list[int]) -> None:
    mem = MemoryStore(4)
    mem.X = variable
    mem[0 : len(words)] = words
    assert mem.X is None
    mem.X = 5
    assert mem.X == 5
    mem.X = None
    assert mem[0 : len(words)] == words
    assert mem.X is None


def test_bits_beside_do_not_make_it_none() -> None:
    mem = MemoryStore(1)
    mem.X = V.bits(0, 4, 4, nan=15)
    mem.B = V.byte(0, 0, nan=255)
    mem[0] = 0xABF3
    assert mem.X is None
    assert mem.B == 0xF3
    mem[0] = 0x00FF
    assert mem.B is None


@pytest.mark.parametrize("words", [[0x7FC0, 0], [0xFFC0, 0], [0x7F80, 1], [0xFFFF, 0xFFFF], [0x7FFF, 0xFFFF]])
def test_every_pattern_of_nan_is_none(words: list[int]) -> None:
    mem = MemoryStore(4)
    mem.X = V.float32(0, word_order="big", nan=math.nan)
    mem.A = V.float32(0, word_order="big", nan=math.nan, count=2)
    mem.PLAIN = V.float32(0, word_order="big")
    mem[0:2] = words
    assert mem.X is None
    assert mem.A == (None, 0.0)
    assert math.isnan(mem.PLAIN)
    mem[0:2] = [0x7F80, 0]
    assert mem.X == math.inf


def test_none_where_there_is_no_none() -> None:
    mem = store()
    mem.X = V.word(0)
    with pytest.raises(ValueTypeError, match="X: None is a NoneType, a word takes an int"):
        mem.X = None


# -- enums


def test_enums_give_and_take_members() -> None:
    mem = store()
    mem.X = V.enum(State, 0)
    mem.X = State.ERROR
    assert mem.X is State.ERROR
    assert mem[0] == 9
    mem.X = 1  # the number of a member is one too
    assert mem.X is State.ON


@pytest.mark.parametrize("variable", [V.enum(State, 0), V.enum(State, 0, bit_number=4), V.enum(State, 0, size="int32")])
def test_an_unknown_number_says_so(variable: MemoryVariable[Any]) -> None:
    mem = MemoryStore(2)
    mem.X = variable
    mem[0] = 7 << (variable.arguments["bit_number"] or 0)
    value = mem.X
    assert isinstance(value, UnknownEnumValue)
    assert value == 7
    assert value + 1 == 8
    assert hash(value) == hash(7)
    assert value.enum_type is State
    assert repr(value) == str(value) == f"{value}" == "<State: unknown 7>"
    assert not isinstance(value, State)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_an_unknown_number_can_be_copied(again: Callable[[Any], Any]) -> None:
    value = again(UnknownEnumValue(7, State))
    assert (value, value.enum_type, type(value)) == (7, State, UnknownEnumValue)


def test_an_info_with_an_unknown_number_can_be_made_a_dict() -> None:
    mem = store()
    mem.X = V.enum(State, 0)
    assert dataclasses.asdict(mem.info("X"))["value"] == 100


def test_enums_in_part_of_a_word() -> None:
    mem = store()
    mem.X = V.enum(State, 0, bit_number=4, length=4)
    mem[0] = 0xABCD
    mem.X = State.ERROR
    assert mem[0] == 0xAB9D


def test_enums_of_more_sizes() -> None:
    mem = store()
    mem.X = V.enum(Big, 0, size="int32", word_order="big")
    mem.X = Big.LOW
    assert mem.X is Big.LOW
    assert mem[0:2] == [0xFFFE, 0xEE90]
    mem.Y = V.enum(Few, 0, size="int16")
    with pytest.raises(DeclarationError, match="Z: Few has -1, outside 0 to 65535"):
        mem.Z = V.enum(Few, 0)


def test_flags() -> None:
    mem = store()
    mem.X = V.flags(Fault, 0)
    mem.HOT = V.bool(0, 0)
    mem[0] = 0
    assert mem.X == Fault(0)
    mem.X = Fault.HOT | Fault.WET
    assert (mem[0], mem.X, mem.HOT) == (9, Fault.HOT | Fault.WET, True)
    mem.X = mem.X & ~Fault.HOT
    assert mem.X is Fault.WET
    mem[0] = 4 | 1
    assert isinstance(mem.X, UnknownEnumValue)
    assert mem.X == 5


def test_flags_that_keep_unknown_bits() -> None:
    mem = store()
    mem.X = V.flags(Loose, 0)
    mem[0] = 0x8001
    assert mem.X == 0x8001
    assert Loose.A in mem.X
    mem.X = mem.X | Loose.B
    assert mem[0] == 0x8003


# -- points in time


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ("words", [2024, 13, 1, 0, 0, 0]),
        ("words", [2023, 2, 29, 0, 0, 0]),
        ("words", [0, 0, 0, 0, 0, 0]),
        ("words", [65535] * 6),
        ("bcd", [0x2402, 0x3000, 0x0000]),
        ("bcd", [0x24AB, 0x0100, 0x0000]),
        ("bcd", [0, 0, 0]),
        ("s7", [0x2402, 0x0124, 0x0000, 0x0000]),
        ("s7", [0, 0, 0, 0]),
        ("cp56", [0x0018, 0x0201, 0x0080, 0x0000]),  # marked as invalid
        ("cp56", [0x0018, 0x0201, 0x003C, 0x0000]),  # minute 60
        ("cp56", [0x0018, 0x0201, 0x0000, 0xEA60]),  # 60000 milliseconds
        ("cp56", [0, 0, 0, 0]),
        ("unix64", [0xFFFF] * 4),
        ("unix64ms", [0xFFFF] * 4),
    ],
)
def test_words_that_are_no_date_are_none(layout: str, words: list[int]) -> None:
    mem = MemoryStore(6)
    mem.X = V.datetime(0, layout)
    mem[0 : len(words)] = words
    assert mem.X is None


def test_counts_are_instants_and_fields_are_a_clock() -> None:
    mem = MemoryStore(6)
    mem.COUNT = V.datetime(0, "unix32")
    mem.CLOCK = V.datetime(0, "words")
    assert mem.COUNT == datetime(1970, 1, 1, tzinfo=UTC)
    before = mem[:]
    with pytest.raises(ValueRangeError, match="COUNT: 2024-01-01 00:00:00 has no time zone"):
        mem.COUNT = datetime(2024, 1, 1)
    with pytest.raises(ValueRangeError, match=r"CLOCK: 2024-01-01 00:00:00\+00:00 has a time zone"):
        mem.CLOCK = datetime(2024, 1, 1, tzinfo=UTC)
    assert mem[:] == before


@pytest.mark.parametrize("layout", ["unix32", "unix64", "unix64ms"])
def test_new_years_night_in_another_time_zone(layout: str) -> None:
    mem = MemoryStore(4)
    mem.X = V.datetime(0, layout)
    moment = datetime.fromisoformat("2024-01-01T00:30:00+02:00")  # 2023 in UTC
    mem.X = moment
    assert mem.X == moment


@pytest.mark.parametrize(
    ("layout", "moment"),
    [
        ("unix32", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("unix32", datetime(2106, 2, 7, 6, 28, 16, tzinfo=UTC)),
        ("unix64", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("bcd", datetime(1969, 1, 1)),
        ("bcd", datetime(2070, 1, 1)),
        ("s7", datetime(2070, 1, 1)),
        ("cp56", datetime(1969, 12, 31)),
        ("cp56", datetime(2070, 1, 1)),
    ],
)
def test_the_years_that_a_layout_can_say(layout: str, moment: datetime) -> None:
    mem = MemoryStore(6)
    mem.WHEN = V.datetime(0, layout)
    with pytest.raises(ValueRangeError, match=f"WHEN: .* is outside what {layout} can say"):
        mem.WHEN = moment
    assert not any(mem)


@pytest.mark.parametrize(
    ("layout", "moment", "words"),
    [
        ("unix32", datetime(2106, 2, 7, 6, 28, 15, tzinfo=UTC), [0xFFFF, 0xFFFF]),
        ("bcd", datetime(1999, 12, 31, 23, 59, 58), [0x9912, 0x3123, 0x5958]),
        # Siemens' own example: 2008-10-25-08:12:34.567, a Saturday (7)
        ("s7", datetime(2008, 10, 25, 8, 12, 34, 567000), [0x0810, 0x2508, 0x1234, 0x5677]),
        ("cp56", datetime(2024, 2, 29, 13, 45, 59, 999000), [0x0018, 0x029D, 0x0D2D, 0xEA5F]),
        ("words", datetime(9999, 12, 31, 23, 59, 59), [9999, 12, 31, 23, 59, 59]),
    ],
)
def test_documented_words(layout: str, moment: datetime, words: list[int]) -> None:
    mem = MemoryStore(6)
    mem.X = V.datetime(0, layout)
    mem[0 : len(words)] = words
    if layout == "unix32":
        mem[0:2] = words[::-1]
    assert mem.X == moment
    mem[:] = [0] * 6
    mem.X = moment
    assert mem[0 : len(words)] == words


def test_every_error_of_an_assignment_is_an_error_of_msm() -> None:
    mem = store()
    for kind, row in ROWS.items():
        mem[kind] = row.declare()
        for value in [*row.wrong, *row.too_much]:
            with pytest.raises(MsmError):
                mem[kind] = value
