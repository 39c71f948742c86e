"""Connections that are made, and doors that listen, whatever the transport."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, cast

from msm.errors import BindError, ConnectError, LinkError, ProtocolError
from msm.wire.channel import Channel, DatagramChannel, LineChannel, MemoryChannel, Owner, StreamChannel
from msm.wire.endpoint import Endpoint, tls_context
from msm.wire.framing import Frame, MbapFramer, frame
from msm.wire.lookup import Address, first_of, look_up
from msm.wire.serial_framing import AsciiFramer, RtuFramer

ReplyHandler = Callable[[int, bytes], None]
LostHandler = Callable[[Exception | None], None]

LEAST_GAP = 0.01  # seconds: what operating systems and USB adapters need to be silent for sure
ASCII_GAP = 1.0  # serial line V1.02, section 2.5.2.1
STREAM_GAP = 0.1  # RTU over TCP: there is no silence to be heard, only the pauses of a gateway
REOPEN_PAUSE = 0.5  # seconds between attempts to open a serial port that was unplugged
CORRESPONDENTS = 64  # of a datagram socket; the one that was silent longest gives way


class ClientLink:
    """A client's end of a channel: requests out, replies in, matched by transaction and unit.

    A reply that nobody waits for (late, foreign, doubled) is counted in `strays` and dropped. On a serial line there
    are no transactions: one request is out at a time, and after one that was not answered the line has to be quiet.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.strays = 0
        self._endpoint = endpoint
        self._channel: Channel | None = None
        self._transaction = 0
        self._awaited: dict[int, int] = {}
        self._on_reply: ReplyHandler = _ignore
        self._on_lost: LostHandler = _ignore_loss
        self._quiet_since = 0.0
        self._unanswered = False

    @property
    def cost(self) -> tuple[float, float]:
        """What a request costs by itself, and what one more word in its reply costs, in seconds."""
        if not self._endpoint.is_serial:
            return 0.001, 0.000_002  # over a network the way there and back is nearly all of it
        line = self._endpoint.line
        characters = 2 if self._endpoint.scheme == "ascii" else 1
        # Eight bytes of request and five of reply around the words, two silences, and the device's own time.
        return 13 * characters * line.character + 2 * line.frame_gap + 0.005, 2 * characters * line.character

    @property
    def most_out(self) -> int:
        """How many requests may be out at a time."""
        return 16 if self._endpoint.has_transactions else 1

    def free_at(self) -> float:
        """When the next request may be sent, by the loop's clock: a serial line has to be silent in between."""
        if self._endpoint.has_transactions or not isinstance(self._channel, LineChannel):
            return 0.0
        gap = self._endpoint.line.frame_gap if self._endpoint.is_serial else 0.0
        if self._unanswered:
            # The reply may still come. It must not be taken for the next one's.
            gap = max(10 * gap, 0.05)
        return max(self._channel.heard_at, self._quiet_since) + gap

    def handle(self, on_reply: ReplyHandler, on_lost: LostHandler) -> None:
        """Who gets (transaction, pdu) of each reply, and who hears that the connection is gone."""
        self._on_reply = on_reply
        self._on_lost = on_lost

    def send(self, unit: int, pdu: bytes) -> int:
        """Send a request; returns its transaction id."""
        assert self._channel is not None
        self._transaction = self._transaction % 0xFFFF + 1
        self._awaited[self._transaction] = unit
        self._unanswered = False
        framer = self._channel.framer
        encode = frame if isinstance(framer, MbapFramer) else framer.encode
        self._channel.send(encode(self._transaction, unit, pdu))
        return self._transaction

    def forget(self, transaction: int) -> None:
        """No longer wait for this reply: if it comes late, it is dropped."""
        self._awaited.pop(transaction, None)
        self._unanswered = True
        self._quiet_since = asyncio.get_running_loop().time()

    def close(self) -> None:
        """Close at once; nothing that is unsent matters any more."""
        self._on_reply = _ignore
        if self._channel is not None:
            self._channel.abort()

    # -- the channel's side

    def made(self, channel: Channel) -> None:
        """The channel is open."""
        self._channel = channel

    def received(self, frames: list[Frame]) -> None:
        """Replies have come."""
        for transaction, unit, pdu in frames:
            number = transaction
            if not self._endpoint.has_transactions:
                number = next(iter(self._awaited), 0)
            if self._awaited.get(number) == unit and pdu:
                del self._awaited[number]
                self._on_reply(number, pdu)
            else:
                self.strays += 1

    def begun(self) -> None:
        """A reply has begun: the time of its transaction goes on."""

    def broken(self, reason: str) -> None:
        """What came is no Modbus."""
        self.lost(ProtocolError(f"the device sent what is not Modbus: {reason}"))
        self.close()

    def lost(self, cause: Exception | None) -> None:
        """The channel is gone; told once."""
        on_lost, self._on_lost = self._on_lost, _ignore_loss
        on_lost(cause)

    def full(self) -> None:
        """The device does not take our requests: their time will run out."""

    def drained(self) -> None:
        """It takes them again."""


class Listener:
    """A door that listens: `endpoint` with the port that was really bound, and `close()`."""

    def __init__(self, endpoint: Endpoint, close: Callable[[], None]) -> None:
        self.endpoint = endpoint
        self.close = close


async def connect(
    endpoint: Endpoint, timeout: float, *, tls: ssl.SSLContext | None = None, rs485: Any = None
) -> ClientLink:
    """Connect to a device.

    :param timeout: seconds for name look-up, connection and handshake together.
    :raises ConnectError: nobody there.
    """
    link = ClientLink(endpoint)
    try:
        async with asyncio.timeout(timeout):
            await _CONNECT[endpoint.scheme](endpoint, link, tls, rs485)
    except TimeoutError:
        raise ConnectError(f"{endpoint}: no connection within {timeout} s; is the address right?") from None
    except ssl.SSLError as error:
        raise ConnectError(f"{endpoint}: the TLS handshake failed, {error.reason or error}") from error
    except (OSError, UnicodeError) as error:
        raise ConnectError(f"{endpoint}: {_reason(error)}") from error
    return link


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


# -- TCP, TLS, and serial framings over TCP


def _channel(endpoint: Endpoint, owner: Owner, *, server: bool) -> StreamChannel | LineChannel:
    kind = endpoint.scheme.removesuffix("+tcp")
    if kind in ("tcp", "tls"):
        return StreamChannel(owner, MbapFramer())
    gap = max(endpoint.line.frame_gap, LEAST_GAP) if endpoint.is_serial else STREAM_GAP
    if kind == "rtu":
        return LineChannel(owner, RtuFramer(server=server), gap, is_line=endpoint.is_serial)
    return LineChannel(owner, AsciiFramer(server=server), ASCII_GAP, is_line=endpoint.is_serial)


async def _connect_stream(endpoint: Endpoint, link: ClientLink, tls: ssl.SSLContext | None, _rs485: Any) -> None:
    loop = asyncio.get_running_loop()
    secure: dict[str, Any] = {}
    if endpoint.scheme == "tls":
        secure = {"ssl": tls_context(endpoint, tls, server=False), "server_hostname": endpoint.host}

    async def open_one(address: Address) -> socket.socket:
        family, place = address
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, place)
        except BaseException:
            sock.close()
            raise
        return sock

    sock = await first_of(await look_up(endpoint.host, endpoint.port), open_one)
    try:
        await loop.create_connection(lambda: _channel(endpoint, link, server=False), sock=sock, **secure)
    except BaseException:
        sock.close()
        raise


async def _listen_stream(
    endpoint: Endpoint, owner: Callable[[], Owner], tls: ssl.SSLContext | None, _rs485: Any
) -> Listener:
    loop = asyncio.get_running_loop()
    sockets, port = await _bind_all(endpoint, socket.SOCK_STREAM)
    servers: list[asyncio.Server] = []
    context = tls_context(endpoint, tls, server=True) if endpoint.scheme == "tls" else None
    try:
        for sock in sockets:
            sock.listen(128)
            servers.append(
                await loop.create_server(lambda: _channel(endpoint, owner(), server=True), sock=sock, ssl=context)
            )
    except BaseException:
        for sock in sockets:
            sock.close()
        raise

    def close() -> None:
        for server in servers:
            server.close()

    return Listener(endpoint.at_port(port), close)


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
        sock = socket.socket(family, kind)
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


# -- UDP


class _Datagrams(asyncio.DatagramProtocol):
    """A datagram socket and its correspondents."""

    def __init__(self, owner: Callable[[], Owner]) -> None:
        self._owner = owner
        self._transport: asyncio.DatagramTransport | None = None
        self.channels: OrderedDict[Any, DatagramChannel] = OrderedDict()
        self.only: DatagramChannel | None = None
        """Of a client's socket: its device."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # asyncio's own is not one before Python 3.12

    def datagram_received(self, data: bytes, address: Any) -> None:
        assert self._transport is not None
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

    def error_received(self, exc: Exception) -> None:
        # An ICMP message says that somebody does not listen: its request times out, or it sends another one.
        if self.only is not None:
            self.only.owner.lost(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        for channel in [*self.channels.values(), *([self.only] if self.only else [])]:
            channel.close()


async def _connect_datagrams(endpoint: Endpoint, link: ClientLink, _tls: object, _rs485: object) -> None:
    loop = asyncio.get_running_loop()
    (_family, place), *_ = await look_up(endpoint.host, endpoint.port)
    transport, datagrams = await loop.create_datagram_endpoint(lambda: _Datagrams(lambda: link), remote_addr=place[:2])
    datagrams.only = DatagramChannel(link, transport, None, transport.abort)


async def _listen_datagrams(endpoint: Endpoint, owner: Callable[[], Owner], _tls: object, _rs485: object) -> Listener:
    loop = asyncio.get_running_loop()
    sockets, port = await _bind_all(endpoint, socket.SOCK_DGRAM)
    transports = [(await loop.create_datagram_endpoint(lambda: _Datagrams(owner), sock=sock))[0] for sock in sockets]

    def close() -> None:
        for transport in transports:
            transport.close()

    return Listener(endpoint.at_port(port), close)


# -- serial ports


async def _connect_serial(endpoint: Endpoint, link: ClientLink, _tls: object, rs485: Any) -> None:
    from msm.wire.serial_port import open_port  # noqa: PLC0415 - pyserial is loaded when it is needed

    await open_port(endpoint, lambda: _line(endpoint, link, server=False), rs485)


def _line(endpoint: Endpoint, owner: Owner, *, server: bool) -> LineChannel:
    channel = _channel(endpoint, owner, server=server)
    assert isinstance(channel, LineChannel)
    return channel


async def _listen_serial(endpoint: Endpoint, owner: Callable[[], Owner], _tls: object, rs485: Any) -> Listener:
    """Serve a serial port. When the adapter is unplugged, it is opened again as soon as it is back."""
    from msm.wire.serial_port import open_port  # noqa: PLC0415

    def channel() -> LineChannel:
        made = _line(endpoint, _Reopening(owner(), lost), server=True)
        current.append(made)
        return made

    def lost() -> None:
        current.clear()
        gone.set()

    async def keep_open() -> None:
        while True:
            await gone.wait()
            await asyncio.sleep(REOPEN_PAUSE)
            try:
                await open_port(endpoint, channel, rs485)
            except OSError:
                continue  # still unplugged
            gone.clear()

    current: list[LineChannel] = []
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
        self.broken = owner.broken
        self.full = owner.full
        self.drained = owner.drained

    def lost(self, cause: Exception | None) -> None:
        """The port is closed."""
        self._on_lost()
        self._owner.lost(cause)


# -- memory


_listeners: dict[str, tuple[asyncio.AbstractEventLoop, Callable[[], Owner]]] = {}


async def _connect_memory(endpoint: Endpoint, link: ClientLink, _tls: object, _rs485: object) -> None:
    if endpoint.path not in _listeners:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "no server of this process has that name")
    loop, owner = _listeners[endpoint.path]
    ours = MemoryChannel(link, asyncio.get_running_loop(), endpoint.path)
    theirs = MemoryChannel(owner(), loop, endpoint.path)
    MemoryChannel.pair(ours, theirs)
    theirs.call(theirs.owner.made, theirs)
    link.made(ours)


async def _listen_memory(endpoint: Endpoint, owner: Callable[[], Owner], _tls: object, _rs485: object) -> Listener:
    name = endpoint.path
    if name in _listeners:
        raise OSError(errno.EADDRINUSE, "another server of this process has that name")
    _listeners[name] = (asyncio.get_running_loop(), owner)

    def close() -> None:
        _listeners.pop(name, None)

    return Listener(endpoint, close)


_Connect = Callable[[Endpoint, ClientLink, ssl.SSLContext | None, Any], Awaitable[None]]
_Listen = Callable[[Endpoint, Callable[[], Owner], ssl.SSLContext | None, Any], Awaitable[Listener]]

_CONNECT: dict[str, _Connect] = {
    **dict.fromkeys(("tcp", "tls", "rtu+tcp", "ascii+tcp"), _connect_stream),
    **dict.fromkeys(("rtu", "ascii"), _connect_serial),
    "udp": _connect_datagrams,
    "memory": _connect_memory,
}
_LISTEN: dict[str, _Listen] = {
    **dict.fromkeys(("tcp", "tls", "rtu+tcp", "ascii+tcp"), _listen_stream),
    **dict.fromkeys(("rtu", "ascii"), _listen_serial),
    "udp": _listen_datagrams,
    "memory": _listen_memory,
}


# -- what is said when it fails


def _advice(endpoint: Endpoint, error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return _reason(error)
    if error.errno == errno.EADDRINUSE and endpoint.scheme != "memory":
        return "the port is taken: stop the program that has it, or take another port (:0 asks for a free one)"
    if error.errno == errno.EACCES and not endpoint.is_serial:
        return (
            f"this user may not open port {endpoint.port}: ports below 1024 are privileged, "
            "take another one such as 5020, or give the program the right to"
        )
    return _reason(error)


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return f"the name cannot be one ({error})"
    if isinstance(error, socket.gaierror):
        return f"the name is not known ({error.strerror})"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: is the server running, and is this its port?"
    return error.strerror or str(error) or type(error).__name__


def _ignore(_transaction: int, _pdu: bytes) -> None:
    """Before `handle()` and after `close()` nobody listens."""


def _ignore_loss(_cause: Exception | None) -> None:
    """The loss is told once."""
