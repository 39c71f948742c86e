"""The table of the specifications, over every transport that needs no device of its own."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest

from msm import AsyncModbusServer, MemoryStore
from msm.memory.image import TableName
from msm.memory.store import image_of
from msm.wire.endpoint import Endpoint
from msm.wire.link import connect
from tests.conformance.vectors import BEFORE, COILS, DISCRETE, HOLDING, INPUT, OWN_UNIT, VECTORS, pack_bits, pack_words
from tests.support import PATIENCE, mbap, port_of

Ask = Callable[[int, bytes], Awaitable[bytes]]
TABLES: tuple[TableName, ...] = ("holding", "input", "coil", "discrete")


def pack(table: str, cells: list[int]) -> bytes:
    return pack_words(cells) if table in ("holding", "input") else pack_bits(cells)


def the_store() -> MemoryStore:
    store = MemoryStore(HOLDING, input_registers=INPUT, coils=COILS, discrete_inputs=DISCRETE)
    for table, cells in BEFORE.items():
        for address, value in enumerate(cells):
            store.set_value(address, value, table=table)
    return store


def contents(store: MemoryStore) -> dict[str, bytes]:
    return {table: bytes(image_of(store).read(table, 0, len(BEFORE[table]))) for table in TABLES}


# -- each transport, spoken without the code under test where that is possible


class Stream:
    """A TCP connection, and how its frames are made and taken apart."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    async def __aenter__(self) -> Stream:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port_of(self._endpoint))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def ask_mbap(self, unit: int, pdu: bytes) -> bytes:
        self._writer.write(mbap(pdu, 0x1234, unit))
        transaction, protocol, length, answered_by = struct.unpack(">HHHB", await self._reader.readexactly(7))
        assert (transaction, protocol, answered_by) == (0x1234, 0, unit)
        return await self._reader.readexactly(length - 1)

    async def ask_rtu(self, unit: int, pdu: bytes) -> bytes:
        self._writer.write(with_crc(bytes((unit,)) + pdu))
        head = await self._reader.readexactly(3)
        if head[1] & 0x80:
            size = 5
        elif head[1] in (1, 2, 3, 4, 23):
            size = 5 + head[2]
        else:
            size = 10 if head[1] == 22 else 8
        reply = head + await self._reader.readexactly(size - 3)
        assert reply == with_crc(reply[:-2])
        assert reply[0] == unit
        return reply[1:-2]

    async def ask_ascii(self, unit: int, pdu: bytes) -> bytes:
        body = bytes((unit,)) + pdu
        self._writer.write(b":" + (body + bytes((-sum(body) & 0xFF,))).hex().upper().encode() + b"\r\n")
        line = await self._reader.readuntil(b"\r\n")
        assert line[:1] == b":"
        assert line == line.upper()
        reply = bytes.fromhex(line[1:-2].decode())
        assert sum(reply) & 0xFF == 0
        assert reply[0] == unit
        return reply[1:-1]


def with_crc(body: bytes) -> bytes:
    """The CRC of serial line V1.02, section 6.2.2, bit by bit."""
    crc = 0xFFFF
    for byte in body:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return body + struct.pack("<H", crc)


async def ask_datagram(endpoint: str, unit: int, pdu: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port_of(endpoint)))
        await loop.sock_sendall(sock, mbap(pdu, 0x1234, unit))
        reply = await loop.sock_recv(sock, 1000)
    assert reply[:4] == b"\x12\x34\0\0"
    assert struct.unpack(">H", reply[4:6])[0] == len(reply) - 6
    assert reply[6] == unit
    return reply[7:]


async def run(store: MemoryStore, ask: Ask, *, only_sound: bool = False) -> None:
    """Every vector, from the same memory each time; all that goes wrong is told at once."""
    before, wrong = contents(store), []
    for vector in VECTORS:
        if only_sound and not vector.sound:
            continue
        async with asyncio.timeout(PATIENCE):
            reply = await ask(vector.unit, vector.request)
        if reply != vector.reply:
            wrong.append(f"{vector}: {vector.request.hex(' ')} -> {reply.hex(' ')}, not {vector.reply.hex(' ')}")
        expected = dict(before)
        for table in {table for table, _ in vector.changes}:
            cells = list(BEFORE[table])
            for (where, address), value in vector.changes.items():
                if where == table:
                    cells[address] = value
            expected[table] = pack(table, cells)
        if contents(store) != expected:
            wrong.append(f"{vector}: the memory is not what it should be")
        for (table, address), _ in vector.changes.items():
            store.set_value(address, BEFORE[table][address], table=table)
        assert contents(store) == before, vector
    assert not wrong, "\n".join(wrong)


def test_the_table_is_long_enough_and_each_of_its_vectors_is_told_apart() -> None:
    assert len(VECTORS) >= 150
    names = [str(vector) for vector in VECTORS]
    assert len(set(names)) == len(names)
    assert {vector.request[0] for vector in VECTORS} >= {1, 2, 3, 4, 5, 6, 15, 16, 22, 23}


@pytest.mark.parametrize("scheme", ["tcp", "rtu+tcp", "ascii+tcp"])
async def test_over_a_stream(scheme: str) -> None:
    store = the_store()
    server = AsyncModbusServer(store, f"{scheme}://127.0.0.1:0", unit=OWN_UNIT)
    async with server, Stream(server.endpoint) as stream:
        ask = {"tcp": stream.ask_mbap, "rtu+tcp": stream.ask_rtu, "ascii+tcp": stream.ask_ascii}[scheme]
        await run(store, ask, only_sound=scheme == "rtu+tcp")


async def test_over_datagrams() -> None:
    store = the_store()
    async with AsyncModbusServer(store, "udp://127.0.0.1:0", unit=OWN_UNIT) as server:
        await run(store, lambda unit, pdu: ask_datagram(server.endpoint, unit, pdu))


async def test_in_memory() -> None:
    store = the_store()
    async with AsyncModbusServer(store, "memory://vectors", unit=OWN_UNIT) as server:
        link = await connect(Endpoint.parse(server.endpoint), 1.0)
        replies: asyncio.Queue[bytes] = asyncio.Queue()
        link.handle(lambda _transaction, pdu: replies.put_nowait(pdu), lambda _cause: None)

        async def ask(unit: int, pdu: bytes) -> bytes:
            link.send(unit, pdu)
            return await replies.get()

        await run(store, ask)
        link.close()
