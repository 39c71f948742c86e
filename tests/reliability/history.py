"""Linearizability: is there an order of all operations, true to time, in which each gives what it gave?

The checker is that of J. M. Wing and C. Gong, "Testing and verifying concurrent objects" (1993), with the memory of
states of G. Lowe: a depth-first search over which operation may have been the next to take effect.
"""

from __future__ import annotations

import random
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from msm import MemoryStore, ModbusServer
from tests.reliability.rows import Scale, check, demand
from tests.support import FREE, RawClient

WORDS = 3
State = tuple[int, ...]


@dataclass(frozen=True)
class Operation:
    """What one client did, between two moments: `gave` is what it was told."""

    kind: Literal["read", "write", "mask", "exchange"]
    called: float
    returned: float
    address: int = 0
    values: tuple[int, ...] = ()
    """Of a write: the words; of a mask write: AND and OR; of an exchange (function 23): what it writes."""
    gave: tuple[int, ...] = ()

    def after(self, state: State) -> State | None:
        """The state after it, or None where it cannot have given what it gave."""
        if self.kind == "read":
            return state if state == self.gave else None
        new = list(state)
        if self.kind == "mask":
            keep, put = self.values
            new[self.address] = new[self.address] & keep | put & ~keep & 0xFFFF
        else:
            new[self.address : self.address + len(self.values)] = self.values
        if self.kind == "exchange" and tuple(new) != self.gave:
            return None
        return tuple(new)


def linearizable(history: Sequence[Operation], start: State) -> bool:
    """Is there such an order, from this state?"""
    operations = sorted(history, key=lambda each: each.called)
    everything = (1 << len(operations)) - 1
    seen: set[tuple[int, State]] = set()
    stack = [(0, start)]
    while stack:
        done, state = stack.pop()
        if done == everything:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        left = [at for at in range(len(operations)) if not done >> at & 1]
        first_return = min(operations[at].returned for at in left)
        for at in left:
            if operations[at].called > first_return:
                break  # another one had returned before this one was called
            after = operations[at].after(state)
            if after is not None:
                stack.append((done | 1 << at, after))
    return False


Do = Callable[[str, int, tuple[int, ...]], tuple[int, ...]]


def client(raw: RawClient) -> Do:
    """Does operations as a remote client."""

    def do(kind: str, address: int, values: tuple[int, ...]) -> tuple[int, ...]:
        if kind == "read":
            return struct.unpack(f">{WORDS}H", raw.ask(struct.pack(">BHH", 3, 0, WORDS))[2:])
        if kind == "mask":
            request = struct.pack(">BHHH", 22, address, *values)
            assert raw.ask(request) == request
            return ()
        data = struct.pack(f">{len(values)}H", *values)
        if kind == "write":
            raw.ask(struct.pack(">BHHB", 16, address, len(values), len(data)) + data)
            return ()
        request = struct.pack(">BHHHHB", 23, 0, WORDS, address, len(values), len(data)) + data
        return struct.unpack(f">{WORDS}H", raw.ask(request)[2:])

    return do


def application(mem: MemoryStore) -> Do:
    """Does operations as the application itself."""

    def do(kind: str, address: int, values: tuple[int, ...]) -> tuple[int, ...]:
        if kind == "read":
            return tuple(mem[0:WORDS])
        if kind == "write":
            mem[address : address + len(values)] = values
            return ()
        with mem.atomic():
            if kind == "mask":
                keep, put = values
                mem[address] = mem[address] & keep | put & ~keep & 0xFFFF
                return ()
            mem[address : address + len(values)] = values
            return tuple(mem[0:WORDS])

    return do


def record(doers: Sequence[Do], chance: random.Random, each: int) -> list[Operation]:
    """What all of them do at the same time."""
    history: list[Operation] = []
    barrier = threading.Barrier(len(doers))
    plans = [
        [
            (
                chance.choice(("read", "read", "write", "mask", "exchange")),
                chance.randrange(WORDS - 1),
                tuple(chance.randrange(4) for _ in range(2)),
            )
            for _ in range(each)
        ]
        for _ in doers
    ]

    def work(do: Do, plan: list[tuple[str, int, tuple[int, ...]]]) -> None:
        barrier.wait()
        for kind, address, values in plan:
            called = time.perf_counter()
            gave = do(kind, address, values)
            history.append(Operation(kind, called, time.perf_counter(), address, values, gave))  # type: ignore[arg-type]

    threads = [threading.Thread(target=work, args=pair) for pair in zip(doers, plans, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(history) == len(doers) * each, "one of them has failed"
    return history


@check("every history is linearizable")
def linearizability(scale: Scale) -> tuple[str, str]:
    times = scale.of(3000, 60)
    chance = scale.random()
    broken = operations = 0
    mem = MemoryStore(8)
    with (
        ModbusServer(mem, FREE) as server,
        RawClient(server.endpoint) as one,
        RawClient(server.endpoint) as two,
        RawClient(server.endpoint) as three,
    ):
        doers = [client(one), client(two), client(three), application(mem)]
        for _ in range(times):
            start = tuple(mem[0:WORDS])
            history = record(doers, chance, each=4)
            operations += len(history)
            broken += not linearizable(history, start)
    demand(not broken, f"{broken} of {times} histories are not")
    return (
        f"three clients and the application on one memory: {times} histories, {operations} operations",
        f"{broken} not",
    )
