"""Performs the sweeps of a client: from a reply to the next request, without an object for each.

While one is under way nothing else is out on this link. Whatever is not a reply as expected ends it, and goes the long
way, as does everything while an assignment waits: `Unit` and `Device` decide then.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Callable, Generator
from typing import NamedTuple

from msm.exchange.job import Job
from msm.exchange.plan import Read
from msm.exchange.sweep import Sweep
from msm.unit import Unit
from msm.wire import pdu
from msm.wire.framing import HEADER, MBAP
from msm.wire.link import ClientLink

START = HEADER + 2  # bytes of a reply with words, before the words
pack = struct.Struct(">H").pack  # the transaction
unpack = struct.Struct(f">H{START - 2}s").unpack_from  # the transaction, and the rest of that start


class Block(NamedTuple):
    """A read, as bytes: what is sent and what begins its reply, both behind the transaction."""

    request: bytes
    reply: bytes
    size: int
    """Of the whole reply."""
    bring: Callable[[bytearray, float], bool]
    """Takes its words into the image, with the time at which they were read."""


class Out(NamedTuple):
    """A request of an ended sweep that is not answered yet."""

    transaction: int
    job: Job
    request: bytes
    sent: float


class Sweeping:
    """Performs sweeps of one unit over one connection.

    :param give_up: called when a sweep has to end before its time; it is to call `end()`.
    :param finished: called with a sweep that is complete; likewise.
    """

    def __init__(
        self, unit: Unit, link: ClientLink, give_up: Callable[[], object], finished: Callable[[Sweep], object]
    ) -> None:
        self.heard_at = -math.inf
        """When the last reply came."""
        self.under_way = False
        """Is there a sweep that is not over?"""
        self._unit = unit
        self._link = link
        self._channel = link.stream
        self._give_up = give_up
        self._finished = finished
        self._blocks: dict[Read, Block] = {}
        self._sweep: Sweep | None = None
        self._reads: list[Read] = []
        self._run: list[Block] = []
        self._sent_at: list[float] = []

    @property
    def asked_at(self) -> float:
        """When that was asked whose reply is to come next."""
        sweep = self._sweep
        return self._sent_at[sweep.done] if sweep is not None and sweep.done < sweep.sent else math.inf

    def begin(self, sweep: Sweep, now: float) -> None:
        """Send its first requests; the others follow when these are answered."""
        self._sweep = sweep
        self.under_way = True
        if sweep.reads != self._reads:  # as a rule it is the same round as before
            self._reads = sweep.reads
            self._run = [self._blocks.get(read) or self._block(read) for read in sweep.reads]
        self._sent_at = []
        performing = self._perform(sweep, self._run, self._sent_at, now)
        self._channel.express = performing.send
        next(performing)

    def end(self) -> list[Out]:
        """It is over, for whatever reason: `Device.swept()` is told. Returns what is still out."""
        sweep, self._sweep = self._sweep, None
        if sweep is None:
            return []
        self.under_way = False
        self._channel.express = None
        first = self._link.transaction
        self._link.transaction = (first + sweep.sent - 1) % 0xFFFF + 1
        complete = sweep.done == len(sweep.reads)
        jobs = self._unit.swept(sweep, self.heard_at if complete else self._link.time(), self.heard_at)
        if not jobs:
            return []
        return [
            Out(_after(first, at), job, self._run[at].request[-5:], self._sent_at[at])
            for at, job in enumerate(jobs, sweep.done)
        ]

    def _block(self, read: Read) -> Block:
        number, image = self._unit.number, self._unit.image
        function = pdu.READS_OF[read.table]
        request = MBAP.pack(0, 0, 6, number)[2:] + pdu.read(function, read.address, read.cells)
        reply = MBAP.pack(0, 0, 3 + 2 * read.cells, number)[2:] + bytes((function, 2 * read.cells))
        place = image.tables[read.table].offset + 2 * read.address
        bring = image.bringer((read.table, read.address, read.cells), place, self._unit.journal)
        block = self._blocks[read] = Block(request, reply, START + 2 * read.cells, bring)
        return block

    def _perform(  # noqa: PLR0912, PLR0915 - a function for each part of it would be a good part of the cost
        self, sweep: Sweep, run: list[Block], sent_at: list[float], now: float
    ) -> Generator[bool, int, None]:
        """Looks at each reply, see `Channel.express`, and asks what comes next."""
        framer, send, clock = self._channel.framer, self._channel.send, self._link.time
        buffer, stats = framer.buffer, self._unit.device.stats
        first, window, said, total = self._link.transaction, sweep.window, sweep.said, len(run)
        done = sent = 0
        taken = False
        more = min(window, total)
        while True:
            if more == 1:
                request = pack((first + sent) % 0xFFFF + 1) + run[sent].request
                sweep.sent = sent = sent + 1
                sent_at.append(now)
                stats.requests += 1
                send(request)
            elif more:
                requests = [pack((first + at) % 0xFFFF + 1) + run[at].request for at in range(sent, sent + more)]
                sweep.sent = sent = sent + more
                sent_at += [now] * more
                stats.requests += more
                send(b"".join(requests))
            came = yield taken
            start = began = framer.start
            end = framer.end + came
            before, sound, at = done, True, time.time()
            while done < sent and end - start >= START:
                _, reply, size, bring = run[done]
                transaction, told = unpack(buffer, start)
                if transaction != (first + done) % 0xFFFF + 1 or told != reply:
                    sound = False
                    break
                if start + size > end:
                    break
                words = buffer[start + START : start + size]
                if not bring(words, at):
                    sound = False
                    break
                said[done][0] = words
                done += 1
                start += size
            taken = start == end
            if taken:
                framer.start = framer.end = 0
            else:
                framer.start = start
            more = 0
            if done > before:
                self.heard_at = now = clock()
                sweep.done = done
                stats.cells += (start - began - START * (done - before)) // 2
                more = min(window - sent + done, total - sent) if window > 1 else int(sent < total)
            if not sound or done == total:
                if sound:
                    self._finished(sweep)
                else:
                    self._give_up()
                yield taken
                return


def _after(transaction: int, more: int) -> int:
    """The number of the request `more` after the next one: 1 to FFFF, and again."""
    return (transaction + more) % 0xFFFF + 1
