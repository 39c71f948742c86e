"""The client engine: performs what `exchange` decides."""

from __future__ import annotations

import asyncio
import logging
import math
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, Unpack

import anyio

from msm.errors import (
    ConnectError,
    DeclarationError,
    DeviceError,
    LinkError,
    LinkTimeoutError,
    ProtocolError,
    StateError,
    WriteError,
)
from msm.exchange.device import Device, Job, Stats
from msm.exchange.ledger import Ledger
from msm.exchange.plan import WIDTH, MaskWrite, Read
from msm.exchange.schedule import LinkState
from msm.keywords import ClientKeywords, ClientSettings, check_wait
from msm.memory.journal import Journal, Span
from msm.memory.store import MemoryStore, image_of, revision_of, spans_of
from msm.wire import pdu, pymodbus_codec
from msm.wire.endpoint import Endpoint
from msm.wire.link import ClientLink, connect

log = logging.getLogger("msm.client")

DEFAULT_ENDPOINT = "tcp://localhost:502"
SILENT_TRANSACTIONS = 2  # unanswered in a row: the connection may be half open, only a new one can tell


@dataclass(slots=True)
class _Outstanding:
    """The request that is on the wire."""

    transaction: int
    request: bytes
    deadline: float
    job: Job | None
    answer: asyncio.Future[bytes] | None


class AsyncModbusClient:
    """Keeps a memory and a device the same.

    :param store: the memory to exchange.
    :param endpoint: where the device is, e.g. "tcp://192.168.0.10:502".
    :param keywords: see `ClientSettings`.
    :raises DeclarationError: the endpoint, the store or a keyword cannot be as it is.

    ::

        async with AsyncModbusClient(mem, "tcp://plc:502") as client:
            mem.CONTROL_WORD = 25
            await client.flush()
    """

    def __init__(
        self, store: MemoryStore, endpoint: str = DEFAULT_ENDPOINT, **keywords: Unpack[ClientKeywords]
    ) -> None:
        if not isinstance(store, MemoryStore):
            raise DeclarationError(f"{store!r} is not a MemoryStore")
        self.settings = ClientSettings(**keywords)
        self._endpoint = Endpoint.parse(endpoint)
        self._store = store
        self._image = image_of(store)
        self._device = Device(
            {name: table.size for name, table in self._image.tables.items()},
            period=self.settings.period,
            max_read=self.settings.max_read,
            max_write=self.settings.max_write,
        )
        self._revision = -1
        self._state = LinkState.CONNECTING
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._link: ClientLink | None = None
        self._outstanding: _Outstanding | None = None
        self._calls: deque[tuple[bytes, asyncio.Future[bytes]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._silent = 0
        self._answered = False
        self._connections = 0
        self._trouble = "nothing was tried yet"
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        # What is assigned from now on is noted for this client, also before it runs. The journal does not
        # keep a client alive that nobody else holds.
        self._journal = Journal(weakref.WeakMethod(self._ring))
        self._image.attach(self._journal)

    # -- what it is, and how it does

    @property
    def endpoint(self) -> str:
        """Where the device is."""
        return str(self._endpoint)

    @property
    def state(self) -> LinkState:
        """Where it stands with the device."""
        return self._state

    @property
    def stats(self) -> Stats:
        """What was done so far."""
        return self._device.stats

    @property
    def ledger(self) -> Ledger:
        """What became of every assignment."""
        return self._device.ledger

    # -- running

    async def start(self, wait: float = 5.0) -> None:
        """Connect and exchange; the first exchange is in when this returns.

        :param wait: seconds for that; 0 returns at once and keeps trying.
        :raises ConnectError: no exchange within `wait`; nothing is left running.
        :raises StateError: it was started before.
        """
        wait = check_wait("wait", wait)
        if self._task is not None or self._state is LinkState.CLOSED:
            raise StateError(f"{self.endpoint}: a client runs once, make a new one")
        self._loop = asyncio.get_running_loop()
        self._state = LinkState.CONNECTING
        self._task = asyncio.create_task(self._supervise(), name=f"msm client {self.endpoint}")
        if not wait:
            return
        try:
            await self._wait(lambda: self._device.pulled, wait)
        except TimeoutError:
            await self._give_up()
            raise ConnectError(f"no exchange with the device within {wait:g} s: {self._trouble}") from None
        except BaseException:
            await self._give_up()
            raise

    async def stop(self) -> None:
        """Send what is pending for at most `linger` seconds, then close. Idempotent."""
        if self._task is not None and self._state is not LinkState.CLOSED:
            try:
                await self._wait(lambda: not self._pending(), self.settings.linger)
            except TimeoutError:
                log.warning("%s: stopped with %d assignments unsent", self.endpoint, self.ledger.pending)
        await self._give_up()
        self._state = LinkState.CLOSED
        self._image.detach(self._journal)

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
        ledger = self.ledger
        mark = ledger.mark()
        try:
            await self._wait(lambda: ledger.settled(mark), timeout)
        except TimeoutError:
            raise LinkTimeoutError(
                f"flush: {ledger.pending} assignment(s) still on their way after {timeout:g} s; {self._condition()}"
            ) from None
        failures = ledger.failures(mark)
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
        device = self._device
        wanted = device.poll_now()
        self._pump()
        try:
            await self._wait(lambda: device.cycle_done >= wanted, timeout)
        except TimeoutError:
            raise LinkTimeoutError(f"refresh: no complete exchange after {timeout:g} s; {self._condition()}") from None

    async def read_device_identification(self, timeout: float = 5.0) -> dict[int, str]:
        """What the device says it is: vendor (0), product code (1), revision (2) and more, by object id.

        Function 43/14, application protocol V1.1b3, section 6.21.

        :param timeout: seconds.
        :raises DeviceError: the device does not tell; most do not have this function.
        :raises LinkTimeoutError: the time was up first.
        :raises StateError: the client does not run.
        """
        timeout = check_wait("timeout", timeout)
        self._check_running("read_device_identification")
        objects: dict[int, str] = {}
        first: int | None = 0
        try:
            async with asyncio.timeout(timeout):
                while first is not None and first not in objects:
                    request = pymodbus_codec.identification_request(pymodbus_codec.EXTENDED, first)
                    part = pymodbus_codec.parse_identification(await self._call(request))
                    objects |= {number: text.decode("utf-8", "replace") for number, text in part.objects.items()}
                    first = part.next_object
        except TimeoutError:
            raise LinkTimeoutError(f"device identification: no answer in {timeout:g} s; {self._condition()}") from None
        return objects

    async def _call(self, request: bytes) -> bytes:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._calls.append((request, answer))
        self._pump()
        return await answer

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
        state = self._state.value
        return f"the device at {self.endpoint} is {state}" + (
            "" if self._state is LinkState.ONLINE else f": {self._trouble}"
        )

    def _pending(self) -> int:
        self._drain()
        return self.ledger.pending

    # -- the link and its supervision

    async def _supervise(self) -> None:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._keep_connected)
        finally:
            self._release(None)

    async def _keep_connected(self) -> None:
        pauses: Iterator[float] | None = None
        while True:
            try:
                link = await connect(self._endpoint, self.settings.timeout)
            except ConnectError as error:
                self._offline(str(error))
            else:
                answered = await self._exchange(link)
                if answered:
                    pauses = None
            pauses = pauses or self.settings.backoff()
            await asyncio.sleep(next(pauses, 3.0))

    async def _exchange(self, link: ClientLink) -> bool:
        """Exchange over this connection until it is lost; tells whether the device ever answered."""
        lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        link.handle(self._on_reply, lambda cause: None if lost.done() else lost.set_result(cause))
        self._link = link
        self._connections += 1
        self.stats.reconnects = self._connections - 1
        self._silent = 0
        self._answered = False
        self._trouble = f"{self.endpoint}: connected, but no answer yet"
        self._device.connected()
        self._pump()
        try:
            cause = await lost
        finally:
            self._release(link)
        if self._silent < SILENT_TRANSACTIONS:
            self._offline(f"{self.endpoint}: {cause or 'the device closed the connection'}")
        self.stats.errors["connection"] += 1
        return self._answered

    def _release(self, link: ClientLink | None) -> None:
        """Let go of the connection and of what was outstanding on it."""
        link = link or self._link
        self._link = None
        if link is not None:
            link.close()
        outstanding, self._outstanding = self._outstanding, None
        if outstanding is not None and outstanding.answer is not None and not outstanding.answer.done():
            outstanding.answer.set_exception(LinkError(f"{self.endpoint}: the connection was lost"))
        shipment = outstanding.job.shipment if outstanding is not None and outstanding.job is not None else []
        self._device.disconnected()
        if outstanding is not None and outstanding.job is not None and shipment:
            self._delivered(outstanding.job)
        self._arm(math.inf)
        self._notify()

    def _offline(self, trouble: str) -> None:
        if self._state is not LinkState.OFFLINE:
            log.warning("%s; values hold, trying again", trouble)
        self._trouble = trouble
        self._state = LinkState.OFFLINE

    async def _give_up(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([task])
            if not task.cancelled() and task.exception() is not None:
                log.error("%s: the client's task failed", self.endpoint, exc_info=task.exception())
        waiting: list[asyncio.Future[Any]] = [answer for _, answer in self._calls]
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

    def _drain(self) -> None:
        with self._image.lock:
            self._enter_marks()
        revision = revision_of(self._store)
        if revision != self._revision:
            self._revision = revision
            spans = spans_of(self._store)
            self._device.declare((span.table, span.address, span.cells) for span in spans)

    def _enter_marks(self) -> None:
        """Enter what was assigned into the ledger. The image's lock is held."""
        for span, times in self._journal.drain().items():
            self._device.assign(span.table, span.address, span.cells, span.mask, span.name, times)

    def _pump(self) -> None:
        """Send what is to be sent next, and set the timer for what comes by itself."""
        self._drain()
        self._notify()
        if self._link is None or self._loop is None:
            return
        if self._outstanding is None:
            now = self._loop.time()
            if self._calls:
                request, answer = self._calls.popleft()
                self._send(request, now, None, answer)
            elif (job := self._device.next(now)) is not None:
                self._send(self._encode(job), now, job, None)
        self._arm(self._device.wake() if self._outstanding is None else self._outstanding.deadline)

    def _send(self, request: bytes, now: float, job: Job | None, answer: asyncio.Future[bytes] | None) -> None:
        assert self._link is not None
        transaction = self._link.send(self.settings.unit, request)
        self._outstanding = _Outstanding(transaction, request, now + self.settings.timeout, job, answer)

    def _encode(self, job: Job) -> bytes:
        request = job.request
        if isinstance(request, Read):
            return pdu.read_words(_READ[request.table], request.address, request.cells)
        if isinstance(request, MaskWrite):
            word = int.from_bytes(self._image.read(request.table, request.address, 1), "big")
            return pdu.mask_write(request.address, request.mask, word)
        words = self._image.read(request.table, request.address, request.cells)
        return pdu.write_word(request.address, words) if job.single else pdu.write_words(request.address, words)

    def _arm(self, when: float) -> None:
        """One timer for the link: it is moved only when it would fire too late."""
        if (self._timer is not None and when < self._timer_at) or when == math.inf:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._timer_at = None, math.inf
        if self._timer is None and when != math.inf and self._loop is not None:
            self._timer_at = when
            self._timer = self._loop.call_at(max(when, self._loop.time()), self._on_time)

    def _on_time(self) -> None:
        assert self._loop is not None
        self._timer, self._timer_at = None, math.inf
        outstanding = self._outstanding
        if outstanding is not None and self._loop.time() >= outstanding.deadline:
            self._on_timeout(outstanding)
        self._pump()

    def _on_timeout(self, outstanding: _Outstanding) -> None:
        assert self._link is not None and self._loop is not None
        self._outstanding = None
        self._link.forget(outstanding.transaction)
        asked = pdu.describe(outstanding.request)
        cause = f"{asked}: no answer within {self.settings.timeout:g} s"
        if outstanding.job is not None:
            self._device.unanswered(outstanding.job, "timeout", cause, self._loop.time())
            self._delivered(outstanding.job)
        if outstanding.answer is not None and not outstanding.answer.done():
            outstanding.answer.set_exception(LinkTimeoutError(cause))
        self._silent += 1
        self._offline(f"{self.endpoint}: {cause}")
        if self._silent >= SILENT_TRANSACTIONS:
            self._link.close()

    def _on_reply(self, transaction: int, reply: bytes) -> None:
        outstanding = self._outstanding
        if outstanding is None or outstanding.transaction != transaction or self._loop is None:
            return
        self._outstanding = None
        self._silent = 0
        self._answered = True
        if self._state is not LinkState.ONLINE:
            log.info("%s: online", self.endpoint)
            self._state = LinkState.ONLINE
        if outstanding.job is not None:
            self._on_job_reply(outstanding.job, outstanding.request, reply, self._loop.time())
        elif outstanding.answer is not None and not outstanding.answer.done():
            outstanding.answer.set_result(reply)
        self._pump()

    def _on_job_reply(self, job: Job, request: bytes, reply: bytes, now: float) -> None:
        try:
            cells = pdu.check_reply(request, reply)
        except DeviceError as error:
            self._device.refused(job, error.code, str(error), now)
        except ProtocolError as error:
            log.warning("%s: %s", self.endpoint, error)
            self._device.unanswered(job, "protocol", str(error), now)
        else:
            if isinstance(job.request, Read):
                self._bring_in(job, cells)
            self._device.replied(job, now)
        self._delivered(job)

    def _bring_in(self, job: Job, cells: bytes) -> None:
        request = job.request
        assert isinstance(request, Read)

        def change(ours: bytes) -> bytes:
            # Under the image's lock: what was assigned up to this moment is not the device's to change.
            self._enter_marks()
            return self._device.merge(job, ours, cells)

        self._image.merge(request.table, request.address, request.cells, change)

    def _delivered(self, job: Job) -> None:
        """What this job carried need not be sent by a client that comes later."""
        request = job.request
        if isinstance(request, Read) or not job.shipment:
            return
        with self._image.lock:
            self._enter_marks()
            for entry, bits in job.shipment:
                for address, part in bits.items():
                    left = part & ~self.ledger.keep(entry.table, address, 1, WIDTH[entry.table])
                    self._image.delivered(Span(entry.table, address, 1, left, ""))

    def _notify(self) -> None:
        for done, future in self._waiters:
            if not future.done() and done():
                future.set_result(None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint}, {self._state.value}>"


_READ = {"holding": pdu.READ_HOLDING_REGISTERS, "input": pdu.READ_INPUT_REGISTERS}
