"""The shortest way gives what the codecs give: values, bytes and errors."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msm.memory.codec import BoolCodec, Codec, FloatCodec, IntCodec, Order, Orders
from msm.memory.direct import encoder, getter

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

    def outcome(function: Any, value: Any) -> Any:
        try:
            return function(value, "X")
        except Exception as error:  # noqa: BLE001 - compared
            return type(error), str(error)

    @given(VALUES)
    def run(value: Any) -> None:
        assert outcome(encode, value) == outcome(codec.encode, value)

    run()
