"""A line between any two ends, with faults: seeded, so that they happen in the same way each time."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from msm.testing.faults import QUIET, Faults
from msm.wire.channel import Channel
from msm.wire.endpoint import Endpoint
from msm.wire.framing import Frame, MbapFramer, frame
from msm.wire.link import open_channel
from msm.wire.listening import Listener, listen
from msm.wire.pdu import SERVER_DEVICE_BUSY as BUSY
from msm.wire.pdu import refusal
from msm.worker import Worker

log = logging.getLogger("msm.testing")

HELD = 0.005  # seconds that an overtaken reply waits for the one that overtakes it
CONNECT = 5.0  # seconds
ONE_AT_A_TIME = 1.0  # seconds that a server without transactions has for a request, before the next one goes out


class FaultyLink:
    """Listens at an endpoint, passes on what comes to another one, and does to it what a bad line does.

    :param to: the endpoint of the server, over whatever transport.
    :param at: where clients find the link instead; another transport will do as well.
    :param faults: how often what happens; may be assigned anew at any time.
    :param seed: the same seed and the same messages give the same faults.
    :param on_request: called with the PDU of each request that is passed on.
    :param keywords: `tls` and `rs485`, for the server's end.

    Requests keep their order, as they do on any connection; replies may overtake one another, as they do where a
    gateway asks several devices. `happened` counts the faults. It runs in the loop of ``async with``, or in a thread
    of its own by ``with``.
    """

    def __init__(
        self,
        to: str,
        at: str = "memory://faulty",
        faults: Faults = QUIET,
        *,
        seed: int = 0,
        on_request: Callable[[bytes], object] | None = None,
        tls: Any = None,
        rs485: Any = None,
    ) -> None:
        self.faults = faults
        self.happened: Counter[str] = Counter()
        """How often each fault has happened."""
        self._to = Endpoint.parse(to)
        self._at = Endpoint.parse(at)
        self._seed = seed
        self._number = 0
        self._on_request = on_request
        self._security = {"tls": tls, "rs485": rs485}
        self._listener: Listener | None = None
        self._lines: dict[_Line, None] = {}  # in their order: what happens to them happens in the same order each time
        self._worker: Worker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def endpoint(self) -> str:
        """Where clients find it: once it runs, with the port that was really bound."""
        return str(self._at)

    async def start(self) -> None:
        """Listen.

        :raises BindError: it cannot listen there.
        """
        self._loop = asyncio.get_running_loop()
        self._listener = await listen(self._at, lambda: _Line(self).near)
        self._at = self._listener.endpoint

    async def stop(self) -> None:
        """Stop listening, and break all connections."""
        if self._listener is not None:
            self._listener.close()
        self._drop_now()
        while self._lines:
            await next(iter(self._lines)).gone.wait()

    def drop_all(self) -> None:
        """Break all connections; from whatever thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._drop_now)

    def _drop_now(self) -> None:
        for line in list(self._lines):
            line.drop()

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

    def __enter__(self) -> Self:
        self._worker = Worker(f"faulty link to {self._to}")
        try:
            self._worker.call(self.start)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._worker is not None
        self._worker.end(self.stop)
        self._worker.join(CONNECT)

    # -- for its lines

    def joined(self, line: _Line) -> tuple[random.Random, random.Random]:
        """A client has connected; gives the chance for its requests and that for its replies."""
        self._lines[line] = None
        self._number += 1
        # Of its own for each: so what happens to one does not depend on how fast the others are.
        return tuple(random.Random(f"{self._seed} {self._number} {way}") for way in "><")  # type: ignore[return-value]

    def left(self, line: _Line) -> None:
        """It is gone."""
        self._lines.pop(line, None)

    def passed_on(self, request: bytes) -> None:
        """A request goes to the server."""
        if self._on_request is not None:
            try:
                self._on_request(request)
            except Exception:
                log.exception("on_request has raised; the request is passed on")

    @property
    def translates(self) -> bool:
        """Has the client transactions, and the server none? Then one request is out at a time, as in a gateway."""
        return self._at.has_transactions and not self._to.has_transactions

    @property
    def splits(self) -> bool:
        """Can a message arrive in pieces? A datagram is whole or nothing."""
        return "udp" not in (self._at.scheme, self._to.scheme)

    async def reach(self, end: _End) -> None:
        """Connect to the server."""
        await open_channel(self._to, end, CONNECT, **self._security)


class FaultProxy(FaultyLink):
    """A `FaultyLink` that listens at a TCP port, for programs of other processes."""

    def __init__(self, to: str, at: str = "tcp://127.0.0.1:0", faults: Faults = QUIET, **keywords: Any) -> None:
        super().__init__(to, at, faults, **keywords)


class _Line:
    """One client, and its connection to the server."""

    def __init__(self, link: FaultyLink) -> None:
        self.link = link
        self.gone = asyncio.Event()
        self.near = _End(self, requests=True)
        self.far = _End(self, requests=False)
        self._tasks: list[asyncio.Task[None]] = []
        self._asked: int | None = None
        """The transaction that a server is to answer which has none itself."""
        self._answered = asyncio.Event()
        self._requests = self._replies = random.Random()

    def open(self) -> None:
        """The client is there."""
        self._requests, self._replies = self.link.joined(self)
        self._tasks = [
            asyncio.create_task(self._carry_requests(), name="msm faulty link, requests"),
            asyncio.create_task(self._carry_replies(), name="msm faulty link, replies"),
        ]

    async def _carry_requests(self) -> None:
        link = self.link
        try:
            await link.reach(self.far)
        except OSError:
            self.drop()
            return
        while (message := await self.near.queue.get()) is not None:
            faults, chance = link.faults, self._requests
            if self._breaks(message, self.far, chance):
                return
            if self._happens("lost request", faults.lose_request, chance):
                continue
            if self._happens("busy", faults.busy, chance):
                await self._pass_on(message._replace(pdu=refusal(message.pdu[0], BUSY)), self.near, chance)
                continue
            await self._pause(chance)
            link.passed_on(message.pdu)
            self._asked = message.transaction
            self._answered.clear()
            await self._pass_on(message, self.far, chance)
            if not link.translates and self._happens("doubled request", faults.double_request, chance):
                await self._pass_on(message, self.far, chance)
            if link.translates:
                with suppress(TimeoutError):
                    async with asyncio.timeout(ONE_AT_A_TIME):
                        await self._answered.wait()
                self._asked = None
        self.far.close()

    async def _carry_replies(self) -> None:
        link = self.link
        held: Frame | None = None
        while (message := await self._next_reply(held)) is not None:
            faults, chance = link.faults, self._replies
            if message is held:
                held = None
                await self._pass_on(message, self.near, chance)
                continue
            if link.translates:
                if self._asked is None:
                    continue  # late, or doubled: nobody knows any more what it answers
                message = message._replace(transaction=self._asked)
                self._asked = None
                self._answered.set()
            if self._breaks(message, self.near, chance):
                return
            if self._happens("lost reply", faults.lose_reply, chance):
                continue
            if self._happens("late", faults.late, chance):
                await asyncio.sleep(faults.late_by)
            await self._pause(chance)
            if self._happens("wrong reply", faults.wrong_reply, chance):
                message = message._replace(pdu=bytes((message.pdu[0] ^ 0x40,)) + message.pdu[1:])
            if held is None and self._happens("overtaken", faults.overtake, chance):
                held = message  # it is let through behind the next one, or when none comes
                continue
            await self._pass_on(message, self.near, chance)
            if held is not None:
                await self._pass_on(held, self.near, chance)
                held = None
            if self._happens("doubled reply", faults.double_reply, chance):
                await self._pass_on(message, self.near, chance)
        self.near.close()

    def _happens(self, what: str, probability: float, chance: random.Random) -> bool:
        """Does it happen this time?"""
        if chance.random() >= probability:
            return False
        self.link.happened[what] += 1
        return True

    async def _next_reply(self, held: Frame | None) -> Frame | None:
        if held is None:
            return await self.far.queue.get()
        try:
            async with asyncio.timeout(HELD):
                return await self.far.queue.get()
        except TimeoutError:
            return held

    def _breaks(self, message: Frame, to: _End, chance: random.Random) -> bool:
        """Perhaps the connection is broken here, or within the message."""
        if self._happens("dropped", self.link.faults.drop, chance):
            self.drop()
            return True
        if self._happens("cut", self.link.faults.cut, chance):
            data = to.encode(message)
            to.send(data[: chance.randrange(1, len(data))])
            self.near.close()
            self.far.close()
            return True
        return False

    async def _pause(self, chance: random.Random) -> None:
        if self._happens("delayed", self.link.faults.delay, chance):
            await asyncio.sleep(chance.uniform(0.0, self.link.faults.delay_up_to))

    async def _pass_on(self, message: Frame, to: _End, chance: random.Random) -> None:
        data = to.encode(message)
        if not self.link.splits or not self._happens("split", self.link.faults.split, chance):
            to.send(data)
            return
        for at in range(len(data)):
            to.send(data[at : at + 1])
            await asyncio.sleep(0)

    def drop(self) -> None:
        """Break it at once, both ways."""
        self.near.abort()
        self.far.abort()

    def ended(self) -> None:
        """One of its ends is closed: the other one follows, when what is under way has been passed on."""
        self.near.queue.put_nowait(None)
        self.far.queue.put_nowait(None)
        if self.near.closed and (self.far.closed or not self.far.was_open):
            for task in self._tasks:
                if task is not asyncio.current_task():
                    task.cancel()
            self.link.left(self)
            self.gone.set()


class _End:
    """Owns one of the two channels of a line."""

    def __init__(self, line: _Line, *, requests: bool) -> None:
        self.queue: asyncio.Queue[Frame | None] = asyncio.Queue()
        self.closed = False
        self.was_open = False
        self._line = line
        self._requests = requests
        self._channel: Channel | None = None

    def encode(self, message: Frame) -> bytes:
        """A message as it travels at this end."""
        if self._channel is None:
            return b"\0"
        framer = self._channel.framer
        encode = frame if isinstance(framer, MbapFramer) else framer.encode
        return encode(*message)

    def send(self, data: bytes) -> None:
        """Send, if there is still anybody."""
        if self._channel is not None and not self._channel.closing:
            self._channel.send(data)

    def close(self) -> None:
        """Close when all is sent."""
        if self._channel is not None:
            self._channel.close()

    def abort(self) -> None:
        """Close at once."""
        if self._channel is not None:
            self._channel.abort()

    # -- the channel's side

    def made(self, channel: Channel) -> None:
        self._channel = channel
        self.was_open = True
        if self._requests:
            self._line.open()

    def received(self, frames: list[Frame]) -> None:
        for each in frames:
            self.queue.put_nowait(each)

    def begun(self) -> None:
        """The rest of it will come."""

    def ended(self) -> bool:
        self.queue.put_nowait(None)
        return True  # what is under way is still passed on

    def broken(self, reason: str) -> None:
        self._line.drop()

    def lost(self, cause: Exception | None) -> None:
        self.closed = True
        self._line.ended()

    def full(self) -> None:
        """Nobody is slowed down: what is not taken waits here."""

    def drained(self) -> None:
        """It is taken again."""
