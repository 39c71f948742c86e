"""Values of several words are never seen half: not locally, not remotely, not in either direction."""

from __future__ import annotations

import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from msm import MemoryStore, MemoryVariable, ModbusClient, ModbusServer
from tests.support import FREE, RawClient, wait_until

PATTERNS = [byte * 0x01010101 for byte in range(256)]  # all four bytes of a value are the same
ENOUGH = 3000


def whole(value: int) -> bool:
    return value == (value & 0xFF) * 0x01010101


@pytest.fixture(autouse=True)
def switch_threads_often() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


@contextmanager
def meanwhile(*actions: Callable[[int], None]) -> Iterator[None]:
    """Each action again and again in a thread of its own."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def go_on(action: Callable[[int], None]) -> None:
        turn = 0
        try:
            while not stop.is_set():
                action(turn)
                turn += 1
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=go_on, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures, failures


def store() -> MemoryStore:
    mem = MemoryStore(8)
    mem.VALUE = MemoryVariable.uint32(1)
    return mem


def test_local_readers() -> None:
    mem = store()

    def assign(turn: int) -> None:
        mem.VALUE = PATTERNS[turn % 256]

    def assign_words(turn: int) -> None:
        mem[1:3] = [PATTERNS[turn % 256] & 0xFFFF] * 2

    with meanwhile(assign, assign_words):
        for _ in range(ENOUGH):
            assert whole(mem.VALUE)
            low, high = mem[1:3]
            assert low == high
            assert len(set(mem.dump().split("'1': ")[1].replace("| '2': ", "").split()[:2])) == 1


def test_remote_readers_and_writers() -> None:
    mem = store()

    def assign(turn: int) -> None:
        mem.VALUE = PATTERNS[turn % 256]

    with ModbusServer(mem, FREE) as server, RawClient(server.endpoint) as reader, RawClient(server.endpoint) as writer:

        def write(turn: int) -> None:
            pattern = struct.pack(">I", PATTERNS[turn % 256])
            assert writer.ask(b"\x10\x00\x01\x00\x02\x04" + pattern) == b"\x10\x00\x01\x00\x02"

        def read_locally(_: int) -> None:
            assert whole(mem.VALUE)

        with meanwhile(assign, write, read_locally):
            for _ in range(ENOUGH // 3):
                reply = reader.ask(b"\x03\x00\x01\x00\x02")
                assert whole(struct.unpack(">I", reply[2:])[0]), reply.hex(" ")


def test_through_a_client_in_both_directions() -> None:
    far, near = store(), store()
    far.BACK, near.BACK = MemoryVariable.uint32(5), MemoryVariable.uint32(5)

    def assign_far(turn: int) -> None:
        far.VALUE = PATTERNS[turn % 256]

    def assign_near(turn: int) -> None:
        near.BACK = PATTERNS[turn % 256]

    def read_near(_: int) -> None:
        assert whole(near.VALUE) and whole(near.BACK)

    def read_far(_: int) -> None:
        assert whole(far.BACK) and whole(far.VALUE)

    with ModbusServer(far, FREE) as server, ModbusClient(near, server.endpoint, period=0.001) as client:
        with meanwhile(assign_far, assign_near, read_near, read_far):
            wait_until(lambda: client.stats.cycles > 100 and client.ledger.acknowledged > 100, timeout=30)
        client.flush()
        client.refresh()
        assert (near.VALUE, far.BACK) == (far.VALUE, near.BACK)
