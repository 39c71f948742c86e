"""One connected client of a server: its requests in, its replies out, in order and within limits."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from msm.servant import Reply
from msm.wire.channel import Channel, Framer, StreamChannel
from msm.wire.clock import clock_of
from msm.wire.framing import Frame, MbapFramer, Message, frame

if TYPE_CHECKING:
    from msm.express import Attend, Express
    from msm.keywords import ServerSettings
    from msm.reporting import Reporter


class Host(Protocol):
    """The server, as far as a peer needs it."""

    settings: ServerSettings
    report: Reporter
    trace: Callable[[Message], object] | None
    express: Express | None
    """Answers what needs nobody's leave; None where somebody has a say in every request."""

    def joined(self, peer: Peer) -> bool:
        """A client has connected. Tells whether it may stay."""

    def left(self, peer: Peer) -> None:
        """A client is gone."""

    def answer(self, unit: int, request: bytes, peer: Peer, *, busy: bool = False) -> Reply | None:
        """The reply to a request, now or later, or nothing; where there is no time for it, that it is busy."""


_numbers = itertools.count(1)
BACKLOG = 16  # times max_in_flight: what is read ahead before a client has to wait


class Peer:
    """Owns the channel of one client.

    Replies keep the order of the requests. At most `max_in_flight` requests are worked on in one turn of the loop, so
    that one full segment does not stall the others; what waits for a device or an application beyond that is
    answered by exception 06. Nothing more is read from it while it does not take its replies, or while `BACKLOG` times
    as many requests are still to be answered: what it makes us remember is bounded.
    """

    def __init__(self, host: Host) -> None:
        self.gone = asyncio.Event()
        self.idle = asyncio.Event()
        self.idle.set()
        self.leaving = False
        self.address = ""
        self.is_line = False
        self.role: str | None = None
        self._host = host
        self._attend: Attend | None = None
        self._settings = host.settings
        self._channel: Channel | None = None
        self._loop = asyncio.get_running_loop()
        self._requests: deque[tuple[Frame, bool]] = deque()
        self._later: deque[tuple[int, int, Reply]] = deque()
        self.served = False
        self.attended = False
        self._number = next(_numbers)
        self.heard_at = self._loop.time()
        self.frame_began: float | None = None
        self._full_since: float | None = None
        self._leaving_since: float | None = None
        self._working = False
        self._paused = False
        self._ended = False

    @property
    def framer(self) -> Framer | None:
        """What puts its requests together; None before it is connected."""
        return None if self._channel is None else self._channel.framer

    @property
    def certificate(self) -> bytes | None:
        """What it has shown over TLS, in DER."""
        return None if self._channel is None else self._channel.certificate

    @property
    def name(self) -> str:
        """What it is called in the log."""
        return self.address or "a client"

    @property
    def busy(self) -> bool:
        """Is there a request that it has no reply to?"""
        return bool(self._requests or self._later)

    @property
    def _asking(self) -> bool:
        """Does the next request wait until the application has answered?"""
        return bool(self._later) and self._settings.before_write is not None and not self._requests[0][1]

    @property
    def merit(self) -> tuple[bool, float]:
        """Who has more of it stays: who has finished a request and is not in the middle of a frame, and lately."""
        settled = self.served and self.frame_began is None and self._leaving_since is None
        return settled, self.heard_at

    def overdue(self, now: float) -> str:
        """Which of its deadlines is over, in words; or nothing."""
        settings = self._settings
        if self._leaving_since is not None:
            over = now - self._leaving_since >= settings.unsent_deadline
            return f"it has not taken its last replies for {settings.unsent_deadline:g} s" if over else ""
        late = self.frame_began is not None and now - self.frame_began >= settings.frame_deadline
        if late and not self._paused:
            return f"a frame was not complete within {settings.frame_deadline:g} s"
        if self._full_since is not None and now - self._full_since >= settings.unsent_deadline:
            return f"it has not taken its replies for {settings.unsent_deadline:g} s"
        if not self.is_line and not self.busy and now - self.heard_at >= settings.idle_timeout:
            return f"it was idle for {settings.idle_timeout:g} s"
        return ""

    @property
    def due(self) -> float:
        """When the first of its deadlines may be over, as things are."""
        settings = self._settings
        if self._leaving_since is not None:
            return self._leaving_since + settings.unsent_deadline
        due = math.inf
        if self.frame_began is not None and not self._paused:
            due = self.frame_began + settings.frame_deadline
        if self._full_since is not None:
            due = min(due, self._full_since + settings.unsent_deadline)
        if not self.is_line and not self.busy:
            due = min(due, self.heard_at + settings.idle_timeout)
        return due

    # -- the channel's side

    def made(self, channel: Channel) -> None:
        """It has connected."""
        self._channel = channel
        self.address = channel.peer
        self.is_line = channel.is_line
        limits = getattr(channel.transport, "set_write_buffer_limits", None)
        if limits is not None:
            limits(high=self._settings.max_unsent)
        if not self._host.joined(self):
            self.abort()
        elif isinstance(channel, StreamChannel) and self._host.express is not None:
            self._attend = self._host.express.attend(channel, clock_of(self._loop))
            self._settle()

    def received(self, frames: list[Frame]) -> None:
        """Requests have come."""
        if self.leaving:
            return
        self.frame_began = None
        if not frames:
            return
        if self.is_line:
            # Whoever asks anew, whichever unit, has given up what it asked before: its answer would disturb this one.
            self._later.clear()
        if self._channel is not None and not self._channel.can_pause:
            frames = frames[: max(0, BACKLOG * self._settings.max_in_flight - len(self._requests))]
        self._requests.extend((each, False) for each in frames)
        self.heard_at = self._loop.time()
        if self._later:
            self._refuse_what_is_too_much()
        if self.attended and not self._working:
            # As many as may be in one turn have been answered already.
            self.attended, self._working = False, True
            self._loop.call_soon(self._work_on)
        elif not self._working:
            self._work()
        self._settle()

    def begun(self) -> None:
        """A frame has begun, and is not yet whole."""
        if self.frame_began is None:
            self.frame_began = self._loop.time()

    def ended(self) -> bool:
        """It will not ask any more. Tells whether the channel is to stay, for what it is still to be told."""
        self._ended = self.busy
        return self._ended

    def broken(self, reason: str) -> None:
        """What came is no Modbus: what came before it is answered, then it is closed."""
        if self._leaving_since is not None:
            return
        self._host.report.say(logging.WARNING, "not Modbus", "closed the connection of %s: %s", self.name, reason)
        self._leaving_since = self._loop.time()
        self._ended = True
        if not self._working:
            self._work()
        self._settle()

    def lost(self, cause: Exception | None) -> None:
        """It is gone."""
        self.leaving = True
        self._requests.clear()
        self._later.clear()
        self.gone.set()
        self.idle.set()
        self._host.left(self)

    def full(self) -> None:
        """It does not take its replies: it gets no more of them, and nothing is read from it meanwhile."""
        self._full_since = self._loop.time()
        self._settle()

    def drained(self) -> None:
        """It takes them again."""
        self._full_since = None
        if self._requests and not self._working:
            self._work()
        self._settle()

    # -- work

    def _work(self) -> None:
        self._working = False
        if self.leaving or self._full_since is not None:
            return
        self._work_once()
        if self._requests and self._full_since is None and not self._asking:
            self._working = True
            self._loop.call_soon(self._work_on)

    def _work_on(self) -> None:
        self._work()
        self._settle()

    def _settle(self) -> None:
        """After each change: may more be read, is anybody waiting for it to be idle, is it to be closed?"""
        if self.leaving or self._channel is None:
            return
        waiting = len(self._requests) + len(self._later)
        # Once stopped, reading goes on when half of it is done: stopping and going on cost a system call each.
        most = BACKLOG * self._settings.max_in_flight // (2 if self._paused else 1)
        paused = self._full_since is not None or waiting > most
        if paused is not self._paused:
            self._paused = paused
            if paused:
                self._channel.pause()
            else:
                self._channel.resume()
                if self.frame_began is not None:  # it could not go on with its frame meanwhile
                    self.frame_began = self._loop.time()
        if self._attend is not None:  # nothing overtakes what waits
            held = waiting or paused or self._ended or self._channel.unsent
            self._channel.express = None if held else self._attend
        if waiting:
            self.idle.clear()
            return
        self.idle.set()
        if self._ended:
            self.close()

    def _refuse_what_is_too_much(self) -> None:
        """While the application is asked about a write, what came behind it waits, but not without limit."""
        if self._settings.before_write is None:
            return
        room = self._settings.max_in_flight - len(self._later)
        if len(self._requests) > room:
            self._requests = deque((each, busy or number >= room) for number, (each, busy) in enumerate(self._requests))

    def _work_once(self) -> None:
        """Answer as many requests as may be worked on in one turn."""
        replies: list[bytes] = []
        for _ in range(min(len(self._requests), self._settings.max_in_flight)):
            if self._asking:
                # In the order of the requests: not before the write that the application is asked about.
                self._refuse_what_is_too_much()
                break
            (transaction, unit, request), busy = self._requests.popleft()
            if busy or len(self._later) >= self._settings.max_in_flight:
                reply: Reply | None = self._host.answer(unit, request, self, busy=True)
            else:
                reply = self._host.answer(unit, request, self)
            self.served = True
            if self._host.trace is not None:
                self._host.trace(Message(self._loop.time(), True, transaction, unit, request, self._number))
            if reply is None:
                continue
            if isinstance(reply, bytes) and not self._later:
                replies.append(self._encode(transaction, unit, reply))
            else:
                self._answer_later(transaction, unit, reply)
        self._send(replies)

    def _answer_later(self, transaction: int, unit: int, reply: Reply) -> None:
        """Replies keep the order of their requests: behind one that is still to come, others wait."""
        self._later.append((transaction, unit, reply))
        if not isinstance(reply, bytes):
            reply.add_done_callback(lambda _: self._answer_what_is_ready())

    def _answer_what_is_ready(self) -> None:
        replies = []
        while self._later:
            transaction, unit, reply = self._later[0]
            if not isinstance(reply, bytes):
                if not reply.done():
                    break
                if reply.cancelled():  # the server has stopped, and does not wait for the application any longer
                    self._later.popleft()
                    continue
                reply = reply.result()
            replies.append(self._encode(transaction, unit, reply))
            self._later.popleft()
        self._send(replies)
        if self._requests and not self._later and not self._working:
            self._work()
        self._settle()

    def _encode(self, transaction: int, unit: int, reply: bytes) -> bytes:
        assert self._channel is not None
        if self._host.trace is not None:
            self._host.trace(Message(self._loop.time(), False, transaction, unit, reply, self._number))
        framer = self._channel.framer
        encode = frame if isinstance(framer, MbapFramer) else framer.encode
        return encode(transaction, unit, reply)

    def _send(self, replies: list[bytes]) -> None:
        if self._channel is None:
            return
        if replies and not self._channel.closing:
            self._channel.send(b"".join(replies))

    def close(self) -> None:
        """Send what is under way, then close."""
        self.leaving = True
        if self._leaving_since is None:
            self._leaving_since = self._loop.time()
        self._requests.clear()
        if self._channel is not None:
            self._channel.express = None
            self._channel.close()

    def abort(self) -> None:
        """Close at once."""
        self.leaving = True
        if self._channel is not None:
            self._channel.express = None
            self._channel.abort()
