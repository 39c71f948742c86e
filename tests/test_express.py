"""What is answered at once is answered as it is the long way: the same replies, the same memory, the same order."""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msm import AsyncModbusClient, AsyncModbusServer, MemoryStore, MemoryVariable
from msm.keywords import ServerKeywords
from msm.memory.image import Image
from msm.memory.store import image_of
from msm.peer import Peer
from msm.wire.channel import StreamChannel
from msm.wire.framing import MbapFramer, frame
from tests.support import Wire

KINDS = ("plain", "assigned", "followed", "protected", "forwarded")
WORDS, INPUTS, COILS, DISCRETE = 300, 130, 2100, 20


def memory(kind: str) -> MemoryStore:
    mem = MemoryStore(WORDS, input_registers=INPUTS, coils=COILS, discrete_inputs=DISCRETE)
    mem[0:WORDS] = [number * 257 & 0xFFFF for number in range(WORDS)]
    for number in range(0, COILS, 3):
        mem.set_value(number, 1, table="coil")
    if kind in ("assigned", "followed"):
        mem.SPEED = MemoryVariable.uint32(100)
        mem.SPEED = 70000
    if kind == "protected":
        mem.SERIAL = MemoryVariable.uint32(100, access="ro")
    return mem


def receive(channel: StreamChannel, data: bytes) -> None:
    while data and not channel.closing:
        space = channel.get_buffer(-1)
        piece = data[: len(space)]
        space[: len(piece)] = piece
        channel.buffer_updated(len(piece))
        data = data[len(piece) :]


async def converse(kind: str, pieces: Sequence[bytes], *, express: bool) -> tuple[bytes, bytes, list[Any], bool]:
    """All replies, the memory after it, what others were told of it, and whether the connection was closed."""
    mem = memory(kind)
    other = AsyncModbusClient(mem, "tcp://127.0.0.1:1") if kind == "forwarded" else None
    stream = mem.changes("SPEED") if kind == "followed" else None
    keywords: ServerKeywords = {"unknown_unit": "exception", "max_in_flight": 3}
    server = AsyncModbusServer(mem, "tcp://127.0.0.1:0", **keywords)
    assert server.express is not None
    if not express:
        server.express = None
    wire = Wire()
    channel = StreamChannel(Peer(server), MbapFramer())
    channel.connection_made(wire)  # type: ignore[arg-type]
    assert (channel.express is not None) is express
    # After the first write it is known that nobody has a say in writes, where that is so.
    for piece in (frame(0, 1, request(6, 0, 0)), *pieces):
        receive(channel, piece)
        for _ in range(10):  # turns of the loop: what is left of a segment is answered in the next ones
            await asyncio.sleep(0)
    told: list[Any] = list(image_of(mem).backlog.remaining().items())
    if other is not None:
        told += other._units[1].journal.marks.items()
    if stream is not None:
        while (change := stream.queue.take()) is not None:
            told.append(change[:4])
        stream.close()
    del other
    return wire.sent, bytes(image_of(mem).buffer), told, wire.closed


ADDRESSES = (0, 1, 7, 8, 98, 99, 100, 101, 102, 129, 130, 175, 299, 300, 1999, 2000, 2099, 2100, 65535)
COUNTS = (0, 1, 2, 8, 9, 121, 122, 123, 124, 125, 126, 127, 128, 300, 1968, 1969, 2000, 2001, 65535)


def request(
    function: int, address: int, count: int, written: int = 1, to: int = 0, *, size: int | None = None
) -> bytes:
    """A request, right but for these numbers; `size` is its byte count, where that is to be another one."""
    pdu = struct.pack(">BHH", function, address, count)
    if function in (15, 16):
        real = (count + 7) // 8 if function == 15 else 2 * count
        pdu += bytes([real % 256 if size is None else size]) + bytes(number % 251 for number in range(min(real, 247)))
    elif function == 22:
        pdu += b"\x12\x34"
    elif function == 23:
        pdu += struct.pack(">HHB", to, written, 2 * written % 256 if size is None else size)
        pdu += bytes(number % 241 for number in range(min(2 * written, 243)))
    return pdu[:253]


#: Every limit, and both sides of it.
EDGES = [
    *(request(function, at, count) for function in (1, 2, 3, 4, 16, 23) for at in ADDRESSES for count in COUNTS),
    *(request(6, at, 0xABCD) for at in ADDRESSES),
    *(request(23, 0, 1, written, to) for written in COUNTS for to in ADDRESSES),
    *(request(function, 0, 2, 2, size=size) for function in (16, 23) for size in (0, 3, 5, 255)),
    b"\x10\0\0\0\2\6" + bytes(6),  # three words, but it says two
    b"\x17\0\0\0\1\0\0\0\2\6" + bytes(6),
    *(request(function, 0, 1)[:-1] for function in (1, 3, 6, 16, 23)),
    *(request(function, 0, 1) + b"\0" for function in (1, 3, 6, 16, 23)),
]


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    function = draw(st.sampled_from([3, 16, 1, 23, 6, 4, 2, 5, 15, 22, 43, 99]))
    numbers = st.integers(0, 130)
    data = frame(
        draw(st.integers(0, 65535)),
        draw(st.sampled_from([1, 1, 1, 1, 0, 255, 2])),
        request(function, draw(numbers), draw(numbers), draw(numbers), draw(numbers)),
    )
    if draw(st.integers(0, 20)) == 20:
        data = data[:2] + b"\0\1" + data[4:]  # no Modbus: the connection is closed
    return data


@pytest.mark.parametrize("kind", KINDS)
def test_at_every_limit_both_ways_are_the_same(kind: str) -> None:
    pieces = [frame(number, 1, pdu) for number, pdu in enumerate(EDGES)]
    at_once = asyncio.run(converse(kind, pieces, express=True))
    assert at_once == asyncio.run(converse(kind, pieces, express=False))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("function", [1, 2, 3, 4, 6, 16, 23])
def test_what_follows_in_a_segment_may_be_of_another_unit_or_function(kind: str, function: int) -> None:
    others = [request(other, 1, 3, 2) for other in (1, 2, 3, 4, 5, 6, 15, 16, 22, 23, 99)]
    same = frame(1, 1, request(function, 1, 3, 2))
    pieces = [same + same + frame(2, 1, other) + frame(3, 2, request(function, 0, 2)) for other in others]
    pieces.append(same + same + frame(2, 2, request(function, 1, 3, 2)) + same)
    at_once = asyncio.run(converse(kind, pieces, express=True))
    assert at_once == asyncio.run(converse(kind, pieces, express=False))


@pytest.mark.parametrize("kind", KINDS)
@given(
    runs=st.lists(st.tuples(frames(), st.integers(1, 4)), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 600), max_size=6),
)
def test_both_ways_are_the_same(kind: str, runs: list[tuple[bytes, int]], cuts: list[int]) -> None:
    data = b"".join(each * times for each, times in runs)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[begin:end] for begin, end in itertools.pairwise(edges)]
    at_once = asyncio.run(converse(kind, pieces, express=True))
    assert at_once == asyncio.run(converse(kind, [data], express=False))


async def test_replies_of_a_segment_go_out_together() -> None:
    server = AsyncModbusServer(memory("plain"), "tcp://127.0.0.1:0")
    wire = Wire()
    channel = StreamChannel(Peer(server), MbapFramer())
    channel.connection_made(wire)  # type: ignore[arg-type]
    receive(channel, b"".join(frame(number, 1, b"\3\0\0\0\1") for number in range(8)))
    assert wire.writes == 1
    assert [wire.sent[at : at + 2] for at in range(0, len(wire.sent), 11)] == [bytes([0, n]) for n in range(8)]


def replies(data: bytes) -> list[int]:
    """The numbers of the transactions that were answered."""
    numbers = []
    while data:
        numbers.append(int.from_bytes(data[:2], "big"))
        data = data[6 + int.from_bytes(data[4:6], "big") :]
    return numbers


@pytest.mark.parametrize("functions", [[3], [4], [1], [6], [16], [23], [3, 1], [6, 6, 16], [23, 3, 3]])
async def test_a_segment_does_not_take_more_than_its_turn(functions: list[int]) -> None:
    server = AsyncModbusServer(memory("plain"), "tcp://127.0.0.1:0", max_in_flight=3)
    wire = Wire()
    channel = StreamChannel(Peer(server), MbapFramer())
    channel.connection_made(wire)  # type: ignore[arg-type]
    receive(channel, frame(100, 1, request(6, 0, 0)))
    assert replies(wire.sent) == [100]
    assert channel.express is not None
    kinds = itertools.cycle(functions)
    receive(channel, b"".join(frame(number, 1, request(next(kinds), 1, 3, 2)) for number in range(8)))
    done = []
    for _ in range(3):
        done.append(len(replies(wire.sent)) - 1)
        await asyncio.sleep(0)
    assert done == [3, 6, 8]
    assert replies(wire.sent) == [100, *range(8)]


async def test_writes_are_answered_at_once_when_it_is_known_that_nobody_has_a_say_in_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = AsyncModbusServer(memory("plain"), "tcp://127.0.0.1:0")
    wire = Wire()
    channel = StreamChannel(Peer(server), MbapFramer())
    channel.connection_made(wire)  # type: ignore[arg-type]
    receive(channel, frame(1, 1, request(6, 0, 0)))
    monkeypatch.delattr(AsyncModbusServer, "answer")  # the long way
    for number, function in enumerate((6, 16, 23), 2):
        receive(channel, frame(number, 1, request(function, 7, 1)))
    assert replies(wire.sent) == [1, 2, 3, 4]


async def test_what_is_declared_read_only_later_is_not_written_at_once() -> None:
    mem: Any = memory("plain")
    server = AsyncModbusServer(mem, "tcp://127.0.0.1:0")
    wire = Wire()
    channel = StreamChannel(Peer(server), MbapFramer())
    channel.connection_made(wire)  # type: ignore[arg-type]
    receive(channel, frame(1, 1, request(6, 7, 5)))
    assert mem[7] == 5
    mem.SERIAL = MemoryVariable.word(7, access="ro")
    wire.sent = b""
    receive(channel, frame(2, 1, request(6, 7, 6)))
    assert (wire.sent, mem[7]) == (frame(2, 1, b"\x86\2"), 5)


def test_a_declaration_and_a_remote_write_do_not_mix_what_they_know_of_each_other() -> None:
    """Else nobody might find out any more that writes are free again, and the short way would be lost."""
    image = image_of(memory("plain"))
    image.heeded = False
    seen = []

    @contextmanager
    def lock() -> Iterator[None]:
        seen.append((image.heeded, image._protected is None))
        yield
        seen.append((image.heeded, image._protected is None))

    image._protected = bytearray(1)
    image.lock = lock()  # type: ignore[assignment]
    image.declarations_changed()
    assert seen == [(False, False), (True, True)]


@pytest.mark.parametrize("fails", [1, 2, 3])
async def test_what_fails_in_the_middle_of_a_segment_is_answered_once(
    fails: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count(1)
    read = Image.read

    def broken(*given: Any) -> bytes:
        if next(calls) == fails:
            raise RuntimeError("broken")
        return read(*given)

    monkeypatch.setattr(Image, "read", broken)
    server = AsyncModbusServer(memory("plain"), "tcp://127.0.0.1:0")
    wire = Wire()
    channel = StreamChannel(Peer(server), MbapFramer())
    channel.connection_made(wire)  # type: ignore[arg-type]
    kinds = (3, 1, 1, 1, 3)  # bits that are no whole bytes are read by Image.read
    receive(channel, b"".join(frame(number, 1, request(kind, 1, 3)) for number, kind in enumerate(kinds)))
    await asyncio.sleep(0)  # the rest goes the long way, in the next turn
    assert replies(wire.sent) == [0, 1, 2, 3, 4]
    assert b"\x81" not in wire.sent


@pytest.mark.parametrize(
    "keywords",
    [
        {"trace": print},
        {"before_write": lambda _write: None},
        {"write_through": True},
        {"writable": {"holding": [(0, 8)]}},
        {"functions": {"diagnostics": True}},
    ],
)
async def test_where_somebody_has_a_say_nothing_is_answered_at_once(keywords: dict[str, Any]) -> None:
    if "functions" in keywords:
        from msm import Functions

        keywords = {"functions": Functions(**keywords["functions"])}
    assert AsyncModbusServer(MemoryStore(8), "tcp://127.0.0.1:0", **keywords).express is None


@pytest.mark.parametrize("taken", [0, 3, None])
async def test_what_the_socket_does_not_take_is_sent_by_the_transport_and_nothing_overtakes_it(
    taken: int | None,
) -> None:
    class Full(Wire):
        unsent = 0
        stuck = True

        def write(self, data: bytes) -> None:
            super().write(data)
            self.unsent += len(data) if self.stuck else 0

        def get_write_buffer_size(self) -> int:
            return self.unsent

    class Socket:
        sent = b""

        def send(self, data: bytes) -> int:
            if taken is None:
                raise BlockingIOError
            self.sent += data[:taken]
            return taken

    server = AsyncModbusServer(memory("plain"), "tcp://127.0.0.1:0")
    wire, sock = Full(), Socket()
    channel = StreamChannel(Peer(server), MbapFramer(), sock)  # type: ignore[arg-type]
    channel.connection_made(wire)  # type: ignore[arg-type]
    receive(channel, frame(1, 1, b"\3\0\1\0\1"))
    reply = frame(1, 1, b"\3\2\1\1")
    assert sock.sent + wire.sent == reply
    receive(channel, frame(2, 1, b"\3\0\1\0\1"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sock.sent + wire.sent == reply + frame(2, 1, b"\3\2\1\1"), "it goes the same way, behind the first"
    wire.unsent, wire.stuck = 0, False
    receive(channel, frame(3, 1, b"\3\0\1\0\1"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    before = sock.sent
    receive(channel, frame(4, 1, b"\3\0\1\0\1"))
    assert (sock.sent != before) is bool(taken), "once all is sent, the socket is tried again"
    for _ in range(2):
        before = sock.sent
        channel.send(b"1234")
        assert (sock.sent != before) is bool(taken), "also the long way"
