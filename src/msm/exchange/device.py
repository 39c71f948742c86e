"""What to do next with one device, and what its answers mean.

The engine asks `next()` for a job, sends it, and reports how it ended; the clock is the engine's, and
so are the bytes. One job is outstanding at a time. The order of things:

1. The first exchange pulls: until every block was asked for once, nothing is written.
2. Cells whose write was refused or not answered are read back before anything is written there.
3. Writes and reads alternate while both are due, so that neither starves the other.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from msm.exchange.ledger import Ledger, Shipment
from msm.exchange.merge import merge
from msm.exchange.plan import (
    MAX_READ_BITS,
    MAX_READ_WORDS,
    MAX_WRITE_BITS,
    MAX_WRITE_WORDS,
    WIDTH,
    WRITABLE,
    MaskWrite,
    Read,
    Write,
    next_write,
    read_blocks,
)

ILLEGAL_FUNCTION = 1
BUSY = (5, 6)  # acknowledge, server device busy (application protocol V1.1b3, section 7)
BUSY_PAUSE = 0.1  # seconds before a busy device is asked again

Request: TypeAlias = Read | Write | MaskWrite


@dataclass(slots=True)
class Stats:
    """What an exchange has done so far."""

    requests: int = 0
    """Requests sent."""
    errors: Counter[str] = field(default_factory=Counter)
    """Failures by kind: "timeout", "protocol", "connection", "exception 02", ..."""
    racy_writes: int = 0
    """Times that bits were written by reading and writing back their word: the device has no mask write."""
    conflicts: int = 0
    """Bits that the device changed while an assignment of them was on its way."""
    reconnects: int = 0
    """Connections made after the first one."""
    cycles: int = 0
    """Complete polls of the memory."""
    cycle_time: float = 0.0
    """Seconds that the last complete poll took."""


@dataclass(slots=True)
class Job:
    """One request, and the assignments that it carries."""

    request: Request
    shipment: Shipment = field(default_factory=list)
    single: bool = False
    """Write one word by function 06, not 16."""
    polling: bool = False
    """Part of the regular poll."""
    before_write: bool = False
    """The reading half of a read-modify-write."""
    racy: bool = False
    """The writing half."""


class Device:
    """Decides for one device (unit) what to ask next."""

    def __init__(
        self,
        sizes: Mapping[str, int],
        *,
        period: float,
        max_read: int = MAX_READ_WORDS,
        max_write: int = MAX_WRITE_WORDS,
    ) -> None:
        self.ledger = Ledger()
        self.stats = Stats()
        self._sizes = {table: size for table, size in sizes.items() if size}
        self._period = period
        self._read_limits = {table: max_read if WIDTH[table] == 16 else MAX_READ_BITS for table in WIDTH}
        self._write_limits = {table: max_write if WIDTH[table] == 16 else MAX_WRITE_BITS for table in WIDTH}
        self._blocks: list[Read] = []
        self._cycle: deque[Read] = deque()
        self._cycle_began = -math.inf
        self._cycles_begun = 0
        self._cycle_done = 0
        self._in_cycle = False
        self._answered = False
        self._due = -math.inf
        self._connected = False
        self._pulled = False
        self._job: Job | None = None
        self._wrote_last = False
        self._hold = -math.inf
        self._unsure: set[tuple[str, int]] = set()
        self._mask_write = True
        self._multi_write = True
        self._fresh_word: tuple[str, int] | None = None
        self._alone = 0
        self.declare(())

    # -- what the engine reports

    def declare(self, whole: Iterable[tuple[str, int, int]]) -> None:
        """The (table, address, count) of all variables: none of them is read in two requests."""
        spans = list(whole)
        self._blocks = [
            Read(table, address, count)
            for table, size in self._sizes.items()
            for address, count in read_blocks(
                size, [(at, many) for name, at, many in spans if name == table], self._read_limits[table]
            )
        ]

    def assign(self, table: str, address: int, count: int, mask: int, name: str, times: int) -> None:
        """The application, or a remote client, assigned bits of the memory."""
        self.ledger.assign(table, address, count, WIDTH[table], mask, name, times)
        if table not in WRITABLE:
            refused = self.ledger.ship(table, address, address + count)
            self.ledger.settle(refused, "rejected", f"the {table} table cannot be written over Modbus")

    def connected(self) -> None:
        """There is a connection: pull everything before anything is written."""
        self._connected = True
        self._pulled = False
        self._in_cycle = False
        self._due = self._hold = -math.inf

    def disconnected(self) -> None:
        """The connection is gone. What was sent and not answered may have arrived, or not."""
        job, self._job = self._job, None
        self._connected = self._in_cycle = False
        self._fresh_word = None
        if job is not None and job.shipment:
            self._not_answered(job, "the connection was lost before the reply")

    def replied(self, job: Job, now: float) -> None:
        """The device did what the job asked. (What a read brought is put in by `merge()` first.)"""
        self._job = None
        request = job.request
        if isinstance(request, Read):
            cells = [(request.table, at) for at in range(request.address, request.address + request.cells)]
            self._unsure.difference_update(cells)
            self._answered = True
            if job.before_write:
                self._fresh_word = cells[0]
        else:
            self.stats.racy_writes += job.racy
            self.ledger.settle(job.shipment, "acknowledged")
        self._ended(job, now)

    def refused(self, job: Job, code: int, cause: str, now: float) -> None:
        """The device answered with an exception code; a refused request has changed nothing."""
        self._job = None
        self.stats.errors[f"exception {code:02X}"] += 1
        request = job.request
        if code in BUSY:
            self._hold = now + BUSY_PAUSE
            self.ledger.take_back(job.shipment)
            if isinstance(request, Read) and job.polling:
                self._cycle.appendleft(request)
            return
        if isinstance(request, Read):
            # Nothing can be learnt there: it must not block what is to be written.
            for at in range(request.address, request.address + request.cells):
                self._unsure.discard((request.table, at))
            self._answered = True
            if job.before_write:
                shipment = self.ledger.ship(request.table, request.address, request.address + 1)
                self._reject(shipment, f"its word cannot be read to write one part of it, {cause}")
        elif isinstance(request, MaskWrite) and code == ILLEGAL_FUNCTION:
            self._mask_write = False
            self.ledger.take_back(job.shipment)
        elif isinstance(request, Write) and code == ILLEGAL_FUNCTION and not job.single and self._multi_write:
            self._multi_write = False
            self.ledger.take_back(job.shipment)
        elif (newest := max(entry.sequence for entry, _ in job.shipment)) > self._alone and len(job.shipment) > 1:
            # One of them may be to blame: each is tried by itself, so that each has its own fate.
            self._alone = newest
            self.ledger.take_back(job.shipment)
        else:
            self._reject(job.shipment, cause)
        self._ended(job, now)

    def unanswered(self, job: Job, kind: str, cause: str, now: float) -> None:
        """No reply came in time, or one that is none. Of a write nobody knows whether it was done."""
        self._job = None
        self.stats.errors[kind] += 1
        if job.shipment:
            self._not_answered(job, cause)
        self._ended(job, now)

    def merge(self, job: Job, ours: bytes, theirs: bytes) -> bytes:
        """The cells of a read as they shall be in the memory: the device's, but for what is still on its way."""
        request = job.request
        assert isinstance(request, Read)
        width = WIDTH[request.table]
        keep = self.ledger.keep(request.table, request.address, request.cells, width)
        return merge(ours, theirs, keep, "big" if width == 16 else "little")

    # -- what the engine asks

    @property
    def pulled(self) -> bool:
        """Has every block been asked for since the connection was made?"""
        return self._pulled

    def next(self, now: float) -> Job | None:
        """The next job, which counts as sent from now on; or nothing before `wake()`."""
        if not self._connected or self._job is not None or now < self._hold:
            return None
        self._hold = -math.inf
        reading = self._reading(now)
        job = None
        if self._pulled and (self._fresh_word or not (self._wrote_last and reading)):
            job = self._write_job()
        if job is None and reading:
            job = Job(self._cycle.popleft(), polling=True)
        if job is None and self._pulled:
            job = self._write_job()
        if job is not None:
            self._wrote_last = not job.polling
            self._job = job
            self.stats.requests += 1
        return job

    def wake(self) -> float:
        """When `next()` may have something by the passing of time alone."""
        if not self._connected or self._job is not None:
            return math.inf
        if self._hold > -math.inf:
            return self._hold
        return -math.inf if self._in_cycle else self._due

    def poll_now(self) -> int:
        """Ask for everything as soon as possible. Returns the number of the cycle that will answer."""
        self._due = -math.inf
        return self._cycles_begun + 1

    @property
    def cycle_done(self) -> int:
        """The number of the last cycle that was completed and answered."""
        return self._cycle_done

    # -- inside

    def _reading(self, now: float) -> bool:
        """Is a read of the poll due? Begins a new cycle when its time has come."""
        if not self._in_cycle and now >= self._due:
            self._in_cycle = True
            self._cycles_begun += 1
            self._cycle_began = now
            self._cycle = deque(self._blocks)
            self._due = now + self._period
            self._answered = not self._blocks
            if not self._blocks:
                self._end_cycle(now)
        return self._in_cycle

    def _ended(self, job: Job, now: float) -> None:
        if job.polling and self._in_cycle and not self._cycle:
            self._end_cycle(now)

    def _end_cycle(self, now: float) -> None:
        self._in_cycle = False
        if not self._answered:
            return
        self._pulled = True
        self._cycle_done = self._cycles_begun
        self.stats.cycles += 1
        self.stats.cycle_time = now - self._cycle_began

    def _write_job(self) -> Job | None:
        # A word that was read for its read-modify-write is fresh for the very next write only.
        fresh, self._fresh_word = self._fresh_word, None
        limits = self._write_limits if self._multi_write else dict.fromkeys(WIDTH, 1)
        request = next_write(self.ledger, limits, blocked=self._unsure, alone=self._alone)
        if request is None:
            return self._read_back() if self.ledger.pending else None
        racy = False
        if isinstance(request, MaskWrite):
            table, address, mask = request
            if self._mask_write:
                return Job(request, self.ledger.ship(table, address, address + 1, mask))
            if fresh != (table, address):
                return Job(Read(table, address, 1), before_write=True)
            # The whole word goes out: all that waits in it goes along.
            racy = True
            request = Write(table, address, 1)
        shipment = self.ledger.ship(request.table, request.address, request.address + request.cells)
        return Job(request, shipment, single=not self._multi_write, racy=racy)

    def _read_back(self) -> Job | None:
        """Read the cells that nobody is sure of and that the oldest assignment waits for."""
        oldest = next(iter(self.ledger.waiting()), None)
        if oldest is None:
            return None
        first = min(at for table, at in self._unsure if table == oldest.table)
        count = 1
        while (oldest.table, first + count) in self._unsure and count < self._read_limits[oldest.table]:
            count += 1
        return Job(Read(oldest.table, first, count))

    def _not_answered(self, job: Job, cause: str) -> None:
        self.stats.racy_writes += job.racy
        for entry, bits in job.shipment:
            self._unsure.update((entry.table, at) for at in bits)
        self.ledger.settle(job.shipment, "unknown", cause)

    def _reject(self, shipment: Shipment, cause: str) -> None:
        for entry, bits in shipment:
            self._unsure.update((entry.table, at) for at in bits)
        self.ledger.settle(shipment, "rejected", cause)
        # The memory still shows what was refused: a poll is due at once and brings the device's value.
        self._due = -math.inf
