"""Ways for frames: a stream of TCP or TLS, datagrams, a serial line, or memory.

A channel puts bytes together into frames and hands them to its owner, a client's link or a server's peer, which
knows nothing of the transport. Each kind of channel is made by `connect()` or `listen()` of `wire.link`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from msm.wire.framing import Frame, MbapFramer
from msm.wire.serial_framing import AsciiFramer, RtuFramer

Framer = MbapFramer | RtuFramer | AsciiFramer


class Owner(Protocol):
    """Who uses a channel."""

    def made(self, channel: Channel) -> None:
        """The channel is open."""

    def received(self, frames: list[Frame]) -> None:
        """Whole frames have come, in order."""

    def begun(self) -> None:
        """A frame has begun, and is not yet whole."""

    def broken(self, reason: str) -> None:
        """What came is no Modbus. Nothing more is received; the owner is to close."""

    def lost(self, cause: Exception | None) -> None:
        """The channel is closed."""

    def full(self) -> None:
        """The other end does not take what is sent."""

    def drained(self) -> None:
        """It takes it again."""


class Channel:
    """What the kinds of channels have in common."""

    is_line = False
    """Is it a line that others share: no answer to a broadcast or to what is for others?"""

    def __init__(self, owner: Owner, framer: Framer) -> None:
        self.owner = owner
        self.framer = framer
        self.transport: Any = None

    def send(self, data: bytes) -> None:
        """Send whole frames."""
        self.transport.write(data)

    def close(self) -> None:
        """Send what is still unsent, then close."""
        self.transport.close()

    def abort(self) -> None:
        """Close at once."""
        self.transport.abort()

    def pause(self) -> None:
        """Receive nothing for a while."""
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        """Receive again."""
        if not self.transport.is_closing():
            self.transport.resume_reading()

    @property
    def closing(self) -> bool:
        """Is it closed, or about to be?"""
        return bool(self.transport is None or self.transport.is_closing())

    @property
    def unsent(self) -> int:
        """Bytes that the other end has not taken."""
        return int(self.transport.get_write_buffer_size())

    @property
    def peer(self) -> str:
        """The address of the other end."""
        name = self.transport.get_extra_info("peername")
        return str(name[0]) if isinstance(name, tuple) else str(name or "")

    def hand_over(self, frames: list[Frame]) -> None:
        """Give frames to the owner, and tell it when nothing more can come."""
        if frames:
            self.owner.received(frames)
        if self.framer.error:
            self.owner.broken(self.framer.error)
        elif self.framer.partial:
            self.owner.begun()


class StreamChannel(Channel, asyncio.BufferedProtocol):
    """TCP or TLS that speaks MBAP: received into the framer's own buffer, without a copy."""

    framer: MbapFramer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.owner.made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.framer.space()

    def buffer_updated(self, nbytes: int) -> None:
        self.hand_over(self.framer.advance(nbytes))

    def connection_lost(self, exc: Exception | None) -> None:
        self.owner.lost(exc)

    def pause_writing(self) -> None:
        self.owner.full()

    def resume_writing(self) -> None:
        self.owner.drained()


class LineChannel(Channel, asyncio.Protocol):
    """A serial line, or RTU or ASCII over TCP: silence of `gap` seconds ends what has begun.

    :param gap: seconds.
    """

    framer: RtuFramer | AsciiFramer

    def __init__(self, owner: Owner, framer: RtuFramer | AsciiFramer, gap: float, *, is_line: bool) -> None:
        super().__init__(owner, framer)
        self.is_line = is_line
        self._gap = gap
        self._timer: asyncio.TimerHandle | None = None
        self._gone = False
        self.heard_at = 0.0
        """When the last byte came, by the loop's clock."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.owner.made(self)

    def data_received(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.heard_at = loop.time()
        frames = self.framer.feed(data)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(self._gap, self._silence) if self.framer.partial else None
        self.hand_over(frames)

    def _silence(self) -> None:
        self._timer = None
        self.hand_over(self.framer.silence())

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        if self._timer is not None:
            self._timer.cancel()
        self.owner.lost(exc)

    def pause_writing(self) -> None:
        self.owner.full()

    def resume_writing(self) -> None:
        self.owner.drained()

    def abort(self) -> None:
        # Closing a serial port waits until its output is drained, in the loop's own thread, and for ever where
        # nobody reads at the other end: so what is unsent is thrown away first.
        serial = getattr(self.transport, "serial", None)
        if serial is not None:
            if self._gone:
                return
            with suppress(OSError, ValueError):
                serial.reset_output_buffer()
            if self.transport.is_closing() and not self.transport.get_write_buffer_size():
                return  # its end is on its way, and it must not be told twice
        self.transport.abort()


class DatagramChannel(Channel):
    """One correspondent of a datagram socket: every datagram is whole frames."""

    framer: MbapFramer

    def __init__(self, owner: Owner, transport: asyncio.DatagramTransport, address: Any, on_close: Callable[[], None]):
        super().__init__(owner, MbapFramer())
        self.transport = transport
        self._address = address
        self._on_close = on_close
        self._closed = False
        owner.made(self)

    def datagram(self, data: bytes) -> None:
        """Something came from this correspondent."""
        self.framer = MbapFramer()  # what a datagram leaves unfinished ends with it
        frames = self.framer.feed(data)
        if frames and not self._closed:
            self.owner.received(frames)

    def send(self, data: bytes) -> None:
        self.transport.sendto(data, self._address)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._on_close()
            self.owner.lost(None)

    abort = close

    def pause(self) -> None:
        """A datagram that nobody takes is lost anyway."""

    resume = pause

    @property
    def closing(self) -> bool:
        return self._closed

    @property
    def unsent(self) -> int:
        return 0

    @property
    def peer(self) -> str:
        return str(self._address[0]) if self._address else ""


class MemoryChannel(Channel):
    """One of two ends in one process, which may live in different event loops."""

    framer: MbapFramer

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop, name: str) -> None:
        super().__init__(owner, MbapFramer())
        self._loop = loop
        self._name = name
        self._other: MemoryChannel | None = None
        self._closed = False

    @classmethod
    def pair(cls, one: MemoryChannel, other: MemoryChannel) -> None:
        """Join two ends."""
        one._other, other._other = other, one

    def send(self, data: bytes) -> None:
        if self._other is not None and not self._closed:
            self._other.call(self._other.take, data)

    def call(self, function: Callable[..., None], *args: object) -> None:
        """Run a function in this end's loop."""
        with suppress(RuntimeError):  # the loop was closed: there is nobody left to tell
            self._loop.call_soon_threadsafe(function, *args)

    def take(self, data: bytes) -> None:
        """Something came from the other end."""
        if not self._closed:
            self.hand_over(self.framer.feed(data))

    def close(self) -> None:
        if not self._closed:
            self._end()
            if self._other is not None:
                self._other.call(self._other._end)

    abort = close

    def _end(self) -> None:
        if not self._closed:
            self._closed = True
            self._loop.call_soon(self.owner.lost, None)

    def pause(self) -> None:
        """What is sent is received in the same step: there is nothing to hold up."""

    resume = pause

    @property
    def closing(self) -> bool:
        return self._closed

    @property
    def unsent(self) -> int:
        return 0

    @property
    def peer(self) -> str:
        return self._name
