"""Lines between any two ends: quiet ones change nothing, and each fault is what it says."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from msm import (
    AsyncModbusClient,
    AsyncModbusServer,
    BindError,
    ConnectError,
    DeclarationError,
    DeviceBusyError,
    LinkError,
    LinkState,
    LinkTimeoutError,
    MemoryStore,
    MemoryVariable,
    ModbusClient,
    ModbusServer,
    ProtocolError,
)
from msm.testing import QUIET, FakeDevice, FaultProxy, Faults, FaultyLink, late, lost
from tests.support import FREE, until, wait_until
from tests.transports.conftest import Way


class Press(MemoryStore, size=8, coils=8):
    speed = MemoryVariable.uint32(0)
    valve = MemoryVariable.coil(1)


async def test_a_quiet_line_over_every_transport(way: Way) -> None:
    machine, panel = Press(), Press()
    machine.speed = 99999
    ends = way.client if way.scheme == "tls" else {}
    async with (
        AsyncModbusServer(machine, way.listen, **way.server) as server,
        FaultyLink(way.to(server.endpoint), "memory://quiet", **ends) as line,
        AsyncModbusClient(panel, line.endpoint, period=0.02, max_in_flight=4) as client,
    ):
        assert panel.speed == 99999
        panel.speed = 5
        panel.valve = True
        await client.flush()
        assert (machine.speed, machine.valve) == (5, True)
        await client.refresh()
        assert client.stats.reconnects == 0
        assert not client.stats.errors
    assert not line.happened


@pytest.mark.parametrize("at", ["tcp://127.0.0.1:0", "udp://127.0.0.1:0", "rtu+tcp://127.0.0.1:0", "memory://near"])
@pytest.mark.parametrize("to", [FREE, "ascii+tcp://127.0.0.1:0", "memory://far"])
async def test_from_one_transport_to_another(at: str, to: str) -> None:
    machine, panel = Press(), Press()
    async with (
        AsyncModbusServer(machine, to) as server,
        FaultyLink(server.endpoint, at) as line,
        AsyncModbusClient(panel, line.endpoint, period=0.02) as client,
    ):
        panel.speed = 5
        await client.flush()
        assert machine.speed == 5
        machine.speed = 6
        await client.refresh()
        assert panel.speed == 6


@pytest.mark.parametrize(
    ("faults", "what", "outcome"),
    [
        (Faults(lose_request=1), "lost request", LinkTimeoutError),
        (Faults(lose_reply=1), "lost reply", LinkTimeoutError),
        (Faults(late=1, late_by=0.6), "late", LinkTimeoutError),
        (Faults(delay=1, delay_up_to=0.02), "delayed", None),
        (Faults(double_request=1), "doubled request", None),
        (Faults(double_reply=1), "doubled reply", None),
        (Faults(split=1), "split", None),
        (Faults(overtake=1), "overtaken", None),
        (Faults(busy=1), "busy", DeviceBusyError),
        (Faults(wrong_reply=1), "wrong reply", (ProtocolError, LinkTimeoutError)),
        (Faults(drop=1), "dropped", LinkError),
        (Faults(cut=1), "cut", (LinkError, LinkTimeoutError, ProtocolError)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("scheme", ["tcp", "rtu+tcp", "memory"])
async def test_each_fault(scheme: str, faults: Faults, what: str, outcome: Any) -> None:
    at = "memory://each" if scheme == "memory" else f"{scheme}://127.0.0.1:0"
    to = "memory://far" if scheme == "memory" else f"{scheme}://127.0.0.1:0"
    seen: list[bytes] = []
    async with (
        AsyncModbusServer(Press(), to) as server,
        FaultyLink(server.endpoint, at, on_request=seen.append) as line,
        AsyncModbusClient(Press(), line.endpoint, period=60, timeout=0.3) as client,
    ):
        seen.clear()
        line.faults = faults
        if outcome is None:
            assert await client.read_write(0, 1, 4, [7]) == [0]
        else:
            with pytest.raises(outcome):
                await client.read_write(0, 1, 4, [7])
        assert line.happened[what] >= 1
        assert len(seen) == (0 if what in ("lost request", "busy", "dropped", "cut") else 1)
        line.faults = QUIET
        await until(lambda: client.state is LinkState.ONLINE or client.stats.reconnects > 0)


async def test_a_server_that_is_gone() -> None:
    async with FaultyLink("tcp://127.0.0.1:9", "memory://gone") as line:
        with pytest.raises(ConnectError):
            await AsyncModbusClient(Press(), line.endpoint).start(wait=0.3)


async def test_breaking_all_connections() -> None:
    async with (
        AsyncModbusServer(Press(), FREE) as server,
        FaultProxy(server.endpoint) as line,
        AsyncModbusClient(Press(), line.endpoint, period=0.02) as client,
    ):
        line.drop_all()
        await until(lambda: client.stats.reconnects > 0)
        await until(lambda: client.state is LinkState.ONLINE)


def test_in_a_thread_of_its_own() -> None:
    machine, panel = Press(), Press()
    with (
        ModbusServer(machine, FREE) as server,
        FaultProxy(server.endpoint, faults=Faults(lose_reply=0.1), seed=3) as line,
        ModbusClient(panel, line.endpoint, period=0.01, timeout=0.1) as client,
    ):
        wait_until(lambda: line.happened["lost reply"] > 2)
        assert client.stats.errors["timeout"] > 0
        line.faults = QUIET
        panel.speed = 5
        client.flush()
        assert machine.speed == 5


@pytest.mark.parametrize(
    ("faults", "message"),
    [({"drop": 1.5}, r"drop=1\.5"), ({"delay_up_to": -1}, "delay_up_to=-1"), ({"late": True}, "late=True")],
)
def test_probabilities_that_are_none(faults: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        Faults(**faults)
    asyncio.run(asyncio.sleep(0))


async def test_a_server_without_transactions_is_asked_one_by_one() -> None:
    """A reply that is lost, late or doubled on its side is never taken for that of another request."""
    machine = Press()
    machine[0:8] = range(100, 108)
    async with (
        FakeDevice(machine, "rtu+tcp://127.0.0.1:0") as device,
        FaultyLink(device.endpoint, "memory://translated") as line,
        AsyncModbusClient(Press(), line.endpoint, period=60, timeout=3.0, max_in_flight=4) as client,
    ):
        device.then(lost(), late(0.05))
        line.faults = Faults(double_request=1)
        asked = [client.request(bytes((3, 0, at, 0, 1))) for at in range(6)]
        replies = await asyncio.gather(*asked, return_exceptions=True)
        for at, reply in enumerate(replies):
            assert isinstance(reply, LinkTimeoutError) or reply == bytes((3, 2, 0, 100 + at))
        assert sum(isinstance(reply, bytes) for reply in replies) == 5


def test_nothing_is_left_of_a_line_that_cannot_listen() -> None:
    with ModbusServer(Press(), FREE) as server:
        line = FaultProxy("tcp://127.0.0.1:9", server.endpoint)
        with pytest.raises(BindError):
            line.__enter__()
    assert not [thread for thread in threading.enumerate() if "faulty" in thread.name]
