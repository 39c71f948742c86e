"""What to do next with one device, and what its answers mean.

The engine asks `next()` for a job, sends it, and reports how it ended; the clock is the engine's, and so are the
bytes. The order of things:

1. The first exchange pulls: until every block was asked for once, nothing is written.
2. Cells whose write was refused or not answered are read back before anything is written there.
3. Writes and reads alternate while both are due, so that neither starves the other; one write is out at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from msm.exchange.coverage import Coverage
from msm.exchange.features import Features
from msm.exchange.job import Job, Terms
from msm.exchange.ledger import Done, Ledger, Shipment, cell_of
from msm.exchange.merge import Clash, Known, Order, clashing, merge
from msm.exchange.plan import WIDTH, WRITABLE, MaskWrite, Piece, Read, Write
from msm.exchange.polling import Polling, Round
from msm.exchange.stats import Stats
from msm.exchange.sweep import Sweep
from msm.exchange.writing import Writing

ACKNOWLEDGE = 5
BUSY = (5, 6)  # acknowledge, server device busy (application protocol V1.1b3, section 7)
BUSY_PAUSE = 0.1  # seconds before a busy device is asked again, doubled while it stays busy
MAX_BUSY_PAUSE = 2.0
NO_ANSWER_BEHIND = 11
NOT_THERE = (10, NO_ANSWER_BEHIND)  # a gateway that does not reach the unit


class Device:
    """Decides for one device (unit) what to ask next."""

    def __init__(self, sizes: Mapping[str, int], terms: Terms) -> None:
        self.ledger = Ledger()
        self.stats = Stats()
        self.clashes: list[Clash] = []
        """Conflicts that the engine has not yet told anybody."""
        self.features = Features(terms.write_function)
        self._sizes = {table: size for table, size in sizes.items() if size}
        self._terms = terms
        self._coverage = Coverage(self._sizes, terms)
        self.holes = self._coverage.holes
        self._policies: dict[str, str] = {}
        self._beating: dict[str, Piece] = {}
        self._beats: dict[str, tuple[Piece, float]] = {}
        """Of those that beat and were assigned: when they are to be sent again."""
        self._polling = Polling(terms.period)
        self._known = Known(self._sizes, WIDTH)
        self._writing = Writing(self.ledger, self.features, self._known, self._coverage, terms)
        self._connected = False
        self._pulled = False
        self._jobs: list[Job] = []
        self._number = 0
        self._window = 1
        self._window_most = terms.max_in_flight
        self._answered = 0
        self._one_by_one = False
        self._wrote_last = False
        self._hold = -math.inf
        self._busy_pause = BUSY_PAUSE
        self._swept = terms.period
        """The period of the last sweep."""
        self._sweepable: dict[Read, list[bytes | bytearray]] = {}
        self.declare(())

    # -- what the engine reports

    def declare(self, pieces: Iterable[Piece], now: float = -math.inf) -> None:
        """The variables that lie in the memory: what is polled, and what must not be cut in two."""
        self._coverage.pieces = declared = list(pieces)
        self._policies = {piece.name: piece.conflict for piece in declared if piece.conflict}
        self._beating = {piece.name: piece for piece in declared if piece.heartbeat}
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
        self._writing.job = None
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
        self._writing.job = None
        self._writing.fresh_word = None
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
            self._writing.now_sure(job)
            if self._coverage.answered(request.table, request.address, request.cells):
                self._replan(now)
            if job.before_write:
                self._writing.fresh_word = (request.table, job.word)
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
        elif self._writing.part(job.shipment):
            # One of them may be to blame: each is tried by itself, so that each has its own fate.
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
            and not self._writing.unsure
            and not self._beats
            and self._writing.fresh_word is None
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
                self._writing.job = job
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
        if len(self._jobs) >= self._window or (self._writing.quiet and self._jobs):
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
        return self._writing.racy_word(job, ours)

    def join_over(self, gap: int, now: float) -> None:
        """So many cells that nobody wants are cheaper to read along than another request."""
        if self._coverage.join_over(gap):
            self._replan(now)

    # -- choosing

    def _choose(self, now: float) -> Job | None:
        writing = self._writing
        if writing.quiet and self._jobs:
            return None
        writing.quiet = False
        reading = self._polling.ready(now)
        if self._polling.has_idle:
            self._finish(self._polling.idle(), now)
        if self._pulled and (writing.fresh_word or not (self._wrote_last and reading)):
            job = writing.next(alone=not self._jobs)
            if job is not None or writing.quiet:
                return job
        if reading:
            read, period = self._polling.take()
            return Job(read, period=period)
        if self._pulled:
            job = writing.next(alone=not self._jobs)
            if job is not None:
                return job
            probe = self.holes.probe(now)
            if probe is not None:
                return Job(Read(*probe))
        return None

    # -- what an answer means

    def _end(self, job: Job, now: float) -> None:
        """The job is over, whichever way."""
        self._jobs = [other for other in self._jobs if other is not job]
        if self._writing.job is job:
            self._writing.job = None
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
        self._writing.now_sure(job)
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
            cut = self._coverage.where_to_cut(request, code, job.period)
            if cut is None:
                self.holes.add(table, address, cells, cause, now)
            else:
                self.holes.cut(table, cut)
            # In this order: its parts are asked for in the same round, not in the next one, which may be hours away.
            self._replan(now)
            self._polled(job, now, answered=True)
        else:
            self.holes.refused_again(table, address, cells, now, self._coverage.where_to_cut(request, code))

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
        self._writing.doubt(job.shipment, self._number)
        self.ledger.settle(job.shipment, "unknown", cause)

    def _reject(self, shipment: Shipment, cause: str, code: int) -> None:
        self._writing.doubt(shipment, self._number)
        self.ledger.settle(shipment, "rejected", cause, code)
        # The memory still shows what was refused: a poll is due at once and brings the device's value.
        self._polling.hurry()

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
        self._polling.plan(self._coverage.blocks(), now)


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
