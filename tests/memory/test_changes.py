"""Listening: `changes()`, `watch()` and `wait_for()`."""

from __future__ import annotations

import asyncio
import gc
import logging
import queue
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

from msm import (
    Change,
    ChangeStream,
    DeclarationError,
    LinkTimeoutError,
    MemoryStore,
    MemoryVariable,
    ModbusServer,
    UnknownVariableError,
    Watch,
)
from msm.memory.store import image_of
from tests.support import FREE, PATIENCE, RawClient, until, wait_until

NEVER = 0.05  # seconds to wait for what must not come


def store() -> MemoryStore:
    mem = MemoryStore(16, input_registers=4, coils=20)
    mem.A = MemoryVariable.word(0)
    mem.B = MemoryVariable.uint32(1)
    mem.BIT = MemoryVariable.bool(3, 4)
    mem.COIL = MemoryVariable.coil(10)
    return mem


def taken(stream: ChangeStream) -> list[tuple[str, Any, Any, str]]:
    """What is there by now, without its time."""
    changes: list[tuple[str, Any, Any, str]] = []
    while (change := stream.queue.take()) is not None:
        changes.append(change[:4])
    return changes


def watchers(mem: MemoryStore) -> int:
    return len(image_of(mem)._watchers)


# -- what a change says


def test_a_change_says_what_happened() -> None:
    mem = store()
    with mem.changes("A") as stream:
        before = time.time()
        mem.A = 5
        mem.A = 7
        after = time.time()
        first, second = stream.get(PATIENCE), stream.get(PATIENCE)
    assert isinstance(first, Change)
    assert first[:4] == ("A", 0, 5, "local")
    assert (second.name, second.old, second.new, second.origin) == ("A", 5, 7, "local")
    assert before <= first.at <= second.at <= after


def test_an_equal_value_is_no_change() -> None:
    mem = store()
    mem.A = 5
    with mem.changes("A") as stream:
        mem.A = 5
        mem[0] = 5
        assert taken(stream) == []


def test_a_stream_begins_when_it_is_made() -> None:
    mem = store()
    mem.A = 1
    with mem.changes("A") as stream:
        mem.A = 2
        assert taken(stream) == [("A", 1, 2, "local")]


def test_raw_assignments_are_changes_of_what_lies_there() -> None:
    mem = store()
    with mem.changes() as stream:
        mem[0:4] = [1, 2, 3, 0x10]
        assert taken(stream) == [
            ("A", 0, 1, "local"), ("B", 0, 0x30002, "local"), ("BIT", False, True, "local")
        ]  # fmt: skip
        mem.set_value(10, 1, "coil")
        assert taken(stream) == [("COIL", False, True, "local")]


def test_only_its_own_bits() -> None:
    mem = store()
    mem.BESIDE = MemoryVariable.bool(3, 5)
    mem.LOW = MemoryVariable.byte(3, 0)
    mem.HIGH = MemoryVariable.byte(3, 1)
    mem.NEXT = MemoryVariable.coil(11)
    with mem.changes("BIT", "COIL", "HIGH") as stream:
        mem.BESIDE = True
        mem.NEXT = True
        mem.LOW = 0x20
        mem[3] = 0x00CF
        assert taken(stream) == []
        mem[3] = 0x01DF
        assert taken(stream) == [("BIT", False, True, "local"), ("HIGH", 0, 1, "local")]


def test_overlapping_variables_all_report() -> None:
    mem = store()
    mem.WORD = MemoryVariable.word(3)
    mem.AGAIN = MemoryVariable.word(3)
    mem.LONG = MemoryVariable.uint64(0, word_order="big")
    with mem.changes("BIT", "WORD", "AGAIN", "LONG", "A") as stream:
        mem.BIT = True
        assert taken(stream) == [
            ("BIT", False, True, "local"), ("WORD", 0, 16, "local"), ("AGAIN", 0, 16, "local"),
            ("LONG", 0, 16, "local"),
        ]  # fmt: skip


def test_an_atomic_block_is_one_change() -> None:
    mem = store()
    with mem.changes() as stream:
        with mem.atomic():
            mem.A = 1
            mem.A = 2
            mem.B = 3
            mem.BIT = True
            mem.BIT = False
            assert taken(stream) == []
        assert taken(stream) == [("A", 0, 2, "local"), ("B", 0, 3, "local")]


def test_origins() -> None:
    mem = store()
    image = image_of(mem)
    with ModbusServer(mem, FREE) as server, RawClient(server.endpoint) as client, mem.changes() as stream:
        client.ask(struct.pack(">BHHB4H", 16, 0, 4, 8, 1, 2, 0, 0x10))
        assert taken(stream) == [
            ("A", 0, 1, "remote"), ("B", 0, 2, "remote"), ("BIT", False, True, "remote")
        ]  # fmt: skip
        client.ask(struct.pack(">BHHH", 22, 3, 0xFFEF, 0))
        assert taken(stream) == [("BIT", True, False, "remote")]
        client.ask(struct.pack(">BHH", 5, 10, 0xFF00))
        assert taken(stream) == [("COIL", False, True, "remote")]
        image.merge("holding", 0, 2, lambda _ours: b"\0\1\0\7")
        image.merge("coil", 8, 4, lambda _ours: b"\x00")
        assert taken(stream) == [("B", 2, 7, "device"), ("COIL", True, False, "device")]
        mem.A = 9
        mem.provide(A=10)
        assert taken(stream) == [("A", 1, 9, "local"), ("A", 9, 10, "local")]


# -- streams


def test_for_and_close() -> None:
    mem = store()
    stream = mem.changes("A")
    got: list[int] = []

    def consume() -> None:
        for change in stream:
            got.append(change.new)

    thread = threading.Thread(target=consume)
    thread.start()
    for number in range(1, 6):
        mem.A = number
    wait_until(lambda: len(got) == 5)
    stream.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert got == [1, 2, 3, 4, 5]
    assert watchers(mem) == 0
    stream.close()  # idempotent


def test_what_was_there_before_close_is_given_first() -> None:
    mem = store()
    stream = mem.changes("A")
    mem.A = 1
    mem.A = 2
    stream.close()
    mem.A = 3
    assert [change.new for change in stream] == [1, 2]
    assert list(stream) == []


async def test_async_for_and_close() -> None:
    mem = store()
    stream = mem.changes("A")
    got: list[int] = []

    async def consume() -> None:
        async for change in stream:
            got.append(change.new)

    task = asyncio.create_task(consume())
    for number in range(1, 6):
        mem.A = number
    await until(lambda: len(got) == 5)
    await asyncio.to_thread(setattr, mem, "A", 6)
    await until(lambda: len(got) == 6)
    await asyncio.to_thread(stream.close)
    async with asyncio.timeout(PATIENCE):
        await task
    assert got == [1, 2, 3, 4, 5, 6]


async def test_cancelling_a_consumer() -> None:
    mem = store()
    with mem.changes("A") as stream:
        task = asyncio.create_task(stream.get_async())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        mem.A = 1
        async with asyncio.timeout(PATIENCE):
            assert (await stream.get_async()).new == 1


async def test_several_consumers_share_a_stream() -> None:
    mem = store()
    got: list[int] = []
    with mem.changes("A") as stream:

        async def consume() -> None:
            async for change in stream:
                got.append(change.new)

        tasks = [asyncio.create_task(consume()) for _ in range(3)]
        for number in range(1, 51):
            mem.A = number
            if number % 7 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(got) == 50)
        stream.close()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*tasks)
    assert sorted(got) == list(range(1, 51))


def test_every_consumer_gets_every_change() -> None:
    mem = store()
    with mem.changes("A") as one, mem.changes() as other:
        mem.A = 1
        assert taken(one) == taken(other) == [("A", 0, 1, "local")]


def test_get_gives_up() -> None:
    mem = store()
    with mem.changes("A") as stream:
        began = time.monotonic()
        with pytest.raises(LinkTimeoutError, match=r"no change within 0\.05 s"):
            stream.get(0.05)
        assert time.monotonic() - began >= 0.05
        mem.A = 1
        assert stream.get(0).new == 1


def test_unknown_names_are_told_at_once() -> None:
    mem = store()
    for listen in (lambda: mem.changes("A", "BITT"), lambda: mem.watch("BITT", print)):
        with pytest.raises(UnknownVariableError, match="did you mean BIT"):
            listen()
    with pytest.raises(UnknownVariableError, match="did you mean BIT"):
        mem.wait_for("BITT", bool, 1.0)
    assert watchers(mem) == 0


@pytest.mark.parametrize("size", [0, -1, None, 1.5, True])
def test_a_queue_is_bounded(size: Any) -> None:
    mem = store()
    for listen in (lambda: mem.changes("A", size=size), lambda: mem.watch("A", print, size=size)):
        with pytest.raises(DeclarationError, match=r"size .* is not a number of changes from 1"):
            listen()
    assert watchers(mem) == 0


def test_a_slow_consumer_loses_the_oldest_and_is_told() -> None:
    mem = store()
    with mem.changes("A", size=10) as stream:
        for number in range(1, 26):
            mem.A = number
        assert stream.missed == 15
        assert [new for _, _, new, _ in taken(stream)] == list(range(16, 26))
        mem.A = 99
        assert (taken(stream), stream.missed) == ([("A", 25, 99, "local")], 15)


def test_by_default_it_may_be_a_thousand_behind() -> None:
    mem = store()
    with mem.changes("A") as stream:
        for number in range(1, 1003):
            mem.A = number
        assert stream.missed == 2
        assert len(taken(stream)) == 1000


def test_what_was_taken_and_what_was_missed_is_all() -> None:
    mem = store()
    many = 4000
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with mem.changes("B", size=2) as stream:
            got: list[int] = []

            def consume() -> None:
                for change in stream:
                    got.append(change.new)

            thread = threading.Thread(target=consume)
            thread.start()
            for number in range(1, many + 1):
                mem.B = number
            stream.close()
            thread.join(PATIENCE)
            assert not thread.is_alive()
            assert len(got) + stream.missed == many
            assert got == sorted(set(got))
            assert got[-1] == many
    finally:
        sys.setswitchinterval(before)


def test_what_is_just_being_taken_is_not_counted_as_missed() -> None:
    mem = store()
    with mem.changes("A", size=1) as stream:
        consumer = threading.Thread(target=stream.queue.take)

        class Interrupted(deque[Any]):
            """Lets the consumer go on at the worst moment: between looking whether it is full and adding."""

            def __len__(self) -> int:
                length = super().__len__()
                if length and consumer.ident is None:
                    consumer.start()
                    consumer.join(0.05)
                return length

        mem.A = 1
        stream.queue._changes = Interrupted(stream.queue._changes, maxlen=1)
        mem.A = 2
        consumer.join(PATIENCE)
        left = stream.queue._changes.copy()
        taken_by_consumer = 1
        assert taken_by_consumer + len(left) + stream.missed == 2


def test_a_consumer_that_never_takes_costs_the_memory_little() -> None:
    mem = store()

    def cost() -> float:
        def once() -> float:
            began = time.perf_counter()
            for number in range(500):
                mem.A = number
            return time.perf_counter() - began

        return min(once() for _ in range(5))

    with mem.changes("A", size=10) as stream:
        fresh = cost()
        for number in range(5000):
            mem.A = number & 1
        assert cost() < 5 * fresh  # it does not grow with what was missed
        assert stream.missed > 5000


async def test_a_busy_event_loop_is_told_once_and_not_for_every_change() -> None:
    mem = store()
    loop = asyncio.get_running_loop()
    calls: list[object] = []
    original = loop.call_soon_threadsafe

    def counting(*arguments: Any, **keywords: Any) -> Any:
        calls.append(arguments)
        return original(*arguments, **keywords)

    with mem.changes("A") as stream:
        task = asyncio.create_task(stream.get_async())
        await asyncio.sleep(0)
        loop.call_soon_threadsafe = counting  # type: ignore[method-assign, assignment]
        try:
            for number in range(1, 500):  # the loop cannot run meanwhile
                mem.A = number
                mem.B = number
        finally:
            loop.call_soon_threadsafe = original  # type: ignore[method-assign]
        async with asyncio.timeout(PATIENCE):
            assert (await task).new == 1
    assert len(calls) == 1


def test_a_change_after_the_loop_of_its_consumer_was_closed() -> None:
    mem = store()
    stream = mem.changes("A")
    loop = asyncio.new_event_loop()
    task = loop.create_task(stream.get_async())
    loop.call_soon(loop.stop)
    loop.run_forever()
    stream._waiters.append((loop, asyncio.Event()))  # as when the loop ends in between
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    loop.close()
    mem.A = 1  # raises nothing
    assert taken(stream) == [("A", 0, 1, "local")]
    stream.close()


# -- declarations that come and go


def test_names_declared_later_are_heard_where_all_are_asked_for() -> None:
    mem = store()
    with mem.changes() as everything, mem.changes("A") as named:
        mem.LATE = MemoryVariable.word(8)
        mem.LATE = 1
        assert taken(everything) == [("LATE", 0, 1, "local")]
        assert taken(named) == []


def test_a_variable_that_is_declared_anew_is_heard_in_its_new_place() -> None:
    mem = store()
    with mem.changes("A") as stream:
        mem.A = 1
        mem.A = MemoryVariable.string(8, 4)
        mem[0] = 5
        mem.A = "new"
        # What was noted before is told with the type of then.
        assert taken(stream) == [("A", 0, 1, "local"), ("A", "", "new", "local")]


def test_a_variable_that_is_withdrawn_is_not_heard_until_it_is_back() -> None:
    mem = store()
    with mem.changes("A") as stream, mem.changes() as everything:
        mem.A = 1
        del mem.A
        mem[0] = 2
        assert taken(stream) == taken(everything) == [("A", 0, 1, "local")]
        mem.A = MemoryVariable.word(0)
        mem.A = 3
        assert taken(stream) == taken(everything) == [("A", 2, 3, "local")]


def test_declaring_while_others_listen_and_assign() -> None:
    mem = store()
    over = threading.Event()
    raised: list[BaseException] = []

    def run(work: Any) -> None:
        try:
            while not over.is_set():
                work()
        except BaseException as error:  # noqa: BLE001 - asserted below
            raised.append(error)

    def listen() -> None:
        with mem.changes() as stream:
            mem.A = mem.A ^ 1
            taken(stream)

    def assign() -> None:
        mem[0:4] = [mem[0] ^ 1, 2, 3, 4]

    threads = [threading.Thread(target=run, args=(work,)) for work in (listen, listen, assign)]
    for thread in threads:
        thread.start()
    with mem.changes() as stream:
        for number in range(200):
            mem.X = MemoryVariable.word(number % 8)
            mem[f"N{number % 10}"] = MemoryVariable.bool(number % 8, 3)
            del mem.X
        over.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert raised == []
        taken(stream)
        mem.LAST = MemoryVariable.word(9)
        mem.LAST = 1
        assert taken(stream) == [("LAST", 0, 1, "local")]


def test_streams_that_nobody_holds_are_forgotten() -> None:
    mem = store()
    for _ in range(50):
        stream = mem.changes("A")
        del stream
    for _ in range(50):
        mem.wait_for("A", lambda value: value == 0, 1.0)
    for _ in range(50):
        mem.watch("A", print).cancel()
    gc.collect()
    with mem.changes():
        assert watchers(mem) == 1
        assert len(mem._queues) == 1


# -- watch


class Callback:
    """Collects what it is called with, and by which thread."""

    def __init__(self) -> None:
        self.changes: queue.Queue[Change] = queue.Queue()
        self.threads: set[threading.Thread] = set()

    def __call__(self, change: Change) -> None:
        self.threads.add(threading.current_thread())
        self.changes.put(change)

    def next(self) -> Change:
        return self.changes.get(timeout=PATIENCE)


def watch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("msm watch")]


@pytest.fixture
def watched() -> Iterator[MemoryStore]:
    """A store whose watches have all ended with the test."""
    mem = store()
    yield mem
    for each, _ in mem._queues:
        if isinstance(each.owner, Watch):
            each.owner.cancel()


def test_a_callback_gets_each_change_in_order_in_a_thread_of_its_own(watched: MemoryStore) -> None:
    heard = Callback()
    watch = watched.watch("A", heard)
    for number in range(1, 101):
        watched.A = number
    assert [heard.next().new for _ in range(100)] == list(range(1, 101))
    assert threading.current_thread() not in heard.threads
    assert [thread.name for thread in heard.threads] == ["msm watch A"]
    assert all(thread.daemon for thread in heard.threads)
    assert repr(watch) == "<Watch A, missed 0>"


def test_nobody_has_to_hold_a_watch(watched: MemoryStore) -> None:
    heard = Callback()
    watched.watch("A", heard)
    gc.collect()
    watched.A = 1
    assert heard.next()[:4] == ("A", 0, 1, "local")


def test_its_thread_ends_when_there_is_nothing_to_do_and_comes_back(
    watched: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("msm.memory.changes.IDLE", 0.01)
    heard = Callback()
    watched.watch("A", heard)
    assert watch_threads() == []
    for number in range(1, 4):
        watched.A = number
        assert heard.next().new == number
        wait_until(lambda: watch_threads() == [])


def test_no_change_is_forgotten_while_its_thread_ends(watched: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("msm.memory.changes.IDLE", 0.0)
    heard = Callback()
    watched.watch("B", heard)
    for number in range(1, 301):
        watched.B = number
        if number % 3 == 0:
            assert [heard.next().new for _ in range(3)] == [number - 2, number - 1, number]


def test_a_callback_that_raises_is_logged_by_name_and_harms_nobody(
    watched: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Callback()

    def broken(change: Change) -> None:
        heard(change)
        raise ZeroDivisionError("in the callback")

    other = Callback()
    watched.watch("A", broken)
    watched.watch("A", other)
    with caplog.at_level(logging.ERROR, "msm"):
        watched.A = 1
        watched.A = 2
        assert [heard.next().new for _ in range(2)] == [1, 2]
        assert [other.next().new for _ in range(2)] == [1, 2]
        wait_until(lambda: len(caplog.records) == 2)
    record = caplog.records[0]
    assert record.getMessage() == "the callback that watches A raised"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert record.name == "msm.memory"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_a_callback_that_wants_to_exit_does_not_silence_its_watch(
    watched: MemoryStore, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    heard = Callback()

    def exits(change: Change) -> None:
        heard(change)
        raise error

    watched.watch("A", exits)
    watched.A = 1
    watched.A = 2
    assert [heard.next().new for _ in range(2)] == [1, 2]
    wait_until(lambda: len(caplog.records) == 2)


def test_a_callback_that_blocks_harms_nobody(watched: MemoryStore) -> None:
    release, blocked = threading.Event(), threading.Event()

    def blocks(_change: Change) -> None:
        blocked.set()
        release.wait(PATIENCE)

    other = Callback()
    slow = watched.watch("A", blocks, size=5)
    watched.watch("A", other)
    try:
        with watched.changes("A") as stream:
            watched.A = 1
            assert blocked.wait(PATIENCE)
            for number in range(2, 22):
                watched.A = number
                assert other.next().new == number - 1
            assert stream.get(PATIENCE).new == 1
            wait_until(lambda: slow.missed == 15)
            assert watched.A == 21
            with watched.atomic():
                watched.A = 22
    finally:
        release.set()


def test_a_callback_may_use_the_memory(watched: MemoryStore) -> None:
    heard = Callback()

    def answers(change: Change) -> None:
        with watched.atomic():
            watched.B = change.new * 2
        watched.snapshot()
        watched.NEW = MemoryVariable.word(9)

    watched.watch("B", heard)
    watched.watch("A", answers)
    watched.A = 21
    assert heard.next().new == 42


def test_cancel_ends_it(watched: MemoryStore) -> None:
    heard, other = Callback(), Callback()
    watch = watched.watch("A", heard)
    watched.watch("A", other)
    watched.A = 1
    assert heard.next().new == other.next().new == 1
    watch.cancel()
    watch.cancel()
    wait_until(lambda: len(watch_threads()) <= 1)
    watched.A = 2
    assert other.next().new == 2
    assert heard.changes.empty()
    assert watchers(watched) == 1


def test_cancel_from_inside(watched: MemoryStore) -> None:
    heard = Callback()

    def once(change: Change) -> None:
        heard(change)
        watch.cancel()

    watch = watched.watch("A", once)
    with watched.atomic():
        watched.A = 1
    assert heard.next().new == 1
    watched.A = 2
    watched.A = 3
    wait_until(lambda: watch_threads() == [])
    assert heard.changes.qsize() == 0
    assert watchers(watched) == 0


def test_cancel_drops_what_is_still_to_come(watched: MemoryStore) -> None:
    heard = Callback()
    release = threading.Event()

    def slow(change: Change) -> None:
        heard(change)
        release.wait(PATIENCE)

    watch = watched.watch("A", slow)
    for number in range(1, 10):
        watched.A = number
    assert heard.next().new == 1
    watch.cancel()
    release.set()
    wait_until(lambda: watch_threads() == [])
    assert heard.changes.empty()


def test_a_watch_of_a_variable_that_comes_and_goes(watched: MemoryStore) -> None:
    heard = Callback()
    watched.watch("A", heard)
    del watched.A
    watched[0] = 1
    watched.A = MemoryVariable.int16(5)
    watched.A = -1
    assert heard.next()[:3] == ("A", 0, -1)


def test_a_program_without_room_for_a_thread_can_still_assign(
    watched: MemoryStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Callback()
    watched.watch("A", heard)

    def full(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", full)
        watched.A = 1
    assert "no thread for the callback that watches A" in caplog.text
    watched.A = 2
    assert [heard.next().new for _ in range(2)] == [1, 2]


# -- wait_for


def test_wait_for_what_is_there_already() -> None:
    mem = store()
    mem.A = 5
    assert mem.wait_for("A", lambda value: value == 5, 0.0) == 5
    assert watchers(mem) == 0


def test_wait_for_what_comes() -> None:
    mem = store()
    ready = threading.Event()

    def work() -> None:
        ready.wait(PATIENCE)
        for number in range(1, 11):
            mem.A = number

    def reached(value: int) -> bool:
        ready.set()
        return value >= 7

    thread = threading.Thread(target=work)
    thread.start()
    # The value that satisfied it, and not what it has become since.
    assert mem.wait_for("A", reached, PATIENCE) == 7
    thread.join()
    assert watchers(mem) == 0


def test_wait_for_in_vain() -> None:
    mem = store()
    mem.A = 3
    began = time.monotonic()
    with pytest.raises(LinkTimeoutError) as caught:
        mem.wait_for("A", lambda value: value == 5, 0.05)
    assert 0.05 <= time.monotonic() - began < PATIENCE
    assert str(caught.value) == "A: not the value that was waited for within 0.05 s, it is 3"
    assert isinstance(caught.value, TimeoutError)
    assert watchers(mem) == 0


def test_wait_for_counts_its_time_from_the_call_also_while_changes_come() -> None:
    mem = store()
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            mem.A ^= 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        with pytest.raises(LinkTimeoutError):
            mem.wait_for("A", lambda value: value > 1, 0.1)
    finally:
        over.set()
        thread.join()


def test_what_a_predicate_raises_is_raised() -> None:
    mem = store()
    with pytest.raises(ZeroDivisionError):
        mem.wait_for("A", lambda value: 1 // value, 1.0)
    assert watchers(mem) == 0


async def test_awaiting() -> None:
    mem = store()
    for wait in (mem.wait_for, mem.wait_for_async):
        mem.A = 0
        task = asyncio.ensure_future(wait("A", lambda value: value == 5, PATIENCE))
        await asyncio.sleep(0)
        await asyncio.to_thread(setattr, mem, "A", 4)
        await asyncio.to_thread(setattr, mem, "A", 5)
        mem.A = 6
        assert await task == 5
        mem.A = 5
        assert await wait("A", lambda value: value == 5, 0.001) == 5
    assert watchers(mem) == 0


async def test_awaiting_in_vain() -> None:
    mem = store()
    for wait in (mem.wait_for, mem.wait_for_async):
        with pytest.raises(LinkTimeoutError, match=r"A: not the value that was waited for within 0\.05 s, it is 0"):
            await wait("A", lambda value: value == 5, 0.05)
        with pytest.raises(UnknownVariableError):
            wait("AA", bool, 0.05)
    assert watchers(mem) == 0


async def test_cancelling_a_wait() -> None:
    mem = store()
    task = asyncio.ensure_future(mem.wait_for_async("A", lambda value: value == 5, PATIENCE))
    await asyncio.sleep(0)
    assert watchers(mem) == 1
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert watchers(mem) == 0


def test_waiting_for_a_variable_that_is_withdrawn_says_so() -> None:
    mem = store()

    def withdraw(value: int) -> bool:
        if "A" in mem:
            del mem.A
        return False

    with pytest.raises(UnknownVariableError, match="no variable 'A'"):
        mem.wait_for("A", withdraw, NEVER)


def test_several_consumers_of_one_stream_wait_until_their_time_is_up() -> None:
    """A change that another one has taken is no reason to give up early."""
    mem = MemoryStore(1)
    mem.X = MemoryVariable.word(0)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    early: list[float] = []
    taken: list[int] = []
    try:
        with mem.changes("X") as stream:

            def consume() -> None:
                while True:
                    began = time.monotonic()
                    try:
                        taken.append(stream.get(2.0).new)
                    except LinkTimeoutError:
                        early.append(time.monotonic() - began)
                        return
                    except StopIteration:
                        return

            threads = [threading.Thread(target=consume) for _ in range(4)]
            for thread in threads:
                thread.start()
            for number in range(1, 3001):
                mem.X = number
                if number % 50 == 0:
                    wait_until(lambda: len(taken) == number)  # noqa: B023 - within this turn
        for thread in threads:
            thread.join(10)
    finally:
        sys.setswitchinterval(interval)
    assert sorted(taken) == list(range(1, 3001))
    assert all(seconds >= 2.0 for seconds in early)
