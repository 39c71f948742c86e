"""Doors that listen, whatever the transport."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from msm.errors import BindError, LinkError
from msm.wire import in_memory
from msm.wire.accepting import Acceptor
from msm.wire.channel import LineChannel, Owner, StreamChannel, channel_for
from msm.wire.datagrams import Datagrams
from msm.wire.endpoint import Endpoint, tls_context
from msm.wire.framing import MbapFramer
from msm.wire.link import line_for, reason
from msm.wire.lookup import look_up
from msm.wire.watched import Watch, WatchedChannel

REOPEN_PAUSE = 0.5  # seconds between attempts to open a serial port that was unplugged


class Listener:
    """A door that listens: `endpoint` with the port that was really bound, and `close()`."""

    def __init__(self, endpoint: Endpoint, close: Callable[[], None]) -> None:
        self.endpoint = endpoint
        self.close = close


async def listen(
    endpoint: Endpoint, owner: Callable[[], Owner], *, tls: ssl.SSLContext | None = None, rs485: Any = None
) -> Listener:
    """Listen at an endpoint.

    :param owner: makes the owner of each channel.
    :raises BindError: it says what to do.
    """
    try:
        return await _LISTEN[endpoint.scheme](endpoint, owner, tls, rs485)
    except (OSError, UnicodeError) as error:
        if isinstance(error, LinkError):
            raise
        raise BindError(f"{endpoint}: cannot listen, {_advice(endpoint, error)}") from error


async def _listen_stream(
    endpoint: Endpoint, owner: Callable[[], Owner], tls: ssl.SSLContext | None, _rs485: Any
) -> Listener:
    context = tls_context(endpoint, tls, server=True) if endpoint.scheme == "tls" else None
    sockets, port = await _bind_all(endpoint, socket.SOCK_STREAM)
    try:
        for sock in sockets:
            sock.listen(128)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    bound = endpoint.at_port(port)
    watch = Watch() if endpoint.scheme == "tcp" and Watch.pays() else None

    def channel(sock: socket.socket) -> StreamChannel | LineChannel:
        if watch is None:
            return channel_for(endpoint, owner(), server=True, sock=sock)
        return WatchedChannel(owner(), MbapFramer(), sock, watch)

    acceptors = [Acceptor(bound, each, channel, context) for each in sockets]

    def close() -> None:
        for acceptor in acceptors:
            acceptor.close()

    return Listener(bound, close)


async def _bind_all(endpoint: Endpoint, kind: socket.SocketKind) -> tuple[list[socket.socket], int]:
    """Sockets at all addresses of the host, at one port."""
    sockets: list[socket.socket] = []
    port = endpoint.port
    addresses = await look_up(endpoint.host, port, passive=True)
    try:
        # "localhost" is 127.0.0.1 and ::1: a client may try either, so both listen, at the same port.
        for family, address in sorted(addresses, key=lambda each: each[0] != socket.AF_INET):
            sock = _bind(family, kind, (address[0], port, *address[2:]))
            if sock is not None:
                sockets.append(sock)
                port = sock.getsockname()[1]
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    if not sockets:
        raise OSError(errno.EADDRNOTAVAIL, "this machine does not have that address")
    return sockets, port


def _bind(family: int, kind: socket.SocketKind, address: tuple[object, ...]) -> socket.socket | None:
    """A bound socket, or None where this machine does not have that kind of address."""
    try:
        # asyncio switches Nagle's algorithm off, but only where it is told that this is TCP.
        sock = socket.socket(family, kind, socket.IPPROTO_TCP if kind == socket.SOCK_STREAM else 0)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return None
        raise
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRNOTAVAIL:
            return None
        raise
    return sock


async def _listen_datagrams(endpoint: Endpoint, owner: Callable[[], Owner], _tls: object, _rs485: object) -> Listener:
    loop = asyncio.get_running_loop()
    sockets, port = await _bind_all(endpoint, socket.SOCK_DGRAM)
    made: list[Datagrams] = []
    try:
        for sock in sockets:
            made.append((await loop.create_datagram_endpoint(lambda: Datagrams(owner), sock=sock))[1])
    except BaseException:
        for datagrams in made:
            datagrams.stop()
        for sock in sockets[len(made) :]:
            sock.close()
        raise

    def close() -> None:
        for datagrams in made:
            datagrams.stop()

    return Listener(endpoint.at_port(port), close)


async def _listen_serial(endpoint: Endpoint, owner: Callable[[], Owner], _tls: object, rs485: Any) -> Listener:
    """Serve a serial port. When the adapter is unplugged, it is opened again as soon as it is back."""
    from msm.wire.serial_port import open_port  # noqa: PLC0415

    def channel() -> LineChannel:
        return line_for(endpoint, _Reopening(owner(), gone.set), server=True)

    async def keep_open() -> None:
        while True:
            await gone.wait()
            await asyncio.sleep(REOPEN_PAUSE)
            gone.clear()
            try:
                await open_port(endpoint, channel, rs485)
            except OSError:
                gone.set()  # still unplugged

    gone = asyncio.Event()
    await open_port(endpoint, channel, rs485)
    keeper = asyncio.create_task(keep_open(), name=f"msm serial port {endpoint.path}")

    def close() -> None:
        keeper.cancel()

    return Listener(endpoint, close)


class _Reopening:
    """An owner that also tells the listener that its port is gone."""

    def __init__(self, owner: Owner, on_lost: Callable[[], None]) -> None:
        self._owner = owner
        self._on_lost = on_lost
        self.made = owner.made
        self.received = owner.received
        self.begun = owner.begun
        self.ended = owner.ended
        self.broken = owner.broken
        self.full = owner.full
        self.drained = owner.drained

    def lost(self, cause: Exception | None) -> None:
        """The port is closed."""
        self._on_lost()
        self._owner.lost(cause)


async def _listen_memory(endpoint: Endpoint, owner: Callable[[], Owner], _tls: object, _rs485: object) -> Listener:
    return Listener(endpoint, in_memory.offer(endpoint.path, owner))


_Listen = Callable[[Endpoint, Callable[[], Owner], ssl.SSLContext | None, Any], Awaitable[Listener]]

_LISTEN: dict[str, _Listen] = {
    **dict.fromkeys(("tcp", "tls", "rtu+tcp", "ascii+tcp"), _listen_stream),
    **dict.fromkeys(("rtu", "ascii"), _listen_serial),
    "udp": _listen_datagrams,
    "memory": _listen_memory,
}


def _advice(endpoint: Endpoint, error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return reason(error)
    if error.errno == errno.EADDRINUSE and endpoint.scheme != "memory":
        return "the port is taken: stop the program that has it, or take another port (:0 asks for a free one)"
    if error.errno == errno.EACCES and not endpoint.is_serial:
        return (
            f"this user may not open port {endpoint.port}: ports below 1024 are privileged, "
            "take another one such as 5020, or give the program the right to"
        )
    return reason(error)
