"""UDP: a socket, and its correspondents as channels."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast

from msm.wire.channel import Owner, UnpausedChannel
from msm.wire.framing import MbapFramer

CORRESPONDENTS = 64  # of a socket; the one that was silent longest gives way


class DatagramChannel(UnpausedChannel):
    """One correspondent of a datagram socket: every datagram is whole frames."""

    framer: MbapFramer

    def __init__(self, owner: Owner, transport: asyncio.DatagramTransport, address: Any, on_close: Callable[[], None]):
        super().__init__(owner, MbapFramer())
        self.transport = transport
        self._address = address
        self._on_close = on_close
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

    @property
    def peer(self) -> str:
        return str(self._address[0]) if self._address else ""


class Datagrams(asyncio.DatagramProtocol):
    """A datagram socket and its correspondents."""

    def __init__(self, owner: Callable[[], Owner]) -> None:
        self._owner = owner
        self._transport: asyncio.DatagramTransport | None = None
        self.channels: OrderedDict[Any, DatagramChannel] = OrderedDict()
        self._stopping = False
        self.only: DatagramChannel | None = None
        """Of a client's socket: its device."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # asyncio's own is not one before Python 3.12

    def datagram_received(self, data: bytes, address: Any) -> None:
        assert self._transport is not None
        if self._stopping:
            return
        channel = self.only or self.channels.get(address)
        if channel is None:
            if len(self.channels) >= CORRESPONDENTS:
                next(iter(self.channels.values())).close()
            channel = DatagramChannel(self._owner(), self._transport, address, lambda: self._forget(address))
            if channel.closing:
                return
            self.channels[address] = channel
        if channel is not self.only:
            self.channels.move_to_end(address)
        channel.datagram(data)

    def _forget(self, address: Any) -> None:
        self.channels.pop(address, None)
        if self._stopping and not self.channels:
            self.stop()

    def stop(self) -> None:
        """Take no more requests; the socket is closed when the last correspondent has its replies."""
        self._stopping = True
        if self._transport is not None and not self.channels:
            self._transport.close()

    def error_received(self, exc: Exception) -> None:
        # An ICMP message says that somebody does not listen: its request times out, or it sends another one.
        if self.only is not None:
            self.only.owner.lost(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        for channel in [*self.channels.values(), *([self.only] if self.only else [])]:
            channel.close()
