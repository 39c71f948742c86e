"""The short way of a client: what it reads, whatever comes in between, is what it reads the long way."""

from __future__ import annotations

import asyncio
import math
import struct
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msm import AsyncModbusClient, AsyncModbusServer, MemoryStore, MemoryVariable
from msm.memory.store import image_of
from msm.sweeping import Sweeping
from msm.wire.channel import StreamChannel
from msm.wire.framing import MbapFramer, frame
from msm.wire.link import ClientLink
from tests.support import FREE, Wire, until

WORDS = 300


class Plant(Wire):
    """A device behind a transport: it answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.words = bytearray(2 * WORDS)
        self.waiting: deque[tuple[int, int, bytes]] = deque()
        self.requests = 0

    def write(self, data: bytes) -> None:
        while data:
            transaction, _, length, unit = struct.unpack(">HHHB", data[:7])
            self.waiting.append((transaction, unit, data[7 : 6 + length]))
            self.requests += 1
            data = data[6 + length :]

    def answer(self, *, refuse: int = 0, aside: int = 0) -> bytes:
        """The reply to the oldest request: as it should be, an exception, or one that nobody asked for."""
        transaction, unit, pdu = self.waiting.popleft()
        function, address, count = struct.unpack(">BHH", pdu[:5])
        if refuse:
            return frame(transaction, unit, bytes((function | 0x80, refuse)))
        if function == 3:
            reply = bytes((3, 2 * count)) + self.words[2 * address : 2 * (address + count)]
        elif function == 6:
            self.words[2 * address : 2 * address + 2] = pdu[3:5]
            reply = pdu
        elif function == 16:
            self.words[2 * address : 2 * (address + count)] = pdu[6:]
            reply = pdu[:5]
        else:
            assert function == 22, function
            word = struct.unpack_from(">H", self.words, 2 * address)[0]
            and_mask, or_mask = struct.unpack(">HH", pdu[3:7])
            struct.pack_into(">H", self.words, 2 * address, word & and_mask | or_mask & ~and_mask)
            reply = pdu
        return frame((transaction + aside) % 65536, unit, reply)


class Rig:
    """A client, its link and its device, without a network and without waiting."""

    def __init__(self, *, express: bool, window: int, period: float = 86400) -> None:
        self.mem = MemoryStore(WORDS)
        self.mem.SPEED = MemoryVariable.uint32(address=124)  # in two blocks, if it were not kept whole
        self.mem.LEVEL = MemoryVariable.word(address=7)
        self.mem.RUN = MemoryVariable.bool(address=9, bit_number=3)
        self.client = AsyncModbusClient(self.mem, "tcp://127.0.0.1:1", period=period, max_in_flight=window, timeout=60)
        self.plant = Plant()
        link = ClientLink(self.client._endpoint, 60.0)
        self.channel = StreamChannel(link, MbapFramer())
        self.channel.connection_made(self.plant)  # type: ignore[arg-type]
        self.talk = talk = self.client._conversation
        talk.attach(asyncio.get_running_loop())
        talk.link, talk._most_out = link, window
        link.handle(talk.on_reply, lambda cause: None)
        self.unit = self.client._units[1]
        self.unit.connected(0.0)
        if express:
            talk._sweeping = Sweeping(self.unit, link, talk._end_sweep, talk._on_swept)
        talk.step()

    def receive(self, data: bytes) -> None:
        while data:
            space = self.channel.get_buffer(-1)
            piece = data[: len(space)]
            space[: len(piece)] = piece
            self.channel.buffer_updated(len(piece))
            data = data[len(piece) :]

    def poll(self) -> None:
        self.unit.device.poll_now()
        self.talk.step()

    async def settle(self) -> None:
        """Let the device answer until nothing is left."""
        await asyncio.sleep(0)
        while self.plant.waiting:
            self.receive(self.plant.answer())
            await asyncio.sleep(0)

    def close(self) -> None:
        self.talk.link = None
        self.talk._arm(float("inf"))


events = st.one_of(
    st.tuples(st.just("answer"), st.integers(1, 4), st.lists(st.integers(1, 520), max_size=2)),
    st.tuples(st.just("change"), st.integers(0, WORDS - 1), st.integers(0, 65535)),
    st.tuples(st.just("assign"), st.sampled_from(["SPEED", "LEVEL", "RUN"]), st.integers(0, 1)),
    st.tuples(st.just("refuse"), st.sampled_from([4, 6]), st.just(0)),
    st.tuples(st.just("stray"), st.integers(1, 3), st.just(0)),
    st.tuples(st.just("poll"), st.just(0), st.just(0)),
    st.tuples(st.just("poll"), st.just(0), st.just(0)),
)


@pytest.mark.parametrize("express", [True, False])
@given(story=st.lists(events, max_size=30), window=st.sampled_from([1, 2, 3]))
def test_whatever_happens_memory_and_device_are_the_same_in_the_end(
    express: bool, story: list[tuple[str, Any, Any]], window: int
) -> None:
    async def play() -> None:
        rig = Rig(express=express, window=window)
        await rig.settle()
        rig.poll()
        assigned: dict[str, int] = {}
        for number, (what, one, other) in enumerate(story):
            plant = rig.plant
            if what == "answer":
                data = b"".join(plant.answer() for _ in range(min(one, len(plant.waiting))))
                for cut in other:
                    rig.receive(data[:cut])
                    data = data[cut:]
                rig.receive(data)
            elif what == "change" and one not in (7, 9, 124, 125):
                struct.pack_into(">H", plant.words, 2 * one, other)
            elif what == "assign":
                value = other if one == "RUN" else 2 * number + other
                setattr(rig.mem, one, value)
                assigned[one] = value
                if number % 2:
                    await asyncio.sleep(0)
            elif what == "refuse" and plant.waiting and plant.waiting[0][2][0] == 3:
                rig.receive(plant.answer(refuse=6))  # busy: asked again
            elif what == "stray" and plant.waiting:
                transaction, unit, pdu = plant.waiting[0]
                if pdu[0] == 3:
                    foreign = bytes((3, 2 * pdu[4])) + b"\x55" * (2 * pdu[4])
                    before = rig.mem[:]
                    rig.receive(frame((transaction + 1000 * one) % 65536, unit, foreign))
                    assert rig.mem[:] == before
            elif what == "poll":
                rig.poll()
        for _ in range(4):  # pauses of a busy device are over
            rig.unit.device._hold = float("-inf")
            rig.talk.step()
            await rig.settle()
        rig.poll()
        await rig.settle()
        assert bytes(image_of(rig.mem).buffer) == bytes(rig.plant.words)
        for name, value in assigned.items():
            assert rig.mem[name] == value
        ledger, stats = rig.client.ledger, rig.client.stats
        assert ledger.pending == 0
        assert ledger.total == ledger.acknowledged + ledger.superseded
        assert stats.requests == rig.plant.requests
        assert {rig.mem.info(name).quality for name in ("SPEED", "LEVEL", "RUN")} == {"good"}
        assert rig.unit.device.jobs == []
        rig.close()

    asyncio.run(play())


async def test_the_short_way_is_taken() -> None:
    rig = Rig(express=True, window=1)
    await rig.settle()
    rig.poll()
    assert rig.talk._sweeping is not None
    taken = 0
    while rig.plant.waiting:
        taken += rig.talk._sweeping.under_way
        rig.receive(rig.plant.answer())
    assert taken == 3, "three blocks"
    assert rig.client.stats.cycles == 2
    assert rig.client.stats.cells == 2 * WORDS
    rig.close()


async def test_a_poll_sets_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the next poll serves for the time limit of the replies too, where it comes before that."""
    rig = Rig(express=True, window=1, period=10)
    await rig.settle()
    rig.talk._arm(math.inf)
    loop = asyncio.get_running_loop()
    call_at, times = loop.call_at, []

    def noted(when: float, *rest: Any, **more: Any) -> asyncio.TimerHandle:
        times.append(when)
        return call_at(when, *rest, **more)

    monkeypatch.setattr(loop, "call_at", noted)
    began = loop.time()
    rig.poll()
    await rig.settle()
    assert rig.client.stats.cycles == 2
    assert len(times) == 1
    assert began + 10 <= times[0] <= loop.time() + 10
    rig.close()


async def test_a_round_that_takes_longer_than_its_period_is_not_cut_short() -> None:
    rig = Rig(express=True, window=1, period=0.001)
    await rig.settle()
    rig.poll()
    rig.receive(rig.plant.answer())
    due = rig.talk._timer_at
    await until(lambda: rig.talk._timer_at > due)  # it has fired, and waits for the reply now
    assert rig.talk._sweeping is not None
    assert rig.talk._sweeping.under_way
    assert len(rig.plant.waiting) == 1
    rig.close()


async def test_an_assignment_is_not_undone_by_a_reply_that_is_under_way() -> None:
    rig = Rig(express=True, window=1)
    await rig.settle()
    rig.poll()
    rig.mem.LEVEL = 77  # its loop has not heard of it yet
    rig.receive(rig.plant.answer())
    assert rig.mem.LEVEL == 77
    await rig.settle()
    assert rig.mem.LEVEL == 77
    assert struct.unpack_from(">H", rig.plant.words, 14) == (77,)
    rig.close()


async def test_what_the_device_changes_is_told_to_listeners() -> None:
    rig = Rig(express=True, window=1)
    await rig.settle()
    with rig.mem.changes("LEVEL") as changes:
        rig.poll()
        struct.pack_into(">H", rig.plant.words, 14, 5)
        await rig.settle()
        change = changes.get(1)
        assert change[:4] == ("LEVEL", 0, 5, "device")
    rig.close()


async def test_what_is_said_the_short_way_counts_for_conflicts() -> None:
    """The device changed a value, which a sweep has read; a later assignment is no conflict with that change."""
    rig = Rig(express=True, window=1)
    await rig.settle()
    struct.pack_into(">H", rig.plant.words, 14, 5)
    rig.poll()
    await rig.settle()
    rig.poll()
    rig.mem.LEVEL = 6
    rig.receive(rig.plant.answer())  # to the read, and it says 5 once more
    await rig.settle()
    assert list(rig.client.conflicts) == []
    assert rig.mem.LEVEL == 6
    rig.close()


async def test_while_assignments_wait_the_long_way_is_taken() -> None:
    rig = Rig(express=True, window=1)
    await rig.settle()
    rig.poll()
    rig.mem.LEVEL, rig.mem.SPEED, rig.mem.RUN = 6, 70000, True
    await rig.settle()
    assert (rig.mem.LEVEL, rig.mem.SPEED, rig.mem.RUN) == (6, 70000, True)
    assert bytes(image_of(rig.mem).buffer) == bytes(rig.plant.words)
    assert rig.client.ledger.acknowledged == 3
    rig.close()


async def test_a_device_that_stops_answering_in_the_middle_is_noticed() -> None:
    mem = MemoryStore(WORDS)
    answers = 0

    class Mute(AsyncModbusServer):
        def answer(self, unit: int, request: bytes, peer: Any, *, busy: bool = False) -> Any:
            nonlocal answers
            answers += 1
            return super().answer(unit, request, peer) if answers != 8 else None

    server = Mute(MemoryStore(WORDS), FREE)
    server.express = None
    await server.start()
    async with AsyncModbusClient(mem, server.endpoint, period=0.01, timeout=0.2) as client:
        await until(lambda: client.stats.errors["timeout"])
        await client.refresh()
        assert client.stats.errors == {"timeout": 1}
        assert client.stats.reconnects == 0
    await server.stop()


def test_what_was_read_the_short_way_has_its_time() -> None:
    async def play() -> tuple[float | None, float | None]:
        rig = Rig(express=True, window=1)
        await rig.settle()
        first = rig.mem.info("LEVEL").at
        rig.poll()
        await rig.settle()
        second = rig.mem.info("LEVEL").at
        rig.close()
        return first, second

    first, second = asyncio.run(play())
    assert first is not None
    assert second is not None
    assert second > first
