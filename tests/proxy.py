"""A TCP proxy between a client and a server that does to their frames what a bad line does. Seeded: each time the same.

Requests keep their order, as they do on any TCP connection; replies may overtake one another, as they do where a
gateway asks several devices. What is sent on is looked at by `on_request`.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.support import until


@dataclass(frozen=True)
class Faults:
    """How often each thing happens to a frame, as a probability; and how long delays take, in seconds."""

    lose_request: float = 0.0
    lose_reply: float = 0.0
    double_request: float = 0.0
    double_reply: float = 0.0
    overtake: float = 0.0
    delay: float = 0.0
    delay_up_to: float = 0.0
    late: float = 0.0
    late_by: float = 0.0
    split: float = 0.0
    drop: float = 0.0
    cut: float = 0.0


QUIET = Faults()


class Proxy:
    """Listens in the running loop, and passes on to a port of this machine."""

    def __init__(self, port: int, seed: int, on_request: Callable[[bytes], None] | None = None) -> None:
        self.faults = QUIET
        self.happened: Counter[str] = Counter()
        self.port = 0
        self._to = port
        self._random = random.Random(seed)
        self._on_request = on_request
        self._server: asyncio.Server | None = None
        self._lines: set[_Line] = set()

    @property
    def endpoint(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def happens(self, what: str, probability: float) -> bool:
        if self._random.random() >= probability:
            return False
        self.happened[what] += 1
        return True

    def seconds(self, most: float) -> float:
        return self._random.uniform(0.0, most)

    def cut_point(self, length: int) -> int:
        return self._random.randrange(1, length)

    def saw_request(self, frame: bytes) -> None:
        if self._on_request is not None:
            self._on_request(frame[7:])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.drop_all()
        await until(lambda: not self._lines)

    def drop_all(self) -> None:
        for line in list(self._lines):
            line.drop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        line = _Line(self, writer, back)
        self._lines.add(line)
        try:
            await asyncio.gather(line.requests(reader), line.replies(there))
        finally:
            line.drop()
            self._lines.discard(line)


class _Line:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._held: bytes | None = None

    def drop(self) -> None:
        self._client.transport.abort()
        self._server.transport.abort()

    async def requests(self, reader: asyncio.StreamReader) -> None:
        proxy = self._proxy
        while frame := await self._next(reader):
            faults = proxy.faults
            if await self._breaks(frame, self._server):
                return
            if proxy.happens("lost request", faults.lose_request):
                continue
            await self._pause()
            proxy.saw_request(frame)
            await self._pass_on(frame, self._server)
            if proxy.happens("doubled request", faults.double_request):
                await self._pass_on(frame, self._server)
        self.drop()

    async def replies(self, reader: asyncio.StreamReader) -> None:
        proxy = self._proxy
        while frame := await self._next(reader):
            faults = proxy.faults
            if await self._breaks(frame, self._client):
                return
            if proxy.happens("lost reply", faults.lose_reply):
                continue
            if proxy.happens("late", faults.late):
                await asyncio.sleep(faults.late_by)
            await self._pause()
            if self._held is None and proxy.happens("overtaken", faults.overtake):
                # It is let through behind the next one, or when none comes.
                self._held = frame
                asyncio.get_running_loop().call_later(0.005, self._let_through)
                continue
            await self._pass_on(frame, self._client)
            self._let_through()
            if proxy.happens("doubled reply", faults.double_reply):
                await self._pass_on(frame, self._client)
        self.drop()

    def _let_through(self) -> None:
        held, self._held = self._held, None
        if held is not None and not self._client.is_closing():
            self._client.write(held)

    async def _next(self, reader: asyncio.StreamReader) -> bytes:
        """The next whole frame; empty when the line is down."""
        try:
            head = await reader.readexactly(6)
            return head + await reader.readexactly(struct.unpack(">H", head[4:])[0])
        except (asyncio.IncompleteReadError, OSError):
            return b""

    async def _breaks(self, frame: bytes, to: asyncio.StreamWriter) -> bool:
        """Perhaps the connection is broken here, or within the frame."""
        proxy = self._proxy
        if proxy.happens("dropped", proxy.faults.drop):
            self.drop()
            return True
        if proxy.happens("cut", proxy.faults.cut):
            to.write(frame[: proxy.cut_point(len(frame))])
            self._client.close()
            self._server.close()
            return True
        return False

    async def _pause(self) -> None:
        if self._proxy.happens("delayed", self._proxy.faults.delay):
            await asyncio.sleep(self._proxy.seconds(self._proxy.faults.delay_up_to))

    async def _pass_on(self, frame: bytes, to: asyncio.StreamWriter) -> None:
        if to.is_closing():
            return
        if self._proxy.happens("split", self._proxy.faults.split):
            for number in range(len(frame)):
                if to.is_closing():
                    return
                to.write(frame[number : number + 1])
                await asyncio.sleep(0)
        else:
            to.write(frame)
