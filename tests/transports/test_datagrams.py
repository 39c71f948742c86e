"""What only UDP has: correspondents, and replies that are sent after the server has stopped to listen."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from msm import AsyncModbusServer, MemoryStore, RemoteWrite
from msm.wire.datagrams import CORRESPONDENTS
from tests.support import PATIENCE, mbap, port_of, until

READ = struct.pack(">BHH", 3, 0, 1)
WRITE = struct.pack(">BHH", 6, 0, 7)


@contextmanager
def correspondent(endpoint: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", port_of(endpoint)))
        yield sock


async def receive(sock: socket.socket) -> bytes:
    async with asyncio.timeout(PATIENCE):
        return await asyncio.get_running_loop().sock_recv(sock, 1000)


async def test_more_correspondents_than_are_remembered() -> None:
    """Each is answered; the one that was silent longest is forgotten, which it does not notice."""
    async with AsyncModbusServer(
        MemoryStore(1), "udp://127.0.0.1:0", max_connections_per_address=1000, max_connections=1000
    ) as server:
        with ExitStack() as stack:
            socks = [stack.enter_context(correspondent(server.endpoint)) for _ in range(CORRESPONDENTS + 5)]
            for number, sock in enumerate([*socks, socks[0]]):
                sock.send(mbap(READ, number))
                assert await receive(sock) == mbap(b"\x03\x02\0\0", number)
                assert len(server._peers) <= CORRESPONDENTS


async def test_several_requests_in_a_datagram_and_what_is_none() -> None:
    async with AsyncModbusServer(MemoryStore(1), "udp://127.0.0.1:0") as server:
        with correspondent(server.endpoint) as sock:
            for nothing in (b"", b"\0", b"GET / HTTP/1.1\r\n", mbap(READ)[:-1], b"\xff" * 1400):
                sock.send(nothing)
            sock.send(mbap(READ, 1) + mbap(READ, 2))
            received = b""
            while len(received) < 22:
                received += await receive(sock)
            assert received == mbap(b"\x03\x02\0\0", 1) + mbap(b"\x03\x02\0\0", 2)


async def test_what_is_being_answered_when_the_server_stops_is_still_answered() -> None:
    asked = asyncio.Event()
    go_on = asyncio.Event()

    async def hold(_write: RemoteWrite) -> None:
        asked.set()
        await go_on.wait()

    server = AsyncModbusServer(MemoryStore(1), "udp://127.0.0.1:0", before_write=hold, linger=PATIENCE)
    await server.start()
    with correspondent(server.endpoint) as sock:
        sock.send(mbap(WRITE))
        await asked.wait()
        stopping = asyncio.create_task(server.stop())
        await until(lambda: server._stopped)
        go_on.set()
        assert await receive(sock) == mbap(WRITE)
        await stopping
