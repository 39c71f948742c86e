"""What is asked next, with a clock that a test turns; and the whole exchange against a simulated device."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msm.exchange.device import BUSY_PAUSE, Device
from msm.exchange.job import Job, Terms
from msm.exchange.plan import MaskWrite, Piece, Read, Write

READ_ALL = Read("holding", 0, 8)


def device(size: int = 8) -> Device:
    made = Device({"holding": size, "input": 0, "coil": 0, "discrete": 0}, Terms(period=1.0))
    made.connected()
    return made


def assign(it: Device, address: int, cells: int = 1, mask: int = -1, times: int = 1) -> None:
    it.assign("holding", address, cells, mask & (1 << 16 * cells) - 1, f"{address}", times)


def ask(it: Device, now: float) -> Job:
    job = it.next(now)
    assert job is not None
    return job


def pulled(size: int = 8, now: float = 0.0) -> Device:
    """A device whose first exchange is done."""
    it = device(size)
    while not it.pulled:
        it.replied(ask(it, now), now)
    return it


# -- polling


def test_nothing_is_asked_without_a_connection() -> None:
    it = Device({"holding": 8}, Terms(period=1.0))
    assign(it, 3)
    assert it.next(0.0) is None
    assert it.wake() == math.inf


def test_the_first_exchange_pulls() -> None:
    it = device()
    assign(it, 3)
    job = ask(it, 10.0)
    assert (job.request, job.shipment) == (READ_ALL, [])
    assert not it.pulled
    it.replied(job, 10.1)
    assert it.pulled
    assert ask(it, 10.1).request == Write("holding", 3, 1)


def test_one_job_is_outstanding_at_a_time() -> None:
    it = device()
    job = ask(it, 0.0)
    assert it.next(0.0) is None
    assert it.wake() == math.inf
    it.replied(job, 0.1)
    assert it.next(0.1) is None


def test_the_period_runs_from_beginning_to_beginning() -> None:
    it = device()
    it.replied(ask(it, 10.0), 10.4)
    assert it.wake() == 11.0
    assert it.next(10.99) is None
    assert ask(it, 11.0).request == READ_ALL


def test_all_blocks_are_asked_for_in_a_cycle() -> None:
    it = device(250)
    seen = []
    while not it.pulled:
        job = ask(it, 0.0)
        seen.append(job.request)
        it.replied(job, 0.0)
    assert seen == [Read("holding", 0, 125), Read("holding", 125, 125)]
    assert (it.stats.cycles, it.stats.requests) == (1, 2)


def test_declared_variables_are_not_cut() -> None:
    it = device(250)
    it.declare([Piece("holding", 124, 2, 0xFFFFFFFF, "a"), Piece("input", 3, 4, (1 << 64) - 1, "b")])
    assert ask(it, 0.0).request == Read("holding", 0, 124)


def test_every_table_is_read() -> None:
    it = Device({"holding": 1, "input": 200, "coil": 2001, "discrete": 5}, Terms(period=1.0))
    it.connected()
    seen = []
    while (job := it.next(0.0)) is not None:
        seen.append(job.request)
        it.replied(job, 0.0)
    assert seen == [
        Read("holding", 0, 1),
        Read("input", 0, 125),
        Read("input", 125, 75),
        Read("coil", 0, 2000),
        Read("coil", 2000, 1),
        Read("discrete", 0, 5),
    ]


def test_an_empty_memory_is_pulled_at_once() -> None:
    it = device(0)
    assert it.next(0.0) is None
    assert it.pulled


def test_poll_now_asks_at_once_and_tells_which_cycle_answers() -> None:
    it = pulled(now=0.0)
    assert it.next(0.5) is None
    ticket = it.poll_now()
    assert not it.polled(ticket)
    job = ask(it, 0.5)
    it.replied(job, 0.6)
    assert it.polled(ticket)


def test_poll_now_during_a_cycle_means_the_next_one() -> None:
    it = device(250)
    first = ask(it, 0.0)
    ticket = it.poll_now()
    it.replied(first, 0.0)
    it.replied(ask(it, 0.0), 0.0)
    assert not it.polled(ticket), "this one began before"
    it.replied(ask(it, 0.0), 0.0)
    it.replied(ask(it, 0.0), 0.0)
    assert it.polled(ticket)


def test_a_cycle_that_nobody_answered_does_not_count() -> None:
    it = device()
    it.unanswered(ask(it, 0.0), "timeout", "no answer", 1.0)
    assert not it.pulled
    assert it.stats.cycles == 0
    assert it.stats.errors == {"timeout": 1}
    assert ask(it, 1.0).request == READ_ALL


def test_a_refused_block_is_an_answer() -> None:
    it = device()
    while not it.pulled:
        it.refused(ask(it, 0.0), 2, "no", 0.1)
    assert it.stats.errors == {"exception 02": 15}, "it is halved until every single word was refused"
    assert [(hole.address, hole.cells) for hole in it.holes.known()] == [(at, 1) for at in range(8)]


def test_a_refused_block_is_halved_in_the_same_round() -> None:
    it = device(250)
    it.replied(ask(it, 0.0), 0.0)
    it.refused(ask(it, 0.0), 2, "no", 0.0)
    seen = []
    while not it.pulled:
        job = ask(it, 0.0)
        assert isinstance(job.request, Read)
        seen.append((job.request.address, job.request.cells))
        if job.request.address <= 249 < job.request.address + job.request.cells:
            it.refused(job, 2, "no", 0.0)
        else:
            it.replied(job, 0.0)
    assert it.stats.cycles == 1
    assert all(address >= 125 for address, _ in seen), "what was read already is not read again"
    assert [(hole.address, hole.cells) for hole in it.holes.known()] == [(249, 1)]


def test_a_device_without_the_function_is_not_asked_word_by_word() -> None:
    it = device()
    it.refused(ask(it, 0.0), 1, "no", 0.1)
    assert it.pulled
    assert it.stats.errors == {"exception 01": 1}


# -- writing


def test_writes_wake_at_once_and_alternate_with_reads() -> None:
    it = pulled(1000, now=0.0)
    kinds = ""
    for _ in range(8):
        assign(it, 3)
        job = ask(it, 1.0)
        kinds += "r" if isinstance(job.request, Read) else "w"
        it.replied(job, 1.0)
    assert kinds in ("wrwrwrwr", "rwrwrwrw")


def test_a_part_of_a_word_is_a_mask_write() -> None:
    it = pulled()
    assign(it, 3, mask=1)
    job = ask(it, 0.0)
    assert job.request == MaskWrite("holding", 3, 1)
    it.replied(job, 0.0)
    assert it.ledger.acknowledged == 1


def test_without_mask_write_the_word_is_read_and_written_back() -> None:
    it = pulled()
    assign(it, 3, mask=1)
    it.refused(ask(it, 0.0), 1, "no", 0.0)
    read = ask(it, 0.0)
    assert (read.request, read.before_write) == (Read("holding", 3, 1), True)
    it.replied(read, 0.0)
    write = ask(it, 0.0)
    assert (write.request, write.racy) == (Write("holding", 3, 1), True)
    it.replied(write, 0.0)
    assert (it.stats.racy_writes, it.ledger.acknowledged) == (1, 1)
    assign(it, 3, mask=2)
    assert ask(it, 0.0).request == Read("holding", 3, 1), "anew for each, and FC22 is not tried again"


def test_a_word_that_cannot_be_read_before_it_is_written_is_rejected() -> None:
    it = pulled()
    assign(it, 3, mask=1)
    it.refused(ask(it, 0.0), 1, "no", 0.0)
    it.refused(ask(it, 0.0), 2, "no such address", 0.0)
    assert (it.ledger.rejected, it.ledger.pending) == (1, 0)


@pytest.mark.parametrize("between", ["assigned", "polled"])
def test_a_word_read_long_ago_is_not_fresh(between: str) -> None:
    it = pulled()
    assign(it, 3, mask=1)
    it.refused(ask(it, 0.0), 1, "no", 0.0)
    read = ask(it, 0.0)
    if between == "assigned":
        assign(it, 3)  # the whole word: the read-modify-write is no longer needed
    it.replied(read, 0.0)
    it.replied(ask(it, 0.0), 0.0)
    assign(it, 3, mask=2)
    assert ask(it, 0.5).request == Read("holding", 3, 1)


def test_without_fc16_words_go_one_by_one() -> None:
    it = pulled()
    assign(it, 1, 2)
    it.refused(ask(it, 0.0), 1, "no", 0.0)
    jobs = []
    while it.ledger.pending:
        jobs.append(ask(it, 0.0))
        it.replied(jobs[-1], 0.0)
    assert [(job.request, job.single) for job in jobs] == [
        (Write("holding", 1, 1), True),
        (Write("holding", 2, 1), True),
    ]
    assert it.ledger.acknowledged == 1


def test_what_the_device_alone_may_write_is_rejected_at_once() -> None:
    it = Device({"holding": 1, "input": 4, "discrete": 4}, Terms(period=1.0))
    it.assign("input", 0, 1, 0xFFFF, "i", 1)
    it.assign("discrete", 0, 1, 1, "d", 1)
    assert (it.ledger.rejected, it.ledger.pending) == (2, 0)


def test_a_rejected_write_polls_at_once() -> None:
    it = pulled(now=0.0)
    assign(it, 3)
    it.refused(ask(it, 0.1), 3, "no", 0.1)
    assert it.ledger.rejected == 1
    assert ask(it, 0.1).request == READ_ALL


def test_a_busy_device_is_left_alone_for_a_while() -> None:
    it = pulled(now=0.0)
    assign(it, 3)
    it.refused(ask(it, 0.1), 6, "busy", 0.1)
    assert it.next(0.1) is None
    assert it.wake() == pytest.approx(0.1 + BUSY_PAUSE), "and asked again as soon as that is over"
    assert ask(it, 0.1 + BUSY_PAUSE).request == Write("holding", 3, 1)


def test_a_block_that_was_busy_is_asked_for_again_in_its_cycle() -> None:
    it = device(250)
    first = ask(it, 0.0)
    it.refused(first, 5, "busy", 0.0)
    assert not it.pulled
    assert it.wake() == pytest.approx(BUSY_PAUSE)
    assert ask(it, BUSY_PAUSE).request == first.request


# -- when nobody knows


@pytest.mark.parametrize("how", ["timeout", "lost"])
def test_an_unanswered_write_is_read_back_before_the_next_one(how: str) -> None:
    it = pulled(now=0.0)
    assign(it, 3)
    job = ask(it, 0.1)
    if how == "timeout":
        it.unanswered(job, "timeout", "no answer", 0.2)
    else:
        it.disconnected()
        it.connected()
    assert it.ledger.unknown == 1
    assign(it, 3)
    again = ask(it, 0.2).request
    assert isinstance(again, Read) and again.address <= 3 < again.address + again.cells


def test_other_words_need_not_wait_for_it() -> None:
    it = pulled(now=0.0)
    assign(it, 3)
    it.unanswered(ask(it, 0.1), "timeout", "no answer", 0.2)
    assign(it, 5)
    assert ask(it, 0.2).request == Write("holding", 5, 1)


def test_reading_back_that_is_refused_does_not_block_for_ever() -> None:
    it = pulled(now=0.0)
    assign(it, 3)
    it.unanswered(ask(it, 0.1), "timeout", "no answer", 0.2)
    assign(it, 3)
    it.refused(ask(it, 0.2), 2, "no", 0.2)
    assert ask(it, 0.2).request == Write("holding", 3, 1)


def test_after_a_reconnect_everything_is_pulled_first() -> None:
    it = pulled(250, now=0.0)
    it.disconnected()
    assert not it.pulled, "nobody who waits for the next first exchange may take the last one for it"
    assign(it, 3)
    it.connected()
    kinds = []
    for _ in range(3):
        job = ask(it, 0.1)
        kinds.append(type(job.request))
        it.replied(job, 0.1)
    assert kinds == [Read, Read, Write]


# -- merging


def test_a_poll_does_not_change_what_is_on_its_way() -> None:
    it = pulled(now=0.0)
    assign(it, 3, mask=0xFF00)
    job = Job(READ_ALL)
    ours, theirs = b"\x11" * 16, b"\x22" * 16
    expected = theirs[:6] + b"\x11\x22" + theirs[8:]
    assert it.merge(job, ours, theirs) == expected
    write = ask(it, 0.0)
    assert it.merge(job, ours, theirs) == expected, "also while it is under way"
    it.replied(write, 0.0)
    assert it.merge(job, ours, theirs) == theirs


# -- the whole of it, against a simulated device and a clock of its own

SIZE = 6


class World:
    """A memory, its exchange, and a device that drops, refuses and forgets; no bytes, no sockets, no time."""

    def __init__(self, seed: int, functions: set[str]) -> None:
        self.random = random.Random(seed)
        self.it = Device({"holding": SIZE}, Terms(period=1.0, max_read=4, max_write=3))
        self.functions = functions
        self.memory = [0] * SIZE
        self.words = [self.random.randrange(0x10000) for _ in range(SIZE)]
        self.now = 0.0
        self.trouble = 0.0
        self.assigned = 0
        self.between_halves = False
        #: The bits of each word that were ever assigned.
        self.ours = [0] * SIZE
        self.it.connected()

    def assign(self, address: int, cells: int, mask: int) -> None:
        cells = min(cells, SIZE - address)
        mask &= (1 << 16 * cells) - 1
        if not mask:
            return
        for at in range(cells):
            part = mask >> 16 * (cells - 1 - at) & 0xFFFF
            value = self.random.randrange(0x10000)
            self.memory[address + at] = self.memory[address + at] & ~part | value & part
            self.ours[address + at] |= part
        self.assigned += 1
        self.it.assign("holding", address, cells, mask, str(self.assigned), 1)

    def device_changes(self, address: int) -> None:
        """The device changes bits that nobody ever assigned: they are its own."""
        if self.between_halves:
            return  # a read-modify-write would undo it: that is what is counted as racy
        self.words[address] ^= self.random.randrange(0x10000) & ~self.ours[address]

    def step(self) -> bool:
        job = self.it.next(self.now)
        if job is None:
            return False
        before = list(self.words)
        self.perform(job)
        self.between_halves = job.before_write
        for at in range(SIZE):
            changed = before[at] ^ self.words[at]
            assert not changed & ~self.ours[at], f"{job.request} changed bits that were never assigned"
        return True

    def perform(self, job: Job) -> None:
        it, request, dice = self.it, job.request, self.random.random()
        if isinstance(request, MaskWrite) and "22" not in self.functions:
            return it.refused(job, 1, "no FC22", self.now)
        if isinstance(request, Write) and not job.single and "16" not in self.functions:
            return it.refused(job, 1, "no FC16", self.now)
        if dice < self.trouble:
            return self.fail(job)
        data = self.execute(job)
        if isinstance(request, Read):
            ours = self.raw(self.memory, request.address, request.cells)
            merged = it.merge(job, ours, data)
            self.memory[request.address : request.address + request.cells] = struct.unpack(f">{request.cells}H", merged)
        it.replied(job, self.now)
        return None

    def fail(self, job: Job) -> None:
        kind = self.random.choice(
            ["busy", "accepted", "refused", "lost before", "lost after", "silent before", "silent after"]
        )
        if kind.endswith("after"):
            self.execute(job)
        if kind == "busy":
            self.it.refused(job, 6, "busy", self.now)
        elif kind == "accepted":
            # Exception 05: it does what a write asks, only later than a reply would be due.
            self.execute(job)
            self.it.refused(job, 5, "accepted", self.now)
        elif kind == "refused":
            self.it.refused(job, 3, "no", self.now)
        elif kind.startswith("lost"):
            self.it.disconnected()
            self.it.connected()
        else:
            self.it.unanswered(job, "timeout", "no answer", self.now)

    def execute(self, job: Job) -> bytes:
        request = job.request
        assert request.table == "holding"
        if isinstance(request, Read):
            assert 1 <= request.cells <= 4
            return self.raw(self.words, request.address, request.cells)
        # As the engine encodes it: the memory's own words, but of a racy one only what was assigned.
        job.data = self.raw(self.memory, request.address, request.cells)
        if job.racy:
            job.data = self.it.racy_word(job, int.from_bytes(job.data, "big"))
        sent = struct.unpack(f">{request.cells}H", job.data)
        if isinstance(request, MaskWrite):
            assert request.mask
            self.words[request.address] = self.words[request.address] & ~request.mask | sent[0] & request.mask
        else:
            assert 1 <= request.cells <= 3
            self.words[request.address : request.address + request.cells] = sent
        return b""

    @staticmethod
    def raw(words: list[int], address: int, count: int) -> bytes:
        return struct.pack(f">{count}H", *words[address : address + count])

    def balance(self) -> None:
        ledger = self.it.ledger
        assert ledger.total == self.assigned
        assert ledger.pending >= 0

    def left_alone(self) -> None:
        """Nothing goes wrong any more and nobody assigns: both sides become the same."""
        self.trouble = 0.0
        whole = 0
        while whole < 3:  # the poll that is under way, and whole ones after it
            for _ in range(200):
                if not self.step():
                    break
            else:
                raise AssertionError("it never comes to rest")
            assert self.it.wake() < math.inf
            # What was refused is left out until it is asked for again.
            holes = self.it.holes.known()
            whole = 0 if holes else whole + 1
            self.now = max(self.now, self.it.wake(), *(hole.due for hole in holes)) + 1e-6
        assert self.memory == self.words
        assert self.it.ledger.pending == 0
        self.balance()


Move = Callable[[World], object]
moves: st.SearchStrategy[tuple[str, Move]] = st.one_of(
    st.tuples(
        st.just("assign"),
        st.builds(
            lambda address, cells, mask: lambda world: world.assign(address, cells, mask),
            st.integers(0, SIZE - 1),
            st.integers(1, 4),
            st.sampled_from([-1, -1, -1, 1, 0x8000, 0xFF, 0xFF00, 0x0FF00FF0]),
        ),
    ),
    st.tuples(st.just("step"), st.just(lambda world: world.step())),
    st.tuples(st.just("step"), st.just(lambda world: world.step())),
    st.tuples(
        st.just("device"),
        st.builds(lambda address: lambda world: world.device_changes(address), st.integers(0, SIZE - 1)),
    ),
    st.tuples(
        st.just("time"),
        st.builds(
            lambda seconds: lambda world: setattr(world, "now", world.now + seconds), st.sampled_from([0.05, 0.2, 1.5])
        ),
    ),
)


@given(
    st.lists(moves, min_size=10, max_size=80),
    st.integers(0, 2**20),
    st.sampled_from([{"22", "16"}, {"16"}, {"22"}, set()]),
    st.sampled_from([0.0, 0.3, 0.7]),
)
def test_the_whole_exchange(made: list[tuple[str, Move]], seed: int, functions: set[str], trouble: float) -> None:
    world = World(seed, functions)
    world.trouble = trouble
    for _, move in made:
        move(world)
        world.balance()
    world.left_alone()


@given(
    st.lists(moves, min_size=10, max_size=80),
    st.integers(0, 2**20),
    st.sampled_from([{"22", "16"}, {"16"}, {"22"}, set()]),
)
def test_without_trouble_every_assignment_arrives(made: list[tuple[str, Move]], seed: int, functions: set[str]) -> None:
    world = World(seed, functions)
    for _, move in made:
        move(world)
    wanted = [memory & ours for memory, ours in zip(world.memory, world.ours, strict=True)]
    world.left_alone()
    assert [word & ours for word, ours in zip(world.words, world.ours, strict=True)] == wanted
    ledger = world.it.ledger
    assert ledger.acknowledged + ledger.superseded == world.assigned
