"""What is said over the connection of a client: one step after the other, in the event loop's thread.

A step is made when something was assigned, answered, or is due. It sends what is to be sent next, and sets the timer
for what comes by itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from msm.errors import LinkError, LinkTimeoutError
from msm.exchange.conflict import Conflict
from msm.exchange.job import Job
from msm.exchange.plan import MAX_READ_WORDS, worth_joining
from msm.exchange.schedule import LinkState
from msm.exchange.sweep import Sweep
from msm.keywords import ClientSettings
from msm.reporting import Reporter
from msm.sweeping import Sweeping
from msm.unit import Unit
from msm.wire import pdu
from msm.wire.link import ClientLink

SILENT_TRANSACTIONS = 2  # unanswered in a row: the connection may be half open, only a new one can tell
KEPT_CONFLICTS = 1000


@dataclass(slots=True, eq=False)
class Outstanding:
    """A request that is on the wire."""

    unit: int
    request: bytes
    sent: float
    deadline: float
    job: Job | None
    answer: asyncio.Future[bytes] | None


class Conversation:
    """Sends what the application calls for and what the units want, in turn, and hands on what is answered.

    :param endpoint: what the device is called in what people are told.
    """

    def __init__(self, units: Mapping[int, Unit], endpoint: str, settings: ClientSettings, report: Reporter) -> None:
        self.link: ClientLink | None = None
        """The connection, while there is one."""
        self.out: dict[int, Outstanding] = {}
        """By transaction: what is on the wire."""
        self.calls: deque[tuple[int, bytes, asyncio.Future[bytes]]] = deque()
        """Of the application: unit, request, and what waits for the answer."""
        self.waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self.trouble = "nothing was tried yet"
        self.conflicts: deque[Conflict] = deque(maxlen=KEPT_CONFLICTS)
        self.answered = False
        """Has the device said anything over this connection?"""
        self._units = units
        self._single = next(iter(units.values())) if len(units) == 1 else None
        self._turns = deque(units.values())
        self._endpoint = endpoint
        self._settings = settings
        self._report = report
        self._loop: asyncio.AbstractEventLoop | None = None
        self._most_out = 1
        self._sweeping: Sweeping | None = None
        self._wanted_at = math.inf
        """While a sweep is under way: when something else is due."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._silent = 0
        self._heard = -math.inf

    # -- its connections

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """It takes place in this event loop."""
        self._loop = loop

    def begin(self, link: ClientLink) -> None:
        """There is a connection, and the link is handled by us: ask."""
        assert self._loop is not None
        self.link = link
        self._most_out = min(self._settings.max_in_flight, link.most_out)
        self._silent = 0
        self.answered = False
        self.trouble = f"{self._endpoint}: connected, but no answer yet"
        now = self._loop.time()
        for unit in self._units.values():
            unit.connected(now)
            unit.device.join_over(worth_joining(*link.cost, MAX_READ_WORDS), now)
        if self._single is not None and link.has_express:
            self._sweeping = Sweeping(self._single, link, self._end_sweep, self._on_swept)
        self.step()

    @property
    def gone_silent(self) -> bool:
        """Was it given up since nothing was answered any more? Then that was told already."""
        return self._silent >= SILENT_TRANSACTIONS

    def end(self) -> None:
        """Let go of the connection and of what was outstanding on it."""
        self._end_sweep()
        self._sweeping = None
        link, self.link = self.link, None
        if link is not None:
            link.close()
        out, self.out = self.out, {}
        for outstanding in out.values():
            if outstanding.answer is not None and not outstanding.answer.done():
                outstanding.answer.set_exception(LinkError(f"{self._endpoint}: the connection was lost"))
        now = self._loop.time() if self._loop is not None else 0.0
        for unit in self._units.values():
            unit.disconnected(now)
        self._arm(math.inf)
        self._notify()

    def offline(self, trouble: str) -> None:
        """No unit can be reached: values hold, and are marked."""
        self._report.say(logging.WARNING, trouble, "%s; values hold, trying again", trouble)
        self.trouble = trouble
        for unit in self._units.values():
            unit.offline(trouble)

    # -- who waits

    async def ask(self, unit: int | None, request: bytes) -> bytes:
        """Send a request of the application. Returns the reply.

        :param unit: by default the first one.
        """
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        call = (next(iter(self._units)) if unit is None else unit, request, answer)
        self.calls.append(call)
        try:
            self.step()
            return await answer
        finally:
            if call in self.calls:  # nobody waits for it any more
                self.calls.remove(call)

    async def wait(self, done: Callable[[], bool], timeout: float) -> None:
        """Wait for a condition that only the engine's own steps can bring about."""
        if done():
            return
        assert self._loop is not None
        future: asyncio.Future[None] = self._loop.create_future()
        waiter = (done, future)
        self.waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                await future
        finally:
            self.waiters = [other for other in self.waiters if other is not waiter]

    def give_up(self, error: Exception) -> None:
        """Nobody is answered any more."""
        waiting: list[asyncio.Future[Any]] = [answer for _, _, answer in self.calls]
        waiting += [future for _, future in self.waiters]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
        self.calls.clear()

    # -- steps

    def drain(self) -> float:
        """Enter what was assigned. Returns what time it is."""
        assert self._loop is not None
        if self._sweeping is not None and self._sweeping.under_way:
            self._end_sweep()
        now = self._loop.time()
        for unit in self._units.values():
            unit.drain(now)
        return now

    def step(self) -> None:
        """Send what is to be sent next, and set the timer for what comes by itself."""
        if self._loop is None:
            return
        now = self.drain()
        link, out = self.link, self.out
        if link is None:
            for unit in self._units.values():
                unit.next(now)  # nothing to send, but commands expire
        elif not out and self._begin_sweep(now):
            return
        else:
            while len(out) < self._most_out and link.free_at() <= now and self._send_next(now):
                pass
        if self.waiters:
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
        if self._sweeping is None or self._single is None or self.calls:
            return False
        sweep = self._single.sweep(now)
        if sweep is None:
            return False
        self._sweeping.begin(sweep, now)
        if self.waiters:
            self._notify()
        self._wanted_at = sweep.until
        waking = min(sweep.until, now + self._settings.timeout)
        # Mostly this round is over long before the next one is due: then its timer is there already.
        self._arm(min(waking, sweep.due) if sweep.due > now else waking)
        return True

    def _end_sweep(self) -> None:
        """Whatever comes up is for others to decide, who have to know what is out."""
        sweeping = self._sweeping
        if sweeping is None or not sweeping.under_way:
            return
        assert self.link is not None
        assert self._single is not None
        for transaction, job, request, sent in sweeping.end():
            self.link.expect(transaction, self._single.number)
            deadline = sent + self._settings.timeout
            self.out[transaction] = Outstanding(self._single.number, request, sent, deadline, job, None)
        if sweeping.heard_at > self._heard:
            self._heard, self._silent = sweeping.heard_at, 0

    def _on_swept(self, sweep: Sweep) -> None:
        """A sweep is complete. Mostly there is nothing to do before the next one is due."""
        assert self._single is not None
        self._end_sweep()
        waking = min(sweep.until, sweep.due)  # nothing else can have come up without an end of the sweep
        if self.calls or self._single.journal.marks or waking <= self._heard:
            self.step()
        else:
            if self.waiters:
                self._notify()
            if waking < self._timer_at:
                self._arm(waking)

    def _send_next(self, now: float) -> bool:
        """Send one request: a call of the application, or what the units want, in turn."""
        if self.calls:
            number, request, answer = self.calls.popleft()
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
        assert self.link is not None
        transaction = self.link.send(unit, request)
        self.out[transaction] = Outstanding(unit, request, now, now + self._settings.timeout, job, answer)

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
            due = min(self._wanted_at, self._sweeping.asked_at + self._settings.timeout)
            if self._loop.time() < due:
                self._arm(due)  # what was waited for when the timer was set has come, and more was asked
                return
            self._end_sweep()
        if self.out:
            now = self._loop.time()
            for transaction, outstanding in [(t, each) for t, each in self.out.items() if each.deadline <= now]:
                if transaction in self.out:
                    self._on_timeout(transaction, outstanding, now)
        self.step()

    def _on_timeout(self, transaction: int, outstanding: Outstanding, now: float) -> None:
        assert self.link is not None
        del self.out[transaction]
        self.link.forget(transaction)
        cause = f"{pdu.describe(outstanding.request)}: no answer within {self._settings.timeout:g} s"
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
        self.trouble = f"{self._endpoint}: {cause}"
        silent = self._silent >= SILENT_TRANSACTIONS and all(unit.silent for unit in self._units.values())
        if silent and self.link.may_be_half_open:
            self.link.close()

    def _let_go(self, unit: Unit) -> None:
        """Forget what else this unit was asked: it is to be asked anew."""
        assert self.link is not None
        for transaction in [t for t, each in self.out.items() if each.unit == unit.number and each.job is not None]:
            del self.out[transaction]
            self.link.forget(transaction)

    def on_reply(self, transaction: int, reply: bytes) -> None:
        """The link has received a reply."""
        outstanding = self.out.pop(transaction, None)
        if outstanding is None or self._loop is None:
            return
        self._silent = 0
        self._heard = self._loop.time()
        self.answered = True
        if outstanding.job is not None:
            unit = self._units[outstanding.unit]
            before = unit.state
            trouble = unit.answered(outstanding.job, outstanding.request, reply, self._loop.time())
            if trouble:
                # Also for whoever waits for the first exchange: a gateway's refusal is an answer, but no exchange.
                self.trouble = f"{self._endpoint}: unit {unit.number}, {trouble}"
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
        self.step()

    def _notify(self) -> None:
        for done, future in self.waiters:
            if not future.done() and done():
                future.set_result(None)
