"""When each block is read: rounds of blocks that share a period."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Container, Mapping, Sequence

from msm.exchange.plan import Read


class Round:
    """The blocks of one period, and how far the round through them has come."""

    def __init__(self, period: float) -> None:
        self.period = period
        self.blocks: list[Read] = []
        self.queue: deque[Read] = deque()
        self.due = -math.inf
        self.ahead = 0.0
        """Seconds by which the round after one that was hurried comes sooner: groups are not to run in step."""
        self.began_at = -math.inf
        self.begun = 0
        self.done = 0
        self.running = False
        self.answered = False
        self.pulled = False
        self.out = 0
        """Blocks that were asked for and not answered."""

    def begin(self, now: float) -> None:
        """Begin anew. A round that took longer than its period is followed by the next one at once."""
        self.running = True
        self.begun += 1
        self.began_at = now
        self.queue = deque(self.blocks)
        self.answered = not self.blocks
        late = now - self.due
        if self.due == -math.inf:
            self.due = now + self.period - self.ahead
        else:
            # Periods are counted from when the round was due, so that they do not drift; but lost time is lost.
            self.due = self.due + self.period if 0 <= late < self.period else now + self.period


class Polling:
    """The rounds of all periods. Tells which block to read next, and whether all were read since."""

    def __init__(self, period: float) -> None:
        self._period = period
        self._rounds: dict[float, Round] = {period: Round(period)}
        self.has_idle = True
        """Is there a round without blocks?"""

    def plan(self, blocks: Mapping[float, Sequence[Read]], now: float) -> None:
        """The blocks of each period, from now on."""
        for period in set(self._rounds) - set(blocks) - {self._period}:
            del self._rounds[period]
        for number, (period, reads) in enumerate(blocks.items()):
            # Groups begin a little apart, so that requests do not come in a heap; but the first exchange pulls all.
            apart = min(period, self._period) * number / len(blocks)
            if period not in self._rounds:
                self._rounds[period] = Round(period)
                if self._rounds[self._period].pulled:
                    self._rounds[period].due = now + apart
            round_ = self._rounds[period]
            round_.ahead = apart
            known = set(reads)
            kept = [read for read in round_.queue if read in known]
            # What the round under way has asked for already is not asked for twice.
            new = known.difference(round_.blocks) if round_.running else ()
            round_.blocks = list(reads)
            round_.queue = deque([*kept, *(read for read in reads if read in new)])
        if self._period not in blocks:
            self._rounds[self._period].blocks = []
            self._rounds[self._period].queue.clear()
        self.has_idle = not all(round_.blocks for round_ in self._rounds.values())

    def restart(self) -> None:
        """Nothing is asked for, and everything is due: there is a new connection."""
        for round_ in self._rounds.values():
            round_.running = False
            round_.queue.clear()
            round_.out = 0
            round_.pulled = False
            round_.due = -math.inf

    def halt(self) -> None:
        """The connection is gone: rounds under way come to nothing."""
        for round_ in self._rounds.values():
            round_.running = False
            round_.queue.clear()
            round_.out = 0

    def ready(self, now: float) -> bool:
        """Is there a block to read now?"""
        found = False
        for round_ in self._rounds.values():
            if not round_.running and now >= round_.due:
                round_.begin(now)
            found = found or bool(round_.queue)
        return found

    def take(self) -> tuple[Read, float]:
        """The next block to read, and the period that it belongs to: the round that began first comes first."""
        waiting = [round_ for round_ in self._rounds.values() if round_.queue]
        round_ = min(waiting, key=lambda each: each.began_at)
        round_.out += 1
        return round_.queue.popleft(), round_.period

    def take_run(self, now: float, fits: Container[Read]) -> tuple[list[Read], Round, float] | None:
        """Several blocks at once, as many of the next ones as fit; nothing while two rounds wait for their turn.

        :returns: the blocks, their round, and when another round is due.
        """
        waiting: Round | None = None
        until = math.inf
        for round_ in self._rounds.values():
            if not round_.running and now >= round_.due:
                round_.begin(now)
            if round_.queue:
                if waiting is not None:
                    return None
                waiting = round_
            elif not round_.running and round_.due < until:
                until = round_.due
        if waiting is None:
            return None
        queue, reads = waiting.queue, []
        while queue and queue[0] in fits:
            reads.append(queue.popleft())
        waiting.out += len(reads)
        return (reads, waiting, until) if reads else None

    def end_run(self, reads: Sequence[Read], done: int, period: float) -> Round | None:
        """Of a run `done` blocks were answered; `reads` were not asked for. Returns as `ended()` does."""
        round_ = self._rounds.get(period)
        if round_ is None or not round_.running:
            return None
        round_.out -= done + len(reads)
        if reads:
            round_.queue.extendleft(reversed(reads))
        round_.answered |= done > 0
        return self._close(round_)

    def put_back(self, read: Read, period: float) -> None:
        """It was not answered, the device is busy: ask for it again."""
        round_ = self._rounds.get(period)
        if round_ is not None and round_.running:
            round_.out -= 1
            round_.queue.appendleft(read)

    def ended(self, period: float, answered: bool) -> Round | None:
        """A block was answered or given up. Returns the round where that completed one that got any answer."""
        round_ = self._rounds.get(period)
        if round_ is None or not round_.running:
            return None
        round_.out = max(0, round_.out - 1)
        round_.answered |= answered
        return self._close(round_)

    def idle(self) -> Round | None:
        """A round that has no blocks at all is complete as soon as it began."""
        for round_ in self._rounds.values():
            if round_.running and not round_.blocks and (done := self._close(round_)):
                return done
        return None

    def _close(self, round_: Round) -> Round | None:
        if round_.queue or round_.out:
            return None
        round_.running = False
        if not round_.answered:
            return None
        round_.done = round_.begun
        round_.pulled = True
        return round_

    def next_due(self) -> float:
        """When the next round begins; minus infinity while one is under way."""
        due = math.inf
        for round_ in self._rounds.values():
            if round_.queue:
                return -math.inf
            if not round_.running and round_.due < due:
                due = round_.due
        return due

    def hurry(self) -> None:
        """Begin every round as soon as the one under way is complete."""
        for round_ in self._rounds.values():
            round_.due = -math.inf

    def ticket(self) -> dict[float, int]:
        """What `since()` is asked with: the rounds that begin after this."""
        return {period: round_.begun + 1 for period, round_ in self._rounds.items()}

    def since(self, ticket: Mapping[float, int]) -> bool:
        """Have all rounds that began after the ticket been completed?"""
        return all(self._rounds[period].done >= wanted for period, wanted in ticket.items() if period in self._rounds)

    @property
    def pulled(self) -> bool:
        """Has every round been completed, with some answer, since `restart()`?"""
        return all(round_.pulled for round_ in self._rounds.values())
