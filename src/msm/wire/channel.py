"""Ways for frames: a stream of TCP or TLS, or a serial line; datagrams and memory have modules of their own.

A channel puts bytes together into frames and hands them to its owner, a client's link or a server's peer, which
knows nothing of the transport. Each kind of channel is made by `connect()` of `wire.link` or by
`listen()` of `wire.listening`.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from msm.wire.endpoint import Endpoint
from msm.wire.framing import Frame, MbapFramer
from msm.wire.serial_framing import AsciiFramer, RtuFramer

Framer = MbapFramer | RtuFramer | AsciiFramer

LEAST_GAP = 0.01  # seconds: what operating systems and USB adapters need to be silent for sure
ASCII_GAP = 1.0  # serial line V1.02, section 2.5.2.1
STREAM_NOISE = 1024  # bytes that are no RTU frame, over TCP: longer than what a gateway may pass on from its line
DRAIN_PAUSE = 0.005  # seconds between looks at what a serial port has still to send
AT_A_TIME = 1024  # bytes of a serial framing over TCP
STREAM_GAP = 0.1  # RTU over TCP: there is no silence to be heard, only the pauses of a gateway


class Owner(Protocol):
    """Who uses a channel."""

    def made(self, channel: Channel) -> None:
        """The channel is open."""

    def received(self, frames: list[Frame]) -> None:
        """Whole frames have come, in order; none, where what had begun was no frame."""

    def begun(self) -> None:
        """A frame has begun, and is not yet whole."""

    def ended(self) -> bool:
        """Nothing more will come. Tells whether the channel is to stay open, for what is still to be sent."""

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
    can_pause = True
    """Can the other end be made to wait? Where it cannot, what is too much is lost, as a datagram may be."""
    express: Callable[[int], bool] | None = None
    """Of a stream: looks at what was received before it is put into frames. It is told how many bytes have come behind
    the framer's `end`. True where nothing is left of it; else it has moved the framer's `start` to the rest."""
    accepted_from = ""
    """Of a connection that was accepted: where it came from."""

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
        if self.accepted_from:
            return self.accepted_from
        name = self.transport.get_extra_info("peername")
        return str(name[0]) if isinstance(name, tuple) else str(name or "")

    @property
    def certificate(self) -> bytes | None:
        """The certificate of the other end, in DER; None without TLS, or where it has shown none."""
        secured = self.transport.get_extra_info("ssl_object")
        found: bytes | None = None if secured is None else secured.getpeercert(True)
        return found

    def hand_over(self, frames: list[Frame]) -> None:
        """Give frames to the owner, and tell it when nothing more can come."""
        if frames or not self.framer.partial:
            self.owner.received(frames)
        if self.framer.error:
            self.owner.broken(self.framer.error)
        elif self.framer.partial:
            self.owner.begun()


class UnpausedChannel(Channel):
    """A channel whose other end cannot be made to wait: nothing is ever unsent, and what is too much is lost."""

    can_pause = False
    _closed = False

    def pause(self) -> None:
        """There is nothing to hold up."""

    resume = pause

    @property
    def closing(self) -> bool:
        return self._closed

    @property
    def unsent(self) -> int:
        return 0


class StreamChannel(Channel, asyncio.BufferedProtocol):
    """TCP or TLS that speaks MBAP: received into the framer's own buffer, without a copy."""

    framer: MbapFramer

    def __init__(self, owner: Owner, framer: MbapFramer, sock: socket.socket | None = None) -> None:
        super().__init__(owner, framer)
        self.send_some: Callable[[bytes], int] = self._send_by_transport if sock is None else sock.send
        """Sends past the transport, which is a good part of the cost; not while it has something `unsent`.

        Gives how much was taken. The rest, and all where it raises an OSError, is for `send()`.
        """
        self._by_transport = False
        """May the transport have something unsent?"""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.owner.made(self)

    def send(self, data: bytes) -> None:
        if not self._by_transport or not self.unsent:
            self._by_transport = False
            try:
                sent = self.send_some(data)
            except OSError:
                sent = 0  # it takes nothing now, or is gone: the transport finds out, and knows what to do
            if sent == len(data):
                return
            data = data[sent:]
        self._by_transport = True
        self.transport.write(data)

    def _send_by_transport(self, data: bytes) -> int:
        self.transport.write(data)
        return len(data)

    def get_buffer(self, sizehint: int) -> memoryview:
        framer = self.framer
        return framer.space() if framer.end else framer.view

    def buffer_updated(self, nbytes: int) -> None:
        if self.express is None or not self.express(nbytes):
            self.hand_over(self.framer.advance(nbytes))

    def eof_received(self) -> bool:
        # TLS has no half of a connection that could stay open.
        return self.transport.get_extra_info("sslcontext") is None and self.owner.ended()

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
        self._ending = False
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

    def eof_received(self) -> bool:
        return self.owner.ended()

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

    @property
    def closing(self) -> bool:
        return self._ending or super().closing

    def close(self) -> None:
        if self._gone:
            return
        if self._serial is None:
            self.transport.close()
        elif not self._ending:
            self._ending = True
            self._close_when_sent()

    def _close_when_sent(self) -> None:
        """Closing a serial port waits until its output is drained, in the loop's own thread: so we wait before."""
        if self._gone or self.transport.is_closing():
            return
        left = 0
        with suppress(Exception):  # of pyserial, of termios: the port is gone, and nothing is left to be sent
            left = self.transport.get_write_buffer_size() + self._serial.out_waiting
        if left:
            asyncio.get_running_loop().call_later(DRAIN_PAUSE, self._close_when_sent)
        else:
            self.transport.abort()

    def abort(self) -> None:
        self._ending = True
        if self._gone:
            return
        if self._serial is None:
            self.transport.abort()
            return
        # For ever, where nobody reads at the other end: so what is unsent is thrown away first.
        with suppress(Exception):
            self._serial.reset_output_buffer()
        if self.transport.is_closing() and not self.transport.get_write_buffer_size():
            return  # its end is on its way, and it must not be told twice
        self.transport.abort()

    @property
    def _serial(self) -> Any:
        return getattr(self.transport, "serial", None)


class StreamLineChannel(LineChannel, asyncio.BufferedProtocol):
    """RTU or ASCII over TCP, a little at a time.

    In noise, each byte may begin a frame, and its CRC has to say that it does not: a quarter of a megabyte of it, which
    is what asyncio receives at a time, would hold up everybody else for seconds.
    """

    def __init__(self, owner: Owner, framer: RtuFramer | AsciiFramer, gap: float) -> None:
        super().__init__(owner, framer, gap, is_line=False)
        self._received = bytearray(AT_A_TIME)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._received

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._received[:nbytes]))


class _Nobody:
    """The owner of a channel that is not open yet."""

    def made(self, channel: Channel) -> None: ...

    def received(self, frames: list[Frame]) -> None: ...

    def begun(self) -> None: ...

    def ended(self) -> bool:
        return False

    def broken(self, reason: str) -> None: ...

    def lost(self, cause: Exception | None) -> None: ...

    def full(self) -> None: ...

    def drained(self) -> None: ...


NOBODY = _Nobody()


def channel_for(
    endpoint: Endpoint, owner: Owner, *, server: bool, sock: socket.socket | None = None
) -> StreamChannel | LineChannel:
    """The channel that an endpoint of TCP, TLS, or a serial framing needs.

    :param sock: what the transport is made of.
    """
    kind = endpoint.scheme.removesuffix("+tcp")
    if kind in ("tcp", "tls"):
        return StreamChannel(owner, MbapFramer(), sock if kind == "tcp" else None)
    framer = (
        RtuFramer(server=server, most_noise=math.inf if endpoint.is_serial else STREAM_NOISE)
        if kind == "rtu"
        else AsciiFramer()
    )
    if not endpoint.is_serial:
        return StreamLineChannel(owner, framer, STREAM_GAP if kind == "rtu" else ASCII_GAP)
    gap = max(endpoint.line.frame_gap, LEAST_GAP) if kind == "rtu" else ASCII_GAP
    return LineChannel(owner, framer, gap, is_line=True)
