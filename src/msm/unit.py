"""One store and the device that it is kept the same with: between the image and what `exchange` decides."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable

from msm.errors import AddressError, DeviceError, ProtocolError
from msm.exchange.conflict import Conflict
from msm.exchange.device import BUSY, NOT_THERE, Device
from msm.exchange.job import Job
from msm.exchange.merge import Clash
from msm.exchange.plan import WIDTH, MaskWrite, Piece, Read
from msm.exchange.schedule import LinkState
from msm.exchange.sweep import Sweep
from msm.keywords import ClientSettings
from msm.memory.journal import Command, Journal, Region, Span
from msm.memory.store import MemoryStore, bound_of, image_of, revision_of
from msm.wire import pdu

FIRST_PAUSE = 0.25  # seconds until a unit that does not answer is asked again; doubled while it is silent
LAST_PAUSE = 3.0


class Unit:
    """Keeps one store and one unit the same. The client sends what it asks for and reports what came of it.

    :param ring: called, in whatever thread, when something was assigned.
    """

    def __init__(
        self, number: int, store: MemoryStore, settings: ClientSettings, ring: weakref.WeakMethod[Callable[[], None]]
    ) -> None:
        self.number = number
        self.state = LinkState.CONNECTING
        self.trouble = ""
        self.malformed = ""
        """What was wrong with the last reply that was none."""
        self.silent = 0
        """Requests in a row that this unit has not answered."""
        self.paused_until = -math.inf
        self._heard = -math.inf
        self._store = store
        self.image = image_of(store)
        self.image.set_on_stale(settings.on_stale)
        for read in settings.terms().blocks:
            try:
                self.image.table(read.table).check(read.address, read.cells)
            except AddressError as error:
                raise AddressError(f"blocks: {error}") from None
        self._revision = -1
        self.device = Device({name: table.size for name, table in self.image.tables.items()}, settings.terms())
        # What is assigned from now on is noted for this client, also before it runs. The journal does not
        # keep a client alive that nobody else holds.
        self.journal = Journal(ring)
        self.image.attach(self.journal)

    def detach(self) -> None:
        """Note no more assignments: the client has stopped."""
        self.image.detach(self.journal)
        with self.image.lock:
            self._enter_marks(math.inf)
        self.device.ledger.abandon("the client was stopped")
        self._delivered(math.inf)
        self._stale("the client was stopped")

    # -- from the application to the device

    def drain(self, now: float) -> None:
        """Enter what was assigned since the last time, and follow the declarations."""
        if self.journal.marks or self.journal.is_rung:
            with self.image.lock:
                self._enter_marks(now)
        revision = revision_of(self._store)
        if revision != self._revision:
            self._revision = revision
            self.device.declare(self._pieces(), now)

    def _enter_marks(self, now: float) -> None:
        """The image's lock is held."""
        for mark, times in self.journal.drain().items():
            if isinstance(mark, Command):
                span = mark.span
                self.device.command(*span[:4], span.name, mark.value, now, mark.done)
            else:
                self.device.assign(*mark[:4], mark.name, times, now)
        if self.journal.dropped:
            self.device.ledger.expired += self.journal.dropped
            self.journal.dropped = 0

    def _pieces(self) -> list[Piece]:
        variables = self._store.variables()
        pieces = []
        for name, bound in bound_of(self._store).items():
            variable = variables.get(name)
            keywords = variable.keywords if variable is not None else {}
            pieces.append(
                Piece(
                    *bound.span[:4],
                    name,
                    period=keywords.get("period"),
                    heartbeat=keywords.get("heartbeat"),
                    conflict=keywords.get("conflict"),
                    readable=keywords.get("access") != "wo",
                )
            )
        return pieces

    def encode(self, job: Job) -> bytes:
        """The request of a job, as it travels; the job notes the cells that it writes."""
        request = job.request
        if isinstance(request, Read):
            return pdu.read(pdu.READS_OF[request.table], request.address, request.cells)
        if job.data is None:
            job.data = self.image.read(request.table, request.address, request.cells)
            if job.racy:
                job.data = self.device.racy_word(job, int.from_bytes(job.data, "big"))
        if isinstance(request, MaskWrite):
            return pdu.mask_write(request.address, request.mask, int.from_bytes(job.data, "big"))
        if request.table == "coil":
            if job.single:
                return pdu.write_coil(request.address, job.data)
            return pdu.write_coils(request.address, request.cells, job.data)
        return pdu.write_word(request.address, job.data) if job.single else pdu.write_words(request.address, job.data)

    # -- from the device to the application

    def answered(self, job: Job, request: bytes, reply: bytes, now: float) -> str:
        """A reply came. Returns what was wrong with it, if anything."""
        self._heard = now
        trouble = ""
        try:
            cells = pdu.check_reply(request, reply)
        except DeviceError as error:
            trouble = str(error)
            self._refused(job, error.code, trouble, now)
        except ProtocolError as error:
            trouble = self.malformed = str(error)
            self.device.unanswered(job, "protocol", trouble, now)
            self._not_read(job, trouble)
        else:
            self._alive()
            if isinstance(job.request, Read):
                self._bring_in(job, cells, now)
            self.device.replied(job, now)
        self._delivered(now)
        return trouble

    def timed_out(self, job: Job, cause: str, now: float, sent: float = math.inf) -> None:
        """No reply came in time to what was sent at `sent`; it is silent if it has said nothing since."""
        self.device.unanswered(job, "timeout", cause, now)
        self._not_read(job, cause)
        self._delivered(now)
        if self._heard < sent:
            self.offline(cause)
            self.silent += 1

    def _refused(self, job: Job, code: int, cause: str, now: float) -> None:
        self.device.refused(job, code, cause, now)
        if code in NOT_THERE:
            # A gateway answers in place of the device: it is the device that is silent.
            self._not_read(job, cause)
            self.offline(cause)
            self.silent += 1
            self.pause(now)
            return
        self._alive()
        if isinstance(job.request, Read) and code not in BUSY:
            with self.image.lock:
                self.image.health.bad(*job.request, cause)

    def _alive(self) -> None:
        self.silent = 0
        self.state = LinkState.ONLINE
        self.trouble = ""

    def _bring_in(self, job: Job, cells: bytes, now: float) -> None:
        table, address, count = job.request[:3]

        def change(ours: bytes) -> bytes:
            # Under the image's lock: what was assigned up to this moment is not the device's to change.
            self._enter_marks(now)
            self.image.health.good(table, address, count, time.time())
            return self.device.merge(job, ours, cells)

        self.image.merge(table, address, count, change)

    def _not_read(self, job: Job, cause: str) -> None:
        """The values of this read hold, but they are no longer fresh."""
        if isinstance(job.request, Read):
            with self.image.lock:
                self.image.health.stale(*job.request, cause)

    def _delivered(self, now: float) -> None:
        """What has met its fate, in whatever way, need not be sent by a client that comes later."""
        ledger = self.device.ledger
        if not ledger.ended:
            return
        with self.image.lock:
            self._enter_marks(now)
            ended, ledger.ended = ledger.ended, []
            for table, bits in ended:
                for address, part in bits.items():
                    left = part & ~ledger.keep(table, address, 1, WIDTH[table])
                    self.image.delivered(Span(table, address, 1, left, ""))

    def sweep(self, now: float) -> Sweep | None:
        """A run of reads, while it answers as it should and nothing is to be decided."""
        if self.state is not LinkState.ONLINE or self.silent or now < self.paused_until:
            return None
        return self.device.sweep(now)

    def swept(self, sweep: Sweep, now: float, heard_at: float) -> list[Job]:
        """How far it has come, and when the last reply was heard. Returns the reads that are still out."""
        if sweep.done:
            self._heard = heard_at
        return self.device.swept(sweep, now)

    def conflicts(self) -> list[Conflict]:
        """The conflicts that were found since the last time, as values of the variables."""
        clashes, self.device.clashes[:] = list(self.device.clashes), []
        return [self._told(clash) for clash in clashes]

    def _told(self, clash: Clash) -> Conflict:
        base, mine, theirs = (self._value(clash, number) for number in (clash.base, clash.mine, clash.theirs))
        return Conflict(clash.name, base, mine, theirs, clash.winner, self.number, time.time())

    def _value(self, clash: Clash, number: int) -> object:
        """The value of a variable whose cells are given as an integer; of anything else, that integer."""
        bound = bound_of(self._store).get(clash.name)
        if bound is None or (bound.span.address, bound.span.cells) != (clash.address, clash.cells):
            return number
        whole = self.image.region(bound.span._replace(mask=(1 << clash.cells * WIDTH[clash.table]) - 1))
        if WIDTH[clash.table] == 1:
            shifted: Region = self.image.region(bound.span._replace(mask=number))
            raw = shifted.bits.to_bytes(shifted.size, "big")
        else:
            raw = number.to_bytes(whole.size, "big")
        start = bound.region.offset - whole.offset
        return bound.codec.decode(raw[start : start + bound.region.size])

    # -- its link

    def connected(self, now: float) -> None:
        """There is a connection."""
        self.silent = 0
        self.paused_until = -math.inf
        self.device.connected(now)

    def disconnected(self, now: float) -> None:
        """The connection is gone."""
        self.device.disconnected()
        self._delivered(now)

    def offline(self, trouble: str) -> None:
        """It does not answer: values hold, and are marked."""
        self.trouble = trouble
        self.state = LinkState.OFFLINE
        self._stale(trouble)

    def pause(self, now: float) -> None:
        """Ask a unit that is silent less often, so that it does not slow its neighbours down."""
        self.paused_until = now + min(FIRST_PAUSE * 2 ** (self.silent - 1), LAST_PAUSE)
        self.device.disconnected()
        self.device.connected(now)

    def _stale(self, trouble: str) -> None:
        with self.image.lock:
            self.image.health.stale(error=trouble)

    def next(self, now: float) -> Job | None:
        """The next job of this unit, if it has one now."""
        if now < self.paused_until:
            self.device.expire(now)
            job = None
        else:
            job = self.device.next(now)
        if self.device.ledger.ended:
            self._delivered(now)
        return job

    def wake(self) -> float:
        """When `next()` may have something by the passing of time alone."""
        waking = self.device.wake()
        return waking if waking == math.inf else max(waking, self.paused_until)
