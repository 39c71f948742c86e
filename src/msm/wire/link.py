"""A client's end of a connection, whatever the transport."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from msm.errors import ConnectError, ProtocolError
from msm.wire import in_memory
from msm.wire.channel import Channel, LineChannel, Owner, StreamChannel, channel_for
from msm.wire.clock import clock_of
from msm.wire.datagrams import DatagramChannel, Datagrams
from msm.wire.endpoint import Endpoint, tls_context
from msm.wire.framing import Frame, MbapFramer, Message, frame
from msm.wire.lookup import Address, first_of, look_up

ReplyHandler = Callable[[int, bytes], None]
LostHandler = Callable[[Exception | None], None]
Trace = Callable[[Message], object]


class ClientLink:
    """A client's end of a channel: requests out, replies in, matched by transaction and unit.

    A reply that nobody waits for (late, foreign, doubled) is counted in `strays` and dropped. On a serial line there
    are no transactions: one request is out at a time, and after one that was not answered the line has to be quiet.
    """

    def __init__(self, endpoint: Endpoint, timeout: float = 1.0, trace: Trace | None = None) -> None:
        self.strays = 0
        self._trace = trace
        self._timeout = timeout
        self._endpoint = endpoint
        self._has_transactions = endpoint.has_transactions
        self._channel: Channel | None = None
        self.transaction = 0
        """The number of the last request."""
        self.time = clock_of(asyncio.get_running_loop())
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
        return 16 if self._has_transactions else 1

    @property
    def may_be_half_open(self) -> bool:
        """Can only a new connection tell whether the other end is still there?

        Not a serial port: that it is unplugged is seen. To open it anew helps nobody, and the change of its DTR line
        starts some devices anew.
        """
        return not self._endpoint.is_serial

    def free_at(self) -> float:
        """When the next request may be sent, by the loop's clock: a serial line has to be silent in between."""
        if self._has_transactions or not isinstance(self._channel, LineChannel):
            return 0.0
        gap = self._endpoint.line.frame_gap if self._endpoint.is_serial else 0.0
        if self._unanswered:
            # The reply may still come. It must not be taken for the next one's: it has as long again to do so.
            return max(self._channel.heard_at + gap, self._quiet_since + self._timeout)
        return max(self._channel.heard_at, self._quiet_since) + gap

    @property
    def has_express(self) -> bool:
        """May somebody look at what is received before it is put into frames? Not where somebody else is told."""
        return isinstance(self._channel, StreamChannel) and self._trace is None

    @property
    def stream(self) -> StreamChannel:
        """The channel, where it `has_express`. What is sent past this link nobody waits for here: see `expect()`."""
        assert isinstance(self._channel, StreamChannel)
        return self._channel

    def expect(self, transaction: int, unit: int) -> None:
        """Wait for the reply to a request that was sent as bytes."""
        self._awaited[transaction] = unit

    def handle(self, on_reply: ReplyHandler, on_lost: LostHandler) -> None:
        """Who gets (transaction, pdu) of each reply, and who hears that the connection is gone."""
        self._on_reply = on_reply
        self._on_lost = on_lost

    def send(self, unit: int, pdu: bytes) -> int:
        """Send a request; returns its transaction id."""
        assert self._channel is not None
        self.transaction = self.transaction % 0xFFFF + 1
        framer = self._channel.framer
        encode = frame if isinstance(framer, MbapFramer) else framer.encode
        data = encode(self.transaction, unit, pdu)
        self._awaited[self.transaction] = unit
        self._unanswered = False
        if self._trace is not None:
            self._tell(request=True, transaction=self.transaction, unit=unit, pdu=pdu)
        self._channel.send(data)
        return self.transaction

    def _tell(self, *, request: bool, transaction: int, unit: int, pdu: bytes) -> None:
        assert self._trace is not None
        self._trace(Message(self.time(), request, transaction, unit, pdu))

    def forget(self, transaction: int) -> None:
        """No longer wait for this reply: if it comes late, it is dropped."""
        self._awaited.pop(transaction, None)
        self._unanswered = True
        self._quiet_since = self.time()

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
            if not self._has_transactions:
                number = next(iter(self._awaited), 0)
            if self._trace is not None:
                self._tell(request=False, transaction=number, unit=unit, pdu=pdu)
            if self._awaited.get(number) == unit and pdu:
                del self._awaited[number]
                self._on_reply(number, pdu)
            else:
                self.strays += 1
                self._unanswered = False  # it was the late one

    def begun(self) -> None:
        """A reply has begun: the time of its transaction goes on."""

    def ended(self) -> bool:
        """The device will not answer any more."""
        return False

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


async def connect(
    endpoint: Endpoint,
    timeout: float,
    *,
    tls: ssl.SSLContext | None = None,
    rs485: Any = None,
    trace: Trace | None = None,
) -> ClientLink:
    """Connect to a device.

    :param timeout: seconds for name look-up, connection and handshake together.
    :param trace: called with each message.
    :raises ConnectError: nobody there.
    """
    link = ClientLink(endpoint, timeout, trace)
    await open_channel(endpoint, link, timeout, tls=tls, rs485=rs485)
    return link


async def open_channel(
    endpoint: Endpoint, owner: Owner, timeout: float, *, tls: ssl.SSLContext | None = None, rs485: Any = None
) -> None:
    """Open a channel to an endpoint; its owner is told when it is made.

    :param timeout: seconds for name look-up, connection and handshake together.
    :raises ConnectError: nobody there.
    """
    try:
        async with asyncio.timeout(timeout):
            await _CONNECT[endpoint.scheme](endpoint, owner, tls, rs485)
    except TimeoutError:
        raise ConnectError(f"{endpoint}: no connection within {timeout} s; is the address right?") from None
    except ssl.SSLError as error:
        raise ConnectError(f"{endpoint}: the TLS handshake failed, {error.reason or error}") from error
    except (OSError, UnicodeError) as error:
        raise ConnectError(f"{endpoint}: {reason(error)}") from error
    except ValueError as error:  # a certificate that is being renewed, a path that cannot be one
        raise ConnectError(f"{endpoint}: {error}") from error


async def _connect_stream(endpoint: Endpoint, owner: Owner, tls: ssl.SSLContext | None, _rs485: Any) -> None:
    loop = asyncio.get_running_loop()
    secure: dict[str, Any] = {}
    if endpoint.scheme == "tls":
        secure = {"ssl": tls_context(endpoint, tls, server=False), "server_hostname": endpoint.host}

    async def open_one(address: Address) -> socket.socket:
        family, place = address
        # asyncio switches Nagle's algorithm off, but only where it is told that this is TCP.
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, place)
        except BaseException:
            sock.close()
            raise
        return sock

    sock = await first_of(await look_up(endpoint.host, endpoint.port), open_one, socket.socket.close)
    try:
        await loop.create_connection(lambda: channel_for(endpoint, owner, server=False, sock=sock), sock=sock, **secure)
    except BaseException:
        sock.close()
        raise


async def _connect_datagrams(endpoint: Endpoint, owner: Owner, _tls: object, _rs485: object) -> None:
    loop = asyncio.get_running_loop()
    (_family, place), *_ = await look_up(endpoint.host, endpoint.port)
    transport, datagrams = await loop.create_datagram_endpoint(lambda: Datagrams(lambda: owner), remote_addr=place[:2])
    datagrams.only = DatagramChannel(owner, transport, None, transport.abort)


async def _connect_serial(endpoint: Endpoint, owner: Owner, _tls: object, rs485: Any) -> None:
    from msm.wire.serial_port import open_port  # noqa: PLC0415 - pyserial is loaded when it is needed

    await open_port(endpoint, lambda: line_for(endpoint, owner, server=False), rs485)


def line_for(endpoint: Endpoint, owner: Owner, *, server: bool) -> LineChannel:
    """The channel that a serial endpoint needs."""
    channel = channel_for(endpoint, owner, server=server)
    assert isinstance(channel, LineChannel)
    return channel


async def _connect_memory(endpoint: Endpoint, owner: Owner, _tls: object, _rs485: object) -> None:
    in_memory.join(endpoint.path, owner)


_Connect = Callable[[Endpoint, Owner, ssl.SSLContext | None, Any], Awaitable[None]]

_CONNECT: dict[str, _Connect] = {
    **dict.fromkeys(("tcp", "tls", "rtu+tcp", "ascii+tcp"), _connect_stream),
    **dict.fromkeys(("rtu", "ascii"), _connect_serial),
    "udp": _connect_datagrams,
    "memory": _connect_memory,
}


def reason(error: OSError | UnicodeError) -> str:
    """Why it failed, in words."""
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
