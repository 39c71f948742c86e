"""Virtual time: a day of polling takes as long as its work, and the same seed gives the same trace."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable

import pytest

from msm import AsyncModbusClient, AsyncModbusServer, MemoryStore, MemoryVariable, Message
from msm.testing import FakeDevice, Faults, FaultyLink, VirtualLoop, VirtualTimeError, busy, lost, run_virtual

DAY, MINUTE = 86400.0, 60.0  # seconds of virtual time


class Press(MemoryStore, size=8):
    speed = MemoryVariable.word(0)
    uptime = MemoryVariable.uint32(2)


def test_a_day_of_polling() -> None:
    async def main() -> tuple[int, int]:
        panel = Press()
        async with FakeDevice(Press, "memory://day") as device:
            device.follow("uptime", int)
            async with AsyncModbusClient(panel, device.endpoint, period=60.0) as client:
                await asyncio.sleep(DAY)
                return client.stats.requests, panel.uptime

    began = time.perf_counter()
    requests, uptime = run_virtual(main)
    assert time.perf_counter() - began < 10
    assert DAY / 60 <= requests <= DAY / 60 + 2
    assert DAY - 61 <= uptime <= DAY


def test_the_same_seed_gives_the_same_trace_byte_for_byte() -> None:
    async def hour(seed: int) -> bytes:
        trace: list[Message] = []
        panel = Press()
        async with FakeDevice(Press, "memory://device", seed=seed) as device:
            device.by_chance(0.05, busy(), lost())
            device.follow("uptime", int)
            faults = Faults(lose_reply=0.02, double_reply=0.02, drop=0.005, delay=0.2, delay_up_to=0.5, cut=0.005)
            async with FaultyLink(device.endpoint, "memory://line", faults, seed=seed) as line:
                client = AsyncModbusClient(panel, line.endpoint, period=1.0, timeout=0.7, trace=trace.append)
                await client.start(wait=30)
                for number in range(60):
                    panel.speed = number
                    await asyncio.sleep(MINUTE)
                await client.stop()
                assert line.happened["dropped"] > 3
        return repr(trace).encode()

    first, again, other = (run_virtual(hour, seed, seed=seed) for seed in (5, 5, 6))
    assert len(first) > 100_000
    assert first == again
    assert first != other


def test_several_clients_and_their_connections_have_their_order() -> None:
    async def storm() -> list[Message]:
        trace: list[Message] = []
        async with FakeDevice(Press, "memory://busy") as device, FaultyLink(device.endpoint, "memory://l") as line:
            clients = [
                AsyncModbusClient(Press(), line.endpoint, period=0.5, timeout=0.5, trace=trace.append) for _ in range(6)
            ]
            for client in clients:
                await client.start()
            for _ in range(5):
                line.drop_all()
                await asyncio.sleep(MINUTE)
            for client in clients:
                await client.stop()
        return trace

    first = run_virtual(storm, seed=3)
    assert len(first) > 5000
    assert first == run_virtual(storm, seed=3)


def test_deadlines_are_kept_in_virtual_time() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        times = []
        for seconds in (1.0, 3600.0, 0.001):
            await asyncio.sleep(seconds)
            times.append(loop.time())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.Event().wait()
        return [*times, loop.time()]

    assert run_virtual(main) == pytest.approx([1.0, 3601.0, 3601.001, 3611.001])


def test_a_coroutine_will_do_and_errors_come_out() -> None:
    async def work() -> int:
        await asyncio.sleep(MINUTE)
        return 5

    async def fail() -> None:
        raise ZeroDivisionError

    waiting: Awaitable[int] = work()
    assert run_virtual(waiting) == 5
    with pytest.raises(ZeroDivisionError):
        run_virtual(fail)


def test_what_is_left_to_chance_is_put_back() -> None:
    async def draw() -> float:
        return random.random()

    random.seed(1)
    expected = [random.random() for _ in range(2)]
    random.seed(1)
    assert random.random() == expected[0]
    assert run_virtual(draw, seed=7) == run_virtual(draw, seed=7)
    assert random.random() == expected[1]


def test_waiting_for_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("msm.testing.clock.STUCK", 0.05)

    async def main() -> None:
        await asyncio.sleep(MINUTE)
        await asyncio.get_running_loop().create_future()

    with pytest.raises(VirtualTimeError, match="at 60 s of virtual time"):
        run_virtual(main)


def test_other_runners_can_use_the_loop() -> None:
    async def main() -> float:
        async with (
            AsyncModbusServer(Press(), "memory://runner") as server,
            AsyncModbusClient(Press(), server.endpoint, backoff=lambda: itertools.repeat(1.0)),
        ):
            await asyncio.sleep(2 * MINUTE)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert 119.9 <= runner.run(main()) < 122
