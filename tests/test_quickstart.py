"""The quickstart as written, over real sockets, in two processes."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from msm import MemoryStore, MemoryVariable, ModbusClient
from tests.support import PATIENCE, wait_until

SERVER = """
import sys, threading, time
from msm import MemoryStore, MemoryVariable, ModbusServer

mem = MemoryStore(8)
mem.WORK_MODE = MemoryVariable.byte(address=0, byte_number=0)
mem.PROCESS_STEP = MemoryVariable.byte(address=0, byte_number=1)
mem.CURRENT_VALUE = MemoryVariable.uint32(address=1)
mem.CONTROL_WORD = MemoryVariable.word(address=3)
mem.ERROR_STATE = MemoryVariable.bool(address=3, bit_number=0)
mem.CURRENT_VALUE = 99999

server = ModbusServer(mem, "tcp://localhost:0")
server.run()
print(server.endpoint, flush=True)

def flip():
    while True:
        mem.ERROR_STATE = not mem.ERROR_STATE
        time.sleep(float(sys.argv[1]))

threading.Thread(target=flip, daemon=True).start()
for line in sys.stdin:  # which variable the other side wants to see, as this side sees it
    print(repr(mem[line.strip()]), flush=True)
server.kill()
"""


class OtherEnd:
    """The server's process, and what its program sees."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.endpoint = self.line()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def sees(self, name: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        return self.line()


@contextmanager
def other_end(every: float) -> Iterator[OtherEnd]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SERVER, str(every)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with process:
            yield OtherEnd(process)
            assert process.stdin is not None and process.stderr is not None
            process.stdin.close()
            assert process.stderr.read() == ""
            assert process.wait(PATIENCE) == 0
    finally:
        with suppress(ProcessLookupError):
            process.kill()


@pytest.fixture
def mem() -> MemoryStore:
    store = MemoryStore(8)
    store.WORK_MODE = MemoryVariable.byte(address=0, byte_number=0)
    store.PROCESS_STEP = MemoryVariable.byte(address=0, byte_number=1)
    store.CURRENT_VALUE = MemoryVariable.uint32(address=1)
    store.CONTROL_WORD = MemoryVariable.word(address=3)
    store.ERROR_STATE = MemoryVariable.bool(address=3, bit_number=0)
    return store


def test_values_are_seen_on_both_sides(mem: MemoryStore) -> None:
    with other_end(every=0.02) as server, ModbusClient(mem, server.endpoint, period=0.02) as client:
        assert mem.CURRENT_VALUE == 99999
        assert mem[1:3] == [34463, 1]
        mem.WORK_MODE = 1
        mem.PROCESS_STEP = 2
        mem.CURRENT_VALUE = 123456
        client.flush()
        assert server.sees("WORK_MODE") == "1"
        assert server.sees("PROCESS_STEP") == "2"
        assert server.sees("CURRENT_VALUE") == "123456"
        for state in (True, False, True):
            wait_until(lambda: mem.ERROR_STATE is state)  # noqa: B023
        assert client.ledger.acknowledged == client.ledger.total == 3


@pytest.mark.parametrize("every", [0.0, 0.001])
def test_the_clients_control_word_always_arrives_while_the_server_flips_a_bit_of_it(
    mem: MemoryStore, every: float
) -> None:
    with other_end(every) as server, ModbusClient(mem, server.endpoint, period=0.002) as client:
        turns = 300
        for value in range(2, 2 * turns + 2, 2):
            mem.CONTROL_WORD = value
            client.flush()
            # Bit 0 is the server's to flip; all the others are as assigned.
            assert int(server.sees("CONTROL_WORD")) & ~1 == value
        client.refresh()
        assert 2 * turns == mem.CONTROL_WORD & ~1
        assert client.ledger.acknowledged == client.ledger.total == turns
        assert not client.stats.errors


def test_the_servers_bit_is_never_undone_by_the_clients_byte(mem: MemoryStore) -> None:
    """The client assigns the high byte of the word only: the flipped bit is the server's alone."""
    mem.HIGH = MemoryVariable.byte(address=3, byte_number=1)
    with other_end(every=3600) as server, ModbusClient(mem, server.endpoint, period=0.002) as client:
        state = server.sees("ERROR_STATE")  # flipped once, at the beginning
        for value in range(200):
            mem.HIGH = value
            client.flush()
            assert server.sees("ERROR_STATE") == state
        assert int(server.sees("CONTROL_WORD")) >> 8 == 199


def test_assignments_from_several_threads_all_meet_their_fate(mem: MemoryStore) -> None:
    with other_end(every=0.001) as server, ModbusClient(mem, server.endpoint, period=0.005) as client:

        def assign(name: str) -> None:
            for value in range(1, 201):
                setattr(mem, name, value)

        threads = [
            threading.Thread(target=assign, args=(name,)) for name in ("WORK_MODE", "PROCESS_STEP", "CURRENT_VALUE")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.flush()
        assert [server.sees(name) for name in ("WORK_MODE", "PROCESS_STEP", "CURRENT_VALUE")] == ["200"] * 3
        ledger = client.ledger
        assert ledger.total == 600
        assert (ledger.acknowledged + ledger.superseded, ledger.pending) == (600, 0)
