"""Clients on other people's libraries, our server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from msm import MemoryStore, MemoryVariable, ModbusServer
from tests.counterparts.programs import Client, Library
from tests.support import FREE


@pytest.fixture(scope="module")
def mem() -> MemoryStore:
    mem = MemoryStore(130, input_registers=130, coils=2000, discrete_inputs=2000)
    mem.CURRENT_VALUE = MemoryVariable.uint32(address=1)
    mem.VALVE = MemoryVariable.coil(3)
    return mem


@pytest.fixture(scope="module")
def client(library: Library, binaries: Path, mem: MemoryStore) -> Iterator[Client]:
    with ModbusServer(mem, FREE) as server, Client(library, binaries, server.endpoint) as client:
        client.ask("read", "holding", 0, 1)  # the server, too, knows of the connection now
        yield client


@pytest.mark.parametrize("table", ["holding", "input"])
def test_words_are_read(client: Client, mem: MemoryStore, table: str) -> None:
    values = [(at * 1009) % 65536 for at in range(130)]
    for at, value in enumerate(values):
        mem.set_value(at, value, table=table)
    assert client.ask("read", table, 0, 125) == values[:125]
    assert client.ask("read", table, 129, 1) == values[129:]


@pytest.mark.parametrize("table", ["coil", "discrete"])
def test_bits_are_read(client: Client, mem: MemoryStore, table: str) -> None:
    values = [at * 7 // 3 % 2 for at in range(2000)]
    for at, value in enumerate(values):
        mem.set_value(at, value, table=table)
    assert client.ask("read", table, 0, 2000) == values
    for first, count in ((0, 1), (3, 8), (1999, 1), (5, 17)):
        assert client.ask("read", table, first, count) == values[first : first + count]


def test_words_are_written(client: Client, library: Library, mem: MemoryStore) -> None:
    mem[:] = [7] * 130
    assert client.ask("single", "holding", 3, 65535) == "ok"
    most = library.client_words
    if most < 123:
        assert client.ask("write", "holding", 7, *range(1000, 1123)) == "exception 3"
    values = range(1000, 1000 + most)
    assert client.ask("write", "holding", 7, *values) == "ok"
    assert mem[:] == [7, 7, 7, 65535, 7, 7, 7, *values, *[7] * (123 - most)]
    assert client.ask("write", "holding", 1, 34463, 1) == "ok"
    assert mem.CURRENT_VALUE == 99999


def test_coils_are_written(client: Client, mem: MemoryStore) -> None:
    for at in range(2000):
        mem.set_value(at, 0, table="coil")
    assert client.ask("single", "coil", 3, 1) == "ok"
    assert mem.VALVE is True
    values = [at * 5 // 2 % 2 for at in range(1968)]
    assert client.ask("write", "coil", 11, *values) == "ok"
    assert [mem.get_value(at, table="coil") for at in range(2000)] == [0, 0, 0, 1] + [0] * 7 + values + [0] * 21
    assert client.ask("single", "coil", 3, 0) == "ok"
    assert mem.VALVE is False


def test_the_other_functions(client: Client, library: Library, mem: MemoryStore) -> None:
    mem[:] = [0x00FF] * 130
    if "mask" in library.client_lacks:
        assert client.ask("mask", 3, 0xFFF0, 5) == "missing"
    else:
        assert client.ask("mask", 3, 0xFFF0, 5) == "ok"
        assert mem[2:5] == [0x00FF, 0x00F5, 0x00FF]
    if "readwrite" in library.client_lacks:
        assert client.ask("readwrite", 2, 3, 4, 77) == "missing"
    else:
        assert client.ask("readwrite", 2, 4, 4, 77) == [0x00FF, mem[3], 77, 0x00FF]
        assert mem[4] == 77


def test_refusals_are_understood(client: Client, mem: MemoryStore) -> None:
    assert client.ask("read", "holding", 130, 1) == "exception 2"
    assert client.ask("read", "coil", 1999, 2) == "exception 2"
    before = mem[:]
    assert client.ask("write", "holding", 129, 1, 2) == "exception 2"
    assert mem[:] == before
    assert client.ask("read", "holding", 0, 1, unit=9) == "exception 11"
    assert client.ask("read", "holding", 0, 1) == [before[0]]


def test_changes_of_the_application_are_seen(client: Client, mem: MemoryStore) -> None:
    for value in (1, 99999, 2**32 - 1):
        mem.CURRENT_VALUE = value
        assert client.ask("read", "holding", 1, 2) == [value & 0xFFFF, value >> 16]
