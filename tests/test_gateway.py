"""A server and clients on one store; several units on one link; stale values; what `diagnose()` and the log say."""

from __future__ import annotations

import asyncio
import logging
import struct
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import repeat
from typing import Unpack

import pytest

from msm import (
    AsyncModbusClient,
    AsyncModbusServer,
    LinkState,
    LinkTimeoutError,
    MemoryStore,
    MemoryVariable,
    ModbusClient,
    ModbusServer,
    StaleError,
    WriteError,
)
from msm.keywords import ClientKeywords
from msm.reporting import Reporter
from tests.support import FREE, PATIENCE, SILENCE, FakeDevice, RawClient, free_port, mbap, port_of, until, wait_until

LONG = 60.0  # a period that no test waits for


def soon() -> Iterator[float]:
    return repeat(0.01)


def store(size: int = 8) -> MemoryStore:
    mem = MemoryStore(size)
    mem.CURRENT_VALUE = MemoryVariable.uint32(1)
    mem.CONTROL_WORD = MemoryVariable.word(3)
    mem.ERROR_STATE = MemoryVariable.bool(4, bit_number=9)
    mem.LAST = MemoryVariable.word(7)
    return mem


def client_of(
    stores: MemoryStore | dict[int, MemoryStore], endpoint: str, **more: Unpack[ClientKeywords]
) -> AsyncModbusClient:
    given: ClientKeywords = {"period": 0.01, "backoff": soon, "timeout": 5.0, "linger": 0.05}
    given.update(more)
    return AsyncModbusClient(stores, endpoint, **given)


class Remote:
    """A client of the gateway, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.transaction = 0

    def send(self, *pdus: bytes) -> None:
        """Requests in one segment."""
        frames = []
        for pdu in pdus:
            self.transaction += 1
            frames.append(mbap(pdu, self.transaction))
        self._writer.write(b"".join(frames))

    async def reply(self) -> tuple[int, bytes]:
        async with asyncio.timeout(PATIENCE):
            transaction, _, length, _ = struct.unpack(">HHHB", await self._reader.readexactly(7))
            return transaction, await self._reader.readexactly(length - 1)

    async def ask(self, pdu: bytes) -> bytes:
        self.send(pdu)
        transaction, reply = await self.reply()
        assert transaction == self.transaction
        return reply

    def hang_up(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def remote(server: AsyncModbusServer) -> AsyncIterator[Remote]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server.endpoint))
    try:
        yield Remote(reader, writer)
    finally:
        writer.close()


# -- a gateway


async def test_a_gateway_answers_at_once_and_passes_on_without_echo() -> None:
    """Also while the device is away; what the device says is not sent back to it."""
    mem, device = store(), FakeDevice([1] * 8)
    await device.start()
    async with (
        client_of(mem, device.endpoint) as gateway,
        AsyncModbusServer(mem, FREE) as server,
        remote(server) as program,
    ):
        assert await program.ask(b"\x10\x00\x01\x00\x02\x04\x00\x07\x00\x08") == b"\x10\x00\x01\x00\x02"
        await gateway.flush()
        assert device.words == [1, 7, 8, 1, 1, 1, 1, 1]
        assert len(device.writes) == 1
        for value in range(20):
            device.words[7] = 1000 + value
            await gateway.refresh()
            assert await program.ask(b"\x03\x00\x07\x00\x01") == b"\x03\x02" + (1000 + value).to_bytes(2, "big")
        assert len(device.writes) == 1, "an echo"

        await device.stop()
        await until(lambda: gateway.state is LinkState.OFFLINE)
        assert await program.ask(b"\x06\x00\x03\x00\x19") == b"\x06\x00\x03\x00\x19"
        assert await program.ask(b"\x16\x00\x04\xfd\xff\x02\x00") == b"\x16\x00\x04\xfd\xff\x02\x00"
        assert mem.CONTROL_WORD == 25
        await device.start()
        await gateway.flush()
        assert device.words == [1, 7, 8, 25, 0x201, 1, 1, 1019]
        assert [request[0] for request in device.writes] == [16, 16, 22]
        assert gateway.ledger.acknowledged == gateway.ledger.total == 3
    await device.stop()


async def test_write_through_waits_for_the_device() -> None:
    mem = store()
    held: list[tuple[int, int, bytes]] = []

    def hold(transaction: int, unit: int, pdu: bytes) -> bytes | None:
        if pdu[0] == 3:
            return None
        held.append((transaction, unit, pdu))
        return SILENCE

    async with (
        FakeDevice([1] * 8) as device,
        client_of(mem, device.endpoint) as gateway,
        AsyncModbusServer(mem, FREE, write_through=True) as server,
        remote(server) as program,
        remote(server) as other,
    ):
        device.script = hold
        answer = asyncio.create_task(program.ask(b"\x06\x00\x03\x00\x19"))
        await until(lambda: held)
        # Others are served meanwhile, and see what is to be.
        assert await other.ask(b"\x03\x00\x03\x00\x01") == b"\x03\x02\x00\x19"
        assert not answer.done()
        transaction, unit, pdu = held[0]
        device.send(mbap(device.answer(pdu), transaction, unit))
        assert await answer == b"\x06\x00\x03\x00\x19"
        assert device.words[3] == 25
        assert gateway.ledger.acknowledged == gateway.ledger.total == 1


async def test_write_through_of_every_function_that_writes() -> None:
    mem, far = (MemoryStore(8, coils=16) for _ in range(2))
    far[:] = [0xFFFF] * 8
    async with (
        AsyncModbusServer(far, FREE) as device,
        client_of(mem, device.endpoint) as gateway,
        AsyncModbusServer(mem, FREE, write_through=True) as server,
        remote(server) as program,
    ):
        for request, reply in (
            ("05 0003 ff00", "05 0003 ff00"),
            ("06 0001 1234", "06 0001 1234"),
            ("0f 0008 0003 01 05", "0f 0008 0003"),
            ("10 0004 0002 04 0001 0002", "10 0004 0002"),
            ("16 0000 fff0 0005", "16 0000 fff0 0005"),
            ("17 0006 0002 0007 0001 02 0777", "17 04 ffff 0777"),
        ):
            assert await program.ask(bytes.fromhex(request)) == bytes.fromhex(reply)
        assert far[:] == [0xFFF5, 0x1234, 0xFFFF, 0xFFFF, 1, 2, 0xFFFF, 0x0777]
        assert [far.get_value(at, table="coil") for at in range(16)] == [0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0]
        await gateway.refresh()
        assert mem[:] == far[:]
        assert gateway.ledger.acknowledged == gateway.ledger.total == 6


async def test_write_through_keeps_the_order_of_one_segment() -> None:
    mem = store()
    async with (
        FakeDevice([1] * 8) as device,
        client_of(mem, device.endpoint),
        AsyncModbusServer(mem, FREE, write_through=True) as server,
        remote(server) as program,
    ):
        program.send(*(b"\x06\x00\x03" + value.to_bytes(2, "big") for value in range(10)), b"\x03\x00\x03\x00\x01")
        replies = [await program.reply() for _ in range(11)]
        assert [transaction for transaction, _ in replies] == list(range(1, 12))
        assert [reply[-1] for _, reply in replies] == [*range(10), 9]
        sent = [int.from_bytes(request[-2:], "big") for request in device.writes]
        assert sent == list(range(10)), "each of them, in order"


@pytest.mark.parametrize("code", [2, 3, 4, 8])
async def test_write_through_relays_what_the_device_refuses(code: int) -> None:
    mem = store()
    async with (
        FakeDevice([1] * 8) as device,
        client_of(mem, device.endpoint) as gateway,
        AsyncModbusServer(mem, FREE, write_through=True) as server,
        remote(server) as program,
    ):
        device.script = lambda t, u, pdu: None if pdu[0] == 3 else mbap(bytes([pdu[0] | 0x80, code]), t, u)
        assert await program.ask(b"\x06\x00\x03\x00\x19") == bytes([0x86, code])
        assert await program.ask(b"\x10\x00\x01\x00\x02\x04\x00\x07\x00\x08") == bytes([0x90, code])
        await until(lambda: mem[:] == [1] * 8, what="the device's values are shown again")
        assert await program.ask(b"\x03\x00\x03\x00\x01") == b"\x03\x02\x00\x01"
        assert gateway.ledger.rejected == gateway.ledger.total == 2
        device.script = None
        assert await program.ask(b"\x06\x00\x03\x00\x1a") == b"\x06\x00\x03\x00\x1a"
        assert device.words[3] == 26


async def test_write_through_of_a_device_that_is_silent_is_0b() -> None:
    mem = store()
    async with (
        FakeDevice([1] * 8) as device,
        client_of(mem, device.endpoint, timeout=0.1) as gateway,
        AsyncModbusServer(mem, FREE, write_through=True) as server,
        remote(server) as program,
    ):
        device.script = lambda t, u, pdu: None if pdu[0] == 3 else SILENCE
        assert await program.ask(b"\x06\x00\x03\x00\x19") == b"\x86\x0b"
        assert gateway.ledger.unknown == gateway.ledger.total == 1


async def test_write_through_of_a_device_that_is_away_is_0b_when_it_expires() -> None:
    mem, device = store(), FakeDevice([1] * 8)
    await device.start()
    async with (
        client_of(mem, device.endpoint, write_ttl=0.1) as gateway,
        AsyncModbusServer(mem, FREE, write_through=True) as server,
        remote(server) as program,
    ):
        await device.stop()
        await until(lambda: gateway.state is LinkState.OFFLINE)
        assert await program.ask(b"\x06\x00\x03\x00\x19") == b"\x86\x0b"
        assert gateway.ledger.expired == gateway.ledger.total == 1
        await device.start()
        await gateway.refresh()
        assert device.words == [1] * 8
        assert mem[:] == [1] * 8, "the memory does not keep what never arrived"
        assert not device.writes
    await device.stop()


async def test_write_through_without_a_device_is_answered_at_once() -> None:
    mem = store()
    async with AsyncModbusServer(mem, FREE, write_through=True) as server, remote(server) as program:
        assert await program.ask(b"\x06\x00\x03\x00\x19") == b"\x06\x00\x03\x00\x19"
        assert mem.CONTROL_WORD == 25


async def test_write_through_to_two_devices_waits_for_both() -> None:
    mem = store()
    async with (
        FakeDevice([1] * 8) as one,
        FakeDevice([1] * 8) as two,
        client_of(mem, one.endpoint, period=LONG),
        client_of(mem, two.endpoint, period=LONG),
        AsyncModbusServer(mem, FREE, write_through=True) as server,
        remote(server) as program,
    ):
        assert await program.ask(b"\x06\x00\x03\x00\x19") == b"\x06\x00\x03\x00\x19"
        assert one.words[3] == two.words[3] == 25
        two.script = lambda t, u, pdu: None if pdu[0] == 3 else mbap(bytes([pdu[0] | 0x80, 4]), t, u)
        assert await program.ask(b"\x06\x00\x03\x00\x1a") == b"\x86\x04"


async def test_write_through_when_the_program_or_the_client_goes() -> None:
    mem = store()
    async with (
        FakeDevice([1] * 8) as device,
        AsyncModbusServer(mem, FREE, write_through=True) as server,
        remote(server) as program,
        remote(server) as gone,
    ):
        client = client_of(mem, device.endpoint)
        await client.start()
        device.script = lambda t, u, pdu: None if pdu[0] == 3 else SILENCE
        gone.send(b"\x06\x00\x03\x00\x19")
        await until(lambda: device.writes)
        gone.hang_up()
        program.send(b"\x06\x00\x03\x00\x1a")
        await until(lambda: client.ledger.total == 2)
        await client.stop()
        # Who waits gets an answer: nobody will tell any more.
        assert (await program.reply())[1] == b"\x86\x0b"
        assert await program.ask(b"\x03\x00\x00\x00\x01") == b"\x03\x02\x00\x01"


def test_write_through_when_the_server_has_ended_before_the_device_answers() -> None:
    """Each in a thread of its own: the device's answer finds nobody who asked, and harms nobody."""
    mem, far = store(), store()
    with ModbusServer(far, FREE) as device:
        client = ModbusClient(mem, device.endpoint, delay_between=0.3, timeout=5.0)
        client.run()
        server = ModbusServer(mem, FREE, write_through=True, linger=0.0)
        server.run()
        with RawClient(server.endpoint) as program:
            program.send(mbap(b"\x06\x00\x03\x00\x19"))
            wait_until(lambda: mem.CONTROL_WORD == 25)
            server.kill()
        wait_until(lambda: client.ledger.acknowledged == 1)
        assert far.CONTROL_WORD == 25
        mem.CONTROL_WORD = 26
        client.flush()
        assert far.CONTROL_WORD == 26
        assert client.ledger.acknowledged == client.ledger.total == 2
        client.kill()


# -- several units on one link


class Bus(FakeDevice):
    """A gateway to a serial line with several units, each with words of its own."""

    def __init__(self, *units: int) -> None:
        super().__init__([])
        self.units = {unit: FakeDevice([unit] * 8, unit=unit) for unit in units}
        self.silent: set[int] = set()
        self.absent: set[int] = set()
        self.script = self._relay

    def _relay(self, transaction: int, unit: int, pdu: bytes) -> bytes:
        self.units[unit].requests.append(pdu)
        if unit in self.silent:
            return SILENCE
        if unit in self.absent:
            return mbap(bytes([pdu[0] | 0x80, 11]), transaction, unit)
        return mbap(self.units[unit].answer(pdu), transaction, unit)


async def test_units_have_their_own_store_fates_and_state() -> None:
    stores = {number: store() for number in (1, 2, 3)}
    async with Bus(1, 2, 3) as bus, client_of(stores, bus.endpoint) as client:
        assert [mem[:] for mem in stores.values()] == [[1] * 8, [2] * 8, [3] * 8]
        assert set(client.states.values()) == {LinkState.ONLINE}
        for number, mem in stores.items():
            mem.CONTROL_WORD = 100 + number
        await client.flush()
        assert [unit.words[3] for unit in bus.units.values()] == [101, 102, 103]
        assert client.ledger.acknowledged == client.ledger.total == 3
        bus.units[2].words[7] = 4711
        await client.refresh()
        assert [mem.LAST for mem in stores.values()] == [1, 4711, 3]


@pytest.mark.parametrize("how", ["silent", "absent"])
async def test_a_dead_unit_does_not_take_its_neighbours_along(how: str) -> None:
    stores = {number: store() for number in (1, 2, 3)}
    async with Bus(1, 2, 3) as bus, client_of(stores, bus.endpoint, timeout=0.1) as client:
        getattr(bus, how).add(2)
        await until(lambda: client.states[2] is LinkState.OFFLINE)
        assert (client.states[1], client.states[3]) == (LinkState.ONLINE, LinkState.ONLINE)
        assert client.state is LinkState.ONLINE
        assert stores[2].info("LAST").quality == "stale"
        assert stores[2].LAST == 2
        assert {stores[number].info("LAST").quality for number in (1, 3)} == {"good"}
        stores[1].CONTROL_WORD = 25
        await until(lambda: bus.units[1].words[3] == 25, what="a write to its neighbour")
        stores[2].CONTROL_WORD = 26
        with pytest.raises(LinkTimeoutError):
            await client.flush(timeout=0.2)
        assert client.ledger.pending == 1
        assert bus.connections == 1, "its neighbours need this connection"
        told = client.diagnose().splitlines()
        assert [line.startswith(f"unit {number} at ") for number, line in enumerate(told, 1)] == [True] * 3
        assert "all is well" in told[0] and "all is well" in told[2]
        assert ("does not answer" if how == "silent" else "does not reach the unit") in told[1]

        getattr(bus, how).clear()
        await client.flush(timeout=PATIENCE)
        assert bus.units[2].words[3] == 26
        assert client.states[2] is LinkState.ONLINE
        assert stores[2].info("LAST").quality == "good"


async def test_a_dead_unit_does_not_slow_its_neighbours_down() -> None:
    """In the time that its neighbours are polled often, it is asked a few times only."""
    stores = {number: store() for number in (1, 2, 3)}
    polls = 60

    async def time_of(number: int) -> float:
        goal = len(bus.units[1].requests) + number
        begin = time.monotonic()
        await until(lambda: len(bus.units[1].requests) >= goal)
        return time.monotonic() - begin

    async with Bus(1, 2, 3) as bus, client_of(stores, bus.endpoint, period=0.02, timeout=0.05) as client:
        usual = await time_of(polls)
        bus.silent.add(2)
        await until(lambda: client.states[2] is LinkState.OFFLINE)
        asked = len(bus.units[2].requests)
        with_a_dead_one = await time_of(polls)
        assert with_a_dead_one < 2 * usual + 0.2
        assert len(bus.units[2].requests) - asked <= polls // 6
        assert client.stats.errors["timeout"] <= polls // 6 + 1


async def test_all_units_dead_is_a_dead_link() -> None:
    stores = {number: store() for number in (1, 2)}
    async with Bus(1, 2) as bus, client_of(stores, bus.endpoint, timeout=0.05) as client:
        bus.silent = {1, 2}
        await until(lambda: client.state is LinkState.OFFLINE)
        await until(lambda: bus.connections > 1, what="a new connection")
        bus.silent.clear()
        await until(lambda: set(client.states.values()) == {LinkState.ONLINE})
        await client.refresh()


async def test_one_unit_of_several_is_enough_to_start() -> None:
    stores = {number: store() for number in (1, 2)}
    async with Bus(1, 2) as bus:
        bus.silent.add(2)
        client = client_of(stores, bus.endpoint, timeout=0.05)
        await client.start(wait=0.5)
        assert stores[1][:] == [1] * 8
        assert stores[2].info("LAST").quality == "never"
        await client.stop()


# -- values that are not fresh


async def test_stale_values_hold() -> None:
    mem = store()
    async with FakeDevice([5] * 8) as device:
        async with client_of(mem, device.endpoint) as client:
            await device.stop()
            await until(lambda: client.state is LinkState.OFFLINE)
            assert mem.LAST == 5
            assert mem.info("LAST").quality == "stale"
        assert mem.LAST == 5


async def test_stale_values_raise() -> None:
    mem = store()
    async with FakeDevice([5] * 8) as device, client_of(mem, device.endpoint, on_stale="raise") as client:
        assert mem.LAST == 5
        await device.stop()
        await until(lambda: client.state is LinkState.OFFLINE)
        with pytest.raises(StaleError, match="LAST"):
            _ = mem.LAST
        assert mem.info("LAST").quality == "stale", "asking how it is never raises"
        await device.start()
        await client.refresh()
        assert mem.LAST == 5


async def test_stale_values_are_zero() -> None:
    mem = store()
    mem.PRESSURE = MemoryVariable.float64(3)
    async with FakeDevice([5] * 8) as device, client_of(mem, device.endpoint, on_stale="zero") as client:
        assert mem.LAST == 5
        await device.stop()
        await until(lambda: client.state is LinkState.OFFLINE)
        assert (mem.LAST, mem.CURRENT_VALUE, mem.ERROR_STATE, mem.PRESSURE) == (0, 0, False, 0.0)
        await device.start()
        await client.refresh()
        assert mem.LAST == 5
        assert not device.writes, "zero is shown, not assigned"


# -- in plain words


async def test_diagnosis_of_nobody_there() -> None:
    client = client_of(store(), f"tcp://127.0.0.1:{free_port()}")
    await client.start(wait=0)
    await until(lambda: "connection refused" in client.diagnose())
    assert client.diagnose().startswith(f"{client.endpoint}: no connection yet: ")
    assert "is the server running" in client.diagnose()
    await client.stop()
    assert client.diagnose() == f"{client.endpoint}: the client was stopped"


async def test_diagnosis_of_one_who_says_nothing() -> None:
    async with FakeDevice([]) as device:
        device.script = lambda t, u, pdu: SILENCE
        client = client_of(store(), device.endpoint, timeout=0.05)
        await client.start(wait=0)
        await until(lambda: "it does not answer" in (told := client.diagnose()) and "within 0.05 s" in told)
        assert "is the unit id right" in client.diagnose()
        await client.stop()


async def test_diagnosis_of_a_wrong_unit() -> None:
    async with AsyncModbusServer(store(), FREE) as server:
        client = client_of(store(), server.endpoint, unit=9)
        await client.start(wait=0)
        await until(lambda: "the gateway does not reach the unit" in client.diagnose())
        assert "is the unit id right" in client.diagnose()
        await client.stop()


async def test_diagnosis_of_a_device_that_refuses_every_read() -> None:
    async with FakeDevice([]) as device, client_of(store(), device.endpoint) as client:
        await until(lambda: "every read is refused" in client.diagnose())
        assert "is the map off by one" in client.diagnose()
        assert "holding 0-7" in client.diagnose()
        assert client.state is LinkState.ONLINE


async def test_diagnosis_of_a_hole() -> None:
    mem = store(20)
    mem.BEYOND = MemoryVariable.uint32(16)
    async with FakeDevice([1] * 16) as device, client_of(mem, device.endpoint) as client:
        await until(lambda: "every read of holding 16-19 is refused" in client.diagnose())
        assert "illegal data address" not in client.diagnose() or "off by one there" in client.diagnose()
        await until(lambda: mem[:16] == [1] * 16)
        assert mem.info("BEYOND").quality == "bad"
        assert mem.info("LAST").quality == "good"


async def test_diagnosis_of_a_slow_poll() -> None:
    async with FakeDevice([1] * 8) as device:
        loop = asyncio.get_running_loop()

        def slowly(transaction: int, unit: int, pdu: bytes) -> bytes:
            loop.call_later(0.03, device.send, mbap(device.answer(pdu), transaction, unit))
            return SILENCE

        device.script = slowly
        async with client_of(store(), device.endpoint, period=0.01) as client:
            await until(lambda: "longer than its period of 0.01 s" in client.diagnose())


async def test_diagnosis_of_all_is_well_of_conflicts_and_of_what_is_racy() -> None:
    mem = store()
    async with FakeDevice([1] * 8, lacks=(22,)) as device, client_of(mem, device.endpoint, period=LONG) as client:
        assert "all is well" in client.diagnose()
        mem.ERROR_STATE = True
        await client.flush()
        assert "no mask write (function 22)" in client.diagnose()

        def assign_meanwhile(_transaction: int, _unit: int, pdu: bytes) -> None:
            if pdu[0] == 3 and device.words[3] == 77:
                mem.CONTROL_WORD = 26

        device.words[3] = 77
        device.script = assign_meanwhile
        await client.refresh()
        device.script = None
        await client.flush()
        assert "1 assignments met a change by the device" in client.diagnose()
        assert [(each.name, each.base, each.mine, each.theirs) for each in client.conflicts] == [
            ("CONTROL_WORD", 1, 26, 77)
        ]


# -- the log


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_one_line_a_second_for_each_cause(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    caplog.set_level(logging.INFO, "tests.gateway")
    report = Reporter(logging.getLogger("tests.gateway"), "tcp://plc:502", clock)
    for _ in range(50):
        report.say(logging.WARNING, "silent", "no answer from %d", 7)
        clock.now += 1 / 64
    report.say(logging.WARNING, "refused", "refused")
    assert [record.getMessage() for record in caplog.records] == [
        "tcp://plc:502: no answer from 7",
        "tcp://plc:502: refused",
    ]
    caplog.clear()
    clock.now += 0.25
    report.say(logging.WARNING, "silent", "no answer from %d", 7)
    clock.now += 1
    report.say(logging.WARNING, "silent", "no answer from %d", 7)
    assert [record.getMessage() for record in caplog.records] == [
        "tcp://plc:502: no answer from 7 (49 more like this)",
        "tcp://plc:502: no answer from 7",
    ]
    assert caplog.records[0].__dict__["msm"] == {"endpoint": "tcp://plc:502", "cause": "silent", "left_out": 49}


def test_what_nobody_reads_is_not_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "tests.gateway")
    report = Reporter(logging.getLogger("tests.gateway"), "tcp://plc:502", Clock())
    report.say(logging.WARNING, "silent", "no answer")
    assert not caplog.records


async def test_an_outage_does_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Hundreds of attempts to connect, a few lines."""
    caplog.set_level(logging.INFO, "msm.client")
    attempts = 0

    def at_once() -> Iterator[float]:
        nonlocal attempts
        while True:
            attempts += 1
            yield 0.0

    client = AsyncModbusClient(store(), f"tcp://127.0.0.1:{free_port()}", backoff=at_once)
    begin = time.monotonic()
    await client.start(wait=0)
    await until(lambda: attempts > 200)
    await client.stop()
    assert len(caplog.records) <= 2 + time.monotonic() - begin


async def test_refusals_are_told_with_the_names_of_what_was_refused() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device.endpoint) as client:
        device.script = lambda t, u, pdu: None if pdu[0] == 3 else mbap(bytes([pdu[0] | 0x80, 4]), t, u)
        mem.CONTROL_WORD = 25
        with pytest.raises(WriteError, match="CONTROL_WORD: rejected"):
            await client.flush()
