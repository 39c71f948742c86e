"""The tables of the specifications, over every transport."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from msm import AsyncModbusServer, Functions, MemoryStore
from msm.memory.image import TableName
from msm.memory.store import image_of
from msm.wire.endpoint import Endpoint
from msm.wire.link import connect
from tests.certificates import Certificates
from tests.conformance.other_vectors import OTHER_VECTORS, OtherVector, functions
from tests.conformance.vectors import (
    BEFORE,
    COILS,
    DISCRETE,
    HOLDING,
    INPUT,
    OWN_UNIT,
    VECTORS,
    Vector,
    pack_bits,
    pack_words,
)
from tests.support import PATIENCE, mbap, port_of
from tests.transports.conftest import TRANSPORTS
from tests.transports.lines import ENCODERS, Pty, ascii_frame

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

    def __init__(self, endpoint: str, tls: ssl.SSLContext | None = None) -> None:
        self._endpoint = endpoint
        self._tls = tls

    async def __aenter__(self) -> Stream:
        port = port_of(self._endpoint)
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port, ssl=self._tls)
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
        reply = b""
        while (missing := rtu_missing(reply)) > 0:
            reply += await self._reader.readexactly(missing)
        return rtu_body(unit, reply)

    async def ask_ascii(self, unit: int, pdu: bytes) -> bytes:
        self._writer.write(ascii_frame(pdu, unit))
        return ascii_body(unit, await self._reader.readuntil(b"\r\n"))


def rtu_missing(reply: bytes) -> int:
    """How many more bytes this reply needs at least; where its size stands, for each function."""
    if len(reply) < 3:
        return 3 - len(reply)
    function = reply[1]
    fixed = {5: 8, 6: 8, 7: 5, 8: 8, 11: 8, 15: 8, 16: 8, 22: 10}
    if function & 0x80:
        size = 5
    elif function in fixed:
        size = fixed[function]
    elif function == 24:
        size = 6 + (reply[2] << 8 | reply[3]) if len(reply) >= 4 else 4
    elif function == 43:
        at = 8
        for _ in range(reply[7] if len(reply) >= 8 else 0):
            at += 2 + (reply[at + 1] if len(reply) >= at + 2 else 0)
        size = at + 2 if len(reply) >= at else at
    else:
        size = 5 + reply[2]
    return size - len(reply)


def rtu_body(unit: int, reply: bytes) -> bytes:
    assert reply == with_crc(reply[:-2])
    assert reply[0] == unit
    return reply[1:-2]


def ascii_body(unit: int, line: bytes) -> bytes:
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


class LineEnd:
    """The other end of a serial line."""

    def __init__(self, port: Pty) -> None:
        self._port = port
        self._received = b""

    async def _more(self) -> None:
        self._received += await self._port.hears(1)

    async def ask_rtu(self, unit: int, pdu: bytes) -> bytes:
        self._port.send(with_crc(bytes((unit,)) + pdu))
        while rtu_missing(self._received) > 0:
            await self._more()
        reply, self._received = self._received, b""
        return rtu_body(unit, reply)

    async def ask_ascii(self, unit: int, pdu: bytes) -> bytes:
        self._port.send(ascii_frame(pdu, unit))
        while not self._received.endswith(b"\r\n"):
            await self._more()
        reply, self._received = self._received, b""
        return ascii_body(unit, reply)


async def run(store: MemoryStore, ask: Ask, vectors: Iterable[Vector] = VECTORS) -> None:
    """Every vector, from the same memory each time; all that goes wrong is told at once."""
    before, wrong = contents(store), []
    for vector in vectors:
        try:
            async with asyncio.timeout(PATIENCE):
                reply = await ask(vector.unit, vector.request)
        except TimeoutError:
            raise AssertionError(f"{vector}: {vector.request.hex(' ')} was not answered") from None
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


async def run_others(ask: Ask, files: Mapping[int, Sequence[int]], vectors: Iterable[OtherVector]) -> None:
    """Every vector of the functions that move no memory; all that goes wrong is told at once."""
    wrong = []
    for vector in vectors:
        try:
            async with asyncio.timeout(PATIENCE):
                reply = await ask(OWN_UNIT, vector.request)
        except TimeoutError:
            raise AssertionError(f"{vector}: {vector.request.hex(' ')} was not answered") from None
        if reply != vector.reply:
            wrong.append(f"{vector}: {vector.request.hex(' ')} -> {reply.hex(' ')}, not {vector.reply.hex(' ')}")
        if vector.file is not None:
            number, record, words = vector.file
            there = tuple(files[number][record : record + len(words)])
            if there != words:
                wrong.append(f"{vector}: file {number} holds {there}, not {words}")
    assert not wrong, "\n".join(wrong)


@dataclass
class Spoken:
    """A server on some transport, and how it is asked without the code under test."""

    ask: Ask
    store: MemoryStore
    functions: Functions
    line: Pty | None = None
    sized: bool = False
    """Has each request to have the size that its function says? Else RTU cannot tell where it ends."""


@asynccontextmanager
async def spoken(
    scheme: str, folder: Path, certificates: Certificates, functions: Functions | None = None
) -> AsyncIterator[Spoken]:
    """A server with the memory of the vectors."""
    functions = functions or Functions()
    store = the_store()
    async with AsyncExitStack() as stack:
        line = stack.enter_context(Pty(folder / "port")) if scheme in ("rtu", "ascii") else None
        where = {"memory": "memory://vectors"}.get(scheme, f"{scheme}://127.0.0.1:0")
        server = AsyncModbusServer(
            store,
            f"{scheme}://{line.path}?baudrate=115200" if line else where,
            unit=OWN_UNIT,
            functions=functions,
            tls=certificates.server if scheme == "tls" else None,
        )
        await stack.enter_async_context(server)
        if line:
            end = LineEnd(line)
            ask: Ask = {"rtu": end.ask_rtu, "ascii": end.ask_ascii}[scheme]
        elif scheme == "udp":
            ask = functools.partial(ask_datagram, server.endpoint)
        elif scheme == "memory":
            ask = await ask_memory(server.endpoint, stack)
        else:
            tls = certificates.client if scheme == "tls" else None
            stream = await stack.enter_async_context(Stream(server.endpoint, tls))
            ask = {"rtu+tcp": stream.ask_rtu, "ascii+tcp": stream.ask_ascii}.get(scheme, stream.ask_mbap)
        yield Spoken(ask, store, functions, line, sized=scheme in ("rtu", "rtu+tcp"))


async def ask_memory(endpoint: str, stack: AsyncExitStack) -> Ask:
    link = await connect(Endpoint.parse(endpoint), 1.0)
    stack.callback(link.close)
    replies: asyncio.Queue[bytes] = asyncio.Queue()
    link.handle(lambda _transaction, pdu: replies.put_nowait(pdu), lambda _cause: None)

    async def ask(unit: int, pdu: bytes) -> bytes:
        link.send(unit, pdu)
        return await replies.get()

    return ask


def test_the_table_is_long_enough_and_each_of_its_vectors_is_told_apart() -> None:
    assert len(VECTORS) >= 150
    names = [str(vector) for vector in VECTORS]
    assert len(set(names)) == len(names)
    assert {vector.request[0] for vector in VECTORS} >= {1, 2, 3, 4, 5, 6, 15, 16, 22, 23}


@pytest.mark.parametrize("scheme", TRANSPORTS)
async def test_memory(scheme: str, tmp_path: Path, certificates: Certificates) -> None:
    async with spoken(scheme, tmp_path, certificates) as server:
        vectors = [vector for vector in VECTORS if vector.sound or not server.sized]
        if scheme in ("rtu", "ascii"):  # others answer for their units there, see below
            vectors = [vector for vector in vectors if vector.unit == OWN_UNIT]
        assert len(vectors) >= 150
        await run(server.store, server.ask, vectors)


@pytest.mark.parametrize("scheme", ["rtu", "ascii"])
async def test_units_on_a_line(scheme: str, tmp_path: Path, certificates: Certificates) -> None:
    """SL 2.2: a broadcast is executed and not answered, and others answer for their units."""
    async with spoken(scheme, tmp_path, certificates) as server:
        before = contents(server.store)
        encode = ENCODERS[scheme]
        for unit in (0, *range(1, 17), 18, 247, 255):
            foreign = encode(bytes.fromhex("06 0002 0007"), unit)
            assert server.line is not None
            server.line.send(foreign)
            # What is answered next is our own question: so the one before it was not.
            assert await server.ask(OWN_UNIT, bytes.fromhex("03 0000 0001")) == bytes.fromhex("03 02 1000")
            written = contents(server.store) != before
            assert written is (unit == 0)
            server.store.set_value(2, BEFORE["holding"][2])


@pytest.mark.parametrize("scheme", TRANSPORTS)
async def test_other_functions(scheme: str, tmp_path: Path, certificates: Certificates) -> None:
    async with spoken(scheme, tmp_path, certificates, functions()) as server:
        vectors = [vector for vector in OTHER_VECTORS if vector.sized or not server.sized]
        assert len(vectors) >= 45
        await run_others(server.ask, server.functions.files, vectors)
