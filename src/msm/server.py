"""The server engine: request, image, reply."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TypeAlias, Unpack

import anyio

from msm.errors import AddressError, BindError, LinkError, StateError
from msm.keywords import ServerKeywords, ServerSettings, by_unit, check_wait
from msm.memory.image import Image, TableName
from msm.memory.store import MemoryStore, image_of
from msm.wire import pdu
from msm.wire.endpoint import Endpoint
from msm.wire.framing import MbapFramer, frame
from msm.wire.link import listen

log = logging.getLogger("msm.server")

Reply: TypeAlias = bytes | asyncio.Future[bytes]

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
        self._units = {
            unit: Servant(image_of(store), write_through=self.settings.write_through)
            for unit, store in by_unit(stores, self.settings.unit).items()
        }
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

    def answer(self, unit: int, request: bytes) -> Reply | None:
        """The reply to a request, now or later; or nothing where the unit is not ours to answer."""
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

    def __init__(self, image: Image, *, write_through: bool = False) -> None:
        self._image = image
        self._write_through = write_through
        self._functions: dict[int, Callable[[bytes], Reply]] = {}
        # A device without a table does not have the functions for it either.
        if image.tables["coil"].size:
            self._functions |= {
                pdu.READ_COILS: self._reader("coil", pdu.MAX_READ_BITS),
                pdu.WRITE_SINGLE_COIL: self._write_coil,
                pdu.WRITE_MULTIPLE_COILS: self._write_coils,
            }
        if image.tables["discrete"].size:
            self._functions[pdu.READ_DISCRETE_INPUTS] = self._reader("discrete", pdu.MAX_READ_BITS)
        if image.tables["input"].size:
            self._functions[pdu.READ_INPUT_REGISTERS] = self._reader("input", pdu.MAX_READ_WORDS)
        if image.tables["holding"].size:
            self._functions |= {
                pdu.READ_HOLDING_REGISTERS: self._reader("holding", pdu.MAX_READ_WORDS),
                pdu.WRITE_SINGLE_REGISTER: self._write_word,
                pdu.WRITE_MULTIPLE_REGISTERS: self._write_words,
                pdu.MASK_WRITE_REGISTER: self._mask_write,
                pdu.READ_WRITE_MULTIPLE_REGISTERS: self._read_write,
            }

    def answer(self, request: bytes) -> Reply:
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

    def _reader(self, table: TableName, most: int) -> Callable[[bytes], bytes]:
        def read(request: bytes) -> bytes:
            address, count = pdu.parse_read(request, most)
            return self._cells(request[0], table, address, count)

        return read

    def _write_coil(self, request: bytes) -> Reply:
        return self._write(request, "coil", pdu.parse_write_coil(request), lambda: request)

    def _write_coils(self, request: bytes) -> Reply:
        return self._write(request, "coil", pdu.parse_write_coils(request), lambda: request[:5])

    def _write_word(self, request: bytes) -> Reply:
        return self._write(request, "holding", pdu.parse_write_word(request), lambda: request)

    def _write_words(self, request: bytes) -> Reply:
        return self._write(request, "holding", pdu.parse_write_words(request), lambda: request[:5])

    def _mask_write(self, request: bytes) -> Reply:
        address, and_mask, or_mask = pdu.parse_mask_write(request)

        def change(old: bytes) -> bytes:
            word = int.from_bytes(old, "big")
            return (word & and_mask | or_mask & ~and_mask).to_bytes(2, "big")

        return self._accept(request, "holding", address, 1, change, lambda: request, mask=~and_mask & 0xFFFF)

    def _read_write(self, request: bytes) -> Reply:
        address, count, write = pdu.parse_read_write(request)
        self._image.tables["holding"].check(address, count)
        return self._write(request, "holding", write, lambda: self._cells(request[0], "holding", address, count))

    def _cells(self, function: int, table: TableName, address: int, count: int) -> bytes:
        self._image.tables[table].check(address, count)
        cells = self._image.read(table, address, count)
        return bytes((function, len(cells))) + cells

    def _write(self, request: bytes, table: TableName, write: pdu.CellsWrite, reply: Callable[[], bytes]) -> Reply:
        address, count, data = write
        return self._accept(request, table, address, count, lambda _old: data, reply)

    def _accept(
        self,
        request: bytes,
        table: TableName,
        address: int,
        count: int,
        change: Callable[[bytes], bytes],
        reply: Callable[[], bytes],
        mask: int | None = None,
    ) -> Reply:
        self._image.tables[table].check(address, count)
        if not self._write_through:
            self._image.accept(table, address, count, change, mask)
            return reply()
        fates = _Fates(request[0], reply)
        fates.expect(self._image.accept(table, address, count, change, mask, fates.tell))
        return fates.reply


class _Fates:
    """Collects what became of a write at the devices behind a gateway; then there is a reply."""

    def __init__(self, function: int, reply: Callable[[], bytes]) -> None:
        self._loop = asyncio.get_running_loop()
        self.reply: asyncio.Future[bytes] = self._loop.create_future()
        self._function = function
        self._make = reply
        self._missing = 0

    def expect(self, number: int) -> None:
        """So many devices will answer."""
        self._missing += number
        self._close_if_done()

    def tell(self, fate: str, _cause: str, code: int) -> None:
        """One has; called in whatever thread."""
        try:
            self._loop.call_soon_threadsafe(self._tell, fate, code)
        except RuntimeError:
            # The server's loop has ended meanwhile, and with it whoever asked. That is not the client's trouble.
            log.debug("a device answered after the server had ended")

    def _tell(self, fate: str, code: int) -> None:
        self._missing -= 1
        if fate not in ("acknowledged", "superseded") and not self.reply.done():
            refused = code if fate == "rejected" and code else pdu.GATEWAY_TARGET_FAILED
            self.reply.set_result(pdu.refusal(self._function, refused))
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._missing == 0 and not self.reply.done():
            self.reply.set_result(self._make())


class _Peer(asyncio.BufferedProtocol):
    """One connected client."""

    def __init__(self, server: AsyncModbusServer) -> None:
        self.gone = asyncio.Event()
        self._server = server
        self._framer = MbapFramer()
        self._transport: asyncio.Transport | None = None
        self._name = "a client"
        self._later: deque[tuple[int, int, Reply]] = deque()

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
            if reply is None:
                continue
            if isinstance(reply, bytes) and not self._later:
                replies.append(frame(transaction, unit, reply))
            else:
                self._answer_later(transaction, unit, reply)
        if replies:
            self._transport.write(b"".join(replies))
        if self._framer.error:
            log.warning("%s: closed the connection of %s: %s", self._server.endpoint, self._name, self._framer.error)
            self._transport.close()

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
                reply = reply.result()
            replies.append(frame(transaction, unit, reply))
            self._later.popleft()
        if replies and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(replies))

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
