"""A line between any two ends, with faults: seeded, so that they happen in the same way each time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from msm.sync import Worker
from msm.testing.faults import QUIET, Faults
from msm.wire.channel import Channel
from msm.wire.endpoint import Endpoint
from msm.wire.framing import Frame, MbapFramer, frame
from msm.wire.link import open_channel
from msm.wire.listening import Listener, listen

HELD = 0.005  # seconds that an overtaken reply waits for the one that overtakes it
CONNECT = 5.0  # seconds


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
        self._random = random.Random(seed)
        self._on_request = on_request
        self._security = {"tls": tls, "rs485": rs485}
        self._listener: Listener | None = None
        self._lines: set[_Line] = set()
        self._worker: Worker | None = None

    @property
    def endpoint(self) -> str:
        """Where clients find it: once it runs, with the port that was really bound."""
        return str(self._at)

    async def start(self) -> None:
        """Listen.

        :raises BindError: it cannot listen there.
        """
        self._listener = await listen(self._at, lambda: _Line(self).near)
        self._at = self._listener.endpoint

    async def stop(self) -> None:
        """Stop listening, and break all connections."""
        if self._listener is not None:
            self._listener.close()
        self.drop_all()
        while self._lines:
            await next(iter(self._lines)).gone.wait()

    def drop_all(self) -> None:
        """Break all connections. From another thread, use `call()`."""
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
        self._worker.call(self.start)
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

    def happens(self, what: str, probability: float) -> bool:
        """Does it happen this time?"""
        if self._random.random() >= probability:
            return False
        self.happened[what] += 1
        return True

    def seconds(self, most: float) -> float:
        """How long it takes this time."""
        return self._random.uniform(0.0, most)

    def cut_point(self, size: int) -> int:
        """Where a message is cut this time."""
        return self._random.randrange(1, size)

    def joined(self, line: _Line) -> None:
        """A client has connected."""
        self._lines.add(line)

    def left(self, line: _Line) -> None:
        """It is gone."""
        self._lines.discard(line)

    def passed_on(self, request: bytes) -> None:
        """A request goes to the server."""
        if self._on_request is not None:
            self._on_request(request)

    @property
    def has_transactions(self) -> bool:
        """Does a reply of the server say which request it answers?"""
        return self._to.has_transactions

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
        self._asked: deque[int] = deque()
        """The transactions that a server is to answer which has none itself, over a serial framing."""

    def open(self) -> None:
        """The client is there."""
        self.link.joined(self)
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
            faults = link.faults
            if self._breaks(message, self.far):
                return
            if link.happens("lost request", faults.lose_request):
                continue
            await self._pause()
            link.passed_on(message.pdu)
            if not link.has_transactions:
                self._asked.append(message.transaction)
            await self._pass_on(message, self.far)
            if link.happens("doubled request", faults.double_request):
                await self._pass_on(message, self.far)
        self.far.close()

    async def _carry_replies(self) -> None:
        link = self.link
        held: Frame | None = None
        while (message := await self._next_reply(held)) is not None:
            faults = link.faults
            if self._asked and message is not held:
                message = message._replace(transaction=self._asked.popleft())
            if message is held:
                held = None
                await self._pass_on(message, self.near)
                continue
            if self._breaks(message, self.near):
                return
            if link.happens("lost reply", faults.lose_reply):
                continue
            if link.happens("late", faults.late):
                await asyncio.sleep(faults.late_by)
            await self._pause()
            if held is None and link.happens("overtaken", faults.overtake):
                held = message  # it is let through behind the next one, or when none comes
                continue
            await self._pass_on(message, self.near)
            if held is not None:
                await self._pass_on(held, self.near)
                held = None
            if link.happens("doubled reply", faults.double_reply):
                await self._pass_on(message, self.near)
        self.near.close()

    async def _next_reply(self, held: Frame | None) -> Frame | None:
        if held is None:
            return await self.far.queue.get()
        try:
            async with asyncio.timeout(HELD):
                return await self.far.queue.get()
        except TimeoutError:
            return held

    def _breaks(self, message: Frame, to: _End) -> bool:
        """Perhaps the connection is broken here, or within the message."""
        if self.link.happens("dropped", self.link.faults.drop):
            self.drop()
            return True
        if self.link.happens("cut", self.link.faults.cut):
            data = to.encode(message)
            to.send(data[: self.link.cut_point(len(data))])
            self.near.close()
            self.far.close()
            return True
        return False

    async def _pause(self) -> None:
        if self.link.happens("delayed", self.link.faults.delay):
            await asyncio.sleep(self.link.seconds(self.link.faults.delay_up_to))

    async def _pass_on(self, message: Frame, to: _End) -> None:
        data = to.encode(message)
        if not self.link.happens("split", self.link.faults.split):
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
