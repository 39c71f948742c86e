"""asyncio transports: connections that are made, and doors that listen."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from msm.errors import BindError, ConnectError, ProtocolError
from msm.wire.endpoint import Endpoint
from msm.wire.framing import MbapFramer, frame
from msm.wire.lookup import Address, first_of, look_up

ReplyHandler = Callable[[int, bytes], None]
LostHandler = Callable[[Exception | None], None]


class ClientLink(asyncio.BufferedProtocol):
    """A client's connection: requests out, replies in, matched by transaction and unit.

    A reply that nobody waits for (late, foreign, doubled) is counted in `strays` and dropped.
    """

    #: What a request costs by itself, and what one more word in its reply costs, in seconds: over TCP the way
    #: there and back is nearly all of it.
    cost = (0.001, 0.000_002)

    def __init__(self) -> None:
        self.strays = 0
        self._framer = MbapFramer()
        self._transport: asyncio.Transport | None = None
        self._transaction = 0
        self._awaited: dict[int, int] = {}
        self._on_reply: ReplyHandler = _ignore
        self._on_lost: LostHandler = _ignore_loss

    def handle(self, on_reply: ReplyHandler, on_lost: LostHandler) -> None:
        """Who gets (transaction, pdu) of each reply, and who hears that the connection is gone."""
        self._on_reply = on_reply
        self._on_lost = on_lost

    def send(self, unit: int, pdu: bytes) -> int:
        """Send a request; returns its transaction id."""
        assert self._transport is not None
        self._transaction = self._transaction % 0xFFFF + 1
        self._awaited[self._transaction] = unit
        self._transport.write(frame(self._transaction, unit, pdu))
        return self._transaction

    def forget(self, transaction: int) -> None:
        """No longer wait for this reply: if it comes late, it is dropped."""
        self._awaited.pop(transaction, None)

    def close(self) -> None:
        """Close at once; nothing that is unsent matters any more."""
        self._on_reply = _ignore
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._framer.space()

    def buffer_updated(self, nbytes: int) -> None:
        for transaction, unit, pdu in self._framer.advance(nbytes):
            if self._awaited.get(transaction) == unit:
                del self._awaited[transaction]
                self._on_reply(transaction, pdu)
            else:
                self.strays += 1
        if self._framer.error:
            self._lost(ProtocolError(f"the device sent what is not Modbus: {self._framer.error}"))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(exc)

    def _lost(self, cause: Exception | None) -> None:
        on_lost, self._on_lost = self._on_lost, _ignore_loss
        on_lost(cause)


async def connect(endpoint: Endpoint, timeout: float) -> ClientLink:
    """Connect to a device.

    :param timeout: seconds for name look-up and connection together.
    :raises ConnectError: nobody there.
    """
    loop = asyncio.get_running_loop()

    async def open_link(address: Address) -> ClientLink:
        family, place = address
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, place)
            return (await loop.create_connection(ClientLink, sock=sock))[1]
        except BaseException:
            sock.close()
            raise

    try:
        async with asyncio.timeout(timeout):
            link = await first_of(await look_up(endpoint.host, endpoint.port), open_link)
    except TimeoutError:
        raise ConnectError(f"{endpoint}: no connection within {timeout} s; is the address right?") from None
    except (OSError, UnicodeError) as error:
        raise ConnectError(f"{endpoint}: {_reason(error)}") from error
    return link


async def listen(
    endpoint: Endpoint, protocol: Callable[[], asyncio.BaseProtocol]
) -> tuple[list[asyncio.Server], Endpoint]:
    """Listen at an endpoint; returns the listeners and the endpoint with the port that was really bound.

    :raises BindError: it says what to do.
    """
    loop = asyncio.get_running_loop()
    sockets: list[socket.socket] = []
    port = endpoint.port
    try:
        addresses = await look_up(endpoint.host, port, passive=True)
        # "localhost" is 127.0.0.1 and ::1: a client may try either, so both listen, at the same port.
        for family, address in sorted(addresses, key=lambda each: each[0] != socket.AF_INET):
            sock = _bind(family, (address[0], port, *address[2:]))
            if sock is not None:
                sockets.append(sock)
                port = sock.getsockname()[1]
        if not sockets:
            raise OSError(errno.EADDRNOTAVAIL, "this machine does not have that address")
        listeners = [await loop.create_server(protocol, sock=sock) for sock in sockets]
    except (OSError, UnicodeError) as error:
        for sock in sockets:
            sock.close()
        raise BindError(f"{endpoint}: cannot listen, {_advice(endpoint, error)}") from error
    return listeners, endpoint.at_port(port)


def _bind(family: int, address: tuple[object, ...]) -> socket.socket | None:
    """A listening socket, or None where this machine does not have that kind of address."""
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        return None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(128)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRNOTAVAIL:
            return None
        raise
    return sock


def _advice(endpoint: Endpoint, error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return _reason(error)
    if error.errno == errno.EADDRINUSE:
        return "the port is taken: stop the program that has it, or take another port (:0 asks for a free one)"
    if error.errno == errno.EACCES:
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
