"""Two writers and one word, explored exhaustively.

The application owns bit 0 of a word and assigns it at most twice, to 1 and then to 0. The device (or another client of
it) owns bit 8 of the same word and flips it at most twice. Between them is the real `exchange.Device`, a memory of one
word, and a network in which any message that is under way may arrive next, be lost, be doubled, or come late: after the
client has given it up, or after the connection was broken and made anew.

The search goes breadth first through all interleavings of these steps, with at most two faults in a course (a loss, a
doubling, a time-out, a break of the connection) and one poll beside the pull. It begins twice: from a new connection,
up to 6 steps deep, and from one that has just pulled, up to 7 (in the nightly session one step more). It is done for
one and for two requests in flight, and for a device without mask write. Two courses that lead to the same state are
followed once: a state is the memory, the device, all messages under way, the budgets that are left, and everything that
`exchange.Device` knows, its running numbers replaced by their ranks. These are 34,695 states in all; the numbers are
asserted below, so that a change of the search is noticed.

In each state it is checked that

- a write changes bit 0 alone; where the device has no mask write, it writes the other bits back as the device has
  just reported them;
- the ledger balances, and at most one write is out;
- a reply changes no bit of the memory that waits or was acknowledged after its request left;
- left alone from here, both sides come to rest: memory and device are equal, nothing is pending, and the last value of
  bit 0 is in the device, unless the ledger says that it failed, or the network brought an older request after it;
- bit 8 of the device is what the device made it last; without mask write it may lose a flip that fell
  between the two halves of a read-modify-write, and then the statistics have counted a racy write.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from dataclasses import dataclass, field

import pytest

from msm.exchange.device import Device
from msm.exchange.job import Job, Terms
from msm.exchange.plan import MaskWrite, Read, Write

MINE, THEIRS = 0x0001, 0x0100
ASSIGNMENTS = 2
FLIPS = 2
FAULTS = 2

Step = tuple[str, int]

NEW: tuple[Step, ...] = ()
PULLED: tuple[Step, ...] = (("request", 0), ("reply", 0))

#: The beginning, how many steps from there, requests in flight, has mask write: the number of states.
EXPLORED = {
    (NEW, 6, 1, True): 1_967,
    (NEW, 6, 2, True): 2_144,
    (NEW, 6, 1, False): 1_946,
    (PULLED, 7, 1, True): 7_456,
    (PULLED, 7, 2, True): 14_476,
    (PULLED, 7, 1, False): 6_706,
}


@dataclass
class Message:
    """A request under way (reply is None), or a reply; `stale` when the client has given it up."""

    job: Job
    data: tuple[int, int]  # of a write: mask and value
    reply: int | None = None
    stale: bool = False


@dataclass
class World:
    """Everything there is, after some steps from the beginning."""

    in_flight: int
    has_mask_write: bool
    memory: int = 0
    plant: int = 0
    flipped: int = 0
    """Bit 8 as the device made it last."""
    assigned: int = 0
    flips: int = 0
    faults: int = 0
    polls: int = 0
    overtaken: bool = False
    """The network brought a request that was given up, or a second time."""
    raced: bool = False
    reported: int | None = None
    sent_for: dict[int, int] = field(default_factory=dict)
    """Of each write, by its number: how many assignments there were when it left."""
    settled: int = 0
    """So many assignments have met their fate."""
    fenced: set[int] = field(default_factory=set)
    """The reads that left before a write was acknowledged, by their numbers."""
    requests: list[Message] = field(default_factory=list)
    replies: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        terms = Terms(period=3600.0, max_in_flight=self.in_flight)
        self.device = Device({"holding": 1}, terms)
        self.device.connected(0.0)
        self.pump()

    # -- what the client's loop does

    def pump(self) -> None:
        while (job := self.device.next(0.0)) is not None:
            request = job.request
            data = (0, 0)
            if not isinstance(request, Read):
                data = self._written(job)
                self.sent_for[job.number] = self.assigned
            self.requests.append(Message(job, data))
        assert sum(not isinstance(job.request, Read) for job in self.device.jobs) <= 1
        ledger = self.device.ledger
        fates = ledger.acknowledged + ledger.superseded + ledger.rejected + ledger.expired + ledger.unknown
        assert ledger.total == self.assigned == fates + ledger.pending

    def _written(self, job: Job) -> tuple[int, int]:
        job.data = self.memory.to_bytes(2, "big")
        if isinstance(job.request, MaskWrite):
            assert job.request.mask == MINE, "only the assigned bit is written"
            return MINE, self.memory & MINE
        assert isinstance(job.request, Write)
        assert job.racy
        assert not self.device.features.mask_write
        job.data = self.device.racy_word(job, self.memory)
        word: int = struct.unpack(">H", job.data)[0]
        assert self.reported is not None, "read just before it is written"
        assert word & ~MINE == self.reported & ~MINE, "the other bits as the device had just reported them"
        assert word & MINE == self.memory & MINE
        return 0xFFFF, word

    # -- the steps

    def steps(self) -> list[Step]:
        """What may happen next."""
        found: list[Step] = []
        if self.assigned < ASSIGNMENTS:
            found.append(("assign", 0))
        if self.flips < FLIPS:
            found.append(("flip", 0))
        if not self.polls and self.device.pulled:
            found.append(("poll", 0))
        found += [("request", at) for at in range(len(self.requests))]
        found += [("reply", at) for at in range(len(self.replies))]
        if self.faults < FAULTS:
            found += [(what, at) for at in range(len(self.requests)) for what in ("lose request", "double request")]
            found += [(what, at) for at in range(len(self.replies)) for what in ("lose reply", "double reply")]
            found += [("time out", at) for at in range(len(self.device.jobs))]
            found.append(("break", 0))
        return found

    def do(self, step: Step) -> None:
        what, at = step
        if what in ("lose request", "double request", "lose reply", "double reply", "time out", "break"):
            self.faults += 1
        getattr(self, "_" + what.replace(" ", "_"))(at)
        self.pump()

    def _assign(self, _: int) -> None:
        self.assigned += 1
        self.memory = self.memory & ~MINE | self.assigned % 2
        self.device.assign("holding", 0, 1, MINE, "BIT", 1)

    def _flip(self, _: int) -> None:
        self.flips += 1
        self.plant ^= THEIRS
        self.flipped = self.plant & THEIRS

    def _poll(self, _: int) -> None:
        self.polls += 1
        self.device.poll_now()

    def _request(self, at: int) -> None:
        message = self.requests.pop(at)
        self.overtaken |= message.stale and not isinstance(message.job.request, Read)
        reply = self.plant
        if isinstance(message.job.request, MaskWrite) and not self.has_mask_write:
            reply = -1  # exception 01
        elif not isinstance(message.job.request, Read):
            mask, value = message.data
            self.raced |= bool((self.plant ^ value) & mask & ~MINE)
            self.plant = self.plant & ~mask | value & mask
        self.replies.append(Message(message.job, message.data, reply, message.stale))

    def _reply(self, at: int) -> None:
        message = self.replies.pop(at)
        job = message.job
        if message.stale or job not in self.device.jobs:
            return  # the link drops what nobody waits for
        self._forget(job)
        assert message.reply is not None
        if message.reply < 0:
            self.device.refused(job, 1, "exception 01", 0.0)
            return
        if isinstance(job.request, Read):
            keep = MINE if self.settled < self.assigned or job.number in self.fenced else 0
            before = self.memory
            raw = self.device.merge(job, self.memory.to_bytes(2, "big"), message.reply.to_bytes(2, "big"))
            self.memory = int.from_bytes(raw, "big")
            assert self.memory == before & keep | message.reply & ~keep
            self.reported = message.reply
        else:
            self.reported = None
            self.settled = max(self.settled, self.sent_for[job.number])
            self.fenced |= {other.number for other in self.device.jobs if isinstance(other.request, Read)}
        self.device.replied(job, 0.0)

    def _lose_request(self, at: int) -> None:
        del self.requests[at]

    def _lose_reply(self, at: int) -> None:
        del self.replies[at]

    def _double_request(self, at: int) -> None:
        message = self.requests[at]
        self.requests.append(Message(message.job, message.data, stale=True))

    def _double_reply(self, at: int) -> None:
        self.replies.append(self.replies[at])

    def _time_out(self, at: int) -> None:
        job = self.device.jobs[at]
        self._forget(job)
        self.settled = max(self.settled, self.sent_for.get(job.number, 0))
        self.device.unanswered(job, "timeout", "no answer", 0.0)

    def _break(self, _: int) -> None:
        for job in self.device.jobs:
            self._forget(job)
            self.settled = max(self.settled, self.sent_for.get(job.number, 0))
        self.device.disconnected()
        self.device.connected(0.0)

    def _forget(self, job: Job) -> None:
        """The client no longer waits for it; what is under way of it comes late, if at all."""
        for message in (*self.requests, *self.replies):
            message.stale |= message.job is job

    # -- left alone

    def come_to_rest(self) -> None:
        for _ in range(100):
            if self.requests:
                self._request(0)
            elif self.replies:
                self._reply(0)
            elif self.device.jobs:
                self._time_out(0)
            elif self.polls < 3:
                self._poll(0)
            else:
                break
            self.pump()
        ledger = self.device.ledger
        assert ledger.pending == 0, f"{ledger}"
        assert self.memory == self.plant, f"memory {self.memory:04X}, device {self.plant:04X}"
        if not self.overtaken and not ledger.unknown and self.assigned:
            assert self.plant & MINE == self.assigned % 2, "the last value of the application is lost"
        if self.has_mask_write or not self.raced:
            assert self.plant & THEIRS == self.flipped, "the device's own bit was changed"
        if self.raced:
            assert self.device.stats.racy_writes

    # -- telling states apart

    def key(self) -> tuple[object, ...]:
        device = self.device
        jobs = device.jobs
        numbers = sorted({*device._writing.unsure.values(), *(job.number for job in jobs)})
        rank = {number: at for at, number in enumerate(numbers)}
        entries = sorted(device.ledger.open.values(), key=lambda entry: entry.sequence)
        place = {entry.sequence: at for at, entry in enumerate(entries)}

        def of(job: Job) -> tuple[object, ...]:
            shipped = tuple((place.get(entry.sequence, -1), tuple(bits.items())) for entry, bits in job.shipment)
            out = rank[job.number] if job in jobs else -1
            fenced = job.number in self.fenced
            return job.request, out, fenced, shipped, tuple(job.settled.items()), job.before_write, job.racy, job.period

        rounds = tuple(
            (r.running, r.out, tuple(r.queue), r.pulled, r.answered, r.due <= 0.0)
            for r in device._polling._rounds.values()
        )
        ledger = device.ledger
        return (
            self.memory, self.plant, self.flipped, self.assigned, self.flips, self.faults, self.polls, self.overtaken,
            self.settled, self.raced, self.reported, tuple((m.data, m.stale, of(m.job)) for m in self.requests),
            tuple((m.data, m.reply, m.stale, of(m.job)) for m in self.replies), tuple(of(job) for job in jobs),
            tuple((tuple(e.waiting.items()), tuple(e.sent.items())) for e in entries), bool(ledger.unknown), rounds,
            tuple((cell, rank[number]) for cell, number in sorted(device._writing.unsure.items())),
            device.features.mask_write, device.features._silent_mask_writes, device._pulled, device._wrote_last,
            device._writing.quiet, device._writing.fresh_word, device._window, device._window_most, device._one_by_one,
            device._writing.job is not None, device._known.recall("holding", 0, 1),
            device._writing._one_by_one in place,
        )  # fmt: skip


def after(course: tuple[Step, ...], in_flight: int, has_mask_write: bool) -> World:
    world = World(in_flight, has_mask_write)
    for step in course:
        world.do(step)
    return world


def explore(beginning: tuple[Step, ...], depth: int, in_flight: int, has_mask_write: bool) -> int:
    """How many states there are within so many steps; each is checked."""
    known = {after(beginning, in_flight, has_mask_write).key()}
    waiting = deque([beginning])
    while waiting:
        course = waiting.popleft()
        world = after(course, in_flight, has_mask_write)
        steps = world.steps() if len(course) < len(beginning) + depth else []
        try:
            world.come_to_rest()
            for step in steps:
                further = after(course, in_flight, has_mask_write)
                further.do(step)
                if (key := further.key()) not in known:
                    known.add(key)
                    waiting.append((*course, step))
        except AssertionError as error:
            raise AssertionError(f"after {course}: {error}") from error
    return len(known)


@pytest.mark.parametrize("what", EXPLORED, ids=lambda what: f"{len(what[0])}-{what[1]}-{what[2]}-{what[3]}")
def test_every_interleaving_of_two_writers_of_one_word(what: tuple[tuple[Step, ...], int, int, bool]) -> None:
    beginning, depth, in_flight, has_mask_write = what
    nightly = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
    states = explore(beginning, depth + nightly, in_flight, has_mask_write)
    assert nightly or states == EXPLORED[what]
