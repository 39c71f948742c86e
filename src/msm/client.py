"""The client engine: performs what `exchange` decides, over one link."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self, Unpack

import anyio

from msm.calls import Calls
from msm.conversation import Conversation
from msm.errors import ConnectError, LinkTimeoutError, StateError, WriteError
from msm.exchange.conflict import Conflict
from msm.exchange.diagnosis import Facts, diagnose
from msm.exchange.ledger import Ledger, Totals
from msm.exchange.schedule import LinkState
from msm.exchange.stats import Stats
from msm.keywords import ClientKeywords, ClientSettings, by_unit, check_unit, check_wait
from msm.memory.store import MemoryStore
from msm.reporting import Reporter, guarded
from msm.unit import Unit
from msm.wire import pdu
from msm.wire.endpoint import Endpoint, tls_context
from msm.wire.link import ClientLink, connect

log = logging.getLogger("msm.client")

DEFAULT_ENDPOINT = "tcp://localhost:502"


class AsyncModbusClient(Calls):
    """Keeps a memory and a device the same.

    :param stores: the memory to exchange, or a store for each unit behind one link: ``{1: mem_a, 2: mem_b}``.
    :param endpoint: where the device is, e.g. "tcp://192.168.0.10:502".
    :param keywords: see `ClientSettings`.
    :raises DeclarationError: the endpoint, a store or a keyword cannot be as it is.

    ::

        async with AsyncModbusClient(mem, "tcp://plc:502") as client:
            mem.CONTROL_WORD = 25
            await client.flush()
    """

    def __init__(
        self,
        stores: MemoryStore | Mapping[int, MemoryStore],
        endpoint: str = DEFAULT_ENDPOINT,
        **keywords: Unpack[ClientKeywords],
    ) -> None:
        self.settings = ClientSettings(**keywords)
        self._endpoint = Endpoint.parse(endpoint)
        self._report = Reporter(log, str(self._endpoint))
        self._trace = guarded(self.settings.trace, log)
        self._loop: asyncio.AbstractEventLoop | None = None
        ring = weakref.WeakMethod(self._ring)
        self._units = {
            number: Unit(number, store, self.settings, ring)
            for number, store in by_unit(stores, self.settings.unit).items()
        }
        self._conversation = Conversation(self._units, str(self._endpoint), self.settings, self._report)
        self._single = next(iter(self._units.values())) if len(self._units) == 1 else None
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self._connections = 0
        self._connection_errors = 0
        #: The last conflicts, oldest first: both sides changed the same bits.
        self.conflicts: deque[Conflict] = self._conversation.conflicts

    # -- what it is, and how it does

    @property
    def endpoint(self) -> str:
        """Where the device is."""
        return str(self._endpoint)

    @property
    def state(self) -> LinkState:
        """Where it stands with the device; of several units, the best."""
        if self._closed:
            return LinkState.CLOSED
        states = [unit.state for unit in self._units.values()]
        for state in (LinkState.ONLINE, LinkState.CONNECTING):
            if state in states:
                return state
        return LinkState.OFFLINE

    @property
    def states(self) -> dict[int, LinkState]:
        """Where it stands with each unit."""
        return {number: LinkState.CLOSED if self._closed else unit.state for number, unit in self._units.items()}

    @property
    def stats(self) -> Stats:
        """What was done so far; over all units."""
        if self._single is not None:
            stats = self._single.device.stats
        else:
            stats = Stats.together(unit.device.stats for unit in self._units.values())
        stats.reconnects = max(0, self._connections - 1)
        if self._connection_errors:
            stats.errors["connection"] = self._connection_errors
        return stats

    @property
    def ledger(self) -> Ledger | Totals:
        """What became of every assignment; over all units."""
        if self._single is not None:
            return self._single.device.ledger
        return Totals([unit.device.ledger for unit in self._units.values()])

    def diagnose(self) -> str:
        """In plain words, what is wrong and what to try; or that all is well."""
        return "\n".join(
            diagnose(
                Facts(
                    endpoint=self.endpoint,
                    unit=number if len(self._units) > 1 else None,
                    state=LinkState.CLOSED if self._closed else unit.state,
                    trouble=unit.trouble or self._conversation.trouble,
                    connected=self._conversation.link is not None,
                    ever_connected=self._connections > 0,
                    stats=unit.device.stats,
                    holes=tuple(
                        (hole.table, hole.address, hole.cells, hole.cause) for hole in unit.device.holes.known()
                    ),
                    pending=unit.device.ledger.pending,
                    mask_write=unit.device.features.mask_write,
                    period=self.settings.period,
                    malformed=unit.malformed,
                    strays=self._conversation.link.strays if self._conversation.link is not None else 0,
                    rejected=unit.device.ledger.rejected,
                    expired=unit.device.ledger.expired,
                    unknown=unit.device.ledger.unknown,
                )
            )
            for number, unit in self._units.items()
        )

    # -- running

    async def start(self, wait: float = 5.0) -> None:
        """Connect and exchange; the first exchange is in when this returns.

        Of several units it is enough that one answers, when the time is up.

        :param wait: seconds for that; 0 returns at once and keeps trying.
        :raises ConnectError: no exchange within `wait`; nothing is left running.
        :raises DeclarationError: a certificate is missing, or is none.
        :raises StateError: it was started before.
        """
        wait = check_wait("wait", wait)
        if self._task is not None or self._closed:
            raise StateError(f"{self.endpoint}: a client runs once, make a new one")
        if self._endpoint.scheme == "tls":
            tls_context(self._endpoint, self.settings.tls, server=False)  # what is wrong with it is told at once
        self._loop = asyncio.get_running_loop()
        self._conversation.attach(self._loop)
        self._task = asyncio.create_task(self._supervise(), name=f"msm client {self.endpoint}")
        if not wait:
            return
        try:
            await self._conversation.wait(lambda: all(unit.device.pulled for unit in self._units.values()), wait)
        except TimeoutError:
            if any(unit.device.pulled for unit in self._units.values()):
                return
            await self._give_up()
            raise ConnectError(f"no exchange with the device within {wait:g} s: {self._conversation.trouble}") from None
        except BaseException:
            await self._give_up()
            raise

    async def stop(self) -> None:
        """Send what is pending for at most `linger` seconds, then close. Idempotent."""
        if self._task is not None and not self._closed:
            try:
                await self._conversation.wait(lambda: not self._pending(), self.settings.linger)
            except TimeoutError:
                self._report.say(logging.WARNING, "unsent", "stopped with %d assignments unsent", self._pending())
        await self._give_up()
        if not self._closed:
            self._closed = True
            for unit in self._units.values():
                unit.detach()

    async def abandon(self) -> None:
        """Undo a start that nobody waits for any more: it may be started again."""
        await self._give_up()

    async def wait_closed(self) -> None:
        """Wait until the client has stopped."""
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

    # -- waiting

    async def flush(self, timeout: float = 5.0) -> None:
        """Wait until all that was assigned before this call has met its fate.

        :param timeout: seconds.
        :raises WriteError: some of it was rejected, expired, or timed out after it was sent.
        :raises LinkTimeoutError: the time was up first; what is pending stays pending.
        :raises StateError: the client does not run.
        """
        timeout = check_wait("timeout", timeout)
        self._check_running("flush")
        self._conversation.drain()
        marks = [(unit.device.ledger, unit.device.ledger.mark()) for unit in self._units.values()]
        try:
            await self._conversation.wait(lambda: all(ledger.settled(mark) for ledger, mark in marks), timeout)
        except TimeoutError:
            pending = sum(ledger.pending for ledger, _ in marks)
            raise LinkTimeoutError(
                f"flush: {pending} assignment(s) still on their way after {timeout:g} s; {self._condition()}"
            ) from None
        failures = [failure for ledger, mark in marks for failure in ledger.failures(mark)]
        if failures:
            raise WriteError(failures)

    async def refresh(self, timeout: float = 5.0) -> None:
        """Wait until a complete exchange that began after this call is in.

        :param timeout: seconds.
        :raises LinkTimeoutError: the time was up first.
        :raises StateError: the client does not run.
        """
        timeout = check_wait("timeout", timeout)
        self._check_running("refresh")
        tickets = [(unit.device, unit.device.poll_now()) for unit in self._units.values()]
        self._conversation.step()
        try:
            await self._conversation.wait(lambda: all(device.polled(ticket) for device, ticket in tickets), timeout)
        except TimeoutError:
            raise LinkTimeoutError(f"refresh: no complete exchange after {timeout:g} s; {self._condition()}") from None

    async def _ask(self, request: bytes, timeout: float, unit: int | None) -> bytes:
        timeout = check_wait("timeout", timeout)
        if unit is not None:
            check_unit(unit)
        asked = pdu.describe(request)
        self._check_running(asked)
        try:
            async with asyncio.timeout(timeout):
                return await self._conversation.ask(unit, request)
        except LinkTimeoutError:
            raise
        except TimeoutError:
            raise LinkTimeoutError(f"{asked}: no answer in {timeout:g} s; {self._condition()}") from None

    def _check_running(self, what: str) -> None:
        if self._task is None or self._task.done():
            raise StateError(f"{what}: the client of {self.endpoint} does not run")

    def _condition(self) -> str:
        state = self.state
        return f"the device at {self.endpoint} is {state.value}" + (
            "" if state is LinkState.ONLINE else f": {self._conversation.trouble}"
        )

    def _pending(self) -> int:
        self._conversation.drain()
        return sum(unit.device.ledger.pending for unit in self._units.values())

    # -- the link and its supervision

    async def _supervise(self) -> None:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._keep_connected)
        finally:
            self._conversation.end()

    async def _keep_connected(self) -> None:
        pauses: Iterator[float] | None = None
        while True:
            try:
                link = await connect(
                    self._endpoint,
                    self.settings.timeout,
                    tls=self.settings.tls,
                    rs485=self.settings.rs485,
                    trace=self._trace,
                )
            except ConnectError as error:
                self._conversation.offline(str(error))
            else:
                if await self._exchange(link):
                    pauses = None
            pauses = pauses or self.settings.backoff()
            await asyncio.sleep(next(pauses, 3.0))

    async def _exchange(self, link: ClientLink) -> bool:
        """Exchange over this connection until it is lost; tells whether the device ever answered."""
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[Exception | None] = loop.create_future()
        link.handle(self._conversation.on_reply, lambda cause: None if lost.done() else lost.set_result(cause))
        self._connections += 1
        self._conversation.begin(link)
        try:
            cause = await lost
        finally:
            self._conversation.end()
        if not self._conversation.gone_silent:
            self._conversation.offline(f"{self.endpoint}: {cause or 'the device closed the connection'}")
        self._connection_errors += 1
        return self._conversation.answered

    async def _give_up(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([task])
            if not task.cancelled() and task.exception() is not None:
                log.error("%s: the client's task failed", self.endpoint, exc_info=task.exception())
        self._conversation.give_up(StateError(f"{self.endpoint}: the client was stopped"))

    def _ring(self) -> None:
        """Something was assigned, in whatever thread."""
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._conversation.step)
            except RuntimeError:
                # The loop was closed under the client. The assignment is kept for the next client.
                log.debug("%s: assigned after the event loop was closed", self.endpoint)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint}, {self.state.value}>"
