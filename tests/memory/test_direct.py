"""The shortest way gives what the codecs give: values, bytes and errors."""

from __future__ import annotations

import math
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msm import MemoryStore, MemoryVariable
from msm.memory.codec import BoolCodec, Codec, FloatCodec, IntCodec, Order, Orders
from msm.memory.direct import encoder, getter
from msm.memory.journal import Journal
from msm.memory.store import image_of

ORDERS: list[tuple[Order, Order]] = [("little", "big"), ("big", "big"), ("little", "little"), ("big", "little")]
CODECS: dict[str, Codec[Any]] = {
    **{f"bit {bit}": BoolCodec("bool", bit) for bit in range(8)},
    **{
        f"int {size} {signed} {orders}": IntCodec("int", size, signed, Orders(*orders))
        for size in (1, 2, 4, 8)
        for signed in (False, True)
        for orders in ORDERS
    },
    **{f"float {size} {orders}": FloatCodec("float", size, Orders(*orders)) for size in (2, 4, 8) for orders in ORDERS},
}
VALUES = st.one_of(
    st.integers(-(1 << 65), 1 << 65),
    st.sampled_from([0, 1, -1, 127, 128, 255, 256, 65535, 65536, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, 1 << 64]),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
)


def outcome(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001 - compared
        return type(error), str(error)


@pytest.mark.parametrize("name", CODECS)
def test_values(name: str) -> None:
    codec = CODECS[name]

    @given(st.binary(min_size=12, max_size=12), st.integers(0, 4))
    def run(data: bytes, at: int) -> None:
        buffer, special = bytearray(data), []  # type: ignore[var-annotated]
        get = getter(codec, buffer, at, special, lambda: "otherwise")
        assert get is not None
        mine, theirs = get(None), codec.decode(buffer[at : at + codec.size])
        assert type(mine) is type(theirs)
        assert mine == theirs or (math.isnan(mine) and math.isnan(theirs))
        special.append(1)
        assert get(None) == "otherwise" or get(None) is True

    run()


@pytest.mark.parametrize("name", CODECS)
def test_bytes_and_errors(name: str) -> None:
    codec = CODECS[name]
    encode = encoder(codec)

    @given(VALUES)
    def run(value: Any) -> None:
        assert outcome(encode, value, "X") == outcome(codec.encode, value, "X")

    run()


VARIABLES: dict[str, MemoryVariable[Any]] = {
    "bool": MemoryVariable.bool(2, 11),
    "coil": MemoryVariable.coil(3),
    "byte": MemoryVariable.byte(2, 1),
    "word": MemoryVariable.word(2),
    "int16": MemoryVariable.int16(2),
    **{
        f"{kind} {words} {in_them}": getattr(MemoryVariable, kind)(2, word_order=words, byte_order=in_them)
        for kind in ("uint32", "int32", "uint64", "int64", "float32", "float64")
        for words, in_them in ORDERS
    },
    "scaled": MemoryVariable.int16(2, scale=0.1),
    "bits": MemoryVariable.bits(2, 3, 7),
    "string": MemoryVariable.string(2, 4),
    "command": MemoryVariable.word(2, command=True),
    "command, a bit": MemoryVariable.bool(2, 9, command=True),
}


class Deliverer:
    """Somebody who is told of what is assigned, and takes it at once or later."""

    def __init__(self, store: MemoryStore) -> None:
        self.told = 0
        self.journal = Journal(weakref.WeakMethod(self.ring))
        image_of(store).attach(self.journal)

    def ring(self) -> None:
        self.told += 1


@pytest.mark.parametrize("delivered", [False, True])
@pytest.mark.parametrize("name", VARIABLES)
def test_assignments(name: str, delivered: bool) -> None:
    @settings(max_examples=20)  # for each kind
    @given(st.lists(st.tuples(st.sampled_from("XY"), VALUES), min_size=1, max_size=4))
    def run(values: list[tuple[str, Any]]) -> None:
        stores = [MemoryStore(8, coils=8) for _ in range(2)]
        image_of(stores[1]).concerned.append("somebody")  # so everything goes the long way
        for store in stores:
            store[0:8] = [0x1234, 0xFFFF] * 4
            store.X = VARIABLES[name]
            store.Y = MemoryVariable.word(3)
        deliverers = [Deliverer(store) for store in stores if delivered]
        for which, value in values:
            told = [outcome(store.__setattr__, which, value) for store in stores]
            assert told[0] == told[1]
            images = [image_of(store) for store in stores]
            assert images[0].buffer == images[1].buffer
            assert list(images[0].backlog.remaining().items()) == list(images[1].backlog.remaining().items())
            noted = [(list(each.journal.marks.items()), each.told) for each in deliverers]
            assert noted[:1] == noted[1:]
            if value is True:
                for each in deliverers:
                    each.journal.drain()

    run()


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_is_declared_anew(name: str) -> None:
    store = MemoryStore(8, coils=8)
    store.X = VARIABLES[name]
    store.X = MemoryVariable.word(7)
    store.X = 5
    assert store[:] == [0, 0, 0, 0, 0, 0, 0, 5]


def test_a_subclass_may_have_a_say_in_assignments() -> None:
    class Press(MemoryStore, size=8):
        speed = MemoryVariable.word(0)

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, 2 * value if name == "speed" else value)

    press = Press()
    press.speed = 4
    assert press.speed == 8


def test_a_store_of_the_class_of_another_has_a_memory_of_its_own() -> None:
    one = MemoryStore(8)
    one.X = MemoryVariable.word(0)
    other = type(one)(8)
    other.X = MemoryVariable.word(0)
    other.X = 5
    assert (one.X, other.X) == (0, 5)


def test_once_nobody_is_concerned_any_more_the_way_is_short_again() -> None:
    store = MemoryStore(8)
    store.X = MemoryVariable.word(0)
    with store.changes("X"), store.changes("X"), store.atomic():
        assert image_of(store).concerned
    assert not image_of(store).concerned
