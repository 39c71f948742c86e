"""How long it takes: an assignment until the device has it, and what the doors cost. Prints JSON, in microseconds.

`python latency.py PORT TIMES [uvloop]`. The baseline is a bare round trip, by a blocking socket, and the wake-up of one
thread by another.
"""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import struct
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from msm import AsyncModbusClient, MemoryStore, MemoryVariable, Message, ModbusClient

TIMES = int(sys.argv[2])
UVLOOP = "uvloop" in sys.argv
REQUEST = struct.pack(">HHHBBHHB", 1, 0, 9, 1, 16, 0, 1, 2) + b"\0\1"

STAMP = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 65532, 4)  # when it was last written to, of the C server


STAGES = ("it returns", "its request is ready", "the device has it")

Result = TypeVar("Result")


class Press(MemoryStore):
    """One word is enough."""

    speed = MemoryVariable.word(0)


def round_trip(port: int) -> float:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        taken = []
        for _ in range(TIMES):
            began = time.perf_counter()
            sock.sendall(REQUEST)
            sock.recv(100)
            taken.append(time.perf_counter() - began)
            time.sleep(0.001)
    return statistics.median(taken)


def wake_up() -> float:
    """From the release of a lock to the thread that waits for it."""
    latch, taken, began = threading.Lock(), [], [0.0]
    latch.acquire()

    def wait() -> None:
        for _ in range(TIMES):
            latch.acquire()
            taken.append(time.perf_counter() - began[0])

    thread = threading.Thread(target=wait)
    thread.start()
    for _ in range(TIMES):
        time.sleep(0.001)
        began[0] = time.perf_counter()
        latch.release()
    thread.join()
    return statistics.median(taken)


class Device:
    """The C server, and when it was last written to, by the clock that all processes share."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"tcp://127.0.0.1:{port}"
        self._sock = socket.create_connection(("127.0.0.1", port))

    def written_at(self) -> int:
        self._sock.sendall(STAMP)
        return int.from_bytes(self._sock.recv(100)[9:], "big")

    def times(self, write: Callable[[int], object], ready: Callable[[], int] = time.monotonic_ns) -> list[float]:
        """Seconds from a call until it returns, until the request is ready to be sent, until the device has it.

        :param ready: tells when it was ready.
        """
        taken: list[tuple[int, int, int]] = []
        for number in range(TIMES):
            began = arrived = time.monotonic_ns()
            write(number)
            returned = time.monotonic_ns()
            while arrived <= began:
                time.sleep(0.002)
                arrived = self.written_at()
            taken.append((returned - began, ready() - began, arrived - began))
        return [statistics.median(each) / 1e9 for each in zip(*taken, strict=True)]

    def close(self) -> None:
        self._sock.close()


def assignment(device: Device, size: int, period: float) -> float:
    """From the assignment until the device has it."""
    press = Press(size)
    with ModbusClient(press, device.endpoint, period=period) as client:
        press.speed = 1
        client.flush()
        return device.times(lambda number: setattr(press, "speed", number))[-1]


def stages(device: Device) -> list[float]:
    """The same, stage by stage: until the assignment returns, until its request is ready, until the device has it."""
    press, ready = Press(8), [0]

    def note(message: Message) -> None:
        if message.request:
            ready[0] = time.monotonic_ns()

    with ModbusClient(press, device.endpoint, period=86400.0, trace=note) as client:
        press.speed = 1
        client.flush()
        return device.times(lambda number: setattr(press, "speed", number), lambda: ready[0])


def bare_loop(device: Device, port: int) -> list[float]:
    """The same for the least that an event loop in a thread can do: it is told to send bytes that are there already."""
    made: list[Any] = []
    ready = threading.Event()

    async def run() -> None:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        end = asyncio.Event()
        made.extend((asyncio.get_running_loop(), writer, end))
        ready.set()
        await end.wait()
        writer.close()
        await writer.wait_closed()

    thread = threading.Thread(target=run_in_loop, args=(run(),))
    thread.start()
    ready.wait()
    loop, writer, end = made
    woken = [0]

    def send() -> None:
        woken[0] = time.monotonic_ns()
        writer.write(REQUEST)

    taken = device.times(lambda _: loop.call_soon_threadsafe(send), lambda: woken[0])
    loop.call_soon_threadsafe(end.set)
    thread.join()
    return taken


def run_in_loop(work: Coroutine[Any, Any, Result]) -> Result:
    """As `asyncio.run()`, over the event loop that is measured."""
    if not UVLOOP:
        return asyncio.run(work)
    import uvloop

    return uvloop.run(work)


def facade(port: int) -> tuple[float, float]:
    """`refresh()` by the synchronous door, and by the engine itself."""

    async def engine() -> float:
        async with AsyncModbusClient(Press(8), f"tcp://127.0.0.1:{port}", period=86400) as client:
            taken = []
            for _ in range(TIMES):
                began = time.perf_counter()
                await client.refresh()
                taken.append(time.perf_counter() - began)
            return statistics.median(taken)

    with ModbusClient(Press(8), f"tcp://127.0.0.1:{port}", period=86400) as client:
        taken = []
        for _ in range(TIMES):
            began = time.perf_counter()
            client.refresh()
            taken.append(time.perf_counter() - began)
    return statistics.median(taken), run_in_loop(engine())


def start_up(port: int) -> float:
    """From making a client to its first exchange."""
    taken = []
    for _ in range(20):
        began = time.perf_counter()
        client = ModbusClient(Press(8), f"tcp://127.0.0.1:{port}")
        client.run()
        taken.append(time.perf_counter() - began)
        client.kill()
    return statistics.median(taken)


if __name__ == "__main__":
    if not UVLOOP:
        sys.modules["uvloop"] = None  # type: ignore[assignment] - the doors use it where it is installed
    port = int(sys.argv[1])
    device = Device(port)
    door, engine = facade(port)
    whole, bare = stages(device), bare_loop(device, port)
    figures = {
        "bare round trip": round_trip(port),
        "thread wake-up": wake_up(),
        "assignment to device memory": assignment(device, 8, 86400.0),
        "assignment to device memory, while polling": assignment(device, 1000, 0.001),
        "a bare event loop in a thread": bare[-1],
        **{f"an assignment, until {stage}": each for stage, each in zip(STAGES, whole, strict=True)},
        **{f"a bare event loop, until {stage}": each for stage, each in zip(STAGES, bare, strict=True)},
        "refresh(), synchronous door": door,
        "refresh(), engine": engine,
        "start to first exchange": start_up(port),
    }
    device.close()
    print(json.dumps({name: seconds * 1e6 for name, seconds in figures.items()}))
