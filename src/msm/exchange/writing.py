"""What is written to a device next: one write at a time, the oldest assignment first.

Cells whose write was refused or not answered are read back before anything is written there. A device without mask
writes has a word read before one part of it is written. Nothing else may be out at that time.
"""

from __future__ import annotations

import math

from msm.exchange.coverage import Coverage
from msm.exchange.features import Features
from msm.exchange.job import Cell, Job, Terms
from msm.exchange.ledger import Entry, Ledger, Shipment
from msm.exchange.merge import Known
from msm.exchange.plan import MAX_WRITE_BITS, WIDTH, MaskWrite, Read, Write, next_write


class Writing:
    """Chooses writes, and remembers what stands in their way."""

    def __init__(self, ledger: Ledger, features: Features, known: Known, coverage: Coverage, terms: Terms) -> None:
        self.job: Job | None = None
        """The write that is sent and not answered."""
        self.quiet = False
        """Is nothing more to be sent, until all that is out is answered?"""
        self.fresh_word: Cell | None = None
        """The word that was read for the write that comes next."""
        self.unsure: dict[Cell, int] = {}
        """Cells that have to be read back, and the number of the request since when."""
        self._ledger = ledger
        self._features = features
        self._known = known
        self._coverage = coverage
        self._limits = {table: terms.max_write if WIDTH[table] == 16 else MAX_WRITE_BITS for table in WIDTH}
        self._one_by_one = 0
        """Assignments up to this one travel by themselves."""

    def next(self, *, alone: bool) -> Job | None:
        """The next write, or a read that has to come before it; or nothing.

        :param alone: is no request out?
        """
        if self.job is not None:
            return None
        # A word that was read for its read-modify-write is fresh for the very next write only.
        fresh, self.fresh_word = self.fresh_word, None
        oldest = next(iter(self._ledger.waiting()), None)
        if oldest is None:
            return None
        if oldest.values is not None:
            return self._command_job(oldest, fresh, alone=alone)
        return self._assignment_job(oldest, fresh, alone=alone)

    def _assignment_job(self, oldest: Entry, fresh: Cell | None, *, alone: bool) -> Job | None:
        limits = self._features.write_limits(self._limits)
        request = next_write(self._ledger, limits, blocked=self.unsure, alone=self._one_by_one)
        if request is None:
            return self._read_back(oldest, alone=alone)
        table, address = request.table, request.address
        if isinstance(request, Write):
            shipment = self._ledger.ship(table, address, address + request.cells)
            return Job(request, shipment, single=self._features.by_single(request))
        if self._features.mask_write:
            return Job(request, self._ledger.ship(table, address, address + 1, request.mask))
        if fresh != (table, address):
            return self._read_before_write(table, address, alone=alone)
        # The whole word goes out, but a start bit in it that was assigned after a parameter elsewhere has to wait.
        word = Write(table, address, 1)
        shipment = self._ledger.ship(table, address, address + 1, request.mask)
        return Job(word, shipment, single=self._features.by_single(word), racy=True)

    def _command_job(self, command: Entry, fresh: Cell | None, *, alone: bool) -> Job | None:
        """A command travels by itself, with the value that it was assigned."""
        table = command.table
        width = WIDTH[table]
        assert command.values is not None
        if any((table, at) in self.unsure for at in command.waiting):
            return self._read_back(command, alone=alone)
        cells = sorted(command.waiting)[: self._features.write_limits(self._limits)[table]]
        first = cells[0]
        mask = command.waiting[first]
        if mask != (1 << width) - 1:
            value = command.values[first]
            if self._features.mask_write:
                data = value.to_bytes(2, "big")
                return Job(MaskWrite(table, first, mask), self._ledger.ship_command(command, 1), data=data)
            if fresh != (table, first):
                return self._read_before_write(table, first, alone=alone)
            word = self._known.recall(table, first, 1)[0] & ~mask | value & mask
            request = Write(table, first, 1)
            shipment = self._ledger.ship_command(command, 1)
            return Job(
                request, shipment, single=self._features.by_single(request), racy=True, data=word.to_bytes(2, "big")
            )
        request = Write(table, first, len(cells))
        if width == 16:
            data = b"".join(command.values[at].to_bytes(2, "big") for at in cells)
        else:
            bits = sum(command.values[at] << number for number, at in enumerate(cells))
            data = bits.to_bytes((len(cells) + 7) // 8, "little")
        shipment = self._ledger.ship_command(command, len(cells))
        return Job(request, shipment, single=self._features.by_single(request), data=data)

    def _read_before_write(self, table: str, address: int, *, alone: bool) -> Job | None:
        # Nothing else may be out: an older read would bring an older word, and a later one would come before the write.
        self.quiet = True
        if not alone:
            return None
        read = self._coverage.read_whole(table, address, address + 1) or Read(table, address, 1)
        return Job(read, before_write=True, word=address)

    def _read_back(self, waiting: Entry, *, alone: bool) -> Job | None:
        """Read the cells that nobody is sure of and that the oldest assignment waits for."""
        self.quiet = not alone
        if self.quiet:
            return None
        table = waiting.table
        first = min(at for name, at in self.unsure if name == table)
        read = self._coverage.read_whole(table, first, first + 1) or Read(table, first, 1)
        while (table, end := read.address + read.cells) in self.unsure:
            longer = self._coverage.read_whole(table, read.address, end + 1)
            if longer is None:
                break
            read = longer
        return Job(read)

    def doubt(self, shipment: Shipment, number: int) -> None:
        """Whether these bits have arrived nobody knows. The last request was this one."""
        for entry, bits in shipment:
            for at in bits:
                self.unsure[entry.table, at] = number

    def now_sure(self, job: Job) -> None:
        """A read that left after the doubt arose has answered it."""
        table, address, cells = job.request if isinstance(job.request, Read) else ("", 0, 0)
        if self.unsure:
            for at in range(address, address + cells):
                if self.unsure.get((table, at), math.inf) < job.number:
                    del self.unsure[table, at]

    def part(self, shipment: Shipment) -> bool:
        """The device has refused these together: they are to be tried one by one, unless they were already."""
        newest = max(entry.sequence for entry, _ in shipment)
        if newest <= self._one_by_one or len(shipment) < 2:
            return False
        self._one_by_one = newest
        return True

    def racy_word(self, job: Job, ours: int) -> bytes:
        """The whole word to write for a part of it: ours where it was assigned, else as the device has just said."""
        request = job.request
        mask = 0
        for _, bits in job.shipment:
            mask |= bits.get(request.address, 0)
        theirs, _ = self._known.recall(request.table, request.address, 1)
        return (theirs & ~mask | ours & mask).to_bytes(2, "big")
