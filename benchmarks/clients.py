"""Polls a server again and again: `python clients.py KIND PORT WORDS OUTSTANDING SECONDS` prints "cycles SECONDS CPU".

`python clients.py many-KIND PORT DEVICES SECONDS` reads 125 words of so many connections once a second, and prints
"CPU-seconds SECONDS polls p99-of-the-period-error-in-ms memory-of-a-device-in-kB".
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import resource
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

BLOCK = 125


def blocks(words: int) -> list[tuple[int, int]]:
    return [(at, min(BLOCK, words - at)) for at in range(0, words, BLOCK)]


def settle() -> None:
    """As the page on scaling advises after a start: what is there now stays, and is not looked through again."""
    gc.collect()
    gc.freeze()


def report(cycles: int, began: float, cpu: float) -> None:
    print(cycles, time.perf_counter() - began, time.process_time() - cpu, flush=True)


async def msm(port: int, words: int, outstanding: int, seconds: float) -> None:
    from msm import AsyncModbusClient, MemoryStore

    mem = MemoryStore(words)
    async with AsyncModbusClient(
        mem, f"tcp://127.0.0.1:{port}", period=86400, max_in_flight=outstanding, timeout=5
    ) as client:
        for _ in range(20):
            await client.refresh()
        cycles, began, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - began < seconds:
            await client.refresh()
            cycles += 1
        report(cycles, began, cpu)


async def pymodbus(port: int, words: int, outstanding: int, seconds: float) -> None:
    from pymodbus.client import AsyncModbusTcpClient

    client = AsyncModbusTcpClient("127.0.0.1", port=port, retries=0)
    assert await client.connect()
    cycles, began, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        for address, count in blocks(words):
            reply = await client.read_holding_registers(address, count=count, device_id=1)
            assert len(reply.registers) == count
        cycles += 1
    report(cycles, began, cpu)
    client.close()


async def pymodbustcp(port: int, words: int, outstanding: int, seconds: float) -> None:
    from pyModbusTCP.client import ModbusClient

    client = ModbusClient("127.0.0.1", port, auto_open=True)
    assert client.open()
    cycles, began, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        for address, count in blocks(words):
            reply = client.read_holding_registers(address, count)
            assert reply is not None
            assert len(reply) == count
        cycles += 1
    report(cycles, began, cpu)
    client.close()


async def many_msm(port: int, devices: int, seconds: float) -> None:
    from msm import AsyncModbusClient, MemoryStore

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    endpoint = f"tcp://127.0.0.1:{port}"
    clients = [AsyncModbusClient(MemoryStore(BLOCK), endpoint, period=1.0, timeout=2.0) for _ in range(devices)]
    for number, client in enumerate(clients):
        await client.start(wait=0)
        if number % 10 == 9:
            await asyncio.sleep(10 / devices)
    settle()
    await asyncio.sleep(1.5)  # what that has held up is over
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / devices
    polls = sum(client.stats.requests for client in clients)
    for client in clients:
        client.stats.recent.clear()
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    used, took = time.process_time() - cpu, time.perf_counter() - began
    polls = sum(client.stats.requests for client in clients) - polls
    times = [[ended - took for ended, took, _ in client.stats.recent] for client in clients]  # when each poll began
    errors = sorted(abs(later - earlier - 1.0) for each in times for earlier, later in itertools.pairwise(each))
    p99 = errors[int(len(errors) * 0.99)] * 1000 if errors else 0.0
    print(used, took, polls, p99, memory, flush=True)
    await asyncio.gather(*(client.stop() for client in clients))


async def many_pymodbus(port: int, devices: int, seconds: float) -> None:
    from pymodbus.client import AsyncModbusTcpClient

    polls = 0

    async def poll(number: int) -> None:
        nonlocal polls
        client = AsyncModbusTcpClient("127.0.0.1", port=port, retries=0)
        await asyncio.sleep(number / devices)
        assert await client.connect()
        due = asyncio.get_running_loop().time()
        while True:
            reply = await client.read_holding_registers(0, count=BLOCK, device_id=1)
            assert len(reply.registers) == BLOCK
            polls += 1
            due += 1.0
            await asyncio.sleep(due - asyncio.get_running_loop().time())

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tasks = [asyncio.create_task(poll(number)) for number in range(devices)]
    await asyncio.sleep(1.0)
    settle()
    await asyncio.sleep(1.5)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / devices
    polls = 0
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    print(time.process_time() - cpu, time.perf_counter() - began, polls, 0.0, memory, flush=True)
    assert len(tasks) == devices
    os._exit(0)  # some of them do not end when they are cancelled


POLLERS: dict[str, Callable[[int, int, int, float], Coroutine[Any, Any, None]]] = {
    "msm": msm,
    "msm uvloop": msm,
    "pymodbus": pymodbus,
    "pyModbusTCP": pymodbustcp,
}
MANY: dict[str, Callable[[int, int, float], Coroutine[Any, Any, None]]] = {
    "many-msm": many_msm,
    "many-msm uvloop": many_msm,
    "many-pymodbus": many_pymodbus,
}


def main() -> None:
    kind, *numbers = sys.argv[1:]
    if kind in MANY:
        work = MANY[kind](int(numbers[0]), int(numbers[1]), float(numbers[2]))
    else:
        work = POLLERS[kind](int(numbers[0]), int(numbers[1]), int(numbers[2]), float(numbers[3]))
    if "uvloop" in kind:
        import uvloop

        uvloop.run(work)
    else:
        asyncio.run(work)


if __name__ == "__main__":
    main()
