"""Rows about lines and whoever is at the other end of them."""

from __future__ import annotations

import asyncio
import itertools
import os
import select
import socket
import struct
import subprocess
import sys
import time
from typing import Any

from benchmarks import faults

from msm import (
    AsyncModbusClient,
    AsyncModbusServer,
    MemoryStore,
    MemoryVariable,
    Message,
    WriteError,
)
from msm.testing import FakeDevice, FaultProxy, Faults, ignored, run_virtual
from msm.wire import pdu
from msm.wire.channel import Channel
from msm.wire.endpoint import Endpoint
from msm.wire.framing import Frame, frame
from msm.wire.listening import listen
from tests.reliability.rows import Scale, check, demand
from tests.support import Deadline, until

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets the connection
BAD = 0x0BAD
PERIOD = 0.1  # seconds


class Machine(MemoryStore, size=16):
    """What most rows exchange."""

    speed = MemoryVariable.word(0)
    count = MemoryVariable.uint32(2)
    wide = MemoryVariable.uint64(4)


def descriptors(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))


def quick(full: bool) -> faults.Scale:
    return faults.FULL if full else faults.QUICK


@check("descriptors back to baseline, and served after it")
def reset_inside_a_frame(scale: Scale) -> tuple[str, str]:
    times = scale.of(9000, 300)
    with faults.server(quick(scale.full)) as (port, process):
        faults.Raw(port).close()
        before = descriptors(process)
        for number in range(times):
            address = f"127.0.2.{number % 40 + 1}"
            with socket.create_connection(("127.0.0.1", port), source_address=(address, 0)) as sock:
                sock.send(faults.mbap(faults.READ)[: number % 11 + 1])
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        deadline = time.monotonic() + 10
        while descriptors(process) > before and time.monotonic() < deadline:
            time.sleep(0.01)
        after = descriptors(process)
        raw = faults.Raw(port)
        served = raw.ask(faults.READ)[:2] == b"\x03\x02"
        raw.close()
    ours = asyncio.run(_reset_inside_replies(scale.of(1000, 50)))
    said = f"server: {before} -> {after} descriptors; client: {ours[0]} -> {ours[1]} after {ours[2]} resets"
    demand(after <= before and served and ours[1] <= ours[0], said)
    return f"reset inside a frame, {times} requests and {ours[2]} replies", said


async def _reset_inside_replies(times: int) -> tuple[int, int, int]:
    """A device that resets the connection inside each reply but the first."""
    resets = 0

    class Device(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: Any = transport

        def data_received(self, data: bytes) -> None:
            nonlocal resets
            reply = faults.mbap(faults.sound(data[7:12]), int.from_bytes(data[:2], "big"))
            if resets >= times:
                self.transport.write(reply)
                return
            resets += 1
            self.transport.write(reply[: resets % (len(reply) - 1) + 1])
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()

    loop = asyncio.get_running_loop()
    listening = await loop.create_server(Device, "127.0.0.1", 0)
    before = descriptors(os.getpid())
    client = AsyncModbusClient(
        Machine(),
        f"tcp://127.0.0.1:{listening.sockets[0].getsockname()[1]}",
        backoff=lambda: itertools.repeat(0.0005),
    )
    await client.start(wait=120)
    await client.stop()
    await until(lambda: descriptors(os.getpid()) <= before)
    after = descriptors(os.getpid())
    listening.close()
    return before, after, resets


@check("values stale within the timeout and 0.1 s, one poll outstanding")
def silent_peers(scale: Scale) -> tuple[str, str]:
    async def measure(kind: str) -> tuple[str, float, int]:
        panel = Machine()
        async with (
            FakeDevice(Machine) as device,
            FaultProxy(device.endpoint) as line,
            AsyncModbusClient(panel, line.endpoint, period=0.02, timeout=0.3) as client,
        ):
            await client.refresh()
            if kind == "a stalled server":
                device.by_chance(1, ignored())
            else:
                line.faults = Faults(lose_request=1, lose_reply=1)
            began = time.monotonic()
            seen = len(device.exchanges)
            await until(lambda: panel.info("speed").quality == "stale")
            took = time.monotonic() - began
            return kind, took, len(device.exchanges) - seen + line.happened["lost request"]

    found = [asyncio.run(measure(kind)) for kind in ("a stalled server", "a half-open connection")]
    said = "; ".join(f"{kind}: stale after {took:.2f} s, {asked} request(s) meanwhile" for kind, took, asked in found)
    # One that was already under way may still have been answered.
    demand(all(took < 0.3 + 0.02 + 0.1 and asked <= 2 for _, took, asked in found), said)
    return "half-open peers and stalled servers (timeout 0.3 s)", said


@check("the server closes within 10 s; the client's deadline holds to 10 %")
def one_byte_a_second(scale: Scale) -> tuple[str, str]:
    dripping = faults.dripping(quick(scale.full))
    slow = asyncio.run(faults.slow_reply())
    said = f"{dripping.measured}; client: {slow.measured}"
    demand(dripping.good and slow.good, said)
    return dripping.fault, said


@check("at most 2 MB each, dropped within the deadline (10 s)")
def readers_that_never_read(scale: Scale) -> tuple[str, str]:
    deadline = 10.0 if scale.full else 1.0
    count = scale.of(8, 4)
    with faults.server(quick(scale.full), f"unsent_deadline={deadline}") as (port, process):
        before = most = faults.resident(process)
        peers = []
        for number in range(count):
            raw = faults.Raw(port, f"127.0.3.{number + 1}")
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.socket.setblocking(False)
            peers.append(raw)
        data = faults.mbap(faults.LONG_READ) * 400
        last = dict.fromkeys(peers, time.monotonic())
        dropped: dict[faults.Raw, float] = {}
        began = time.monotonic()
        while len(dropped) < count and time.monotonic() - began < 3 * deadline + 10:
            most = max(most, faults.resident(process))
            waiting = [raw for raw in peers if raw not in dropped]
            for sock in select.select([], [raw.socket for raw in waiting], [], 0.02)[1]:
                raw = next(each for each in waiting if each.socket is sock)
                try:
                    if sock.send(data):
                        last[raw] = time.monotonic()
                except OSError:
                    dropped[raw] = time.monotonic() - last[raw]
        for raw in peers:
            raw.close()
    each = (most - before) / count
    slowest = max(dropped.values(), default=float("inf"))
    said = f"{each:.2f} MB each, {len(dropped)} of {count} dropped, the last {slowest:.1f} s after it was full"
    demand(each <= 2 and len(dropped) == count and slowest <= deadline + 0.5, said)
    return f"{count} readers that never read", said


class _Liar:
    """A server that sends, before or in place of each answer, what is none: with BAD in it."""

    def __init__(self, scale: Scale) -> None:
        self.bad = 0
        self._random = scale.random()
        self._channel: Channel | None = None
        self._before: list[tuple[int, int, bytes]] = []

    def made(self, channel: Channel) -> None:
        self._channel = channel

    def received(self, frames: list[Frame]) -> None:
        for transaction, unit, request in frames:
            for _ in range(self._random.randrange(3)):
                self._lie(transaction, unit, request)
            if self._random.random() < 0.1:
                # Not in time, and then with what must not be believed any more.
                asyncio.get_running_loop().call_later(0.5, self._lie_late, transaction, unit, request)
            else:
                self._say(transaction, unit, faults.sound(request))
            self._before.append((transaction, unit, request))

    def _lie_late(self, transaction: int, unit: int, request: bytes) -> None:
        self.bad += 1
        self._say(transaction, unit, self._with_bad(request))

    def _with_bad(self, request: bytes) -> bytes:
        count = int.from_bytes(request[3:5], "big")
        return bytes((3, 2 * count)) + struct.pack(">H", BAD) * count if request[0] == 3 else request[:5]

    def _lie(self, transaction: int, unit: int, request: bytes) -> None:
        self.bad += 1
        reply = self._with_bad(request)
        match self._random.randrange(4):
            case 0:  # of another unit
                self._say(transaction, unit + 1, reply)
            case 1:  # of a transaction that nobody began
                self._say((transaction + 1000) % 65536, unit, reply)
            case 2 if self._before:  # late: of an earlier one
                earlier, whose, asked = self._random.choice(self._before[-50:])
                self._say(earlier, whose, self._with_bad(asked))
            case _:
                self._say((transaction + 5) % 65536, unit, reply)

    def _say(self, transaction: int, unit: int, reply: bytes) -> None:
        if self._channel is not None and not self._channel.closing:
            self._channel.send(frame(transaction, unit, reply))

    def begun(self) -> None:
        """Nothing."""

    def ended(self) -> bool:
        return False

    def broken(self, reason: str) -> None:
        raise AssertionError(reason)

    def lost(self, cause: Exception | None) -> None:
        self._channel = None

    full = drained = begun


@check("none is accepted")
def late_foreign_and_wrong_replies(scale: Scale) -> tuple[str, str]:
    wanted = scale.of(10_000, 1000)

    async def lie() -> tuple[int, int, int]:
        panel = Machine()
        liar = _Liar(scale)
        accepted = 0
        listener = await listen(Endpoint.parse("memory://liar"), lambda: liar)
        client = AsyncModbusClient(panel, "memory://liar", period=PERIOD, timeout=0.3, max_in_flight=4, max_read=4)
        await client.start(wait=0)
        while liar.bad < wanted:
            await asyncio.sleep(PERIOD)  # of virtual time
            accepted += BAD in panel[:]
        listener.close()
        await client.stop()
        return accepted, liar.bad, client.stats.requests

    accepted, bad, requests = run_virtual(lie, seed=scale.seed)
    wrong = asyncio.run(faults.wrong_replies())
    said = f"{accepted} accepted, among {requests} requests; of wrong function, size and echo: {wrong.measured}"
    demand(accepted == 0 and wrong.good, said)
    return f"{bad} late and foreign replies, and wrong ones", said


@check("the cap of 64 holds, a connected client's p99 is under 20 ms")
def many_connects(scale: Scale) -> tuple[str, str]:
    row = faults.many_connects(quick(scale.full))
    demand(row.good, row.measured)
    return row.fault, row.measured


STARVED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
from msm import MemoryStore, ModbusServer
limits = {"max_connections": 1000, "max_connections_per_address": 1000}
with ModbusServer(MemoryStore(8), "tcp://127.0.0.1:0", **limits) as server:
    print(server.endpoint.rpartition(":")[2], flush=True)
    sys.stdin.read()
"""


@check("under 10 % CPU meanwhile, serving within 2 s of relief")
def no_descriptors_left(scale: Scale) -> tuple[str, str]:
    def cpu(process: int) -> float:
        with open(f"/proc/{process}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    child = subprocess.Popen(
        [sys.executable, "-c", STARVED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert child.stdout is not None
    try:
        port = int(child.stdout.readline())
        flood = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
        while descriptors(child.pid) < 59:
            time.sleep(0.01)
        seconds = scale.of(5, 2)
        began = cpu(child.pid)
        time.sleep(seconds)
        share = (cpu(child.pid) - began) / seconds
        for sock in flood:
            sock.close()
        relieved = time.monotonic()
        raw = faults.Raw(port)
        raw.ask(faults.READ)
        took = time.monotonic() - relieved
        raw.close()
    finally:
        child.communicate(timeout=10)
    said = f"{share:.1%} CPU over {seconds} s, served {took:.2f} s after relief"
    demand(share < 0.1 and took < 2, said)
    return "no descriptors left", said


@check("fresh within 1 s of listening, no write repeated")
def server_restarts(scale: Scale) -> tuple[str, str]:
    times = scale.of(100, 6)

    async def restart() -> tuple[float, int, int, int]:
        machine, panel = Machine(), Machine()
        writes: list[bytes] = []

        def trace(message: Message) -> None:
            if message.request and message.pdu[0] in pdu.WRITES:
                writes.append(message.pdu)

        server = AsyncModbusServer(machine, "tcp://127.0.0.1:0", trace=trace)
        await server.start()
        client = AsyncModbusClient(panel, server.endpoint, period=0.02, timeout=0.5)
        await client.start()
        worst, unknown = 0.0, 0
        for number in range(times):
            panel.count = number << 16 | number
            await server.stop()
            panel.speed = number
            server = AsyncModbusServer(machine, server.endpoint, trace=trace)
            await server.start()
            began = time.monotonic()
            try:
                await client.flush(5)
            except WriteError:
                unknown += 1
            await client.refresh(5)
            worst = max(worst, time.monotonic() - began)
        repeated = sum(count > 1 for count in (writes.count(each) for each in set(writes)))
        await client.stop()
        await server.stop()
        return worst, repeated, len(writes), unknown

    worst, repeated, writes, unknown = asyncio.run(restart())
    said = f"the slowest {worst:.2f} s, {writes} writes, {repeated} of them repeated, {unknown} of unknown fate"
    demand(worst < 1 and repeated == 0, said)
    return f"server restart, {times} times", said


@check("no time-out, nothing stale")
def wall_clock_jumps(scale: Scale) -> tuple[str, str]:
    times = scale.of(300, 30)
    real, offset = time.time, [0.0]

    async def jump() -> tuple[int, int]:
        panel = Machine()
        chance = scale.random()
        stale = 0
        async with (
            FakeDevice(Machine) as device,
            AsyncModbusClient(panel, device.endpoint, period=0.01, timeout=0.5, write_ttl=1.0) as client,
        ):
            for number in range(times):
                offset[0] += chance.choice((-86400, -3600, 3600, 86400, -1, 1))
                panel.speed = number
                await client.flush(5)
                await client.refresh(5)
                stale += panel.info("speed").quality != "good"
            return stale, sum(client.stats.errors.values())

    time.time = lambda: real() + offset[0]
    try:
        stale, errors = asyncio.run(jump())
    finally:
        time.time = real
    said = f"{stale} stale, {errors} errors"
    demand(not stale and not errors, said)
    return f"the wall clock jumps by up to a day, {times} times", said


@check("no false time-out when the data is already there")
def blocked_loop(scale: Scale) -> tuple[str, str]:
    times = scale.of(100, 8)

    async def block() -> int:
        machine = Machine()
        with FakeDevice(machine) as device:  # in a thread of its own: it answers while our loop is blocked
            async with AsyncModbusClient(Machine(), device.endpoint, period=60, timeout=0.05) as client:
                for _ in range(times):
                    before = len(device.exchanges)
                    refreshing = asyncio.ensure_future(client.refresh(5))
                    while client.stats.requests == before or not client._conversation.out:
                        await asyncio.sleep(0)
                        if refreshing.done():
                            break
                    busy = Deadline(0.12)
                    while not busy.over:
                        pass  # this is what is tested: the loop cannot look at what comes
                    await refreshing
                return client.stats.errors["timeout"]

    timeouts = asyncio.run(block())
    demand(timeouts == 0, f"{timeouts} false time-outs")
    return f"the loop is blocked beyond the timeout, {times} times", f"{timeouts} false time-outs"
