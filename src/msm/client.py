"""The client engine: performs what `exchange` decides, over one link."""

from __future__ import annotations

import asyncio
import logging
import math
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, Unpack

import anyio

from msm.calls import Calls
from msm.errors import ConnectError, LinkError, LinkTimeoutError, StateError, WriteError
from msm.exchange.conflict import Conflict
from msm.exchange.device import Job
from msm.exchange.diagnosis import Facts, diagnose
from msm.exchange.ledger import Ledger, Totals
from msm.exchange.plan import MAX_READ_WORDS, worth_joining
from msm.exchange.schedule import LinkState
from msm.exchange.stats import Stats
from msm.exchange.sweep import Sweep
from msm.keywords import ClientKeywords, ClientSettings, by_unit, check_unit, check_wait
from msm.memory.store import MemoryStore
from msm.reporting import Reporter, guarded
from msm.sweeping import Sweeping
from msm.unit import Unit
from msm.wire import pdu
from msm.wire.endpoint import Endpoint, tls_context
from msm.wire.link import ClientLink, connect

log = logging.getLogger("msm.client")

DEFAULT_ENDPOINT = "tcp://localhost:502"
SILENT_TRANSACTIONS = 2  # unanswered in a row: the connection may be half open, only a new one can tell
KEPT_CONFLICTS = 1000


@dataclass(slots=True, eq=False)
class _Outstanding:
    """A request that is on the wire."""

    unit: int
    request: bytes
    sent: float
    deadline: float
    job: Job | None
    answer: asyncio.Future[bytes] | None


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
        self._turns = deque(self._units.values())
        self._single = next(iter(self._units.values())) if len(self._units) == 1 else None
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self._link: ClientLink | None = None
        self._out: dict[int, _Outstanding] = {}
        self._sweeping: Sweeping | None = None
        self._calls: deque[tuple[int, bytes, asyncio.Future[bytes]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._wanted_at = math.inf
        """While a sweep is under way: when something else is due."""
        self._most_out = 1
        self._silent = 0
        self._heard = -math.inf
        self._answered = False
        self._connections = 0
        self._connection_errors = 0
        self._trouble = "nothing was tried yet"
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        #: The last conflicts, oldest first: both sides changed the same bits.
        self.conflicts: deque[Conflict] = deque(maxlen=KEPT_CONFLICTS)

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
                    trouble=unit.trouble or self._trouble,
                    connected=self._link is not None,
                    ever_connected=self._connections > 0,
                    stats=unit.device.stats,
                    holes=tuple(
                        (hole.table, hole.address, hole.cells, hole.cause) for hole in unit.device.holes.known()
                    ),
                    pending=unit.device.ledger.pending,
                    mask_write=unit.device.features.mask_write,
                    period=self.settings.period,
                    malformed=unit.malformed,
                    strays=self._link.strays if self._link is not None else 0,
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
        self._task = asyncio.create_task(self._supervise(), name=f"msm client {self.endpoint}")
        if not wait:
            return
        try:
            await self._wait(lambda: all(unit.device.pulled for unit in self._units.values()), wait)
        except TimeoutError:
            if any(unit.device.pulled for unit in self._units.values()):
                return
            await self._give_up()
            raise ConnectError(f"no exchange with the device within {wait:g} s: {self._trouble}") from None
        except BaseException:
            await self._give_up()
            raise

    async def stop(self) -> None:
        """Send what is pending for at most `linger` seconds, then close. Idempotent."""
        if self._task is not None and not self._closed:
            try:
                await self._wait(lambda: not self._pending(), self.settings.linger)
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
        self._drain()
        marks = [(unit.device.ledger, unit.device.ledger.mark()) for unit in self._units.values()]
        try:
            await self._wait(lambda: all(ledger.settled(mark) for ledger, mark in marks), timeout)
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
        self._pump()
        try:
            await self._wait(lambda: all(device.polled(ticket) for device, ticket in tickets), timeout)
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
                return await self._call(unit, request)
        except LinkTimeoutError:
            raise
        except TimeoutError:
            raise LinkTimeoutError(f"{asked}: no answer in {timeout:g} s; {self._condition()}") from None

    async def _call(self, unit: int | None, request: bytes) -> bytes:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        call = (next(iter(self._units)) if unit is None else unit, request, answer)
        self._calls.append(call)
        try:
            self._pump()
            return await answer
        finally:
            if call in self._calls:  # nobody waits for it any more
                self._calls.remove(call)

    async def _wait(self, done: Callable[[], bool], timeout: float) -> None:
        """Wait for a condition that only the engine's own steps can bring about."""
        if done():
            return
        assert self._loop is not None
        future: asyncio.Future[None] = self._loop.create_future()
        waiter = (done, future)
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                await future
        finally:
            self._waiters = [other for other in self._waiters if other is not waiter]

    def _check_running(self, what: str) -> None:
        if self._task is None or self._task.done():
            raise StateError(f"{what}: the client of {self.endpoint} does not run")

    def _condition(self) -> str:
        state = self.state
        return f"the device at {self.endpoint} is {state.value}" + (
            "" if state is LinkState.ONLINE else f": {self._trouble}"
        )

    def _pending(self) -> int:
        self._drain()
        return sum(unit.device.ledger.pending for unit in self._units.values())

    # -- the link and its supervision

    async def _supervise(self) -> None:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._keep_connected)
        finally:
            self._release()

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
                self._offline(str(error))
            else:
                if await self._exchange(link):
                    pauses = None
            pauses = pauses or self.settings.backoff()
            await asyncio.sleep(next(pauses, 3.0))

    async def _exchange(self, link: ClientLink) -> bool:
        """Exchange over this connection until it is lost; tells whether the device ever answered."""
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[Exception | None] = loop.create_future()
        link.handle(self._on_reply, lambda cause: None if lost.done() else lost.set_result(cause))
        self._link = link
        self._most_out = min(self.settings.max_in_flight, link.most_out)
        self._connections += 1
        self._silent = 0
        self._answered = False
        self._trouble = f"{self.endpoint}: connected, but no answer yet"
        for unit in self._units.values():
            unit.connected(loop.time())
            unit.device.join_over(worth_joining(*link.cost, MAX_READ_WORDS), loop.time())
        if self._single is not None and link.has_express:
            self._sweeping = Sweeping(self._single, link, self._end_sweep, self._on_swept)
        self._pump()
        try:
            cause = await lost
        finally:
            self._release()
        if self._silent < SILENT_TRANSACTIONS:
            self._offline(f"{self.endpoint}: {cause or 'the device closed the connection'}")
        self._connection_errors += 1
        return self._answered

    def _release(self) -> None:
        """Let go of the connection and of what was outstanding on it."""
        self._end_sweep()
        self._sweeping = None
        link, self._link = self._link, None
        if link is not None:
            link.close()
        out, self._out = self._out, {}
        for outstanding in out.values():
            if outstanding.answer is not None and not outstanding.answer.done():
                outstanding.answer.set_exception(LinkError(f"{self.endpoint}: the connection was lost"))
        now = self._loop.time() if self._loop is not None else 0.0
        for unit in self._units.values():
            unit.disconnected(now)
        self._arm(math.inf)
        self._notify()

    def _offline(self, trouble: str) -> None:
        self._report.say(logging.WARNING, trouble, "%s; values hold, trying again", trouble)
        self._trouble = trouble
        for unit in self._units.values():
            unit.offline(trouble)

    async def _give_up(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([task])
            if not task.cancelled() and task.exception() is not None:
                log.error("%s: the client's task failed", self.endpoint, exc_info=task.exception())
        waiting: list[asyncio.Future[Any]] = [answer for _, _, answer in self._calls]
        waiting += [future for _, future in self._waiters]
        for future in waiting:
            if not future.done():
                future.set_exception(StateError(f"{self.endpoint}: the client was stopped"))
        self._calls.clear()

    # -- one step: called when something was assigned, answered, or is due

    def _ring(self) -> None:
        """Something was assigned, in whatever thread."""
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._pump)
            except RuntimeError:
                # The loop was closed under the client. The assignment is kept for the next client.
                log.debug("%s: assigned after the event loop was closed", self.endpoint)

    def _drain(self) -> float:
        """Enter what was assigned. Returns what time it is."""
        assert self._loop is not None
        if self._sweeping is not None and self._sweeping.under_way:
            self._end_sweep()
        now = self._loop.time()
        for unit in self._units.values():
            unit.drain(now)
        return now

    def _pump(self) -> None:
        """Send what is to be sent next, and set the timer for what comes by itself."""
        if self._loop is None:
            return
        now = self._drain()
        link, out = self._link, self._out
        if link is None:
            for unit in self._units.values():
                unit.next(now)  # nothing to send, but commands expire
        elif not out and self._begin_sweep(now):
            return
        else:
            while len(out) < self._most_out and link.free_at() <= now and self._send_next(now):
                pass
        if self._waiters:
            self._notify()
        single = self._single
        waking = single.wake() if single is not None else min(unit.wake() for unit in self._units.values())
        if len(out) >= self._most_out:
            waking = math.inf
        elif link is not None and (free_at := link.free_at()) > now:
            waking = free_at  # a serial line has to rest; what waits for it goes then
        for outstanding in out.values():
            waking = min(waking, outstanding.deadline)
        self._arm(waking)

    def _begin_sweep(self, now: float) -> bool:
        """Read a run of blocks, where there is nothing to decide in between."""
        if self._sweeping is None or self._single is None or self._calls:
            return False
        sweep = self._single.sweep(now)
        if sweep is None:
            return False
        self._sweeping.begin(sweep, now)
        if self._waiters:
            self._notify()
        self._wanted_at = sweep.until
        waking = min(sweep.until, now + self.settings.timeout)
        # Mostly this round is over long before the next one is due: then its timer is there already.
        self._arm(min(waking, sweep.due) if sweep.due > now else waking)
        return True

    def _end_sweep(self) -> None:
        """Whatever comes up is for others to decide, who have to know what is out."""
        sweeping = self._sweeping
        if sweeping is None or not sweeping.under_way:
            return
        assert self._link is not None
        assert self._single is not None
        for transaction, job, request, sent in sweeping.end():
            self._link.expect(transaction, self._single.number)
            deadline = sent + self.settings.timeout
            self._out[transaction] = _Outstanding(self._single.number, request, sent, deadline, job, None)
        if sweeping.heard_at > self._heard:
            self._heard, self._silent = sweeping.heard_at, 0

    def _on_swept(self, sweep: Sweep) -> None:
        """A sweep is complete. Mostly there is nothing to do before the next one is due."""
        assert self._single is not None
        self._end_sweep()
        waking = min(sweep.until, sweep.due)  # nothing else can have come up without an end of the sweep
        if self._calls or self._single.journal.marks or waking <= self._heard:
            self._pump()
        else:
            if self._waiters:
                self._notify()
            if waking < self._timer_at:
                self._arm(waking)

    def _send_next(self, now: float) -> bool:
        """Send one request: a call of the application, or what the units want, in turn."""
        if self._calls:
            number, request, answer = self._calls.popleft()
            if not answer.done():
                self._send(number, request, now, None, answer)
            return True
        for _ in range(len(self._turns)):
            unit = self._turns[0]
            if self._single is None:
                self._turns.rotate(-1)
            job = unit.next(now)
            if job is not None:
                self._send(unit.number, unit.encode(job), now, job, None)
                return True
        return False

    def _send(
        self, unit: int, request: bytes, now: float, job: Job | None, answer: asyncio.Future[bytes] | None
    ) -> None:
        assert self._link is not None
        transaction = self._link.send(unit, request)
        self._out[transaction] = _Outstanding(unit, request, now, now + self.settings.timeout, job, answer)

    def _arm(self, when: float) -> None:
        """One timer for the link: it is moved only when it would fire too late."""
        if self._timer is not None and (when < self._timer_at or when == math.inf):
            self._timer.cancel()
            self._timer, self._timer_at = None, math.inf
        if self._timer is None and when != math.inf and self._loop is not None:
            self._timer_at = when
            self._timer = self._loop.call_at(max(when, 0.0), self._on_time)

    def _on_time(self) -> None:
        assert self._loop is not None
        self._timer, self._timer_at = None, math.inf
        if self._sweeping is not None and self._sweeping.under_way:
            due = min(self._wanted_at, self._sweeping.asked_at + self.settings.timeout)
            if self._loop.time() < due:
                self._arm(due)  # what was waited for when the timer was set has come, and more was asked
                return
            self._end_sweep()
        if self._out:
            now = self._loop.time()
            for transaction, outstanding in [(t, each) for t, each in self._out.items() if each.deadline <= now]:
                if transaction in self._out:
                    self._on_timeout(transaction, outstanding, now)
        self._pump()

    def _on_timeout(self, transaction: int, outstanding: _Outstanding, now: float) -> None:
        assert self._link is not None
        del self._out[transaction]
        self._link.forget(transaction)
        cause = f"{pdu.describe(outstanding.request)}: no answer within {self.settings.timeout:g} s"
        if outstanding.answer is not None and not outstanding.answer.done():
            outstanding.answer.set_exception(LinkTimeoutError(cause))
        # Of several requests that are out at a time one may get lost; silent is who has said nothing since.
        self._silent += self._heard < outstanding.sent
        if outstanding.job is not None:
            unit = self._units[outstanding.unit]
            unit.timed_out(outstanding.job, cause, now, outstanding.sent)
            self._report.say(logging.WARNING, f"silent {unit.number}", "unit %d, %s; values hold", unit.number, cause)
            if self._single is None and unit.silent:
                self._let_go(unit)
                unit.pause(now)
        self._trouble = f"{self.endpoint}: {cause}"
        silent = self._silent >= SILENT_TRANSACTIONS and all(unit.silent for unit in self._units.values())
        if silent and self._link.may_be_half_open:
            self._link.close()

    def _let_go(self, unit: Unit) -> None:
        """Forget what else this unit was asked: it is to be asked anew."""
        assert self._link is not None
        for transaction in [t for t, each in self._out.items() if each.unit == unit.number and each.job is not None]:
            del self._out[transaction]
            self._link.forget(transaction)

    def _on_reply(self, transaction: int, reply: bytes) -> None:
        outstanding = self._out.pop(transaction, None)
        if outstanding is None or self._loop is None:
            return
        self._silent = 0
        self._heard = self._loop.time()
        self._answered = True
        if outstanding.job is not None:
            unit = self._units[outstanding.unit]
            before = unit.state
            trouble = unit.answered(outstanding.job, outstanding.request, reply, self._loop.time())
            if trouble:
                # Also for whoever waits for the first exchange: a gateway's refusal is an answer, but no exchange.
                self._trouble = f"{self.endpoint}: unit {unit.number}, {trouble}"
                self._report.say(logging.WARNING, trouble, "unit %d, %s", unit.number, trouble)
            elif before is not LinkState.ONLINE:
                self._report.say(logging.INFO, "online", "unit %d is online", unit.number)
            if unit.paused_until > self._loop.time():
                self._let_go(unit)
            for conflict in unit.conflicts():
                self.conflicts.append(conflict)
                self._report.say(logging.WARNING, f"conflict {conflict.name}", "conflict: %s", conflict)
        elif outstanding.answer is not None and not outstanding.answer.done():
            outstanding.answer.set_result(reply)
        self._pump()

    def _notify(self) -> None:
        for done, future in self._waiters:
            if not future.done() and done():
                future.set_result(None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint}, {self.state.value}>"
