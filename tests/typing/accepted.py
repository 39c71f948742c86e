"""What type checkers know of a typed store. Checked by mypy and pyright in `test_typing.py`, and run there too."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import datetime
from typing import Any, assert_type

from msm import Change, MemoryStore, MemoryVariable


class State(enum.Enum):
    OFF = 0
    ON = 1


class Fault(enum.Flag):
    HOT = 1
    COLD = 2


class Press(MemoryStore, size=200, coils=16, discrete_inputs=16):
    bit = MemoryVariable.bool(0, 3)
    byte = MemoryVariable.byte(0, 1)
    byte_nan = MemoryVariable.byte(0, 1, nan=255)
    byte_scaled = MemoryVariable.int8(0, 1, scale=0.5)
    byte_offset = MemoryVariable.byte(0, 1, offset=-40, nan=255)
    int8 = MemoryVariable.int8(0, 0, min=-5, max=5, unit="K", label="a little")
    word = MemoryVariable.word(1, access="wo")
    uint16 = MemoryVariable.uint16(1)
    int16 = MemoryVariable.int16(1, nan=-32768)
    uint32 = MemoryVariable.uint32(2, word_order="big", byte_order="little")
    int32 = MemoryVariable.int32(2, scale=0.1)
    uint64 = MemoryVariable.uint64(4, offset=1.5)
    int64 = MemoryVariable.int64(4, scale=0.1, offset=2, nan=-1)
    offset_nan = MemoryVariable.word(1, offset=-40, nan=65535)
    float16 = MemoryVariable.float16(1)
    float32 = MemoryVariable.float32(2, scale=2, unit="rpm")
    speed = MemoryVariable.float32(2, unit="rpm")
    float64 = MemoryVariable.float64(4, nan=float("nan"), offset=1)
    bcd16 = MemoryVariable.bcd16(8)
    bcd32 = MemoryVariable.bcd32(8, scale=0.01)
    string = MemoryVariable.string(10, 9, "latin-1")
    bits = MemoryVariable.bits(15, 3, 4)
    bits_nan = MemoryVariable.bits(15, 3, 4, nan=15)
    bits_scaled = MemoryVariable.bits(15, 3, 4, scale=0.5)
    enum = MemoryVariable.enum(State, 16, bit_number=2, length=2)
    flags = MemoryVariable.flags(Fault, 17, size="uint32")
    datetime = MemoryVariable.datetime(20, "s7")
    coil = MemoryVariable.coil(1)
    discrete = MemoryVariable.discrete(1, access="ro", period=0.5)

    ints = MemoryVariable.int16(30, count=4)
    ints_nan = MemoryVariable.int16(30, count=4, nan=-1)
    ints_scaled = MemoryVariable.int16(30, count=4, scale=0.1)
    ints_offset = MemoryVariable.int16(30, count=4, offset=0.1)
    ints_both = MemoryVariable.int16(30, count=4, scale=0.1, offset=3, nan=-1)
    floats = MemoryVariable.float32(40, count=2)
    floats_nan = MemoryVariable.float32(40, count=2, nan=float("nan"))
    bcds = MemoryVariable.bcd16(50, count=2)
    bcds_scaled = MemoryVariable.bcd16(50, count=2, scale=0.1)
    texts = MemoryVariable.string(60, 4, count=3)
    coils = MemoryVariable.coil(2, count=7)
    inputs = MemoryVariable.discrete(2, count=7)


def values(press: Press) -> None:
    assert_type(press.bit, bool)
    assert_type(press.byte, int)
    assert_type(press.byte_nan, int | None)
    assert_type(press.byte_scaled, float)
    assert_type(press.byte_offset, float | None)
    assert_type(press.int8, int)
    assert_type(press.word, int)
    assert_type(press.uint16, int)
    assert_type(press.int16, int | None)
    assert_type(press.uint32, int)
    assert_type(press.int32, float)
    assert_type(press.uint64, float)
    assert_type(press.int64, float | None)
    assert_type(press.offset_nan, float | None)
    assert_type(press.float16, float)
    assert_type(press.float32, float)
    assert_type(press.speed, float)
    assert_type(press.float64, float | None)
    assert_type(press.bcd16, int | None)
    assert_type(press.bcd32, float | None)
    assert_type(press.string, str)
    assert_type(press.bits, int)
    assert_type(press.bits_nan, int | None)
    assert_type(press.bits_scaled, float)
    assert_type(press.enum, State)
    assert_type(press.flags, Fault)
    assert_type(press.datetime, datetime | None)
    assert_type(press.coil, bool)
    assert_type(press.discrete, bool)
    assert_type(press.ints, tuple[int, ...])
    assert_type(press.ints_nan, tuple[int | None, ...])
    assert_type(press.ints_scaled, tuple[float, ...])
    assert_type(press.ints_offset, tuple[float, ...])
    assert_type(press.ints_both, tuple[float | None, ...])
    assert_type(press.floats, tuple[float, ...])
    assert_type(press.floats_nan, tuple[float | None, ...])
    assert_type(press.bcds, tuple[int | None, ...])
    assert_type(press.bcds_scaled, tuple[float | None, ...])
    assert_type(press.texts, tuple[str, ...])
    assert_type(press.coils, tuple[bool, ...])
    assert_type(press.inputs, tuple[bool, ...])


def declarations() -> None:
    assert_type(Press.speed, MemoryVariable[float])
    assert_type(Press.ints, MemoryVariable[tuple[int, ...]])
    assert_type(Press.enum, MemoryVariable[State])


def assignments(press: Press) -> None:
    press.speed = 40.0
    press.speed = 40  # an int is a float to type checkers
    press.byte = 7
    press.byte_nan = None
    press.enum = State.ON
    press.flags = Fault.HOT | Fault.COLD
    press.ints = (1, 2, 3, 4)
    press.string = "Press 1"
    press.coil = True
    press.datetime = datetime(2024, 2, 29, 12, 0)


def the_rest(press: Press) -> None:
    with press.atomic():
        press.byte = 1
    assert_type(press[3], int)
    assert_type(press[0:3], list[int])
    assert_type(press["speed"], Any)
    assert_type(press.snapshot().speed, Any)
    heard: Callable[[Change], None] = print
    press.watch("speed", heard).cancel()


def declared_on_an_instance(mem: MemoryStore) -> None:
    mem.COUNT = MemoryVariable.word(0)
    assert_type(mem.COUNT, Any)  # and not what was just assigned: the declaration
    mem.COUNT = 5
    assert_type(mem.COUNT, Any)
    mem.COUNT += 1
