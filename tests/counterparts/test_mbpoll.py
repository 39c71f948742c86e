"""mbpoll, the command line program, and our server: over TCP and RTU, every function that it has."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from msm import MemoryStore, ModbusServer
from tests.support import FREE, port_of
from tests.transports.lines import Cable

TABLES = {"coil": "0", "discrete": "1", "input": "3", "holding": "4"}


class Mbpoll:
    """mbpoll, with the options that lead to the server."""

    def __init__(self, *options: str, last: str) -> None:
        self._options = options
        self._last = last

    def _run(self, table: str, address: int, *more: str, values: tuple[int, ...] = ()) -> str:
        command = ["mbpoll", *self._options, "-0", "-1", "-t", TABLES[table], "-r", str(address), *more, self._last]
        done = subprocess.run(
            [*command, *map(str, values)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return done.stdout + done.stderr

    def read(self, table: str, address: int, count: int) -> list[int] | str:
        said = self._run(table, address, "-c", str(count))
        found = re.findall(r"^\[(\d+)\]:\s+(-?\d+)", said, re.MULTILINE)
        if not found:
            return said
        assert [int(at) for at, _ in found] == list(range(address, address + count))
        return [int(value) % 65536 for _, value in found]

    def write(self, table: str, address: int, *values: int) -> str:
        return self._run(table, address, values=values)


@pytest.fixture(params=["tcp", "rtu"])
def poll(request: pytest.FixtureRequest, binaries: Path, mem: MemoryStore, tmp_path: Path) -> Iterator[Mbpoll]:
    assert binaries  # the counterparts are installed
    if request.param == "tcp":
        with ModbusServer(mem, FREE) as server:
            yield Mbpoll("-m", "tcp", "-p", str(port_of(server.endpoint)), "-a", "1", last="127.0.0.1")
        return
    with Cable(tmp_path) as cable:
        ours, theirs = (str(end.path) for end in cable.ends)
        with ModbusServer(mem, f"rtu://{ours}?baudrate=115200&parity=N&stopbits=1"):
            yield Mbpoll("-m", "rtu", "-b", "115200", "-P", "none", "-s", "1", "-a", "1", last=theirs)


@pytest.fixture
def mem() -> MemoryStore:
    return MemoryStore(130, input_registers=130, coils=200, discrete_inputs=200)


@pytest.mark.parametrize("table", ["holding", "input"])
def test_words_are_read(poll: Mbpoll, mem: MemoryStore, table: str) -> None:
    values = [(at * 1009) % 65536 for at in range(130)]
    for at, value in enumerate(values):
        mem.set_value(at, value, table=table)
    assert poll.read(table, 0, 125) == values[:125]
    assert poll.read(table, 129, 1) == values[129:]
    assert "Illegal data address" in str(poll.read(table, 129, 2))


@pytest.mark.parametrize("table", ["coil", "discrete"])
def test_bits_are_read(poll: Mbpoll, mem: MemoryStore, table: str) -> None:
    values = [at * 7 // 3 % 2 for at in range(200)]
    for at, value in enumerate(values):
        mem.set_value(at, value, table=table)
    assert poll.read(table, 3, 100) == values[3:103]


def test_cells_are_written(poll: Mbpoll, mem: MemoryStore) -> None:
    assert "Written 1 references" in poll.write("holding", 3, 65535)
    assert "Written 5 references" in poll.write("holding", 10, 1, 2, 3, 4, 5)
    assert "Written 1 references" in poll.write("coil", 7, 1)
    assert "Written 9 references" in poll.write("coil", 20, 1, 0, 1, 1, 0, 0, 1, 0, 1)
    assert mem[:] == [0, 0, 0, 65535, *[0] * 6, 1, 2, 3, 4, 5, *[0] * 115]
    coils = [int(mem.get_value(at, table="coil")) for at in range(30)]
    assert coils == [0] * 7 + [1] + [0] * 12 + [1, 0, 1, 1, 0, 0, 1, 0, 1] + [0]
    before = mem[:]
    assert "Illegal data address" in poll.write("holding", 129, 1, 2)
    assert mem[:] == before
