"""Requests and replies; the examples are those of the specification (application protocol V1.1b3)."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msm.errors import DeviceError, IllegalAddressError, ProtocolError
from msm.wire import pdu

PARSERS: dict[int, Callable[[bytes], object]] = {
    1: lambda request: pdu.parse_read(request, pdu.MAX_READ_BITS),
    3: lambda request: pdu.parse_read(request, pdu.MAX_READ_WORDS),
    5: pdu.parse_write_coil,
    6: pdu.parse_write_word,
    15: pdu.parse_write_coils,
    16: pdu.parse_write_words,
    22: pdu.parse_mask_write,
    23: pdu.parse_read_write,
}


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


# -- what a request asks


def test_the_examples_of_the_specification() -> None:
    assert pdu.parse_read(hexed("01 0013 0013"), 2000) == (0x13, 0x13)
    assert pdu.parse_read(hexed("03 006b 0003"), 125) == (0x6B, 3)
    assert pdu.parse_write_coil(hexed("05 00ac ff00")) == (0xAC, 1, b"\x01")
    assert pdu.parse_write_coil(hexed("05 00ac 0000")) == (0xAC, 1, b"\x00")
    assert pdu.parse_write_coils(hexed("0f 0013 000a 02 cd01")) == (0x13, 10, hexed("cd01"))
    assert pdu.parse_write_word(hexed("06 0001 0003")) == (1, 1, b"\0\3")
    assert pdu.parse_write_words(hexed("10 0001 0002 04 000a 0102")) == (1, 2, hexed("000a 0102"))
    assert pdu.parse_mask_write(hexed("16 0004 00f2 0025")) == (4, 0xF2, 0x25)
    assert pdu.parse_read_write(hexed("17 0003 0006 000e 0003 06 00ff 00ff 00ff")) == (
        3,
        6,
        (14, 3, hexed("00ff 00ff 00ff")),
    )


@given(st.sampled_from(sorted(PARSERS)), st.binary(max_size=300))
def test_whatever_comes_is_parsed_or_refused_with_03(function: int, rest: bytes) -> None:
    try:
        PARSERS[function](bytes([function]) + rest)
    except pdu.Refusal as refused:
        assert refused.code == 3


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_quantities_to_read(address: int, count: int) -> None:
    for function, most in ((1, 2000), (2, 2000), (3, 125), (4, 125)):
        request = struct.pack(">BHH", function, address, count)
        if 1 <= count <= most:
            assert pdu.parse_read(request, most) == (address, count)
        else:
            with pytest.raises(pdu.Refusal):
                pdu.parse_read(request, most)


@given(st.integers(0, 0xFFFF), st.integers(0, 130), st.integers(0, 255), st.integers(0, 260))
def test_quantities_to_write(address: int, count: int, size: int, length: int) -> None:
    request = struct.pack(">BHHB", 16, address, count, size) + bytes(length)
    if 1 <= count <= 123 and size == length == 2 * count:
        assert pdu.parse_write_words(request) == (address, count, bytes(length))
    else:
        with pytest.raises(pdu.Refusal):
            pdu.parse_write_words(request)


@given(st.integers(0, 0xFFFF), st.integers(0, 2100), st.integers(0, 255), st.integers(0, 260))
def test_quantities_of_coils_to_write(address: int, count: int, size: int, length: int) -> None:
    request = struct.pack(">BHHB", 15, address, count, size) + bytes(length)
    if 1 <= count <= 1968 and size == length == (count + 7) // 8:
        assert pdu.parse_write_coils(request) == (address, count, bytes(length))
    else:
        with pytest.raises(pdu.Refusal):
            pdu.parse_write_coils(request)


@given(st.integers(0, 0xFFFF), st.integers(1, 1968))
def test_right_quantities_of_coils_to_write(address: int, count: int) -> None:
    bits = bytes((count + 7) // 8)
    assert pdu.parse_write_coils(pdu.write_coils(address, count, bits)) == (address, count, bits)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_a_coil_is_on_or_off_and_nothing_else(address: int, value: int) -> None:
    with pytest.raises(pdu.Refusal):
        pdu.parse_write_coil(struct.pack(">BHH", 5, address, value if value not in (0, 0xFF00) else 1))


def test_refusals() -> None:
    assert pdu.refusal(3, 2) == b"\x83\x02"
    assert pdu.refusal(0x83, 1) == b"\x83\x01"
    assert pdu.Refusal(3).code == 3


# -- requests


def test_requests() -> None:
    assert pdu.read(3, 0x6B, 3) == hexed("03 006b 0003")
    assert pdu.read(4, 8, 1) == hexed("04 0008 0001")
    assert pdu.read(1, 0x13, 0x13) == hexed("01 0013 0013")
    assert pdu.write_coil(0xAC, b"\x01") == hexed("05 00ac ff00")
    assert pdu.write_coil(0xAC, b"\x00") == hexed("05 00ac 0000")
    assert pdu.write_coils(0x13, 10, hexed("cd01")) == hexed("0f 0013 000a 02 cd01")
    assert pdu.write_word(1, b"\0\3") == hexed("06 0001 0003")
    assert pdu.write_words(1, hexed("000a 0102")) == hexed("10 0001 0002 04 000a 0102")


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_a_mask_write_sets_its_bits_and_no_other(address: int, mask: int, word: int, there: int) -> None:
    at, and_mask, or_mask = pdu.parse_mask_write(pdu.mask_write(address, mask, word))
    result = there & and_mask | or_mask & ~and_mask & 0xFFFF
    assert at == address
    assert result == there & ~mask | word & mask


# -- does a reply answer the request

READ = pdu.read(3, 0x6B, 2)
WRITE = pdu.write_words(1, b"\0\1\0\2")
REQUESTS = {
    "read": (READ, hexed("03 04 022b 0000")),
    "read input": (pdu.read(4, 8, 1), hexed("04 02 000a")),
    "write one": (pdu.write_word(1, b"\0\3"), hexed("06 0001 0003")),
    "write": (WRITE, hexed("10 0001 0002")),
    "read coils": (pdu.read(1, 0x13, 19), hexed("01 03 cd6b05")),
    "write coil": (pdu.write_coil(0xAC, b"\x01"), hexed("05 00ac ff00")),
    "write coils": (pdu.write_coils(0x13, 10, hexed("cd01")), hexed("0f 0013 000a")),
    "mask": (pdu.mask_write(4, 0xF0, 0x20), hexed("16 0004 ff0f 0020")),
}


@pytest.mark.parametrize(("request_pdu", "reply"), REQUESTS.values(), ids=REQUESTS)
def test_right_replies(request_pdu: bytes, reply: bytes) -> None:
    cells = pdu.check_reply(request_pdu, reply)
    assert cells == (reply[2:] if request_pdu[0] in (1, 3, 4) else b"")


@pytest.mark.parametrize(("request_pdu", "reply"), REQUESTS.values(), ids=REQUESTS)
@given(data=st.data())
def test_any_other_reply_is_refused(request_pdu: bytes, reply: bytes, data: st.DataObject) -> None:
    other = data.draw(
        st.one_of(
            st.binary(min_size=1, max_size=20),
            st.integers(1, len(reply)).map(lambda size: reply[:size]),
            st.binary(min_size=1, max_size=3).map(lambda tail: reply + tail),
            st.tuples(st.integers(0, len(reply) - 1), st.integers(1, 255)).map(
                lambda at: reply[: at[0]] + bytes([reply[at[0]] ^ at[1]]) + reply[at[0] + 1 :]
            ),
        )
    )
    read = request_pdu[0] in (1, 3, 4)
    if other == reply or (read and other[:2] == reply[:2] and len(other) == len(reply)):
        pdu.check_reply(request_pdu, other)
    else:
        with pytest.raises((ProtocolError, DeviceError)) as caught:
            pdu.check_reply(request_pdu, other)
        exception = len(other) == 2 and other[0] == request_pdu[0] | 0x80
        assert isinstance(caught.value, DeviceError if exception else ProtocolError)


@pytest.mark.parametrize("code", range(256))
def test_exceptions_carry_their_code_and_what_was_asked(code: int) -> None:
    with pytest.raises(DeviceError, match=f"reading holding 107-108: exception {code:02X}: ") as caught:
        pdu.check_reply(READ, bytes([0x83, code]))
    assert caught.value.code == code
    assert isinstance(caught.value, IllegalAddressError) is (code == 2)


def test_padding_behind_the_last_bit_is_dropped() -> None:
    assert pdu.check_reply(pdu.read(1, 0, 3), hexed("01 01 ff")) == b"\x07"


def test_requests_in_words() -> None:
    assert pdu.describe(READ) == "reading holding 107-108"
    assert pdu.describe(pdu.read(4, 8, 1)) == "reading input 8"
    assert pdu.describe(WRITE) == "writing holding 1-2"
    assert pdu.describe(pdu.write_word(1, b"\0\3")) == "writing holding 1"
    assert pdu.describe(pdu.mask_write(4, 1, 1)) == "writing bits of holding 4"
    assert pdu.describe(hexed("05 0001 ff00")) == "writing coil 1"
    assert pdu.describe(hexed("0f 0013 000a 02 cd01")) == "writing coil 19-28"
    assert pdu.describe(hexed("2b 0e 01 00 00")).startswith("function 2B")
