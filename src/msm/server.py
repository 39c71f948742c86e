"""The server engine: request, image, reply."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, Unpack

import anyio

from msm.errors import AddressError, BindError, DeclarationError, LinkError, StateError
from msm.keywords import ServerKeywords, ServerSettings, check_wait
from msm.memory.image import Image
from msm.memory.store import MemoryStore, image_of
from msm.wire import pdu
from msm.wire.endpoint import Endpoint
from msm.wire.framing import MbapFramer, frame
from msm.wire.link import listen

log = logging.getLogger("msm.server")

DEFAULT_ENDPOINT = "tcp://localhost:502"
ALSO_OWN_UNITS = (0, 255)  # over TCP the address of a device is its IP address (TCP guide V1.0b, section 4.4.2.1)


class AsyncModbusServer:
    """Serves memory to Modbus clients.

    :param stores: the memory to serve, or a store for each unit: ``{1: mem_a, 2: mem_b}``.
    :param endpoint: where to listen, e.g. "tcp://localhost:5020"; port 0 asks for any free port.
    :param keywords: see `ServerSettings`.
    :raises DeclarationError: the endpoint, a store or a keyword cannot be as it is.

    ::

        async with AsyncModbusServer(mem, "tcp://localhost:0") as server:
            print(server.endpoint)
    """

    def __init__(
        self,
        stores: MemoryStore | Mapping[int, MemoryStore],
        endpoint: str = DEFAULT_ENDPOINT,
        **keywords: Unpack[ServerKeywords],
    ) -> None:
        self.settings = ServerSettings(**keywords)
        self._endpoint = Endpoint.parse(endpoint)
        self._units = {unit: Servant(image_of(store)) for unit, store in by_unit(stores, self.settings.unit).items()}
        self._fallback = self._choose_fallback(isinstance(stores, MemoryStore))
        self._peers: set[_Peer] = set()
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._stopped = False

    def _choose_fallback(self, single: bool) -> Callable[[int], Servant | None]:
        own = next(iter(self._units.values()))
        accept = self.settings.unknown_unit == "accept"

        def fallback(unit: int) -> Servant | None:
            return own if accept or (single and unit in ALSO_OWN_UNITS) else None

        return fallback

    @property
    def endpoint(self) -> str:
        """Where the server listens: once it is started, with the port that was really bound."""
        return str(self._endpoint)

    async def start(self, wait: float = 5.0) -> None:
        """Listen; the server is bound when this returns.

        :param wait: seconds that looking up the address may take.
        :raises BindError: it cannot listen there; the message says what to do.
        :raises StateError: it was started before.
        """
        wait = check_wait("wait", wait)
        if self._task is not None or self._stopped:
            raise StateError(f"{self.endpoint}: a server runs once, make a new one")
        bound: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._serve(bound), name=f"msm server {self.endpoint}")
        try:
            async with asyncio.timeout(wait or None):
                await bound
        except BaseException as error:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.wait([task])
            if isinstance(error, TimeoutError) and not isinstance(error, LinkError):
                raise BindError(f"{self.endpoint}: the address could not be looked up within {wait:g} s") from None
            raise

    async def stop(self) -> None:
        """Stop listening, send the replies under way for at most `linger` seconds, and close. Idempotent."""
        self._stopped = True
        self._stop.set()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the server has stopped."""
        if self._task is not None:
            await asyncio.wait([self._task])

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

    async def _serve(self, bound: asyncio.Future[None]) -> None:
        try:
            listeners, self._endpoint = await listen(self._endpoint, lambda: _Peer(self))
        except Exception as error:  # noqa: BLE001 - told to whoever waits for the start
            if not bound.done():
                bound.set_exception(error)
            return
        if not bound.done():
            bound.set_result(None)
        log.info("%s: serving unit %s", self.endpoint, ", ".join(map(str, self._units)))
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._stop.wait)
        finally:
            for listener in listeners:
                listener.close()
            await self._close_peers()

    async def _close_peers(self) -> None:
        for peer in list(self._peers):
            peer.close()
        with anyio.move_on_after(self.settings.linger, shield=True):
            while self._peers:
                await next(iter(self._peers)).gone.wait()
        for peer in list(self._peers):
            peer.abort()
        with anyio.CancelScope(shield=True):
            while self._peers:
                await next(iter(self._peers)).gone.wait()

    # -- for the peers

    def joined(self, peer: _Peer) -> None:
        """A client has connected."""
        self._peers.add(peer)

    def left(self, peer: _Peer) -> None:
        """A client is gone."""
        self._peers.discard(peer)

    def answer(self, unit: int, request: bytes) -> bytes | None:
        """The reply to a request, or nothing where the unit is not ours to answer."""
        servant = self._units.get(unit) or self._fallback(unit)
        if servant is not None:
            return servant.answer(request)
        if self.settings.unknown_unit == "silent":
            return None
        return pdu.refusal(request[0], pdu.GATEWAY_TARGET_FAILED)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint}, {len(self._peers)} connections>"


class Servant:
    """Answers the requests for one memory, with the checks of the specification in its order.

    Function (01), then quantity, byte count and size (03), then address (02); a refused request has changed
    nothing (application protocol V1.1b3, section 4.5 and the state diagrams of section 6).
    """

    def __init__(self, image: Image) -> None:
        self._image = image
        self._functions: dict[int, Callable[[bytes], bytes]] = {
            pdu.READ_HOLDING_REGISTERS: self._read_words,
            pdu.WRITE_SINGLE_REGISTER: self._write_word,
            pdu.WRITE_MULTIPLE_REGISTERS: self._write_words,
            pdu.MASK_WRITE_REGISTER: self._mask_write,
            pdu.READ_WRITE_MULTIPLE_REGISTERS: self._read_write,
        }

    def answer(self, request: bytes) -> bytes:
        """The reply to a request; an exception reply where it is refused."""
        function = self._functions.get(request[0])
        if function is None:
            return pdu.refusal(request[0], pdu.ILLEGAL_FUNCTION)
        try:
            return function(request)
        except pdu.Refusal as refused:
            return pdu.refusal(request[0], refused.code)
        except AddressError:
            return pdu.refusal(request[0], pdu.ILLEGAL_DATA_ADDRESS)

    def _read_words(self, request: bytes) -> bytes:
        address, count = pdu.parse_read_words(request)
        return self._words(request[0], address, count)

    def _write_word(self, request: bytes) -> bytes:
        write = pdu.parse_write_word(request)
        self._write(write)
        return request

    def _write_words(self, request: bytes) -> bytes:
        write = pdu.parse_write_words(request)
        self._write(write)
        return request[:5]

    def _mask_write(self, request: bytes) -> bytes:
        address, and_mask, or_mask = pdu.parse_mask_write(request)
        self._image.tables["holding"].check(address)

        def change(old: bytes) -> bytes:
            word = int.from_bytes(old, "big")
            return (word & and_mask | or_mask & ~and_mask).to_bytes(2, "big")

        self._image.accept("holding", address, 1, change, mask=~and_mask & 0xFFFF)
        return request

    def _read_write(self, request: bytes) -> bytes:
        address, count, write = pdu.parse_read_write(request)
        self._image.tables["holding"].check(address, count)
        self._write(write)
        return self._words(request[0], address, count)

    def _words(self, function: int, address: int, count: int) -> bytes:
        self._image.tables["holding"].check(address, count)
        return bytes((function, 2 * count)) + self._image.read("holding", address, count)

    def _write(self, write: pdu.WordsWrite) -> None:
        address, words = write
        count = len(words) // 2
        self._image.tables["holding"].check(address, count)
        self._image.accept("holding", address, count, lambda _old: words)


class _Peer(asyncio.BufferedProtocol):
    """One connected client."""

    def __init__(self, server: AsyncModbusServer) -> None:
        self.gone = asyncio.Event()
        self._server = server
        self._framer = MbapFramer()
        self._transport: asyncio.Transport | None = None
        self._name = "a client"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._name = str(transport.get_extra_info("peername"))
        self._server.joined(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._framer.space()

    def buffer_updated(self, nbytes: int) -> None:
        assert self._transport is not None
        replies = []
        for transaction, unit, request in self._framer.advance(nbytes):
            reply = self._server.answer(unit, request)
            if reply is not None:
                replies.append(frame(transaction, unit, reply))
        if replies:
            self._transport.write(b"".join(replies))
        if self._framer.error:
            log.warning("%s: closed the connection of %s: %s", self._server.endpoint, self._name, self._framer.error)
            self._transport.close()

    def pause_writing(self) -> None:
        # A peer that does not take its replies gets no more of them: nothing is read from it meanwhile.
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        self._server.left(self)

    def close(self) -> None:
        """Send what is under way, then close."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()


def by_unit(stores: MemoryStore | Mapping[int, MemoryStore], unit: int) -> dict[int, MemoryStore]:
    """The store of each unit, whichever way they were given.

    :raises DeclarationError: there is none, something is not a store, or a unit is not 0 to 255.
    """
    units = dict(stores) if isinstance(stores, Mapping) else {unit: stores}
    if not units:
        raise DeclarationError("no store was given: pass a MemoryStore, or {1: mem_a, 2: mem_b}")
    for number, store in units.items():
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 255:
            raise DeclarationError(f"unit {number!r} is not a number from 0 to 255")
        if not isinstance(store, MemoryStore):
            raise DeclarationError(f"unit {number}: {store!r} is not a MemoryStore")
    return units
