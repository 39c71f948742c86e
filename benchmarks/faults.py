"""Measures what our server and our client do when the other end misbehaves, on loopback, and prints a table and JSON.

    python benchmarks/faults.py            everything, about three minutes
    python benchmarks/faults.py --quick    the same with small numbers, a few seconds
    python benchmarks/faults.py --json faults.json

Each row is one fault, what was measured, and whether that is at least as good as it has to be. The servers run in a
process of their own, so that the load does not compete with them for one interpreter.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict, dataclass

from msm import AsyncModbusClient, MemoryStore, MemoryVariable, WriteError

SERVER = """
import sys, time
from msm import MemoryStore, MemoryVariable, ModbusServer
mem = MemoryStore(200)
mem.SLOW = MemoryVariable.word(10)
mem.BROKEN = MemoryVariable.word(11)
def slow(change): time.sleep({block})
def broken(change): raise RuntimeError("a mistake of the application")
mem.watch("SLOW", slow)
mem.watch("BROKEN", broken)
def before(write):
    if write.address == 20: time.sleep({block})
    if write.address == 21: raise RuntimeError("a mistake of the application")
with ModbusServer(mem, "tcp://127.0.0.1:0", {keywords}) as server:
    print(server.endpoint.rpartition(":")[2], flush=True)
    sys.stdin.read()
"""
READ = b"\x03\0\0\0\x01"
LONG_READ = b"\x03\0\0\0\x7d"


@dataclass
class Row:
    """One line of the table."""

    fault: str
    measured: str
    good: bool


@dataclass
class Scale:
    """How much of everything."""

    trials: int
    mute: float
    drip: int
    connects: int
    block: float
    masks: int


FULL = Scale(trials=300, mute=50.0, drip=300, connects=10_000, block=2.0, masks=5000)
QUICK = Scale(trials=50, mute=1.5, drip=20, connects=300, block=0.5, masks=200)


def mbap(pdu: bytes, transaction: int = 1, protocol: int = 0) -> bytes:
    return struct.pack(">HHHB", transaction, protocol, len(pdu) + 1, 1) + pdu


class Raw:
    """A socket that speaks Modbus byte by byte."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(address, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def frame(self) -> tuple[int, bytes]:
        transaction, _, length, _ = struct.unpack(">HHHB", self._read(7))
        return transaction, self._read(length - 1)

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise ConnectionError("closed")
            data += more
        return data

    def ask(self, pdu: bytes) -> bytes:
        self.socket.sendall(mbap(pdu))
        return self.frame()[1]

    def closed(self) -> bool:
        """Closed by the server, without a wait."""
        try:
            return bool(select.select([self.socket], [], [], 0)[0]) and not self.socket.recv(65536)
        except OSError:
            return True

    def close(self) -> None:
        self.socket.close()


@contextlib.contextmanager
def server(scale: Scale, keywords: str = "") -> Iterator[tuple[int, int]]:
    """Our server in a process of its own: its port and its process."""
    program = SERVER.format(block=scale.block, keywords=keywords)
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert child.stdout is not None
        yield int(child.stdout.readline()), child.pid
    finally:
        child.communicate(timeout=10)


def resident(process: int) -> float:
    """Megabytes of memory of a process; nothing where there is no /proc."""
    try:
        with open(f"/proc/{process}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return 0.0


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


# -- faults of a client


def two_outstanding(scale: Scale) -> Row:
    both = 0
    with server(scale) as (port, _):
        for _ in range(scale.trials):
            raw = Raw(port)
            raw.socket.sendall(mbap(READ, 1) + mbap(READ, 2))
            both += [raw.frame()[0], raw.frame()[0]] == [1, 2]
            raw.socket.setblocking(False)
            both -= bool(select.select([raw.socket], [], [], 0)[0])  # a third answer
            raw.close()
    return Row(f"two requests outstanding, {scale.trials} trials", f"{both} both answered", both == scale.trials)


def wrong_protocol(scale: Scale) -> Row:
    with server(scale) as (port, _):
        raw = Raw(port)
        began = time.perf_counter()
        raw.socket.sendall(mbap(READ, protocol=1) + mbap(READ) * 60)
        answers = 0
        try:
            while raw.frame():
                answers += 1
        except OSError:
            pass
        took = time.perf_counter() - began
        raw.close()
        other = Raw(port)
        served = other.ask(READ) == b"\x03\x02\0\0"
        other.close()
    good = answers == 0 and took < 1 and served
    next_one = "served" if served else "NOT served"
    said = f"{answers} answered, closed after {took * 1000:.0f} ms, next connection {next_one}"
    return Row("one frame of protocol id 1, then 60 good", said, good)


def never_reads(scale: Scale) -> Row:
    deadline = min(10.0, scale.mute / 3)
    with server(scale, f"unsent_deadline={deadline}") as (port, process):
        before = most = resident(process)
        began = time.monotonic()
        dropped = 0.0
        raw = Raw(port)
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.socket.setblocking(False)
        data, last = mbap(LONG_READ) * 400, time.monotonic()
        while time.monotonic() - began < scale.mute and not dropped:
            most = max(most, resident(process))
            if select.select([], [raw.socket], [], 0.02)[1]:
                try:
                    if raw.socket.send(data):
                        last = time.monotonic()
                except OSError:
                    dropped = time.monotonic() - last
        raw.close()
        other = Raw(port)
        served = other.ask(READ) == b"\x03\x02\0\0"
        other.close()
    said = f"memory {before:.0f} -> {most:.0f} MB, dropped {dropped:.1f} s after it was full (limit {deadline:g} s)"
    good = 0 < dropped < deadline + 1 and most - before < 10 and served
    return Row(f"peer that never reads, {scale.mute:g} s", said, good)


def dripping(scale: Scale) -> Row:
    """Connections that give a byte a second, and then stop within a frame."""
    deadline = 10.0 if scale is FULL else 1.0
    with server(scale, f"frame_deadline={deadline}, max_connections=1000, max_connections_per_address=1000") as (
        port,
        _,
    ):
        worker = Raw(port)
        worker.ask(READ)
        clients = [Raw(port) for _ in range(scale.drip)]
        began = time.monotonic()
        opened: set[Raw] = set(clients)
        sent, times = 0, []
        while opened and time.monotonic() - began < deadline + 5:
            if time.monotonic() - began > sent and sent < 5:
                for client in opened:
                    with contextlib.suppress(OSError):
                        client.socket.sendall(mbap(LONG_READ)[sent : sent + 1])
                sent += 1
            asked = time.perf_counter()
            worker.ask(READ)
            times.append(time.perf_counter() - asked)
            opened -= {client for client in opened if client.closed()}
            select.select([], [], [], 0.01)
        took = time.monotonic() - began
        for client in [*clients, worker]:
            client.close()
    p99 = percentile(times, 0.99) * 1000
    said = f"{len(opened)} open after {took:.1f} s (limit {deadline:g} s), a working client's p99 {p99:.1f} ms"
    return Row(f"{scale.drip} connections of 1 byte/s, then half a frame", said, not opened and took < deadline + 0.5)


def many_connects(scale: Scale) -> Row:
    with server(scale) as (port, process):
        worker = Raw(port)
        worker.ask(READ)
        times: list[float] = []
        flood: list[socket.socket] = []
        held = most = 0
        for number in range(scale.connects):
            sock = socket.socket()
            sock.setblocking(False)
            # From so many addresses that the cap for all is reached as well.
            sock.bind((f"127.0.1.{number % 20 + 1}", 0))
            sock.connect_ex(("127.0.0.1", port))
            flood.append(sock)
            if number % 10 == 9:
                began = time.perf_counter()
                worker.ask(READ)
                times.append(time.perf_counter() - began)
            if number % 50 == 49:
                with contextlib.suppress(OSError):
                    held = sum(
                        os.readlink(f"/proc/{process}/fd/{each}").startswith("socket:")
                        for each in os.listdir(f"/proc/{process}/fd")
                    )
                    most = max(most, held)
            if len(flood) > 500:
                flood.pop(0).close()
        for sock in flood:
            sock.close()
        p99 = percentile(times, 0.99)
        worker.close()
    held_by = f"at most {most} sockets held at a time (cap 64, and a few of its own)"
    said = f"{held_by}, a connected client's p99 {p99 * 1000:.1f} ms"
    return Row(f"{scale.connects} connects", said, 0 < most <= 75 and p99 < 0.020)


def blocked(scale: Scale, address: int, what: str, keywords: str = "") -> Row:
    with server(scale, keywords) as (port, _):
        caller, other = Raw(port), Raw(port)
        other.ask(READ)
        began = time.monotonic()
        caller.socket.sendall(mbap(struct.pack(">BHH", 6, address, 1)))
        times = []
        while time.monotonic() - began < scale.block:
            asked = time.perf_counter()
            other.ask(READ)
            times.append(time.perf_counter() - asked)
        answered = caller.frame()[1][0] == 6
        caller.close()
        other.close()
    p99 = percentile(times, 0.99) * 1000
    said = f"another client's slowest reply of {len(times)} {max(times) * 1000:.1f} ms, p99 {p99:.2f} ms"
    return Row(f"{what} blocks {scale.block:g} s", said, answered and p99 < 20 and max(times) < scale.block / 4)


def raising(scale: Scale) -> Row:
    with server(scale, "before_write=before") as (port, _):
        raw = Raw(port)
        change = raw.ask(struct.pack(">BHH", 6, 11, 5)), raw.ask(struct.pack(">BHH", 3, 11, 1))
        hook = raw.ask(struct.pack(">BHH", 6, 21, 5)), raw.ask(struct.pack(">BHH", 3, 21, 1))
        raw.close()
    applied = change == (struct.pack(">BHH", 6, 11, 5), b"\x03\x02\0\x05")
    refused = hook == (b"\x86\x04", b"\x03\x02\0\0")
    watch = "applied and echoed" if applied else str(change)
    before = "refused, not written" if refused else str(hook)
    said = f"connection lives; watch: {watch}; before_write: {before}"
    return Row("callback raises", said, applied and refused)


def masks(scale: Scale) -> Row:
    """Two clients, each with bits of its own in one word: each finds them as it left them."""
    lost, done = [0, 0], [0, 0]
    with server(scale) as (port, _):

        def work(who: int) -> None:
            raw, mine = Raw(port), 0x00FF << 8 * who
            for number in range(scale.masks):
                value = (number & 0xFF) << 8 * who
                raw.ask(struct.pack(">BHHH", 22, 0, ~mine & 0xFFFF, value))
                lost[who] += (int.from_bytes(raw.ask(READ)[2:], "big") & mine) != value
                done[who] += 1
            raw.close()

        threads = [threading.Thread(target=work, args=(who,)) for who in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return Row(
        "FC16h from two clients", f"{sum(lost)} of {sum(done)} lost", not sum(lost) and sum(done) == 2 * scale.masks
    )


# -- faults of a device

Answer = Callable[[bytes], "list[tuple[float, bytes]]"]


class Device(asyncio.Protocol):
    """A device that answers as told: pieces of bytes, each after some seconds."""

    def __init__(self, answer: Answer, asked: list[bytes]) -> None:
        self._answer = answer
        self._asked = asked
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= 7:
            size = 6 + int.from_bytes(self._data[4:6], "big")
            if len(self._data) < size:
                return
            head, pdu, self._data = self._data[:7], self._data[7:size], self._data[size:]
            self._asked.append(pdu)
            at = 0.0
            whole = b""
            for pause, piece in self._answer(pdu):
                whole += piece
                at += pause
            frame = head[:4] + struct.pack(">H", len(whole) + 1) + head[6:] + whole
            if not whole:
                continue
            if at:
                loop = asyncio.get_running_loop()
                for number, byte in enumerate(frame):
                    loop.call_later(at * number, self._say, bytes([byte]))
            else:
                self._say(frame)

    def _say(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


@contextlib.asynccontextmanager
async def device(answer: Answer, asked: list[bytes]) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Device(answer, asked), "127.0.0.1", 0)
    try:
        yield f"tcp://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()


def sound(pdu: bytes) -> bytes:
    if pdu[0] == 3:
        count = int.from_bytes(pdu[3:5], "big")
        return bytes((3, 2 * count)) + b"\0\x07" * count
    return pdu[:5]


WRONG: dict[str, Callable[[bytes], bytes]] = {
    "FC04 reply to FC03": lambda pdu: b"\x04" + sound(pdu)[1:],
    "short list": lambda pdu: bytes((3, sound(pdu)[1] - 2)) + sound(pdu)[2:-2],
    "long list": lambda pdu: bytes((3, sound(pdu)[1] + 2)) + sound(pdu)[2:] + b"\0\x07",
    "byte count off": lambda pdu: bytes((3, sound(pdu)[1] + 1)) + sound(pdu)[2:],
    "wrong write echo": lambda pdu: pdu[:4] + b"\x55",
}


async def wrong_replies() -> Row:
    refused = []
    for name, wrong in WRONG.items():
        spoiling: list[bool] = [False]
        asked: list[bytes] = []
        writes = name == "wrong write echo"

        def answer(pdu: bytes) -> list[tuple[float, bytes]]:
            bad = spoiling[0] and (pdu[0] != 3) is writes  # noqa: B023 - used within this turn
            return [(0.0, wrong(pdu) if bad else sound(pdu))]  # noqa: B023

        mem = MemoryStore(4)
        mem.FIRST = MemoryVariable.word(0)
        async with (
            device(answer, asked) as endpoint,
            AsyncModbusClient(mem, endpoint, period=0.02, timeout=0.3) as client,
        ):
            spoiling[0] = True
            before = client.stats.cycles
            if writes:
                mem.FIRST = 9
                with contextlib.suppress(WriteError):
                    await client.flush(timeout=2.0)
                    continue
                refused.append(name)
            else:
                await asyncio.sleep(0.2)
                if sum(client.stats.errors.values()) and client.stats.cycles <= before + 1:
                    refused.append(name)
    missed = sorted(set(WRONG) - set(refused))
    said = f"{len(refused)} of {len(WRONG)} refused" + (f", not {', '.join(missed)}" if missed else "")
    return Row("client: FC04 to FC03; short or long list; wrong write echo", said, not missed)


async def unanswered_write() -> Row:
    """Two writes that the device does and never answers: each is sent once, and read back."""
    asked: list[bytes] = []

    def answer(pdu: bytes) -> list[tuple[float, bytes]]:
        return [(0.0, sound(pdu) if pdu[0] == 3 else b"")]

    mem = MemoryStore(2)
    mem.FIRST = MemoryVariable.word(0)
    told = 0
    async with device(answer, asked) as endpoint, AsyncModbusClient(mem, endpoint, period=30.0, timeout=0.15) as client:
        for value in (1, 2):
            mem.FIRST = value
            try:
                await client.flush(timeout=2.0)
            except WriteError:
                told += 1
        await client.refresh(timeout=2.0)
        unknown = client.ledger.unknown
    writes = [at for at, pdu in enumerate(asked) if pdu[0] != 3]
    # Between two writes, and after the last of them, there is a read.
    read_back = sum(any(pdu[0] == 3 for pdu in asked[at + 1 : at + 2]) for at in writes)
    said = f"2 writes sent {len(writes)} times, fates unknown: {unknown}, read back before anything else: {read_back}"
    return Row("client: write with two unanswered attempts", said, len(writes) == unknown == told == read_back == 2)


async def slow_reply() -> Row:
    asked: list[bytes] = []
    slow = [0.0]

    def answer(pdu: bytes) -> list[tuple[float, bytes]]:
        return [(slow[0], sound(pdu))]

    mem = MemoryStore(2)
    async with device(answer, asked) as endpoint, AsyncModbusClient(mem, endpoint, period=30.0, timeout=0.5) as client:
        slow[0] = 1.0
        before = sum(client.stats.errors.values())
        began = time.monotonic()
        refreshing = asyncio.ensure_future(client.refresh(timeout=5.0))
        while sum(client.stats.errors.values()) == before and time.monotonic() - began < 5:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        took = time.monotonic() - began
        kinds = dict(client.stats.errors)
        refreshing.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await refreshing
    return Row("client: 1 byte/s reply under 0.5 s timeout", f"{kinds} at {took:.2f} s", 0.45 < took <= 0.55)


def measure(scale: Scale, say: Callable[[str], None] = lambda _: None) -> list[Row]:
    """All rows, one after the other."""
    rows = []
    steps: list[Callable[[], Row]] = [
        lambda: two_outstanding(scale),
        lambda: wrong_protocol(scale),
        lambda: never_reads(scale),
        lambda: dripping(scale),
        lambda: many_connects(scale),
        lambda: blocked(scale, 10, "callback"),
        lambda: blocked(scale, 20, "before_write", "before_write=before"),
        lambda: raising(scale),
        lambda: masks(scale),
        lambda: asyncio.run(wrong_replies()),
        lambda: asyncio.run(unanswered_write()),
        lambda: asyncio.run(slow_reply()),
    ]
    for step in steps:
        row = step()
        if not row.good:  # other programs may have had the machine meanwhile: once more, and it is told
            again = step()
            row = Row(again.fault, f"{again.measured} (at first: {row.measured})", again.good)
        rows.append(row)
        say(f"{'good' if row.good else 'BAD '} | {row.fault} | {row.measured}")
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small numbers, a few seconds")
    parser.add_argument("--mute", type=float, help="seconds of the peer that never reads")
    parser.add_argument("--json", help="a file for the rows")
    given = parser.parse_args()
    scale = QUICK if given.quick else FULL
    if given.mute:
        scale.mute = given.mute
    rows = measure(scale, print)
    text = json.dumps([asdict(row) for row in rows], indent=1)
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    else:
        print(text)
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
