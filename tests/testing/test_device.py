"""Devices that are not there: what they do, and what they say that was done to them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from msm import (
    AsyncModbusClient,
    ConnectError,
    DeclarationError,
    DeviceFailureError,
    LinkState,
    MemoryStore,
    MemoryVariable,
    ModbusClient,
    StateError,
    UnknownVariableError,
    WriteError,
)
from msm.testing import (
    ANYTHING,
    FakeDevice,
    Fault,
    busy,
    cut,
    doubled,
    fine,
    ignored,
    late,
    lost,
    refused,
    run_virtual,
    wrong,
)
from tests.support import until, wait_until
from tests.transports.conftest import Way
from tests.transports.lines import Pty, rtu


class Press(MemoryStore, size=16, coils=8):
    state = MemoryVariable.word(0, access="ro")
    speed = MemoryVariable.float32(2, unit="rpm")
    command = MemoryVariable.word(4)
    alarm = MemoryVariable.bool(5, bit_number=3)
    enable = MemoryVariable.bool(5, bit_number=4)
    valve = MemoryVariable.coil(2)
    temperature = MemoryVariable.int16(8, scale=0.1, access="ro")


# -- what was written


def test_what_was_written() -> None:
    panel = Press()
    with FakeDevice(Press) as device, ModbusClient(panel, device.endpoint, period=0.05) as client:
        device.assert_not_wrote("speed")
        panel.speed = 40.0
        panel.valve = True
        panel.enable = True
        client.flush()
        device.assert_wrote("speed", 40.0)
        device.assert_wrote("speed")
        device.assert_wrote("valve", True)
        device.assert_wrote("enable", True)
        device.assert_not_wrote("alarm")  # another bit of the same word
        device.assert_not_wrote("speed", 41.0)
        device.assert_wrote_only("speed", "valve", "enable")
        assert [(each.name, each.value) for each in device.writes if each.name == "speed"] == [("speed", 40.0)]
        panel.speed = 40.0  # equal values count, too
        client.flush()
        assert [each.value for each in device.writes if each.name == "speed"] == [40.0, 40.0]
        device.forget()
        device.assert_not_wrote("speed")


def test_a_failure_shows_what_there_is() -> None:
    panel = Press()
    with FakeDevice(Press) as device, ModbusClient(panel, device.endpoint, period=60) as client:
        panel.speed = 40.0
        client.flush()
        checks: tuple[Callable[[], None], ...] = (
            lambda: device.assert_wrote("speed", 41.0),
            lambda: device.assert_not_wrote("speed"),
            lambda: device.assert_wrote_only("alarm"),
        )
        for check in checks:
            with pytest.raises(AssertionError) as caught:
                check()
            said = str(caught.value)
            assert "speed = 40.0" in said
            assert "writing holding 2-3: 10 00 02 00 02 04" in said
            assert "-> 10 00 02 00 02" in said
            assert "temperature" in said, "the layout"
        with pytest.raises(AssertionError, match="nothing"):
            device.assert_wrote("alarm")
        with pytest.raises(UnknownVariableError, match="'sped'"):
            device.assert_wrote("sped")
        assert repr(ANYTHING) == "anything"


def test_waiting_for_a_write() -> None:
    panel = Press()
    with FakeDevice(Press) as device, ModbusClient(panel, device.endpoint):
        panel.command = 7
        device.assert_wrote("command", 7, timeout=5.0)
        with pytest.raises(AssertionError):
            device.assert_wrote("command", 8, timeout=0.05)


# -- what it does


async def test_a_value_follows_time() -> None:
    panel = Press()
    async with FakeDevice(Press) as device:
        seen: list[float] = []

        def ramp(seconds: float) -> float:
            seen.append(seconds)
            return round(20 + len(seen) / 10, 1)

        device.follow("temperature", ramp)
        async with AsyncModbusClient(panel, device.endpoint, period=0.01) as client:
            first = panel.temperature
            await until(lambda: panel.temperature > first)
            assert client.ledger.total == 0
        assert seen == sorted(seen)


async def test_a_command_starts_a_sequence() -> None:
    panel = Press()
    async with FakeDevice(Press) as device:

        def start(mem: Any) -> Any:
            mem.provide(state=1)
            yield 0.02
            mem.provide(state=2)
            yield 0.02
            mem.provide(state=3)

        device.sequence("command", 1, start)
        async with AsyncModbusClient(panel, device.endpoint, period=0.005) as client:
            states: list[int] = []
            watch = panel.watch("state", lambda change: states.append(change.new))
            panel.command = 2
            await client.flush()
            assert device.mem.state == 0
            panel.command = 1
            await until(lambda: states == [1, 2, 3])
            watch.cancel()


async def test_an_address_is_unreadable() -> None:
    panel = Press()
    async with FakeDevice(Press) as device:
        device.unreadable(8)
        async with AsyncModbusClient(panel, device.endpoint, period=0.01) as client:
            await until(lambda: panel.info("temperature").quality == "bad")
            await until(lambda: panel.info("speed").quality == "good")
            panel.speed = 3.0
            await client.flush()
            device.assert_wrote("speed", 3.0)
        device.readable()
        async with AsyncModbusClient(Press(), device.endpoint) as client:
            assert "no value" not in client.diagnose()


# -- what goes wrong


async def one_read(device: FakeDevice, *faults: Fault, timeout: float = 0.15) -> tuple[str, dict[str, int]]:
    """What a client makes of it: how it ends, and the errors that it has counted."""
    panel = Press()
    client = AsyncModbusClient(panel, device.endpoint, period=60, timeout=timeout, poll="declared")
    async with client:
        device.then(*faults)
        try:
            await client.read_write(0, 1, 6, [1])
        except Exception as error:  # noqa: BLE001 - which one is looked at
            return type(error).__name__, dict(client.stats.errors)
        return "fine", dict(client.stats.errors)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (fine(), "fine"),
        (ignored(), "LinkTimeoutError"),
        (lost(), "LinkTimeoutError"),
        (late(0.3), "LinkTimeoutError"),
        (late(0.01), "fine"),
        (refused(2), "IllegalAddressError"),
        (busy(), "DeviceBusyError"),
        (wrong(), "ProtocolError"),
        (wrong("short"), "ProtocolError"),
        (wrong("long"), "ProtocolError"),
        (wrong("unit"), "LinkTimeoutError"),
        (wrong("transaction"), "LinkTimeoutError"),
        (cut(5), "LinkError"),
        (doubled(), "fine"),
    ],
    ids=str,
)
async def test_single_faults(fault: Fault, outcome: str) -> None:
    async with FakeDevice(Press) as device:
        device.then(fine())  # the first exchange, that of the words ...
        said, _ = await one_read(device, fault)
        assert said == outcome
        assert device.mem[6] == (0 if fault.kind in ("ignored", "refused") else 1)
        if fault.kind != "fine":
            assert f"({fault})" in device.transcript(50)


async def test_a_wrong_echo_is_refused() -> None:
    panel = Press()
    async with FakeDevice(Press) as device, AsyncModbusClient(panel, device.endpoint, period=60) as client:
        device.then(wrong("echo"))
        panel.command = 5
        with pytest.raises(WriteError, match="unknown"):
            await client.flush()
        device.assert_wrote("command", 5)


async def test_over_every_transport(way: Way) -> None:
    panel = Press()
    keywords = {"period": 0.02, "timeout": 0.3, **way.client}
    async with (
        FakeDevice(Press, way.listen, **way.server) as device,
        AsyncModbusClient(panel, way.to(device.endpoint), **keywords) as client,
    ):
        panel.speed = 2.5
        await client.flush()
        device.assert_wrote("speed", 2.5)
        device.then(busy(), lost(), late(0.02), doubled(), wrong("short"))
        await until(lambda: "wrong short" in device.transcript(50), what="all of them have happened")
        await until(lambda: client.state is LinkState.ONLINE)
        panel.speed = 3.5
        await client.flush()
        device.assert_wrote("speed", 3.5)


def test_by_chance_and_yet_the_same() -> None:
    async def course(seed: int) -> list[str]:
        async with FakeDevice(Press, "memory://chance", seed=seed) as device:
            device.by_chance(0.3, busy(), refused(4), doubled())
            client = AsyncModbusClient(Press(), device.endpoint, period=0.01, timeout=0.05)
            await client.start(wait=0)
            await until(lambda: len(device.exchanges) > 60)
            await client.stop()
            return [each.fault for each in device.exchanges][:60]

    first = run_virtual(course, 3)
    assert first == run_virtual(course, 3)
    assert first != run_virtual(course, 4)
    assert {"refused with 06", "refused with 04", "doubled", ""} == set(first)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: late(-1), "late: -1"),
        (lambda: refused(0), "refused: 0"),
        (lambda: wrong("colour"), "wrong: 'colour'"),  # type: ignore[arg-type]
        (lambda: cut(-1), "cut: -1"),
        (lambda: FakeDevice(Press).by_chance(2, busy()), "by_chance: 2"),
        (lambda: FakeDevice(Press).by_chance(0.5), "what is to happen"),
        (lambda: FakeDevice(5), "5 is no MemoryStore"),  # type: ignore[arg-type]
        (lambda: FakeDevice(Press, "tpc://x"), "does not begin with"),
    ],
)
def test_what_cannot_be(make: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        make()


# -- of what it is made, and how it runs


def test_of_a_store_a_class_or_a_map(tmp_path: Path) -> None:
    press = Press()
    assert FakeDevice(press).mem is press
    press.save(tmp_path / "press.toml")
    assert list(FakeDevice(tmp_path / "press.toml").mem.variables()) == list(press.variables())
    assert list(FakeDevice(str(tmp_path / "press.toml")).mem.variables()) == list(press.variables())


def test_a_device_runs_once() -> None:
    device = FakeDevice(Press)
    device.run()
    with pytest.raises(StateError):
        device.run()
    device.kill()
    device.kill()
    with pytest.raises(ConnectError):
        ModbusClient(Press(), device.endpoint).run(wait=0.3)
    assert "FakeDevice tcp" in repr(device)


def test_a_unit_of_its_own() -> None:
    with FakeDevice(Press, unit=7) as device, ModbusClient(Press(), device.endpoint, unit=7) as client:
        wait_until(lambda: client.state is LinkState.ONLINE)
        assert "unit 7" in device.transcript()


def test_nobody_elses_chances() -> None:
    state = random.getstate()
    with FakeDevice(Press, seed=1) as device, ModbusClient(Press(), device.endpoint, backoff=lambda: iter([0.1])):
        device.by_chance(0.5, busy())
        wait_until(lambda: len(device.exchanges) > 3)
    assert random.getstate() == state
    asyncio.run(asyncio.sleep(0))


def test_what_your_own_functions_raise_is_told_and_the_connection_lives() -> None:
    def broken(_mem: Any) -> Any:
        raise ZeroDivisionError
        yield

    panel = Press()
    with (
        pytest.raises(ZeroDivisionError),
        FakeDevice(Press) as device,
        ModbusClient(panel, device.endpoint, period=60) as client,
    ):
        device.sequence("command", 1, broken)
        panel.command = 1
        client.flush()
        device.follow("state", lambda _: 70000)
        with pytest.raises(DeviceFailureError):
            client.request(b"\x03\0\0\0\x01")
        assert client.stats.reconnects == 0
        with pytest.raises(ZeroDivisionError):
            device.assert_wrote("command", 1)
    assert len(device.trouble) == 2


async def test_an_application_behind_the_device_that_answers_later() -> None:
    async def allow(_write: Any) -> None:
        await asyncio.sleep(0)

    panel = Press()
    async with (
        FakeDevice(Press, before_write=allow) as device,
        AsyncModbusClient(panel, device.endpoint, period=60, timeout=0.3) as client,
    ):
        panel.command = 7
        await client.flush()
        device.assert_wrote("command", 7)
        device.then(lost(), on="write")
        panel.command = 8
        with pytest.raises(WriteError, match="unknown"):
            await client.flush()
        device.assert_wrote("command", 8)
        assert "(lost)" in device.transcript(50)


async def test_faults_for_writes_leave_reads_alone() -> None:
    panel = Press()
    async with FakeDevice(Press) as device, AsyncModbusClient(panel, device.endpoint, period=0.005) as client:
        device.then(refused(3), on="write")
        await client.refresh()
        await client.refresh()
        panel.command = 7
        with pytest.raises(WriteError):
            await client.flush()
        device.then(busy(), on="read")
        panel.command = 8
        await client.flush()
        device.assert_wrote("command", 8)
        with pytest.raises(DeclarationError, match="on='writes'"):
            device.then(busy(), on="writes")  # type: ignore[arg-type]


async def test_on_a_line_it_minds_its_own_units(tmp_path: Path) -> None:
    with Pty(tmp_path / "port") as port:
        async with FakeDevice(Press, f"rtu://{port.path}?baudrate=115200", unit=5) as device:
            device.then(refused(2))
            port.send(rtu(b"\x03\0\0\0\x01", unit=9))
            port.send(rtu(b"\x06\0\x04\0\x07", unit=0))
            port.send(rtu(b"\x03\0\x04\0\x01", unit=5))
            assert await port.hears(5) == rtu(b"\x83\x02", unit=5)
            device.assert_wrote("command", 7)  # the broadcast
            assert len(device.exchanges) == 2
