"""`atomic()`: several assignments that become one for every reader, or none."""

from __future__ import annotations

import asyncio
import contextvars
import struct
import sys
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest

from msm import MemoryStore, MemoryVariable, ModbusServer, ValueRangeError
from msm.memory.journal import Journal, Span
from msm.memory.store import image_of
from tests.support import FREE, PATIENCE, RawClient


@pytest.fixture
def eager() -> Iterator[None]:
    """Threads take turns after a few steps, so that what can go wrong does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def store() -> MemoryStore:
    mem = MemoryStore(16, coils=8)
    mem.A = MemoryVariable.word(0)
    mem.B = MemoryVariable.uint32(1)
    mem.C = MemoryVariable.bool(10, 3)
    mem.COIL = MemoryVariable.coil(5)
    return mem


def in_threads(*work: Callable[[], None]) -> None:
    """Run each in a thread of its own; raise what one of them raised."""
    raised: list[BaseException] = []

    def run(each: Callable[[], None]) -> None:
        try:
            each()
        except BaseException as error:  # noqa: BLE001 - raised below, in the test's own thread
            raised.append(error)

    threads = [threading.Thread(target=run, args=(each,)) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    for error in raised:
        raise error


def elsewhere(mem: MemoryStore) -> tuple[int, int]:
    """What another thread sees."""
    seen: list[tuple[int, int]] = []
    in_threads(lambda: seen.append((mem.A, mem.B)))
    return seen[0]


def test_all_assignments_at_the_end() -> None:
    mem = store()
    with mem.atomic():
        mem.A = 1
        assert elsewhere(mem) == (0, 0)
        mem.B = 2
        mem.C = True
        mem.COIL = True
        mem[7] = 77
        mem.set_value(2, 1, "coil")
        assert elsewhere(mem) == (0, 0)
    assert elsewhere(mem) == (1, 2)
    assert (mem.C, mem.COIL, mem[7], mem.get_value(2, "coil")) == (True, True, 77, 1)


def test_the_block_sees_what_it_assigned_by_every_door() -> None:
    mem = store()
    with mem.atomic():
        mem.A = 1
        mem.B = 0x20003
        mem.COIL = True
        assert (mem.A, mem["A"], mem[0], mem[0:3], mem.get_value(0)) == (1, 1, 1, [1, 3, 2], 1)
        assert mem.snapshot().A == 1
        assert mem.info("A").value == 1
        assert mem.info("B").words == (3, 2)
        assert mem.get_value(5, "coil") == 1
        assert "'00': 00001" in mem.dump()
        mem.A += 1
        assert mem.A == 2
    assert mem.A == 2


def test_it_sees_the_memory_of_the_instant_when_it_began() -> None:
    mem = store()
    mem.A = 1
    with mem.atomic():
        in_threads(lambda: setattr(mem, "A", 9))
        assert mem.A == 1
    assert mem.A == 9


def test_an_exception_leaves_the_memory_as_it_was() -> None:
    mem = store()
    mem.A = 7
    with pytest.raises(ZeroDivisionError), mem.atomic():
        mem.A = 1
        mem.B = 2
        raise ZeroDivisionError
    assert (mem.A, mem.B) == (7, 0)
    with pytest.raises(ValueRangeError, match="A: 65536"), mem.atomic():
        mem.B = 2
        mem.A = 65536
    assert (mem.A, mem.B) == (7, 0)
    with mem.atomic():  # and it is over
        mem.A = 3
    assert mem.A == 3


def test_a_refused_assignment_that_is_caught_leaves_the_others() -> None:
    mem = store()
    with mem.atomic():
        mem.B = 2
        with pytest.raises(ValueRangeError):
            mem.A = 65536
        mem.C = True
    assert (mem.A, mem.B, mem.C) == (0, 2, True)


def test_nested_blocks_are_one() -> None:
    mem = store()
    with mem.atomic():
        mem.A = 1
        with mem.atomic():
            assert mem.A == 1
            mem.B = 2
            with mem.atomic():
                mem.A += 10
        assert (mem.A, mem.B) == (11, 2)
        assert elsewhere(mem) == (0, 0)
    assert (mem.A, mem.B) == (11, 2)


def test_an_inner_block_that_raises_takes_back_its_own_only() -> None:
    mem = store()
    with mem.atomic():
        mem.A = 1
        with pytest.raises(ZeroDivisionError), mem.atomic():
            mem.A = 2
            with mem.atomic():
                mem.B = 2
            raise ZeroDivisionError
        assert (mem.A, mem.B) == (1, 0)
        mem.C = True
    assert (mem.A, mem.B, mem.C) == (1, 0, True)


def test_an_outer_block_that_raises_takes_back_the_inner_one() -> None:
    mem = store()
    with pytest.raises(ZeroDivisionError), mem.atomic():
        with mem.atomic():
            mem.A = 2
        raise ZeroDivisionError
    assert (mem.A, mem.B) == (0, 0)


def test_two_stores_do_not_mix() -> None:
    one, other = store(), store()
    with one.atomic():
        one.A = 1
        other.A = 2
        assert elsewhere(other) == (2, 0)
        with other.atomic():
            other.B = 3
            one.B = 4
            assert (one.A, one.B, other.A, other.B) == (1, 4, 2, 3)
            assert elsewhere(other) == (2, 0)
        assert elsewhere(other) == (2, 3)
        assert elsewhere(one) == (0, 0)
    assert (one.A, one.B) == (1, 4)


def test_what_others_assign_meanwhile_is_not_lost() -> None:
    mem = store()
    mem.LOW = MemoryVariable.byte(5, 0)
    mem.HIGH = MemoryVariable.byte(5, 1)
    with mem.atomic():
        mem.A = 1
        mem.LOW = 1
        # Between the first and the last word of the block, and in the same word.
        in_threads(lambda: setattr(mem, "B", 2), lambda: setattr(mem, "HIGH", 2), lambda: setattr(mem, "COIL", True))
        mem[15] = 15
        mem.C = True
    assert (mem.A, mem.B, mem.LOW, mem.HIGH, mem.C, mem.COIL, mem[15]) == (1, 2, 1, 2, True, True, 15)


def test_counting_up_loses_nothing(eager: None) -> None:
    mem = store()
    many, times = 6, 150

    def count() -> None:
        for _ in range(times):
            with mem.atomic():
                mem.B += 1
                mem[9] = mem[9] + 1

    in_threads(*[count] * many)
    assert (mem.B, mem[9]) == (many * times, many * times)


def test_readers_never_see_half(eager: None) -> None:
    mem = MemoryStore(300)
    names = [f"V{at}" for at in range(30)]
    for at, name in enumerate(names):
        mem[name] = MemoryVariable.uint32(10 * at)
    over = threading.Event()

    def write() -> None:
        for number in range(300):
            with mem.atomic():
                for name in names:
                    mem[name] = number * 70000
        over.set()

    def read() -> None:
        seen = set()
        while not over.is_set():
            values = set(mem.snapshot().as_dict().values())
            assert len(values) == 1
            seen |= values
            words = mem[0:300]
            assert words[0:2] == words[290:292]
        assert len(seen) > 1

    def read_in_a_block() -> None:
        while not over.is_set():
            with mem.atomic():
                assert mem.V0 == mem.V29

    in_threads(write, read, read_in_a_block)
    assert mem.V5 == 299 * 70000


def test_remote_readers_never_see_half(eager: None) -> None:
    mem = MemoryStore(100)
    mem.FIRST = MemoryVariable.uint32(0)
    mem.LAST = MemoryVariable.uint32(98)
    over = threading.Event()
    seen: set[bytes] = set()

    def write() -> None:
        number = 0
        while not over.is_set():
            number = (number + 70001) % 2**32
            with mem.atomic():
                mem.FIRST = number
                mem.LAST = number

    def read() -> None:
        try:
            with RawClient(server.endpoint) as client:
                for _ in range(300):
                    reply = client.ask(struct.pack(">BHH", 3, 0, 100))
                    assert reply[2:6] == reply[-4:]
                    seen.add(reply[2:6])
        finally:
            over.set()

    with ModbusServer(mem, FREE) as server:
        in_threads(write, read)
    assert len(seen) > 1


def test_remote_writes_during_a_block_are_not_lost() -> None:
    mem = store()
    with ModbusServer(mem, FREE) as server, RawClient(server.endpoint) as client:
        with mem.atomic():
            mem.A = 1
            assert client.ask(struct.pack(">BHH", 6, 8, 88)) == struct.pack(">BHH", 6, 8, 88)
            assert client.ask(struct.pack(">BHH", 3, 0, 1)) == bytes((3, 2, 0, 0))
            mem.C = True
            assert mem[8] == 0  # the block sees its instant
        assert client.ask(struct.pack(">BHH", 3, 0, 1)) == bytes((3, 2, 0, 1))
    assert (mem.A, mem[8], mem.C) == (1, 88, True)


class Owner:
    """What drains a journal: stands for a client."""

    def __init__(self, mem: MemoryStore) -> None:
        self.rung: list[tuple[int, int]] = []
        self._mem = mem
        self.journal = Journal(weakref.WeakMethod(self.ring))
        image_of(mem).attach(self.journal)

    def ring(self) -> None:
        self.rung.append((self._mem.A, self._mem.B))


def test_clients_are_told_once_and_only_of_what_was_assigned() -> None:
    mem = store()
    owner = Owner(mem)
    with pytest.raises(ZeroDivisionError), mem.atomic():
        mem.A = 9
        raise ZeroDivisionError
    with mem.atomic():
        mem.B = 5
        mem.A = 1
        mem.A = 2
        assert owner.rung == []
    assert owner.rung == [(2, 5)]
    assert owner.journal.drain() == {
        Span("holding", 1, 2, 0xFFFFFFFF, "B"): 1,
        Span("holding", 0, 1, 0xFFFF, "A"): 2,
    }
    with mem.atomic():
        pass
    assert owner.journal.drain() == {}


def test_declaring_in_a_block() -> None:
    mem = store()
    with mem.atomic():
        mem.LATE = MemoryVariable.word(12)
        mem.LATE = 5
        assert mem.LATE == 5
        assert mem[12] == 5
        assert image_of(mem).buffer[24:26] == b"\0\0"
    assert mem.LATE == 5


def test_provide_is_one_too() -> None:
    mem = store()
    mem.STATE = MemoryVariable.word(4, access="ro")
    with pytest.raises(ValueRangeError):
        mem.provide(STATE=1, A=65536)
    assert (mem.STATE, mem.A) == (0, 0)
    mem.provide(STATE=1, A=2)
    assert (mem.STATE, mem.A) == (1, 2)


# -- contexts


def test_a_block_of_a_generator_is_not_seen_by_others() -> None:
    mem = store()

    def generator() -> Iterator[int]:
        with mem.atomic():
            mem.A = 5
            yield mem.A
            yield mem.A

    steps = generator()
    assert next(steps) == 5
    assert elsewhere(mem) == (0, 0)
    in_threads(lambda: setattr(mem, "B", 2))
    assert elsewhere(mem) == (0, 2)
    assert next(steps) == 5
    assert list(steps) == []
    assert (mem.A, mem.B) == (5, 2)


def test_a_generator_may_end_in_another_context_than_it_began_in() -> None:
    mem = store()

    def generator() -> Iterator[None]:
        with mem.atomic():
            mem.A = 5
            yield

    steps = generator()
    contextvars.copy_context().run(next, steps)
    assert mem.A == 0  # not this context's block
    mem.B = 2
    assert elsewhere(mem) == (0, 2)
    assert list(steps) == []
    assert (mem.A, mem.B) == (5, 2)
    assert image_of(mem).transactions == []
    with mem.atomic():
        mem.A = 6
    assert elsewhere(mem) == (6, 2)


def test_a_generator_that_is_closed_takes_back() -> None:
    mem = store()

    def generator() -> Iterator[None]:
        with mem.atomic():
            mem.A = 5
            yield

    steps = generator()
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert mem.A == 0
    mem.A = 1
    assert elsewhere(mem) == (1, 0)


async def test_tasks_do_not_see_each_others_blocks() -> None:
    """A block is not for awaiting in; where somebody does, others are not deceived."""
    mem = store()
    began, looked = asyncio.Event(), asyncio.Event()

    async def assigns() -> None:
        with mem.atomic():
            mem.A = 5
            began.set()
            await looked.wait()
            assert mem.A == 5

    async def looks() -> None:
        await began.wait()
        assert mem.A == 0
        mem.B = 2
        with mem.atomic():
            mem.C = True
            assert (mem.A, mem.B) == (0, 2)
        assert image_of(mem).buffer[2:6] == b"\0\2\0\0"
        looked.set()

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        group.create_task(assigns())
        group.create_task(looks())
    assert (mem.A, mem.B, mem.C) == (5, 2, True)
    assert image_of(mem).transactions == []


async def test_a_task_made_in_a_block_is_not_in_it_afterwards() -> None:
    mem = store()

    async def later() -> None:
        mem.A = 6

    with mem.atomic():
        mem.B = 1
        task = asyncio.create_task(later())
    await task
    assert (mem.A, mem.B) == (6, 1)


async def test_a_cancelled_task_takes_back() -> None:
    mem = store()

    async def assigns() -> None:
        with mem.atomic():
            mem.A = 5
            await asyncio.Event().wait()

    task = asyncio.create_task(assigns())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert mem.A == 0
    mem.A = 1
    assert mem.A == 1
