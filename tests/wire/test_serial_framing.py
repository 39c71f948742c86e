"""RTU and ASCII frames: whole is the same as byte by byte, and noise hides no frame for long."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msm.wire.framing import Frame
from msm.wire.serial_framing import MAX_ASCII_FRAME, MAX_RTU_FRAME, AsciiFramer, RtuFramer
from tests.transports.lines import ascii_frame, rtu

Make = Callable[[], RtuFramer | AsciiFramer]

SERVER: Make = lambda: RtuFramer(server=True)  # noqa: E731
CLIENT: Make = lambda: RtuFramer(server=False)  # noqa: E731

words = st.integers(0, 0xFFFF).map(lambda number: number.to_bytes(2, "big"))
units = st.integers(0, 255)


def with_data(function: int) -> st.SearchStrategy[bytes]:
    return st.integers(1, 123).flatmap(
        lambda count: st.binary(min_size=2 * count, max_size=2 * count).map(
            lambda data: bytes((function, 0, 7, 0, count, 2 * count)) + data
        )
    )


requests = st.one_of(
    st.tuples(st.sampled_from([1, 2, 3, 4, 5, 6]), words, words).map(lambda t: bytes((t[0],)) + t[1] + t[2]),
    with_data(16),
    st.tuples(words, words, words).map(lambda t: b"\x16" + b"".join(t)),
)
replies = st.one_of(
    st.tuples(st.sampled_from([5, 6, 15, 16]), words, words).map(lambda t: bytes((t[0],)) + t[1] + t[2]),
    st.tuples(st.sampled_from([1, 2, 3, 4, 23]), st.binary(min_size=1, max_size=250)).map(
        lambda t: bytes((t[0], len(t[1]))) + t[1]
    ),
    st.tuples(st.integers(0x81, 0xFF), st.integers(1, 11)).map(bytes),
)
noise = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b":", b"\r\n", b"\x01\x03", b"\x01\x10\0\0\0\x7b\xf6", b"\x01\x65", b"\0" * 300, b":01:0"]),
)


def run(make: Make, pieces: list[bytes]) -> tuple[list[Frame], list[Frame]]:
    """The frames while bytes came, and those that the silence brought."""
    framer = make()
    frames = [frame for piece in pieces for frame in framer.feed(piece)]
    return frames, framer.silence()


def one_by_one(data: bytes) -> list[bytes]:
    return [bytes((byte,)) for byte in data]


KINDS = [
    pytest.param(SERVER, requests, rtu, id="rtu server"),
    pytest.param(CLIENT, replies, rtu, id="rtu client"),
    pytest.param(AsciiFramer, requests, ascii_frame, id="ascii"),
]


@pytest.mark.parametrize(("make", "pdus", "encode"), KINDS)
@given(data=st.data())
def test_frames_one_after_the_other(make: Make, pdus: Any, encode: Any, data: Any) -> None:
    sent = data.draw(st.lists(st.tuples(units, pdus), max_size=6))
    line = b"".join(encode(pdu, unit) for unit, pdu in sent)
    expected = [Frame(0, unit, pdu) for unit, pdu in sent]
    for pieces in ([line], one_by_one(line)):
        assert run(make, pieces) == (expected, [])
    framer = make()
    assert b"".join(framer.encode(0, unit, pdu) for unit, pdu in sent) == line


@pytest.mark.parametrize(("make", "pdus", "encode"), KINDS)
@given(data=st.data())
def test_whole_is_byte_by_byte_whatever_comes(make: Make, pdus: Any, encode: Any, data: Any) -> None:
    parts = data.draw(st.lists(st.one_of(noise, st.tuples(pdus, units).map(lambda t: encode(*t))), max_size=8))
    line = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(line)), max_size=5)))
    pieces = [line[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(line)], strict=True)]
    whole, torn, cut = run(make, [line]), run(make, one_by_one(line)), run(make, pieces)
    assert whole == torn == cut


@pytest.mark.parametrize(("make", "pdus", "encode"), KINDS)
@given(data=st.data())
def test_noise_never_hides_a_frame_that_silence_follows(make: Make, pdus: Any, encode: Any, data: Any) -> None:
    before = data.draw(noise)
    pdu, unit = data.draw(pdus), data.draw(units)
    right = encode(pdu, unit)
    frames, last = run(make, [before, right])
    assert Frame(0, unit, pdu) in frames + last
    assert run(make, [right])[0] == [Frame(0, unit, pdu)]


@pytest.mark.parametrize("make", [SERVER, CLIENT, AsciiFramer])
@pytest.mark.parametrize(
    "flood", [b"\0", b"\x01\x10\0\0\0\x7b\xf6", b"\x01\x65", b":", b":0", b"\xff", b"\x01\x03\x08"]
)
def test_a_flood_is_forgotten(make: Make, flood: bytes) -> None:
    """Memory is bounded, and twice the noise takes no more than about twice the time."""
    framer = make()
    times = []
    for size in (4000, 8000):
        began = time.perf_counter()
        for at in range(0, size, 50):
            framer.feed((flood * 50)[at % len(flood) :][:50])
            assert len(framer._data) <= max(MAX_RTU_FRAME, MAX_ASCII_FRAME) + 50
        times.append(time.perf_counter() - began)
    assert times[1] < 10 * times[0] + 0.1
    framer.silence()
    assert not framer.partial
    assert framer.noise > 0


def test_where_there_is_no_line_noise_is_an_error() -> None:
    """What came before is given, and the rest is not even looked at."""
    right = rtu(b"\x03\0\0\0\1")
    framer = RtuFramer(server=True, most_noise=1024)
    for _ in range(5):
        assert framer.feed(b"\xff" * 500 + right) + framer.silence() == [Frame(0, 1, right[1:-2])]
    began = time.perf_counter()
    assert framer.feed(right + b"\0" * 1_000_000) == [Frame(0, 1, right[1:-2])]
    assert framer.error == "no RTU frame in 1024 bytes"
    assert framer.feed(right) == []
    assert time.perf_counter() - began < 2.0


def test_a_function_that_nobody_knows_ends_with_silence() -> None:
    right = rtu(b"\x65\x01\x02\x03", 9)
    for pieces in ([right], one_by_one(right)):
        assert run(SERVER, pieces) == ([], [Frame(0, 9, b"\x65\x01\x02\x03")])
    assert run(SERVER, [right[:-1] + b"\0"]) == ([], [])


@pytest.mark.parametrize(
    "line",
    [
        b":0103 0000 0001 FB\r\n",
        b":010300000001\tFB\r\n",
        b":01030000000\r\n",
        b":010300000001FC\r\n",
        b"010300000001FB\r\n",
        b":0G0300000001FB\r\n",
        b":01\r\n",
        b":\xc3\xa90300000001FB\r\n",
        b":" + b"00" * 256 + b"\r\n",
    ],
)
def test_lines_that_are_no_ascii_frame(line: bytes) -> None:
    assert run(AsciiFramer, [line]) == run(AsciiFramer, one_by_one(line)) == ([], [])


def test_ascii_in_small_letters_and_after_a_broken_start() -> None:
    assert run(AsciiFramer, [b":0103:010300000001fb\r\n"])[0] == [Frame(0, 1, b"\x03\0\0\0\x01")]
