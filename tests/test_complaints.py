"""What people complain about in programs that exchange registers, and that it cannot happen here.

Each complaint has a test: over a real socket where time and bytes matter, in the simulation where each step does.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, Unpack

import pytest

from msm import AsyncModbusClient, LinkState, MemoryStore, MemoryVariable, StaleError, WriteError
from msm.keywords import ClientKeywords
from tests.exchange.simulation import Plant, Rig, writing
from tests.support import SILENCE, FakeDevice, mbap, until

LONG = 60.0  # a period that no test waits for


def soon() -> Iterator[float]:
    while True:
        yield 0.01


def client_of(mem: MemoryStore, device: FakeDevice, **keywords: Unpack[ClientKeywords]) -> AsyncModbusClient:
    given: ClientKeywords = {"period": LONG, "backoff": soon, "timeout": 5.0}
    given.update(keywords)
    return AsyncModbusClient(mem, device.endpoint, **given)


@contextmanager
def watched(mem: MemoryStore, name: str) -> Iterator[list[Any]]:
    """The values that a variable takes meanwhile, each one."""
    seen: list[Any] = []
    watch = mem.watch(name, lambda change: seen.append(change.new))
    try:
        yield seen
    finally:
        watch.cancel()


async def test_a_write_during_a_poll_reverts() -> None:
    """Complaint: the poll left before the write, its reply came after it, and put the old value back."""
    mem = MemoryStore(8)
    mem.SETPOINT = MemoryVariable.word(3)
    async with FakeDevice([1] * 8) as device, client_of(mem, device) as client:
        with watched(mem, "SETPOINT") as seen:
            held: list[bytes] = []

            def hold(transaction: int, unit: int, pdu: bytes) -> bytes | None:
                held.append(mbap(device.answer(pdu), transaction, unit))
                return SILENCE

            mem.SETPOINT = 20
            await client.flush()
            device.script = hold
            poll = asyncio.create_task(client.refresh())
            await until(lambda: held)
            mem.SETPOINT = 30
            device.script = None
            device.send(held[0])  # it says 20
            await poll
            assert mem.SETPOINT == 30
            await client.flush()
            await client.refresh()
            assert (mem.SETPOINT, device.words[3]) == (30, 30)
            await until(lambda: len(seen) >= 2)
    assert seen == [20, 30], "it never went back, not for an instant"


@pytest.mark.parametrize("in_flight", [1, 2, 4])
def test_a_write_during_a_poll_reverts_with_several_in_flight(in_flight: int) -> None:
    """Complaint: the same, where the write overtakes the poll on its way."""
    mem = MemoryStore(8)
    mem.SETPOINT = MemoryVariable.word(3)
    rig = Rig(mem, Plant(8), period=1.0, timeout=100.0, max_in_flight=in_flight, max_read=4)
    rig.start()
    rig.pass_time(1.0)
    polls = len(rig.out)
    mem.SETPOINT = 30
    rig.pump()
    for _ in range(polls + 1):
        # The device reads first and writes then; but the reply to the write comes first.
        while rig.to_device:
            rig.deliver_request()
        while rig.to_client:
            rig.deliver_reply(len(rig.to_client) - 1)
            assert mem.SETPOINT == 30
    assert rig.plant.words[3] == 30


def test_fast_reads_starve_writes() -> None:
    """Complaint: with a short period there is always a poll to send, and the write waits for ever."""
    mem = MemoryStore(1000)
    rig = Rig(mem, Plant(1000), period=0.001, max_read=10)
    rig.start()
    rig.pass_time(1.0)
    for value in range(1, 20):
        mem[500] = value
        asked = len(rig.plant.requests)
        for _ in range(4):
            rig.deliver_request()
            rig.deliver_reply()
            rig.pass_time(0.0)
        assert rig.plant.words[500] == value
        assert len(rig.plant.requests) - asked <= 4, "one poll that was on its way, and then the write"


def test_writes_starve_reads() -> None:
    """The other way round: somebody who assigns all the time does not stop the polls."""
    mem = MemoryStore(8)
    rig = Rig(mem, Plant(8), period=0.001)
    rig.start()
    for value in range(100):
        mem[1] = value
        rig.pass_time(0.001)
        rig.deliver_request()
        rig.deliver_reply()
    assert len(rig.plant.reads) >= 40
    assert len(rig.plant.writes) >= 40


def test_one_timeout_empties_the_queue() -> None:
    """Complaint: after a time-out all that waited was thrown away."""
    mem = MemoryStore(16)
    plant = Plant(16)
    rig = Rig(mem, plant, period=LONG, timeout=1.0)
    rig.start()
    for at in range(0, 16, 2):
        mem[at] = 100 + at
    rig.pump()
    rig.lose_request()
    rig.pass_time(1.0)
    rig.run(1.0)
    assert plant.words == [0 if at % 2 else 100 + at if at else 0 for at in range(16)]
    assert (rig.ledger.unknown, rig.ledger.acknowledged, rig.ledger.pending) == (1, 7, 0)
    assert [name for name, _ in rig.ledger.failures(rig.ledger.mark())] == ["holding[0]"]


@pytest.mark.parametrize("words", [[7] * 8, [0xFFFF] * 8])
async def test_registers_are_zeroed_at_start(words: list[int]) -> None:
    """Complaint: the client began by writing its own zeros over what the device had."""
    mem = MemoryStore(8)
    mem.SETPOINT = MemoryVariable.word(3)
    mem.RUN = MemoryVariable.bool(4, 0)
    async with FakeDevice(words.copy()) as device:
        async with client_of(mem, device, period=0.01) as client:
            assert mem[:] == words, "when it has started the memory is the device's"
            for _ in range(3):
                await client.refresh()
        assert (device.words, device.writes) == (words, [])


@pytest.mark.parametrize("lacks", [(), (22,), (22, 16)], ids=["FC22", "no FC22", "neither FC22 nor FC16"])
async def test_a_bit_write_zeroes_the_other_bits(lacks: tuple[int, ...]) -> None:
    """Complaint: to set one bit, the whole word was written, from a memory that had never been read."""
    mem = MemoryStore(8)
    mem.RUN = MemoryVariable.bool(3, 0)
    mem.RUN = True  # before there is a client
    async with FakeDevice([0, 0, 0, 0xABC0, 0, 0, 0, 0], lacks=lacks) as device, client_of(mem, device) as client:
        await client.flush()
        assert device.words[3] == 0xABC1
        device.words[3] = 0x1230  # the device goes on, and no poll has told
        mem.RUN = True
        await client.flush()
        assert device.words[3] == 0x1231
        assert mem.RUN is True


async def test_an_equal_value_is_never_resent_although_the_device_wants_it() -> None:
    """Complaint: a watchdog that wants the same number again, or a command given twice, was left out as unchanged."""
    mem = MemoryStore(8)
    mem.WATCHDOG = MemoryVariable.word(2)
    mem.STEP = MemoryVariable.word(3, command=True)
    async with FakeDevice([0] * 8) as device:
        async with client_of(mem, device) as client:
            for _ in range(3):
                mem.WATCHDOG = 5
                await client.flush()
            for _ in range(3):
                mem.STEP = 1
            await client.flush()
        assert [struct.unpack(">H", request[1:3])[0] for request in device.writes] == [2, 2, 2, 3, 3, 3]
        assert client.ledger.acknowledged == 6


async def test_a_missing_low_word_is_read_as_0() -> None:
    """Complaint: of a uint32 only the high word had come, and 65536 was shown where there was 99999."""
    mem = MemoryStore(8)
    mem.COUNTER = MemoryVariable.uint32(3)  # a block of four words would end between its two
    words = [0] * 8
    words[3:5] = 99999 & 0xFFFF, 99999 >> 16
    async with FakeDevice(words) as device:

        def refuse_word_3(transaction: int, unit: int, pdu: bytes) -> bytes | None:
            address, count = struct.unpack(">HH", pdu[1:5])
            return mbap(b"\x83\x02", transaction, unit) if pdu[0] == 3 and address <= 3 < address + count else None

        async with client_of(mem, device, period=0.01, max_read=4) as client:
            assert mem.COUNTER == 99999
            with watched(mem, "COUNTER") as seen:
                device.script = refuse_word_3
                await until(lambda: mem.info("COUNTER").quality == "bad")
                cycles = client.stats.cycles
                await until(lambda: client.stats.cycles > cycles + 5)
                assert mem.COUNTER == 99999
            assert mem.info("COUNTER").quality == "bad"
            assert "02" in mem.info("COUNTER").error
    assert seen == []
    for request in device.reads:
        address, count = struct.unpack(">HH", request[1:])
        assert (address <= 3 < address + count) == (address <= 4 < address + count), "both words, or neither"


@pytest.mark.parametrize("failure", ["exception", "silence", "nonsense", "short"])
async def test_a_failed_read_became_0(failure: str) -> None:
    """Complaint: where the read failed, the values went to zero."""
    mem = MemoryStore(8)
    mem.LEVEL = MemoryVariable.word(3)
    answers = {
        "exception": lambda t, u: mbap(b"\x83\x04", t, u),
        "silence": lambda t, u: SILENCE,
        "nonsense": lambda t, u: mbap(b"\x03\x02\x00\x00", t, u),
        "short": lambda t, u: mbap(b"\x03", t, u),
    }
    async with FakeDevice([7] * 8) as device, client_of(mem, device, period=0.01, timeout=0.05):
        with watched(mem, "LEVEL") as seen:
            asked = len(device.reads)
            device.script = lambda t, u, pdu: answers[failure](t, u)
            await until(lambda: len(device.reads) > asked + 3 and mem.info("LEVEL").quality != "good")
            assert mem[:] == [7] * 8
            assert mem.info("LEVEL").error
            device.script = None
            if failure != "exception":  # that one is asked for again later
                await until(lambda: mem.info("LEVEL").quality == "good")
    assert (mem.LEVEL, seen) == (7, [])


async def test_one_bad_register_kills_the_block() -> None:
    """Complaint: a device that does not have word 40 refuses 0-124, and nothing at all was read."""
    mem = MemoryStore(125)
    mem.GONE = MemoryVariable.word(40)
    mem.NEXT = MemoryVariable.uint32(41)
    async with FakeDevice(list(range(125))) as device:

        def refuse_word_40(transaction: int, unit: int, pdu: bytes) -> bytes | None:
            address, count = struct.unpack(">HH", pdu[1:5])
            return mbap(b"\x83\x02", transaction, unit) if address <= 40 < address + count else None

        device.script = refuse_word_40
        async with client_of(mem, device, period=0.01) as client:
            expected = [0 if at == 40 else at for at in range(125)]
            await until(lambda: mem[:] == expected)
            assert (mem.info("GONE").quality, mem.info("NEXT").quality) == ("bad", "good")
            found = len(device.reads)
            cycles = client.stats.cycles
            await until(lambda: client.stats.cycles >= cycles + 5)
            later = device.reads[found + 2 :]
            assert not any(struct.unpack(">H", request[1:3])[0] == 40 for request in later), "it is left out"
            assert "40" in client.diagnose()


def test_a_block_boundary_splits_a_float64() -> None:
    """Complaint: 125 words to a request, and the double at 123 was put together from two instants."""
    mem = MemoryStore(300)
    mem.FLOW = MemoryVariable.float64(123)
    mem.HEAT = MemoryVariable.float64(247)
    rig = Rig(mem, Plant(300), period=1.0, max_write=123)
    rig.start()
    blocks = [struct.unpack(">HH", request[1:]) for request in rig.plant.reads]
    for begin in (123, 247):
        assert [address for address, count in blocks if address < begin + 4 and address + count > begin] == [
            address for address, count in blocks if address <= begin and address + count >= begin + 4
        ]
    # Written together with its neighbours it is not cut either.
    with mem.atomic():
        for at in range(300):
            mem[at] = 1
        mem.FLOW, mem.HEAT = 1.5, -2.5
    rig.pump()
    rig.settle()
    for request in rig.plant.writes:
        cells = {at for _, at in writing(request)}
        for begin in (123, 247):
            own = set(range(begin, begin + 4))
            assert not cells & own or own <= cells
    rig.run(3.0)
    assert (mem.FLOW, mem.HEAT) == (1.5, -2.5)
    assert rig.plant.words == mem[:]


@pytest.mark.parametrize("on_stale", ["hold", "raise", "zero"])
async def test_a_dead_device_keeps_its_last_value_without_saying_so(on_stale: Literal["hold", "raise", "zero"]) -> None:
    """Complaint: the screen showed 80 degrees, and the device had been off since yesterday."""
    mem = MemoryStore(8)
    mem.DEGREES = MemoryVariable.word(3)
    async with (
        FakeDevice([80] * 8) as device,
        client_of(mem, device, period=0.01, timeout=0.05, backoff=soon, on_stale=on_stale) as client,
    ):
        assert (mem.DEGREES, mem.info("DEGREES").quality) == (80, "good")
        device.script = lambda *_: SILENCE  # it is dead, and its converter still holds the connection
        await until(lambda: mem.info("DEGREES").quality == "stale")
        await until(lambda: client.state is LinkState.OFFLINE)
        assert mem.info("DEGREES").error
        assert "all is well" not in client.diagnose()
        if on_stale == "raise":
            with pytest.raises(StaleError, match="DEGREES"):
                _ = mem.DEGREES
        else:
            assert (80 if on_stale == "hold" else 0) == mem.DEGREES
        device.script = None
        await until(lambda: mem.info("DEGREES").quality == "good")
        assert mem.DEGREES == 80
        await until(lambda: client.state is LinkState.ONLINE)


async def test_a_rejected_value_stays_on_the_screen() -> None:
    """Complaint: the device refused it, and the memory showed it for ever as if it were true."""
    mem = MemoryStore(8)
    mem.LIMIT = MemoryVariable.word(3)
    async with FakeDevice([10] * 8) as device, client_of(mem, device) as client:
        device.script = lambda t, u, pdu: mbap(b"\x90\x03", t, u) if pdu[0] == 16 else None
        mem.LIMIT = 999
        with pytest.raises(WriteError, match="LIMIT: rejected"):
            await client.flush()
        await until(lambda: mem.LIMIT == 10)
        assert len(device.writes) == 1, "and it is not repeated"
