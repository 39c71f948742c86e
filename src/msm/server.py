"""The server engine: who may ask, and who is answered by whom."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self, Unpack

import anyio

from msm.beside import answers
from msm.diagnostics import Diagnostics
from msm.errors import BindError, DeclarationError, LinkError, StateError
from msm.express import Express
from msm.keywords import ServerKeywords, ServerSettings, by_unit, check_wait
from msm.memory.store import MemoryStore, image_of
from msm.peer import Peer
from msm.reporting import Reporter, guarded
from msm.roles import Roles, permitted
from msm.servant import Reply, Servant
from msm.wire import pdu
from msm.wire.certificate import need_cryptography, role_of
from msm.wire.endpoint import Endpoint
from msm.wire.listening import Listener, listen
from msm.wire.other_pdu import WRITE_FILE_RECORD
from msm.wire.serial_framing import AsciiFramer, RtuFramer

log = logging.getLogger("msm.server")

DEFAULT_ENDPOINT = "tcp://localhost:502"
ALSO_OWN_UNITS = (0, 255)  # over TCP the address of a device is its IP address (TCP guide V1.0b, section 4.4.2.1)
BROADCAST = 0  # on a serial line (serial line V1.02, section 2.2)
LOCAL = ("localhost", "127.0.0.1", "::1")
EARLY = 0.25  # seconds before its deadline that a connection is closed: it must not be late


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

    _peer_type: type[Peer] = Peer

    def __init__(
        self,
        stores: MemoryStore | Mapping[int, MemoryStore],
        endpoint: str = DEFAULT_ENDPOINT,
        **keywords: Unpack[ServerKeywords],
    ) -> None:
        self.settings = ServerSettings(**keywords)
        self._endpoint = Endpoint.parse(endpoint)
        self._roles = self._check_roles()
        self._diagnostics: dict[Servant, Diagnostics] = {}
        self._past = (0, 0)
        self._peers: dict[Peer, None] = {}  # in their order
        self._units = {unit: self._servant(unit, store) for unit, store in by_unit(stores, self.settings.unit).items()}
        self._fallback = self._choose_fallback(isinstance(stores, MemoryStore) and not self._endpoint.is_serial)
        self.report = Reporter(log, str(self._endpoint))
        self.trace = guarded(self.settings.trace, log)
        self.express = self._express(stores)
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._stopped = False

    def _servant(self, unit: int, store: MemoryStore) -> Servant:
        settings = self.settings
        functions = settings.functions_of(unit)
        answered = answers(functions)
        diagnostics = Diagnostics(self._heard, functions.diagnostic_register) if functions.diagnostics else None
        if diagnostics is not None:
            answered |= diagnostics.answers()
        servant = Servant(
            unit,
            image_of(store),
            write_through=settings.write_through,
            before_write=settings.before_write,
            writable=settings.writable,
            functions=answered,
        )
        if diagnostics is not None:
            self._diagnostics[servant] = diagnostics
        return servant

    def _express(self, stores: MemoryStore | Mapping[int, MemoryStore]) -> Express | None:
        """Answers what needs nobody's leave, where there is such a thing."""
        settings = self.settings
        heard = settings.trace or settings.roles or settings.before_write or settings.write_through
        if heard or settings.writable is not None or self._diagnostics:
            return None
        images = {unit: image_of(store) for unit, store in by_unit(stores, settings.unit).items()}
        own = next(iter(images.values()))
        more = {unit: own for unit in range(256) if self._fallback(unit) is not None}
        return Express({**more, **images}, settings.max_in_flight)

    def _check_roles(self) -> Roles | None:
        """Roles are in the certificates of clients: so there must be some."""
        roles, tls, endpoint = self.settings.roles, self.settings.tls, self._endpoint
        if roles is None:
            return None
        if endpoint.scheme != "tls":
            raise DeclarationError(f"roles= needs a tls endpoint, and {endpoint} is none: roles are in certificates")
        if "ca" not in endpoint.files if tls is None else tls.verify_mode is not ssl.CERT_REQUIRED:
            raise DeclarationError(
                "roles= needs clients to show a certificate: give ca= in the endpoint, or a context with CERT_REQUIRED"
            )
        need_cryptography()
        return roles

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
        self._stop = asyncio.Event()  # an earlier start that was given up may have been in another event loop
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

    async def abandon(self) -> None:
        """Undo a start that nobody waits for any more: it may be started again."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

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
            listener = await listen(
                self._endpoint, lambda: self._peer_type(self), tls=self.settings.tls, rs485=self.settings.rs485
            )
        except Exception as error:  # noqa: BLE001 - told to whoever waits for the start
            if not bound.done():
                bound.set_exception(error)
            return
        self._endpoint = listener.endpoint
        if not bound.done():
            bound.set_result(None)
        self._tell_where()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._watch_peers)
                await self._stop.wait()
                group.cancel_scope.cancel()
        finally:
            await self._close(listener)

    def _tell_where(self) -> None:
        log.info("%s: serving unit %s", self.endpoint, ", ".join(map(str, self._units)))
        if self._endpoint.host and self._endpoint.host not in LOCAL and not self.settings.allow:
            log.warning("%s: open to everybody who can reach this machine; allow= limits it", self.endpoint)

    async def _watch_peers(self) -> None:
        """Deadlines of frames, of idle connections and of what is not taken.

        It sleeps until one may be over: of those that begin meanwhile, none ends sooner than the shortest takes.
        """
        loop = asyncio.get_running_loop()
        settings = self.settings
        shortest = min(settings.frame_deadline, settings.unsent_deadline, settings.idle_timeout)
        early = min(EARLY, shortest / 8)
        while True:
            now = loop.time() + early
            due = now + shortest
            for peer in list(self._peers):
                overdue = peer.overdue(now)
                if overdue:
                    self.report.say(logging.WARNING, overdue, "closed the connection of %s: %s", peer.name, overdue)
                    peer.abort()
                else:
                    due = min(due, peer.due)
            await asyncio.sleep(max(due - now, early))

    async def _close(self, listener: Listener) -> None:
        listener.close()
        with anyio.move_on_after(self.settings.linger, shield=True):
            while busy := [peer for peer in self._peers if peer.busy and not peer.leaving]:
                await busy[0].idle.wait()
        for servant in self._units.values():
            servant.give_up()
        for peer in list(self._peers):
            peer.close()
        with anyio.move_on_after(self.settings.linger, shield=True):
            while self._peers:
                await next(iter(self._peers)).gone.wait()
        for peer in list(self._peers):
            peer.abort()
        with anyio.move_on_after(1.0, shield=True):
            while self._peers:
                await next(iter(self._peers)).gone.wait()

    # -- for the peers

    def joined(self, peer: Peer) -> bool:
        """A client has connected. Tells whether it may stay."""
        settings = self.settings
        if settings.allow and peer.address and not settings.allows(peer.address):
            self.report.say(logging.WARNING, "not allowed", "refused %s: it is in none of allow=", peer.address)
            return False
        if not peer.is_line:
            others = list(self._peers)
            same = [other for other in others if other.address == peer.address]
            if len(same) >= settings.max_connections_per_address:
                self._give_way(same, f"{settings.max_connections_per_address} connections from {peer.address}")
            elif len(others) >= settings.max_connections:
                self._give_way(others, f"{settings.max_connections} connections")
        if self._roles is not None:
            try:
                peer.role = role_of(peer.certificate or b"")
            except ValueError as error:
                self.report.say(logging.WARNING, "role", "refused %s: its certificate: %s", peer.address, error)
                return False
        self._peers[peer] = None
        return True

    def _give_way(self, peers: list[Peer], why: str) -> None:
        """Make room: who never finished a request goes first, then who has been idle longest."""
        victim = min(peers, key=lambda peer: peer.merit)
        self.report.say(logging.WARNING, "full", "%s: closed the idle connection of %s", why, victim.name)
        victim.abort()

    def left(self, peer: Peer) -> None:
        """A client is gone."""
        if peer in self._peers:
            self._past = self._heard_by([peer]) or self._past
            self._peers.pop(peer, None)

    def _heard(self) -> tuple[int, int] | None:
        """Sound messages and broken ones, of all serial framings since the start; None where there are none."""
        return self._heard_by(self._peers)

    def _heard_by(self, peers: Iterable[Peer]) -> tuple[int, int] | None:
        if self._endpoint.has_transactions:
            return None
        framers = [peer.framer for peer in peers if isinstance(peer.framer, RtuFramer | AsciiFramer)]
        messages, errors = self._past
        return messages + sum(each.heard for each in framers), errors + sum(each.errors for each in framers)

    def answer(self, unit: int, request: bytes, peer: Peer, *, busy: bool = False) -> Reply | None:
        """The reply to a request, now or later; or nothing where the unit is not ours to answer.

        :param busy: there is no time for it: it is refused by exception 06.
        """
        if peer.is_line:
            return self._answer_on_line(unit, request, peer, busy=busy)
        servant = self._units.get(unit) or self._fallback(unit)
        if servant is not None:
            roles = self._roles
            if roles is not None and not permitted(roles, peer.role, unit, request[0], pdu.spans(request)):
                return pdu.refusal(request[0], pdu.ILLEGAL_FUNCTION)
            return self._attend(servant, request, peer, busy=busy)
        if self.settings.unknown_unit == "silent":
            return None
        return pdu.refusal(request[0], pdu.GATEWAY_TARGET_FAILED)

    def _attend(
        self, servant: Servant, request: bytes, peer: Peer, *, busy: bool = False, broadcast: bool = False
    ) -> Reply | None:
        answer = _refuse_as_busy if busy else servant.answer
        diagnostics = self._diagnostics.get(servant) if self._diagnostics else None
        if diagnostics is None:
            return answer(request)
        return diagnostics.attend(request, answer, peer.framer, broadcast=broadcast)

    def _answer_on_line(self, unit: int, request: bytes, peer: Peer, *, busy: bool) -> Reply | None:
        """On a serial line others answer for their units, and nobody answers a broadcast."""
        if unit == BROADCAST:
            for servant in self._units.values():
                if request[0] in (*pdu.WRITES, WRITE_FILE_RECORD):
                    self._attend(servant, request, peer, busy=busy, broadcast=True)
                elif (diagnostics := self._diagnostics.get(servant)) is not None:
                    diagnostics.ignored()
            return None
        own = self._units.get(unit)
        return None if own is None else self._attend(own, request, peer, busy=busy)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint}, {len(self._peers)} connections>"


def _refuse_as_busy(request: bytes) -> bytes:
    return pdu.refusal(request[0], pdu.SERVER_DEVICE_BUSY)
