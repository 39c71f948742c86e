"""What a client promises, over real sockets and a line that loses, doubles, delays, splits, reorders and breaks.

Client and server are two stores and a `FaultProxy` between them; each side assigns its own bits, some of
them in the same words. What is random comes from the seed of each test.
"""

from __future__ import annotations

import asyncio
import os
import random
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import repeat

import pytest

from msm import AsyncModbusClient, AsyncModbusServer, LinkTimeoutError, MemoryStore, MemoryVariable, WriteError
from msm.testing import QUIET, FaultProxy, Faults
from tests.support import FREE, Deadline, until

TIMEOUT = 0.1  # seconds for a transaction
LATE = 1.5 * TIMEOUT
STEPS = 80
SEEDS = int(os.environ.get("PROXY_SEEDS", "1"))  # more of them in a longer session
SENTINEL = 0xBEEF

FAULTS = {
    "loses": Faults(lose_request=0.02, lose_reply=0.02, double_request=0.05, double_reply=0.05, split=0.1),
    "delays": Faults(late=0.02, late_by=LATE, delay=0.3, delay_up_to=0.01, split=0.2),
    "breaks": Faults(drop=0.01, cut=0.01, split=0.2, delay=0.1, delay_up_to=0.01),
    "reorders": Faults(overtake=0.3, double_reply=0.05, delay=0.1, delay_up_to=0.005),
    "everything": Faults(
        lose_request=0.01,
        lose_reply=0.01,
        double_request=0.02,
        double_reply=0.02,
        overtake=0.1,
        delay=0.1,
        delay_up_to=0.01,
        late=0.005,
        late_by=LATE,
        split=0.1,
        drop=0.003,
        cut=0.003,
    ),
}

# Who owns which bits. The neighbours of what the client assigns are the device's.
ASSIGNED = {0: 0x00FF, 1: 0xFFFF, 2: 0xFFFF, **dict.fromkeys(range(9, 14), 0xFFFF), 15: 0xFFFF}
WHOLE = ((1, 3), (9, 13))  # values of several words: all of them equal, or it is torn
COMMAND = 13
OWN_COILS = range(0, 16, 2)


def memory() -> MemoryStore:
    mem = MemoryStore(16, input_registers=4, coils=16, discrete_inputs=8)
    mem.MODE = MemoryVariable.byte(0, 0)  # the client's half of the word
    mem.STATE = MemoryVariable.byte(0, 1)  # the device's
    mem.SET_POINT = MemoryVariable.uint32(1)
    mem.COUNT = MemoryVariable.uint32(3)
    mem.WIDE = MemoryVariable.uint64(5)
    mem.RECIPE = MemoryVariable.uint64(9)
    mem.DO = MemoryVariable.word(COMMAND, command=True)
    mem.SENTINEL = MemoryVariable.word(14)
    mem.BOTH = MemoryVariable.word(15)
    mem.LEVEL = MemoryVariable.uint32(0, table="input")
    for at in range(16):
        setattr(mem, f"COIL_{at}", MemoryVariable.coil(at))
    return mem


def in_all_words(value: int, words: int) -> int:
    return sum(value << 16 * number for number in range(words))


class Watchman:
    """Looks at every request that reaches the device: what it writes is what was assigned, and whole."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.commands: list[int] = []

    def saw(self, pdu: bytes) -> None:
        function, address = pdu[0], int.from_bytes(pdu[1:3], "big")
        if function in (1, 2, 3, 4):
            return
        if function == 22:
            keep, put = struct.unpack(">HH", pdu[3:7])
            self._expect(not ~keep & 0xFFFF & ~ASSIGNED.get(address, 0), pdu)
            self._expect(not put & keep, pdu)
        elif function in (5, 15):
            count = 1 if function == 5 else int.from_bytes(pdu[3:5], "big")
            self._expect(all(at in OWN_COILS for at in range(address, address + count)), pdu)
        elif function in (6, 16):
            data = pdu[3:5] if function == 6 else pdu[6:]
            words = dict(enumerate(struct.unpack(f">{len(data) // 2}H", data), address))
            self._expect(all(ASSIGNED.get(at) == 0xFFFF for at in words), pdu)
            for first, end in WHOLE:
                touched = [words[at] for at in range(first, end) if at in words]
                self._expect(not touched or (len(touched) == end - first and len(set(touched)) == 1), pdu)
            if COMMAND in words:
                self._expect(len(words) == 1, pdu)
                self.commands.append(words[COMMAND])
        else:
            self._expect(False, pdu)

    def _expect(self, right: bool, pdu: bytes) -> None:
        if not right:
            self.wrong.append(pdu.hex(" "))


class Plant:
    """Both ends: what each of them assigned last, and the checks."""

    def __init__(self, near: MemoryStore, far: MemoryStore, seed: int) -> None:
        self.near, self.far = near, far
        self.random = random.Random(seed)
        self.assigned: Counter[str] = Counter()
        self.last: dict[str, int] = {}
        self.theirs: dict[str, int] = {}
        self.turn = 0

    def assign(self, name: str, value: int) -> None:
        setattr(self.near, name, value)
        self.assigned[name] += 1
        self.last[name] = value

    def assign_something(self) -> None:
        """One assignment by the application of the client, or a few."""
        self.turn += 1
        for _ in range(self.random.choice((1, 1, 2, 4))):
            match self.random.randrange(6):
                case 0:
                    self.assign("MODE", self.random.randrange(256))
                case 1:
                    self.assign("SET_POINT", in_all_words(self.random.randrange(65536), 2))
                case 2:
                    self.assign("RECIPE", in_all_words(self.random.randrange(65536), 4))
                case 3:
                    self.assign("DO", self.assigned["DO"] + 1)
                case 4:
                    self.assign(f"COIL_{self.random.choice(OWN_COILS)}", self.random.randrange(2))
                case _:
                    self.near.BOTH = self.random.randrange(65536)
                    self.assigned["BOTH"] += 1

    def device_does_something(self) -> None:
        self._change("STATE", self.random.randrange(256))
        self._change("COUNT", in_all_words(self.turn, 2))
        self._change("WIDE", in_all_words(self.turn, 4))
        self._change("LEVEL", in_all_words(self.turn, 2))
        odd = self.random.randrange(1, 16, 2)
        self._change(f"COIL_{odd}", self.random.randrange(2))
        if self.random.random() < 0.1:
            self.far.BOTH = self.random.randrange(65536)

    def _change(self, name: str, value: int) -> None:
        if name == "LEVEL":
            self.far.provide(LEVEL=value)
        else:
            setattr(self.far, name, value)
        self.theirs[name] = value

    def check_arrived(self, but: set[str]) -> None:
        """What was assigned is at the device, unless its fate says that it may not be."""
        for name in but:
            self.last.pop(name, None)
        for name, value in self.last.items():
            assert int(getattr(self.far, name)) == value, name

    def check_untouched(self) -> None:
        """What the device has assigned itself is still there."""
        assert self.far.SENTINEL == SENTINEL
        for name, value in self.theirs.items():
            assert int(getattr(self.far, name)) == value, name


@asynccontextmanager
async def never_torn_never_older(mem: MemoryStore) -> AsyncIterator[None]:
    """Whatever the client's application sees of the device's values is whole, and never goes back."""
    wrong: list[object] = []

    async def look() -> None:
        async for change in stream:
            if change.origin == "device" and change.name in ("COUNT", "WIDE", "LEVEL"):
                words = 4 if change.name == "WIDE" else 2
                if change.new != in_all_words(change.new & 0xFFFF, words) or change.new < change.old:
                    wrong.append(change)

    with mem.changes(size=100_000) as stream:
        looking = asyncio.create_task(look())
        yield
    await looking
    assert not wrong, wrong[:5]
    assert not stream.missed


async def flush(client: AsyncModbusClient) -> set[str] | None:
    """The names whose assignments did not arrive for sure; None where the time was up first."""
    try:
        await client.flush(timeout=3.0)
    except WriteError as error:
        return {name for name, _ in error.failures}
    except LinkTimeoutError:
        return None
    return set()


def check_ledger(client: AsyncModbusClient, plant: Plant) -> None:
    ledger = client.ledger
    assert ledger.total == plant.assigned.total()
    fates = (ledger.acknowledged, ledger.superseded, ledger.rejected, ledger.expired, ledger.unknown, ledger.pending)
    assert sum(fates) == ledger.total
    assert ledger.rejected == ledger.expired == 0


async def storm(client: AsyncModbusClient, plant: Plant) -> None:
    for step in range(STEPS):
        plant.assign_something()
        plant.device_does_something()
        before = client.stats.requests
        await until(lambda: client.stats.requests > before, what="another request")  # noqa: B023
        plant.check_untouched()
        if step % 10 == 9:
            doubtful = await flush(client)
            if doubtful is not None:
                plant.check_arrived(doubtful)
                check_ledger(client, plant)


async def calm(client: AsyncModbusClient, plant: Plant) -> None:
    """Left alone, both sides come to be the same, and everything is sure again."""
    deadline = Deadline(10.0)
    while await flush(client) != set() and not deadline.over:
        pass  # what is left over from the storm; and a slow machine may time out even now
    plant.assign("MODE", 77)
    plant.assign("SET_POINT", in_all_words(7, 2))
    plant.assign("RECIPE", in_all_words(7, 4))
    plant.assign("BOTH", 7)
    plant.assign("COIL_4", 1)
    assert await flush(client) == set()
    plant.check_arrived(set())
    plant.check_untouched()
    check_ledger(client, plant)
    assert client.ledger.pending == 0
    await client.refresh()
    assert same(plant)
    assert {plant.near.info(name).quality for name in plant.near.variables()} == {"good"}


def same(plant: Plant) -> bool:
    return all(
        plant.near.get_value(at, table=table) == plant.far.get_value(at, table=table)
        for table in ("holding", "input", "coil", "discrete")
        for at in range(plant.near.get_size(table))
    )


def soon() -> Iterator[float]:
    return repeat(0.01)


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("in_flight", [1, 8])
@pytest.mark.parametrize("what", FAULTS)
async def test_what_is_promised_holds_on_a_line_that(what: str, in_flight: int, seed: int) -> None:
    near, far = memory(), memory()
    far.SENTINEL = SENTINEL
    plant, watchman = Plant(near, far, seed), Watchman()
    async with (
        AsyncModbusServer(far, FREE) as server,
        FaultProxy(server.endpoint, seed=seed, on_request=watchman.saw) as proxy,
        AsyncModbusClient(
            near, proxy.endpoint, period=0.003, timeout=TIMEOUT, max_in_flight=in_flight, max_read=4, backoff=soon
        ) as client,
        never_torn_never_older(near),
    ):
        proxy.faults = FAULTS[what]
        await storm(client, plant)
        proxy.faults = QUIET
        await calm(client, plant)
        assert proxy.happened, "there was no storm"
    assert not watchman.wrong
    commands = watchman.commands
    assert commands == sorted(set(commands)), "each command was sent at most once, in order"
    assert client.ledger.total >= STEPS
