"""What to do next with one device, and what its answers mean.

The engine asks `next()` for a job, sends it, and reports how it ended; the clock is the engine's, and so are the
bytes. The order of things:

1. The first exchange pulls: until every block was asked for once, nothing is written.
2. Cells whose write was refused or not answered are read back before anything is written there.
3. Writes and reads alternate while both are due, so that neither starves the other; one write is out at a time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from msm.exchange.features import Features
from msm.exchange.holes import Holes
from msm.exchange.ledger import Done, Entry, Ledger, Shipment, cell_of
from msm.exchange.merge import Clash, Known, Order, clashing, merge
from msm.exchange.plan import (
    MAX_READ_BITS,
    MAX_READ_WORDS,
    MAX_WRITE_BITS,
    MAX_WRITE_WORDS,
    WIDTH,
    WRITABLE,
    MaskWrite,
    Piece,
    Read,
    Write,
    next_write,
    read_blocks,
    split_point,
)
from msm.exchange.polling import Polling, Round
from msm.exchange.stats import Stats
from msm.exchange.sweep import Sweep

Request: TypeAlias = Read | Write | MaskWrite
Cell: TypeAlias = tuple[str, int]

ILLEGAL_FUNCTION = 1
ACKNOWLEDGE = 5
BUSY = (5, 6)  # acknowledge, server device busy (application protocol V1.1b3, section 7)
BUSY_PAUSE = 0.1  # seconds before a busy device is asked again, doubled while it stays busy
MAX_BUSY_PAUSE = 2.0
NO_ANSWER_BEHIND = 11
MOST_REFUSALS = 64  # of a table of which nothing could be read: more would be a storm
NOT_THERE = (10, NO_ANSWER_BEHIND)  # a gateway that does not reach the unit


@dataclass(frozen=True, slots=True)
class Terms:
    """What the exchange with a device is to keep to."""

    period: float = 0.2
    max_read: int = MAX_READ_WORDS
    max_write: int = MAX_WRITE_WORDS
    poll: Literal["all", "declared"] = "all"
    blocks: tuple[Read, ...] = ()
    gap: int = 0
    conflict: str = "mine"
    write_ttl: float = 10.0
    forward_ttl: float = 0.5
    """The same for what a gateway's client waits for: it gives up long before."""
    write_function: Literal["auto", "single", "multiple"] = "auto"
    max_in_flight: int = 1
    delay_between: float = 0.0
    delay_after_connect: float = 0.0


@dataclass(slots=True, eq=False)
class Job:
    """One request, and the assignments that it carries."""

    request: Request
    shipment: Shipment = field(default_factory=list)
    number: int = 0
    single: bool = False
    """Write one cell by function 05 or 06, not 15 or 16."""
    period: float | None = None
    """Part of the regular poll with that period."""
    before_write: bool = False
    """The reading half of a read-modify-write."""
    word: int = 0
    """Of that: the address of the word."""
    racy: bool = False
    """The writing half."""
    data: bytes | None = None
    """The cells to write, as they travel. Where it is None the memory's own are sent; the engine notes them here."""
    settled: dict[Cell, int] = field(default_factory=dict)
    """Of a read: bits whose write was acknowledged since it left. Its answer may be older than they are."""


class Device:
    """Decides for one device (unit) what to ask next."""

    def __init__(self, sizes: Mapping[str, int], terms: Terms) -> None:
        self.ledger = Ledger()
        self.stats = Stats()
        self.clashes: list[Clash] = []
        """Conflicts that the engine has not yet told anybody."""
        self.features = Features(terms.write_function)
        self.holes = Holes()
        self._sizes = {table: size for table, size in sizes.items() if size}
        self._terms = terms
        self._read_limits = {table: terms.max_read if WIDTH[table] == 16 else MAX_READ_BITS for table in WIDTH}
        self._write_limits = {table: terms.max_write if WIDTH[table] == 16 else MAX_WRITE_BITS for table in WIDTH}
        self._pieces: list[Piece] = []
        self._policies: dict[str, str] = {}
        self._beating: dict[str, Piece] = {}
        self._beats: dict[str, tuple[Piece, float]] = {}
        """Of those that beat and were assigned: when they are to be sent again."""
        self._polling = Polling(terms.period)
        self._known = Known(self._sizes, WIDTH)
        self._connected = False
        self._pulled = False
        self._jobs: list[Job] = []
        self._writing: Job | None = None
        self._number = 0
        self._window = 1
        self._window_most = terms.max_in_flight
        self._answered = 0
        self._one_by_one = False
        self._wrote_last = False
        self._quiet = False
        self._hold = -math.inf
        self._busy_pause = BUSY_PAUSE
        self._unsure: dict[Cell, int] = {}
        self._fresh_word: Cell | None = None
        self._swept = terms.period
        """The period of the last sweep."""
        self._sweepable: dict[Read, list[bytes | bytearray]] = {}
        self._refusals: Counter[str] = Counter()
        self._readable: set[str] = set()
        self._alone = 0
        self.declare(())

    # -- what the engine reports

    def declare(self, pieces: Iterable[Piece], now: float = -math.inf) -> None:
        """The variables that lie in the memory: what is polled, and what must not be cut in two."""
        self._pieces = list(pieces)
        self._policies = {piece.name: piece.conflict for piece in self._pieces if piece.conflict}
        self._beating = {piece.name: piece for piece in self._pieces if piece.heartbeat}
        beats = {name: due for name, (_, due) in self._beats.items() if name in self._beating}
        self._beats = {name: (self._beating[name], due) for name, due in beats.items()}
        self._replan(now)

    def assign(self, table: str, address: int, count: int, mask: int, name: str, times: int, now: float = 0.0) -> None:
        """The application, or a remote client, assigned bits of the memory, `times` times."""
        self.ledger.assign(table, address, count, WIDTH[table], mask, name, times)
        self._after_assignment(table, address, count, name, now)

    def command(
        self,
        table: str,
        address: int,
        count: int,
        mask: int,
        name: str,
        value: int,
        now: float,
        done: Done | None = None,
    ) -> None:
        """The application assigned a command: to be sent by itself, in its turn, and not late."""
        expires = now + (self._terms.write_ttl if done is None else self._terms.forward_ttl)
        self.ledger.command(table, address, count, WIDTH[table], mask, name, value, expires, done)
        self._after_assignment(table, address, count, name, now)

    def connected(self, now: float = -math.inf) -> None:
        """There is a connection: pull everything before anything is written."""
        self._connected = True
        self._jobs.clear()
        self._writing = None
        self._window = 1
        self._window_most = 1 if self._one_by_one else self._terms.max_in_flight
        self._busy_pause = BUSY_PAUSE
        self._polling.restart()
        self._hold = now + self._terms.delay_after_connect

    def disconnected(self) -> None:
        """The connection is gone. What was sent and not answered may have arrived, or not."""
        jobs, self._jobs = self._jobs, []
        self._connected = False
        self._pulled = False
        self._sweepable.clear()
        self._writing = None
        self._fresh_word = None
        self._polling.halt()
        for job in jobs:
            if job.shipment:
                self._not_answered(job, "the connection was lost before the reply")

    def replied(self, job: Job, now: float) -> None:
        """The device did what the job asked. (What a read brought is put in by `merge()` first.)"""
        self._end(job, now)
        self._answered = max(self._answered, job.number)
        self._busy_pause = BUSY_PAUSE
        self._widen()
        request = job.request
        if isinstance(request, Read):
            self.stats.cells += request.cells
            self._readable.add(request.table)
            self._now_sure(job)
            if self.holes.heal(request.table, request.address, request.cells):
                self._replan(now)
            if job.before_write:
                self._fresh_word = (request.table, job.word)
        else:
            self.stats.cells += request.cells
            self.stats.racy_writes += job.racy
            self.features.done(request)
            self._arrived(job)
            self.ledger.settle(job.shipment, "acknowledged")
        self._polled(job, now, answered=True)

    def refused(self, job: Job, code: int, cause: str, now: float) -> None:
        """The device answered with an exception code; a refused request has changed nothing."""
        self._end(job, now)
        self._answered = max(self._answered, job.number)
        self.stats.errors[f"exception {code:02X}"] += 1
        request = job.request
        if code in BUSY:
            self._wait_for_busy(job, code, now)
        elif isinstance(request, Read):
            self._read_refused(job, code, cause, now)
        elif code == NO_ANSWER_BEHIND:
            # The gateway sent it on and heard nothing: it may have been done.
            self._not_answered(job, cause)
        elif self.features.learn(request, single=job.single, code=code):
            self.ledger.take_back(job.shipment)
        elif (newest := max(entry.sequence for entry, _ in job.shipment)) > self._alone and len(job.shipment) > 1:
            # One of them may be to blame: each is tried by itself, so that each has its own fate.
            self._alone = newest
            self.ledger.take_back(job.shipment)
        else:
            self._reject(job.shipment, cause, code)

    def unanswered(self, job: Job, kind: str, cause: str, now: float) -> None:
        """No reply came in time, or one that is none. Of a write nobody knows whether it was done."""
        if len(self._jobs) > 1:
            # It may be us who asked too much at a time: from now on one after the other. A device that answers
            # what was asked later drops requests that come close together, on the next connection too.
            self._window = self._window_most = 1
            self._one_by_one = self._one_by_one or self._answered > job.number
        self._end(job, now)
        self.stats.errors[kind] += 1
        if job.shipment:
            self._not_answered(job, cause)
        self._polled(job, now, answered=False)

    def merge(self, job: Job, ours: bytes, theirs: bytes) -> bytes:
        """The cells of a read as they shall be in the memory: the device's, but for what is still on its way."""
        request = job.request
        assert isinstance(request, Read)
        table, address, cells = request
        width = WIDTH[table]
        order: Order = "big" if width == 16 else "little"
        keep = self.ledger.keep(table, address, cells, width)
        if keep:
            keep = self._after_clashes(request, int.from_bytes(ours, order), int.from_bytes(theirs, order), keep)
        for (name, at), bits in job.settled.items():
            if name == table and address <= at < address + cells:
                keep |= bits << _shift(width, address, cells, at)
        self._known.hear(table, address, cells, theirs)
        if request not in self._sweepable and (place := self._known.place(*request)) is not None:
            self._sweepable[request] = place
        return merge(ours, theirs, keep, order)

    # -- what the engine asks

    @property
    def pulled(self) -> bool:
        """Has every block been asked for since the connection was made?"""
        return self._pulled

    def sweep(self, now: float) -> Sweep | None:
        """A run of reads in place of the next job, where nothing is to be decided between them; else nothing.

        They count as sent when the engine says so. Before anything else is reported or asked, `swept()` ends it.
        """
        quiet = (
            not self.ledger.open
            and self._pulled
            and not self._jobs
            and self._window == self._window_most
            and self._hold == -math.inf  # it is set after each request where there is to be a pause in between
            and not self._unsure
            and not self._beats
            and self._fresh_word is None
            and not self.holes.found
        )
        if not quiet or (run := self._polling.take_run(now, self._sweepable)) is None:
            return None
        reads, round_, until = run
        if round_.period != self._swept:
            self._known.enter()
            self._swept = round_.period
        said = list(map(self._sweepable.__getitem__, reads))
        due = -math.inf if round_.queue else round_.due
        return Sweep(reads, round_.period, until, due, self._window, said)

    def swept(self, sweep: Sweep, now: float) -> list[Job]:
        """What was sent of a run, and what answered, each as it was expected. Returns the reads that are still out."""
        first = self._number + 1
        self._number += sweep.sent
        if sweep.sent:
            self._wrote_last = False
        if sweep.done:
            self._known.entered()
            self._answered = first + sweep.done - 1
            self._busy_pause = BUSY_PAUSE
        out: list[Job] = []
        if sweep.done < sweep.sent:
            asked = enumerate(sweep.reads[sweep.done : sweep.sent], first + sweep.done)
            out = [Job(read, number=number, period=sweep.period) for number, read in asked]
            self._jobs.extend(out)
        self._finish(self._polling.end_run(sweep.reads[sweep.sent :], sweep.done, sweep.period), now)
        return out

    def next(self, now: float) -> Job | None:
        """The next job, which counts as sent from now on; or nothing before `wake()`."""
        self.ledger.expire(now)
        if self._beats and self._connected:
            self._beat(now)
        if not self._connected or len(self._jobs) >= self._window or now < self._hold:
            return None
        self._hold = -math.inf
        job = self._choose(now)
        if job is not None:
            self._number += 1
            job.number = self._number
            self._jobs.append(job)
            if job.shipment:
                self._writing = job
            self._wrote_last = job.period is None
            self.stats.requests += 1
        return job

    def expire(self, now: float) -> None:
        """What time alone brings while nothing can be asked."""
        self.ledger.expire(now)

    def wake(self) -> float:
        """When `next()` may have something by the passing of time alone."""
        waking = self.ledger.next_expiry()
        if not self._connected:
            return waking
        for _, due in self._beats.values():
            waking = min(waking, due)
        if len(self._jobs) >= self._window or (self._quiet and self._jobs):
            return waking
        if self._hold > -math.inf:
            return min(waking, self._hold)
        probing = self.holes.next_probe() if self._pulled else math.inf
        return min(waking, self._polling.next_due(), probing)

    def poll_now(self) -> dict[float, int]:
        """Ask for everything as soon as possible. Returns what `polled()` is to be asked with."""
        self._polling.hurry()
        return self._polling.ticket()

    def polled(self, ticket: Mapping[float, int]) -> bool:
        """Is everything in that was asked for since the ticket was given?"""
        return self._polling.since(ticket)

    @property
    def jobs(self) -> list[Job]:
        """The requests that are sent and not answered."""
        return list(self._jobs)

    def racy_word(self, job: Job, ours: int) -> bytes:
        """The whole word to write for a part of it: ours where it was assigned, else as the device has just said."""
        request = job.request
        mask = 0
        for _, bits in job.shipment:
            mask |= bits.get(request.address, 0)
        theirs, _ = self._known.recall(request.table, request.address, 1)
        return (theirs & ~mask | ours & mask).to_bytes(2, "big")

    def join_over(self, gap: int, now: float) -> None:
        """So many cells that nobody wants are cheaper to read along than another request."""
        if gap != self._terms.gap:
            self._terms = replace(self._terms, gap=gap)
            self._replan(now)

    # -- choosing

    def _choose(self, now: float) -> Job | None:
        if self._quiet and self._jobs:
            return None
        self._quiet = False
        reading = self._polling.ready(now)
        if self._polling.has_idle:
            self._finish(self._polling.idle(), now)
        if self._pulled and (self._fresh_word or not (self._wrote_last and reading)):
            job = self._write_job()
            if job is not None or self._quiet:
                return job
        if reading:
            read, period = self._polling.take()
            return Job(read, period=period)
        if self._pulled:
            job = self._write_job()
            if job is not None:
                return job
            probe = self.holes.probe(now)
            if probe is not None:
                return Job(Read(*probe))
        return None

    def _write_job(self) -> Job | None:
        if self._writing is not None:
            return None
        # A word that was read for its read-modify-write is fresh for the very next write only.
        fresh, self._fresh_word = self._fresh_word, None
        oldest = next(iter(self.ledger.waiting()), None)
        if oldest is None:
            return None
        if oldest.values is not None:
            return self._command_job(oldest, fresh)
        return self._assignment_job(oldest, fresh)

    def _assignment_job(self, oldest: Entry, fresh: Cell | None) -> Job | None:
        limits = self.features.write_limits(self._write_limits)
        request = next_write(self.ledger, limits, blocked=self._unsure, alone=self._alone)
        if request is None:
            return self._read_back(oldest)
        table, address = request.table, request.address
        if isinstance(request, Write):
            shipment = self.ledger.ship(table, address, address + request.cells)
            return Job(request, shipment, single=self.features.by_single(request))
        if self.features.mask_write:
            return Job(request, self.ledger.ship(table, address, address + 1, request.mask))
        if fresh != (table, address):
            return self._read_before_write(table, address)
        # The whole word goes out, but a start bit in it that was assigned after a parameter elsewhere has to wait.
        word = Write(table, address, 1)
        shipment = self.ledger.ship(table, address, address + 1, request.mask)
        return Job(word, shipment, single=self.features.by_single(word), racy=True)

    def _command_job(self, command: Entry, fresh: Cell | None) -> Job | None:
        """A command travels by itself, with the value that it was assigned."""
        table = command.table
        width = WIDTH[table]
        assert command.values is not None
        if any((table, at) in self._unsure for at in command.waiting):
            return self._read_back(command)
        cells = sorted(command.waiting)[: self.features.write_limits(self._write_limits)[table]]
        first = cells[0]
        mask = command.waiting[first]
        if mask != (1 << width) - 1:
            value = command.values[first]
            if self.features.mask_write:
                data = value.to_bytes(2, "big")
                return Job(MaskWrite(table, first, mask), self.ledger.ship_command(command, 1), data=data)
            if fresh != (table, first):
                return self._read_before_write(table, first)
            word = self._known.recall(table, first, 1)[0] & ~mask | value & mask
            request = Write(table, first, 1)
            shipment = self.ledger.ship_command(command, 1)
            return Job(
                request, shipment, single=self.features.by_single(request), racy=True, data=word.to_bytes(2, "big")
            )
        request = Write(table, first, len(cells))
        if width == 16:
            data = b"".join(command.values[at].to_bytes(2, "big") for at in cells)
        else:
            bits = sum(command.values[at] << number for number, at in enumerate(cells))
            data = bits.to_bytes((len(cells) + 7) // 8, "little")
        shipment = self.ledger.ship_command(command, len(cells))
        return Job(request, shipment, single=self.features.by_single(request), data=data)

    def _read_before_write(self, table: str, address: int) -> Job | None:
        # Nothing else may be out: an older read would bring an older word, and a later one would come before the write.
        alone, self._quiet = not self._jobs, True
        if not alone:
            return None
        read = self._read_whole(table, address, address + 1) or Read(table, address, 1)
        return Job(read, before_write=True, word=address)

    def _read_back(self, waiting: Entry) -> Job | None:
        """Read the cells that nobody is sure of and that the oldest assignment waits for."""
        self._quiet = bool(self._jobs)
        if self._quiet:
            return None
        table = waiting.table
        first = min(at for name, at in self._unsure if name == table)
        read = self._read_whole(table, first, first + 1) or Read(table, first, 1)
        while (table, end := read.address + read.cells) in self._unsure:
            longer = self._read_whole(table, read.address, end + 1)
            if longer is None:
                break
            read = longer
        return Job(read)

    def _read_whole(self, table: str, first: int, end: int) -> Read | None:
        """A read of these cells, and of the rest of every variable that they are a part of: no value is torn.

        :returns: None where that is more than a request takes, or where it would run into a hole.
        """
        low, high = first, end
        grown = True
        while grown:
            reaches = [
                (piece.address, piece.address + piece.cells)
                for piece in self._pieces
                if piece.table == table
                and piece.readable
                and piece.address < high
                and low < piece.address + piece.cells
            ]
            wider = min([low, *(begin for begin, _ in reaches)]), max([high, *(stop for _, stop in reaches)])
            grown, (low, high) = wider != (low, high), wider
        holes = self.holes.cells(table)
        spoilt = any(at in holes for at in range(low, high)) and not any(at in holes for at in range(first, end))
        return None if spoilt or high - low > self._read_limits[table] else Read(table, low, high - low)

    # -- what an answer means

    def _end(self, job: Job, now: float) -> None:
        """The job is over, whichever way."""
        self._jobs = [other for other in self._jobs if other is not job]
        if self._writing is job:
            self._writing = None
        if self._terms.delay_between:
            self._hold = max(self._hold, now + self._terms.delay_between)

    def _widen(self) -> None:
        """The device keeps up: one more request may be out, where the application allows it."""
        if self._window < self._window_most and len(self._jobs) + 1 >= self._window:
            self._window += 1

    def _wait_for_busy(self, job: Job, code: int, now: float) -> None:
        self._hold = max(self._hold, now + self._busy_pause)
        self._busy_pause = min(2 * self._busy_pause, MAX_BUSY_PAUSE)
        if isinstance(job.request, Read):
            if job.period is not None:
                self._polling.put_back(job.request, job.period)
        elif code == ACKNOWLEDGE:
            # The device has accepted the write and is at work on it: to send it again would do it twice.
            self._arrived(job)
            self.ledger.settle(job.shipment, "acknowledged")
        else:
            self.ledger.take_back(job.shipment)

    def _read_refused(self, job: Job, code: int, cause: str, now: float) -> None:
        request = job.request
        assert isinstance(request, Read)
        table, address, cells = request
        # Nothing can be learnt there: it must not block what is to be written.
        self._now_sure(job)
        if job.before_write and code not in NOT_THERE:
            shipment = self.ledger.ship(table, job.word, job.word + 1)
            if not shipment:
                # It was for a command, if that has not expired meanwhile.
                commands = [e for e in self.ledger.waiting() if e.table == table and job.word in e.waiting]
                shipment = [each for entry in commands[:1] for each in self.ledger.ship_command(entry, 1)]
            self._reject(shipment, f"its word cannot be read to write one part of it, {cause}", code)
        if code in NOT_THERE:
            self._polled(job, now, answered=True)
            return
        if job.period is not None:
            wanted = self._wanted(table, self._sizes[table], [p for p in self._pieces if p.table == table])
            cut = self._where_to_cut(request, code, wanted.get(job.period))
            if cut is None:
                self.holes.add(table, address, cells, cause, now)
            else:
                self.holes.cut(table, cut)
            # In this order: its parts are asked for in the same round, not in the next one, which may be hours away.
            self._replan(now)
            self._polled(job, now, answered=True)
        else:
            self.holes.refused_again(table, address, cells, now, self._where_to_cut(request, code))

    def _where_to_cut(self, refused: Read, code: int, wanted: bytearray | None = None) -> int | None:
        """Where to look for what is to blame; None where there is nothing smaller to ask for, or no hope."""
        table, address, cells = refused
        self._refusals[table] += 1
        # A table of which nothing could ever be read is not searched word by word, over thousands of requests.
        hopeless = self._refusals[table] > MOST_REFUSALS and table not in self._readable
        if hopeless or code == ILLEGAL_FUNCTION:
            return None
        pieces = [(piece.address, piece.cells) for piece in self._pieces if piece.table == table]
        return split_point(address, cells, pieces, wanted)

    def _arrived(self, job: Job) -> None:
        """The device has these bits now; answers to reads that left before may be older."""
        for entry, bits in job.shipment:
            for read in self._jobs:
                if isinstance(read.request, Read):
                    for at, part in bits.items():
                        cell = (entry.table, at)
                        read.settled[cell] = read.settled.get(cell, 0) | part
        if job.data is None:
            return
        request = job.request
        if isinstance(request, MaskWrite):
            value = int.from_bytes(job.data, "big")
            self._known.learn(request.table, request.address, 1, value, request.mask)
        elif isinstance(request, Write):
            self._known.hear(request.table, request.address, request.cells, job.data)

    def _not_answered(self, job: Job, cause: str) -> None:
        self.stats.racy_writes += job.racy
        self.features.unanswered(job.request)
        self._doubt(job.shipment)
        self.ledger.settle(job.shipment, "unknown", cause)

    def _reject(self, shipment: Shipment, cause: str, code: int) -> None:
        self._doubt(shipment)
        self.ledger.settle(shipment, "rejected", cause, code)
        # The memory still shows what was refused: a poll is due at once and brings the device's value.
        self._polling.hurry()

    def _doubt(self, shipment: Shipment) -> None:
        for entry, bits in shipment:
            for at in bits:
                self._unsure[entry.table, at] = self._number

    def _now_sure(self, job: Job) -> None:
        """A read that left after the doubt arose has answered it."""
        table, address, cells = job.request if isinstance(job.request, Read) else ("", 0, 0)
        if self._unsure:
            for at in range(address, address + cells):
                if self._unsure.get((table, at), math.inf) < job.number:
                    del self._unsure[table, at]

    def _after_clashes(self, read: Read, mine: int, theirs: int, keep: int) -> int:
        """Settle the conflicts between waiting assignments and the device's changes; what is still to be kept."""
        table, address, cells = read
        width = WIDTH[table]
        base, known = self._known.recall(table, address, cells)
        yielded = False
        for entry in list(self.ledger.waiting_in(table, address, address + cells)):
            waiting = 0
            for at, bits in entry.waiting.items():
                if address <= at < address + cells:
                    waiting |= bits << _shift(width, address, cells, at)
            if not clashing(base, known, mine, theirs, waiting):
                continue
            winner = self._policies.get(entry.name, self._terms.conflict)
            first, end = max(address, entry.reach[0]), min(address + cells, entry.reach[1])
            before, ours, now = (_part(value, width, read, first, end) for value in (base, mine, theirs))
            self.clashes.append(Clash(entry.name, table, first, end - first, before, ours, now, winner))
            self.stats.conflicts += 1
            if winner == "device":
                self.ledger.give_way(entry)
                yielded = True
        return self.ledger.keep(table, address, cells, width) if yielded else keep

    # -- what time brings

    def _beat(self, now: float) -> None:
        for name, (piece, due) in list(self._beats.items()):
            if due <= now and piece.heartbeat:
                self._beats[name] = (piece, now + piece.heartbeat)
                self.ledger.repeat(*piece[:3], WIDTH[piece.table], piece.mask, name)

    def _after_assignment(self, table: str, address: int, count: int, name: str, now: float) -> None:
        if table not in WRITABLE:
            cause = f"the {table} table cannot be written over Modbus"
            self.ledger.settle(self.ledger.ship(table, address, address + count), "rejected", cause)
            for entry in [entry for entry in self.ledger.waiting() if entry.table == table]:
                self.ledger.settle(self.ledger.ship_command(entry, len(entry.waiting)), "rejected", cause)
            return
        if (piece := self._beating.get(name)) is not None and piece.heartbeat:
            self._beats[name] = (piece, now + piece.heartbeat)

    # -- polling

    def _polled(self, job: Job, now: float, *, answered: bool) -> None:
        if job.period is not None:
            self._finish(self._polling.ended(job.period, answered), now)

    def _finish(self, round_: Round | None, now: float) -> None:
        if round_ is None:
            return
        self._pulled = self._pulled or self._polling.pulled
        if round_.period == self._terms.period:
            self.stats.cycle(now, round_.began_at)

    def _replan(self, now: float) -> None:
        """Work out the blocks to read, after the declarations or the holes have changed."""
        self._sweepable.clear()
        self._known.forget_places()
        blocks: dict[float, list[Read]] = {self._terms.period: []}
        for table, size in self._sizes.items():
            pieces = [piece for piece in self._pieces if piece.table == table]
            whole = [(piece.address, piece.cells) for piece in pieces]
            limit = self._read_limits[table]
            holes, cuts = self.holes.cells(table), self.holes.cuts(table)
            for period, wanted in self._wanted(table, size, pieces).items():
                blocks.setdefault(period, []).extend(
                    Read(table, *block)
                    for block in read_blocks(
                        size, whole, limit, wanted=wanted, gap=self._terms.gap, holes=holes, cuts=cuts
                    )
                )
        self._polling.plan(blocks, now)

    def _wanted(self, table: str, size: int, pieces: list[Piece]) -> dict[float, bytearray | None]:
        """For each period, which cells of a table to read with it; None is all of them."""
        base = self._terms.period
        own = [piece for piece in pieces if piece.period not in (None, base)]
        if self._terms.blocks:
            wanted = bytearray(size)
            for read in self._terms.blocks:
                if read.table == table:
                    wanted[read.address : read.address + read.cells] = b"\x01" * read.cells
        elif self._terms.poll == "all":
            if not own:
                return {base: None}
            wanted = bytearray(b"\x01") * size
        else:
            wanted = bytearray(size)
        groups: dict[float, bytearray | None] = {base: wanted}
        for piece in own:
            assert piece.period is not None
            group = groups.setdefault(piece.period, bytearray(size))
            assert group is not None
            if piece.readable:
                group[piece.address : piece.address + piece.cells] = b"\x01" * piece.cells
            wanted[piece.address : piece.address + piece.cells] = bytes(piece.cells)
        if self._terms.poll == "declared" or own:
            for piece in pieces:
                if piece not in own and piece.readable and not self._terms.blocks:
                    wanted[piece.address : piece.address + piece.cells] = b"\x01" * piece.cells
        whole = [piece for piece in pieces if piece.readable and 1 < piece.cells <= self._read_limits[table]]
        for group in groups.values():
            _complete(group, whole)
        return groups


def _complete(wanted: bytearray | None, whole: Iterable[Piece]) -> None:
    """Also want the rest of a variable of which a part is wanted: overlapping variables may have different periods."""
    torn = True
    while wanted is not None and torn:
        torn = False
        for piece in whole:
            cells = wanted[piece.address : piece.address + piece.cells]
            if any(cells) and not all(cells):
                wanted[piece.address : piece.address + piece.cells] = b"\x01" * piece.cells
                torn = True


def _shift(width: int, address: int, cells: int, at: int) -> int:
    """Where the cell `at` lies in an integer over `cells` cells from `address`."""
    return width * (address + cells - 1 - at) if width > 1 else at - address


def _part(value: int, width: int, read: Read, first: int, end: int) -> int:
    """The cells `first` to `end` of an integer over the cells of a read."""
    part = 0
    for at in range(first, end):
        cell = cell_of(read.address, read.cells, width, value, at)
        part |= cell << _shift(width, first, end - first, at)
    return part
