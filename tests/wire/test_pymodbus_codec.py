"""The one place that knows pymodbus."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msm import DeviceError, IllegalFunctionError, ProtocolError
from msm.wire.other_pdu import BASIC, EXTENDED, REGULAR
from msm.wire.pymodbus_codec import (
    Identification,
    identification_request,
    parse_identification,
)


@pytest.mark.parametrize("stream", [BASIC, REGULAR, EXTENDED])
def test_requests(stream: int) -> None:
    assert identification_request(stream, 7) == bytes([0x2B, 0x0E, stream, 7])


def test_the_example_of_the_specification() -> None:
    # Section 6.21, the answer in one piece.
    objects = {0: b"Company identification", 1: b"Product code XX", 2: b"V2.11"}
    reply = b"\x2b\x0e\x01\x01\x00\x00\x03"
    for number, text in objects.items():
        reply += bytes([number, len(text)]) + text
    assert parse_identification(reply, BASIC) == Identification(objects, None)


def test_more_follows() -> None:
    assert parse_identification(b"\x2b\x0e\x01\x01\xff\x02\x01\x00\x03ACM", BASIC) == Identification({0: b"ACM"}, 2)


def test_an_exception() -> None:
    with pytest.raises(IllegalFunctionError, match="device identification"):
        parse_identification(b"\xab\x01", BASIC)


@pytest.mark.parametrize(
    "reply",
    [
        b"\x03",
        b"\x2b",
        b"\x2b\x0e\x01\x01\x00\x00",
        b"\x2b\x0d\x01\x01\x00\x00\x00",
        b"\x2c\x0e\x01\x01\x00\x00\x00",
        b"\x2b\x0e\x01\x01\x00\x00\x01\x00\x32short",  # a text that is cut off
        b"\x2b\x0e\x01\x01\x00\x00\x02\x00\x01a",  # fewer objects than it says
        b"\x2b\x0e\x01\x01\x00\x00\x01\x00\x01ab",  # more bytes than they have
        b"\x2b\x0e\x02\x01\x00\x00\x01\x00\x01a",  # another stream
        b"\x2b\x0e\x01\x01\x01\x00\x01\x00\x01a",
    ],  # neither more nor not more
)
def test_what_is_no_answer(reply: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_identification(reply, BASIC)


@given(
    st.one_of(
        st.binary(min_size=1, max_size=60),
        st.binary(max_size=60).map(lambda rest: b"\x2b\x0e\x03\x83" + rest),
        st.binary(max_size=60).map(lambda rest: b"\x2b\x0e\x03\x83\x00\x00\x02" + rest),
    )
)
def test_whatever_comes_is_understood_or_refused(reply: bytes) -> None:
    try:
        parsed = parse_identification(reply, EXTENDED)
    except (ProtocolError, DeviceError):
        return
    assert all(isinstance(value, bytes) for value in parsed.objects.values())
