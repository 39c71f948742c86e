"""What several test modules need: waiting with a deadline, raw Modbus frames, a device that plays tricks."""

from __future__ import annotations

import asyncio
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

FREE = "tcp://127.0.0.1:0"  # any free port
PATIENCE = 10.0  # seconds; a condition that holds sooner is noticed sooner


class Deadline:
    """A time that runs out."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._end

    def wait_a_little(self) -> bool:
        """Let others run; False when the time is over."""
        if self.over:
            return False
        time.sleep(0.005)
        return True


def wait_until(condition: Callable[[], object], timeout: float = PATIENCE, what: str = "the condition") -> None:
    """Wait until a condition holds, in a thread."""
    deadline = Deadline(timeout)
    while not condition():
        if not deadline.wait_a_little():
            raise AssertionError(f"{what} did not come true within {timeout} s")


async def until(condition: Callable[[], object], timeout: float = PATIENCE, what: str = "the condition") -> None:
    """Wait until a condition holds, in an event loop."""
    deadline = Deadline(timeout)
    while not condition():
        if deadline.over:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        await asyncio.sleep(0.002)


def port_of(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


@contextmanager
def taken_port() -> Iterator[int]:
    """A port that somebody else listens at."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def free_port() -> int:
    """A port where nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


# -- raw frames, built and taken apart here without any of the code under test


def mbap(pdu: bytes, transaction: int = 1, unit: int = 1, protocol: int = 0, length: int | None = None) -> bytes:
    return struct.pack(">HHHB", transaction, protocol, len(pdu) + 1 if length is None else length, unit) + pdu


class RawClient:
    """A socket that speaks bytes to a server."""

    def __init__(self, endpoint: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port_of(endpoint)), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transaction = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            assert more, f"closed after {data.hex(' ')}"
            data += more
        return data

    def frame(self) -> tuple[int, int, bytes]:
        """The next reply: transaction, unit, PDU."""
        transaction, protocol, length, unit = struct.unpack(">HHHB", self.read(7))
        assert protocol == 0
        return transaction, unit, self.read(length - 1)

    def ask(self, pdu: bytes, unit: int = 1) -> bytes:
        """Send a request and return the PDU of its reply."""
        self._transaction += 1
        self.send(mbap(pdu, self._transaction, unit))
        transaction, answered_by, reply = self.frame()
        assert (transaction, answered_by) == (self._transaction, unit)
        return reply

    def closed(self) -> bool:
        """Has the server closed, with nothing more to say?"""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


# -- a device that answers as told

Script = Callable[[int, int, bytes], "bytes | None"]

SILENCE = b""  # what a script returns to give no answer


class FakeDevice:
    """A Modbus device in a dozen lines, on a real socket in the test's own loop.

    `script` may answer a request itself: it gets transaction, unit and PDU, and returns whole bytes to
    send, `SILENCE`, or None for what a sound device would do.
    """

    def __init__(self, words: list[int], *, lacks: tuple[int, ...] = (), unit: int = 1) -> None:
        self.words = words
        self.lacks = lacks
        self.unit = unit
        self.script: Script | None = None
        self.requests: list[bytes] = []
        self.transactions: list[int] = []
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._transports: set[asyncio.Transport] = set()

    @property
    def endpoint(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def writes(self) -> list[bytes]:
        """All requests that were not reads."""
        return [request for request in self.requests if request[0] not in (3, 4)]

    @property
    def reads(self) -> list[bytes]:
        return [request for request in self.requests if request[0] in (3, 4)]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Visitor(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.hang_up()
        await until(lambda: not self._transports)

    def hang_up(self) -> None:
        """Break all connections."""
        for transport in list(self._transports):
            transport.abort()

    def send(self, data: bytes) -> None:
        """Say something unasked."""
        for transport in self._transports:
            transport.write(data)

    def joined(self, transport: asyncio.Transport) -> None:
        self.connections += 1
        self._transports.add(transport)

    def left(self, transport: asyncio.Transport) -> None:
        self._transports.discard(transport)

    def on_request(self, transport: asyncio.Transport, transaction: int, unit: int, pdu: bytes) -> None:
        self.requests.append(pdu)
        self.transactions.append(transaction)
        answer = self.script(transaction, unit, pdu) if self.script is not None else None
        if answer is None:
            answer = mbap(self.answer(pdu), transaction, unit) if unit == self.unit else SILENCE
        if answer:
            transport.write(answer)

    def answer(self, pdu: bytes) -> bytes:  # noqa: PLR0911 - one for each function
        """What a sound device answers."""
        function = pdu[0]
        if function in self.lacks:
            return bytes([function | 0x80, 1])
        address = struct.unpack_from(">H", pdu, 1)[0]
        words = self.words
        count = struct.unpack_from(">H", pdu, 3)[0] if function in (3, 16) else 1
        if address + count > len(words):
            return bytes([function | 0x80, 2])
        if function == 3:
            return struct.pack(f">BB{count}H", 3, 2 * count, *words[address : address + count])
        if function == 6:
            words[address] = struct.unpack_from(">H", pdu, 3)[0]
            return pdu
        if function == 16:
            words[address : address + count] = struct.unpack_from(f">{count}H", pdu, 6)
            return pdu[:5]
        if function == 22:
            keep, put = struct.unpack_from(">HH", pdu, 3)
            words[address] = words[address] & keep | put & ~keep & 0xFFFF
            return pdu
        return bytes([function | 0x80, 1])


class _Visitor(asyncio.Protocol):
    def __init__(self, device: FakeDevice) -> None:
        self._device = device
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._device.joined(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        assert self._transport is not None
        self._device.left(self._transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= 7:
            transaction, _, length, unit = struct.unpack_from(">HHHB", self._data)
            if len(self._data) < 6 + length:
                break
            pdu, self._data = self._data[7 : 6 + length], self._data[6 + length :]
            assert self._transport is not None
            self._device.on_request(self._transport, transaction, unit, pdu)


class Wire:
    """A transport that keeps what is sent."""

    def __init__(self) -> None:
        self.sent = b""
        self.writes = 0
        self.closed = False

    def write(self, data: bytes) -> None:
        self.sent += data
        self.writes += 1

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, _name: str) -> None:
        return None

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def set_up(script: Path, seconds: float) -> str:
    """Run a script that installs what tests need; returns what was wrong, if anything."""
    try:
        done = subprocess.run(
            [str(script)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stdout.strip() or f"it ended with {done.returncode}"
