"""MBAP: whole = byte at a time = any split; garbage never raises."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from msm.wire.framing import BUFFER, MAX_FRAME, Frame, MbapFramer, frame
from tests.support import mbap

message = st.tuples(st.integers(0, 0xFFFF), st.integers(0, 255), st.binary(min_size=1, max_size=253))
messages = st.lists(message, max_size=12)
cuts = st.lists(st.integers(1, 300), max_size=40)


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    found = []
    for size in sizes:
        found.append(data[:size])
        data = data[size:]
    return [*found, data]


def fed(framer: MbapFramer, parts: list[bytes]) -> list[Frame]:
    return [whole for part in parts for whole in framer.feed(part)]


def received(framer: MbapFramer, parts: list[bytes]) -> list[Frame]:
    """The same without a copy, as a transport does it."""
    frames: list[Frame] = []
    for piece in parts:
        part = piece
        while part and not framer.error:
            space = framer.space()
            assert len(space) >= 1
            count = min(len(space), len(part))
            space[:count] = part[:count]
            part = part[count:]
            frames += framer.advance(count)
    return frames


@given(messages, cuts)
def test_messages_come_out_whole_however_they_come_in(sent: list[tuple[int, int, bytes]], sizes: list[int]) -> None:
    data = b"".join(frame(*one) for one in sent)
    for parts in ([data], [bytes([byte]) for byte in data], pieces(data, sizes)):
        for take in (fed, received):
            framer = MbapFramer()
            assert take(framer, parts) == sent
            assert not framer.error
            assert not framer.partial


@given(st.binary(max_size=600), cuts)
def test_garbage_sets_an_error_and_raises_nothing(data: bytes, sizes: list[int]) -> None:
    whole, bytewise, cut = MbapFramer(), MbapFramer(), MbapFramer()
    frames = whole.feed(data)
    assert fed(bytewise, [bytes([byte]) for byte in data]) == frames
    assert fed(cut, pieces(data, sizes)) == frames
    assert whole.error == bytewise.error == cut.error
    assert all(1 <= len(one.pdu) <= 253 for one in frames)
    # What was taken is what came, from the beginning.
    assert data.startswith(b"".join(frame(*one) for one in frames))


@given(messages, st.sampled_from([mbap(b"\3", protocol=1), mbap(b"", length=1), mbap(b"", length=255)]), messages)
def test_what_is_before_the_error_is_given_and_nothing_after_it(
    before: list[tuple[int, int, bytes]], broken: bytes, after: list[tuple[int, int, bytes]]
) -> None:
    framer = MbapFramer()
    data = b"".join(frame(*one) for one in before) + broken + b"".join(frame(*one) for one in after)
    assert framer.feed(data) == before
    assert framer.error
    assert framer.feed(frame(1, 1, b"\3")) == []


def test_errors_say_what_was_wrong() -> None:
    for data, told in (
        (mbap(b"\3", protocol=0x1234), "protocol id 1234"),
        (mbap(b"\3", length=0), "length 0"),
        (mbap(b"\3", length=255), "length 255"),
    ):
        framer = MbapFramer()
        framer.feed(data)
        assert told in framer.error


def test_a_header_is_judged_as_soon_as_it_is_there() -> None:
    framer = MbapFramer()
    framer.feed(mbap(b"\3", protocol=1)[:7])
    assert framer.error


def test_partial() -> None:
    framer = MbapFramer()
    assert not framer.partial
    framer.feed(frame(1, 1, b"\3")[:4])
    assert framer.partial
    framer.feed(frame(1, 1, b"\3")[4:])
    assert not framer.partial


def test_there_is_always_room_for_a_whole_frame() -> None:
    framer = MbapFramer()
    longest = frame(1, 1, bytes(253))
    data = longest * 100
    at = 0
    count = 0
    while at < len(data):
        space = framer.space()
        assert len(space) >= MAX_FRAME or at == 0
        size = min(len(space), len(data) - at, 997)
        space[:size] = data[at : at + size]
        at += size
        count += len(framer.advance(size))
    assert count == 100
    assert BUFFER >= 31 * MAX_FRAME


def test_frames_keep_their_bytes_when_the_buffer_is_used_again() -> None:
    framer = MbapFramer()
    first = framer.feed(frame(1, 1, b"\3abc"))
    framer.feed(frame(2, 2, b"\4xyz"))
    assert first == [(1, 1, b"\3abc")]


def test_the_example_of_the_guide() -> None:
    # TCP guide V1.0b, section 3.1.3: a transaction of 1, unit FF, reading one register.
    assert frame(0x0001, 0xFF, b"\x03\x00\x05\x00\x01") == bytes.fromhex("000100000006ff0300050001")
