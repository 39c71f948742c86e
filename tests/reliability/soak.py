"""A long run: requests by the million with faults among them, and what becomes of memory, descriptors and tasks."""

from __future__ import annotations

import itertools
import os
import random
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress

from benchmarks.faults import resident

from msm import MemoryStore, MemoryVariable, ModbusClient, WriteError
from msm.testing import QUIET, FaultProxy, Faults
from tests.reliability.history import client, linearizable, record
from tests.reliability.lines import RESET, descriptors
from tests.reliability.rows import Scale, check, demand
from tests.support import RawClient, mbap

REQUESTS = 10_000_000
WORDS = 200
BATCH = 64  # requests in one piece
CONNECTIONS = 8
OWN = 16  # words of each connection, behind those of the histories and of our own client
FIRST = 20
WARM = 0.2  # of the run, before memory is looked at
SLOPE = 0.25  # MB for a million requests

SERVER = """
import asyncio, sys
from msm import Functions, MemoryStore, ModbusServer
told = Functions(identification={0: "a", 1: "b", 2: "c"}, files={1: [0] * 100}, fifos={1: [1]}, diagnostics=True)
server = ModbusServer(
    MemoryStore(200, input_registers=50, coils=200, discrete_inputs=50), "tcp://127.0.0.1:0", functions=told,
    frame_deadline=1.0, unsent_deadline=1.0, idle_timeout=300.0,
)
async def tasks():
    return len(asyncio.all_tasks())
with server:
    print(server.endpoint, flush=True)
    for line in sys.stdin:
        print(server._worker.call(tasks), flush=True)
"""


class Own(MemoryStore, size=FIRST):
    """What our own client exchanges meanwhile, over a bad line."""

    count = MemoryVariable.uint64(4)
    state = MemoryVariable.byte(8, 0)
    other = MemoryVariable.byte(8, 1)
    flow = MemoryVariable.float64(10)


class Load:
    """One connection that asks by the batch, and knows every answer before it comes."""

    def __init__(self, endpoint: str, number: int, chance: random.Random) -> None:
        self._first = FIRST + number * OWN
        self._chance = chance
        self._words = [0] * OWN
        self._batches: list[tuple[bytes, int]] = []
        self.raw = RawClient(endpoint)
        self.raw.ask(struct.pack(">BHHB", 16, self._first, OWN, 2 * OWN) + bytes(2 * OWN))

    def batch(self) -> int:
        """Ask, and look at the answers; returns how many of them are wrong."""
        sent, expected = [], []
        for number in range(BATCH):
            request, reply = self._one()
            sent.append(mbap(request, number))
            expected.append(mbap(reply, number))
        answers = b"".join(expected)
        self.raw.send(b"".join(sent))
        return 0 if self.raw.read(len(answers)) == answers else 1

    def _one(self) -> tuple[bytes, bytes]:
        chance, words = self._chance, self._words
        at = chance.randrange(OWN)
        address = self._first + at
        kind = chance.randrange(8)
        if kind < 3:
            count = chance.randrange(1, OWN - at + 1)
            data = struct.pack(f">{count}H", *words[at : at + count])
            return struct.pack(">BHH", 3, address, count), bytes((3, 2 * count)) + data
        if kind == 3:
            words[at] = chance.randrange(65536)
            request = struct.pack(">BHH", 6, address, words[at])
            return request, request
        if kind == 4:
            count = chance.randrange(1, OWN - at + 1)
            words[at : at + count] = [chance.randrange(65536) for _ in range(count)]
            data = struct.pack(f">{count}H", *words[at : at + count])
            request = struct.pack(">BHHB", 16, address, count, 2 * count) + data
            return request, request[:5]
        if kind == 5:
            keep, put = chance.randrange(65536), chance.randrange(65536)
            words[at] = words[at] & keep | put & ~keep & 0xFFFF
            request = struct.pack(">BHHH", 22, address, keep, put)
            return request, request
        if kind == 6:
            words[at] = chance.randrange(65536)
            request = struct.pack(">BHHHHBH", 23, address, 1, address, 1, 2, words[at])
            return request, struct.pack(">BBH", 23, 2, words[at])
        return chance.choice(REFUSED)


REFUSED = [
    (b"\x03\x00\xc8\x00\x01", b"\x83\x02"),
    (b"\x03\x00\x00\x00\x00", b"\x83\x03"),
    (b"\x41\x01", b"\xc1\x01"),
    (b"\x10\x00\x00\x00\x01\x02\x00", b"\x90\x03"),
    (b"\x07", b"\x87\x01"),
    (b"\x18\x00\x02", b"\x98\x02"),
]


def misbehave(port: int, number: int, chance: random.Random, left_open: list[socket.socket]) -> str:
    """One visitor that does what visitors should not do."""
    kind = chance.choice(("reset", "half", "garbage", "protocol", "http", "half-close", "goes", "mute", "left open"))
    with suppress(OSError):
        address = f"127.0.4.{number % 200 + 1}"
        sock = socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(address, 0))
        request = mbap(b"\x03\0\0\0\x7d")
        if kind == "reset":
            sock.send(request[: chance.randrange(1, 11)])
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        elif kind == "half":
            sock.send(request * 3 + request[:5])
        elif kind == "garbage":
            sock.send(chance.randbytes(chance.randrange(1, 600)))
        elif kind == "protocol":
            sock.send(mbap(b"\x03\0\0\0\1", protocol=1) + request * 5)
        elif kind == "http":
            sock.send(b"GET / HTTP/1.1\r\n\r\n")
        elif kind == "half-close":
            sock.send(request)
            sock.shutdown(socket.SHUT_WR)
        elif kind == "mute":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sock.send(request * 3000)
            left_open.append(sock)
            return kind
        elif kind == "left open":
            sock.send(request[:7])
            left_open.append(sock)
            return kind
        sock.close()
    return kind


def slope(points: list[tuple[float, float]]) -> float:
    """Of the straight line that fits best."""
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else 0.0


@check(
    f"memory flat (< {SLOPE} MB for a million), descriptors and tasks as before, no answer wrong, "
    "histories linearizable"
)
def soak(scale: Scale) -> tuple[str, str]:
    wanted = int(os.environ.get("MSM_SOAK_REQUESTS", "0")) or scale.of(REQUESTS, 40_000)
    chance = scale.random()
    child = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    endpoint = child.stdout.readline().strip()
    port = int(endpoint.rpartition(":")[2])

    def tasks() -> int:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("\n")
        child.stdin.flush()
        return int(child.stdout.readline())

    baseline = tasks(), descriptors(child.pid)
    asked = wrong = broken = histories = assigned = 0
    faults: Counter[str] = Counter()
    left_open: list[socket.socket] = []
    memory: list[tuple[float, float]] = []
    panel = Own()
    bad = Faults(
        lose_reply=0.01,
        lose_request=0.01,
        double_reply=0.02,
        delay=0.1,
        delay_up_to=0.005,
        drop=0.002,
        cut=0.002,
    )
    try:
        with FaultProxy(endpoint, faults=bad, seed=scale.seed) as line:
            own = ModbusClient(panel, line.endpoint, period=0.02, timeout=0.2, backoff=lambda: itertools.repeat(0.02))
            own.run(wait=60)
            loads = [Load(endpoint, number, chance) for number in range(CONNECTIONS - 1)]
            doers = [client(load.raw) for load in loads[:3]]
            for turn in itertools.count():
                if asked >= wanted:
                    break
                wrong += loads[turn % len(loads)].batch()
                asked += BATCH
                if turn % 40 == 0:
                    faults[misbehave(port, turn // 40, chance, left_open)] += 1
                    panel.count = turn
                    panel.state = turn // 40 % 256
                    panel.flow = float(turn)
                    assigned += 3
                    while len(left_open) > 20:
                        left_open.pop(0).close()
                if turn % 200 == 0:
                    start = struct.unpack(">3H", loads[0].raw.ask(b"\x03\0\0\0\x03")[2:])
                    broken += not linearizable(record(doers, chance, 4), start)
                    histories += 1
                    asked += 12
                if turn % max(1, wanted // BATCH // 50) == 0 and asked > WARM * wanted:
                    memory.append((asked / 1e6, resident(child.pid)))
            line.faults = QUIET
            with suppress(WriteError):
                own.flush(20)
            panel.count = 123456789
            own.flush(20)
            arrived = struct.unpack(">4H", loads[0].raw.ask(struct.pack(">BHH", 3, 4, 4))[2:])
            ledger = own.ledger
            # Each assignment has met one fate, and the last one is there.
            there = sum(word << 16 * at for at, word in enumerate(arrived)) == 123456789
            balanced = ledger.total == assigned + 1 and not ledger.pending and there
            stats = own.stats
            own.kill()
        for load in loads:
            load.raw.socket.close()
        for sock in left_open:
            sock.close()
        deadline = time.monotonic() + 20
        while not (clean := tasks() <= baseline[0] and descriptors(child.pid) <= baseline[1]):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        after = tasks(), descriptors(child.pid)
    finally:
        child.communicate(timeout=20)
    rise = slope(memory)
    said = (
        f"memory {memory[0][1]:.1f} -> {memory[-1][1]:.1f} MB ({rise:+.2f} MB for a million); "
        f"descriptors {baseline[1]} -> {after[1]}, tasks {baseline[0]} -> {after[0]}; {wrong} wrong answers; "
        f"{broken} of {histories} histories not linearizable; our own client on its bad line: "
        f"{ledger.total} assignments, {ledger.unknown} of unknown fate, {stats.reconnects} reconnects, the ledger "
        f"{'balances' if balanced else 'DOES NOT BALANCE'}"
    )
    flat = rise < SLOPE if scale.full else memory[-1][1] - memory[0][1] < 5
    demand(flat and clean and not wrong and not broken and balanced, said)
    return f"{asked:,} requests, {sum(faults.values())} misbehaving visitors of {len(faults)} kinds", said
