"""A device, a link and a clock that are only simulated, and a model that says what may happen between them.

Nothing here waits, and there is no socket. `Plant` is the device. `Rig` stands in the place of the client: it lets a
real `Unit` (with its memory, its journal and its ledger) send requests into a network that a test rules: each request
and each reply lies there until the test delivers, loses, doubles or delays it. `Model` watches from outside. It knows
which bits were assigned and what was on the wire, and nothing of the code's own books.
"""

from __future__ import annotations

import math
import struct
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Unpack

from msm import LinkState, MemoryStore
from msm.exchange.job import Job
from msm.keywords import ClientKeywords, ClientSettings
from msm.memory.journal import Journal, Span
from msm.memory.store import bound_of, image_of
from msm.unit import Unit

Cell = tuple[str, int]
Bits = dict[Cell, int]

WIDTH = {"holding": 16, "input": 16, "coil": 1, "discrete": 1}
READS = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
SILENT_TRANSACTIONS = 2


class Plant:
    """A device that does what the specification says, and has the faults that it is told to have."""

    def __init__(self, holding: int = 0, input_registers: int = 0, coils: int = 0, discrete_inputs: int = 0) -> None:
        self.tables = {
            "holding": [0] * holding,
            "input": [0] * input_registers,
            "coil": [0] * coils,
            "discrete": [0] * discrete_inputs,
        }
        self.lacks: set[int] = set()
        """Functions that it does not have: exception 01."""
        self.holes: set[Cell] = set()
        """Cells that it does not give: exception 02 for every read that touches one."""
        self.refusals: list[int] = []
        """Exception codes for the next requests; 0 lets one pass."""
        self.requests: list[bytes] = []
        self.written: list[dict[Cell, tuple[int, int]]] = []
        """What each write that was done has changed: mask and value of each cell."""

    @property
    def words(self) -> list[int]:
        return self.tables["holding"]

    @property
    def reads(self) -> list[bytes]:
        return [request for request in self.requests if request[0] in READS]

    @property
    def writes(self) -> list[bytes]:
        return [request for request in self.requests if request[0] not in READS]

    def answer(self, pdu: bytes) -> bytes:
        self.requests.append(pdu)
        function = pdu[0]
        code = self._refusal(pdu)
        if function not in READS and code in (0, 5, 11):
            # 05 is "accepted, it takes long"; with 0B the request got through and the reply did not.
            self._write(pdu)
        if code:
            return bytes([function | 0x80, code])
        return self._read(pdu) if function in READS else pdu[:5] if function in (15, 16) else pdu

    def _refusal(self, pdu: bytes) -> int:
        code = self.refusals.pop(0) if self.refusals else 0
        if code:
            return code
        if pdu[0] in self.lacks:
            return 1
        cells = reading(pdu) if pdu[0] in READS else set(writing(pdu))
        if any(at >= len(self.tables[table]) for table, at in cells):
            return 2
        return 2 if pdu[0] in READS and cells & self.holes else 0

    def _read(self, pdu: bytes) -> bytes:
        address, count = struct.unpack(">HH", pdu[1:])
        values = self.tables[READS[pdu[0]]][address : address + count]
        if pdu[0] in (3, 4):
            return struct.pack(f">BB{count}H", pdu[0], 2 * count, *values)
        size = (count + 7) // 8
        return bytes([pdu[0], size]) + sum(bit << at for at, bit in enumerate(values)).to_bytes(size, "little")

    def _write(self, pdu: bytes) -> None:
        done = writing(pdu)
        for (table, at), (mask, value) in done.items():
            cells = self.tables[table]
            cells[at] = cells[at] & ~mask | value & mask
        self.written.append(done)


def reading(pdu: bytes) -> set[Cell]:
    """The cells that a read asks for, told from its bytes."""
    address, count = struct.unpack(">HH", pdu[1:])
    return {(READS[pdu[0]], at) for at in range(address, address + count)}


def writing(pdu: bytes) -> dict[Cell, tuple[int, int]]:
    """The mask and the value of each cell that a request writes, told from its bytes."""
    function, address = struct.unpack_from(">BH", pdu)
    if function == 5:
        return {("coil", address): (1, pdu[3] & 1)}
    if function == 6:
        return {("holding", address): (0xFFFF, struct.unpack_from(">H", pdu, 3)[0])}
    if function == 22:
        keep, put = struct.unpack_from(">HH", pdu, 3)
        return {("holding", address): (~keep & 0xFFFF, put)}
    count = struct.unpack_from(">H", pdu, 3)[0]
    if function == 15:
        return {("coil", address + at): (1, pdu[6 + at // 8] >> at % 8 & 1) for at in range(count)}
    assert function == 16, f"function {function}"
    words = struct.unpack_from(f">{count}H", pdu, 6)
    return {("holding", address + at): (0xFFFF, word) for at, word in enumerate(words)}


@dataclass(eq=False)
class Sent:
    """A request that left, as the model sees it."""

    transaction: int
    request: bytes
    job: Job
    left: float
    deadline: float
    carried: Bits = field(default_factory=dict)
    """The bits that it was sent for."""
    current: Bits = field(default_factory=dict)
    """Those of them that were not assigned anew since."""
    fenced: Bits = field(default_factory=dict)
    """Of a read: bits whose write was acknowledged since it left."""
    open: bool = True

    @property
    def reads(self) -> bool:
        return self.request[0] in READS


@dataclass(eq=False)
class Message:
    """A request or a reply under way."""

    sent: Sent
    data: bytes


class Rig:
    """The client's place: one unit, a network that a test rules, and a clock that it turns."""

    def __init__(self, store: MemoryStore, plant: Plant, **keywords: Unpack[ClientKeywords]) -> None:
        self.store = store
        self.plant = plant
        self.settings = ClientSettings(**keywords)
        self.rings = 0
        self.unit = Unit(1, store, self.settings, weakref.WeakMethod(self._ring))
        self.device = self.unit.device
        self.ledger = self.unit.device.ledger
        self.now = 0.0
        self.connected = False
        self.out: dict[int, Sent] = {}
        self.to_device: list[Message] = []
        self.to_client: list[Message] = []
        self.sent: list[Sent] = []
        self.strays = 0
        self.conflicts: list[Any] = []
        self._silent = 0
        self._heard = -math.inf
        self.model: Model | None = None

    def _ring(self) -> None:
        self.rings += 1

    # -- the link

    def connect(self) -> None:
        if not self.connected:
            self.connected = True
            self._silent = 0
            self.unit.connected(self.now)
            self.device.join_over(16, self.now)
            self.pump()

    def reset(self) -> None:
        """The connection breaks. What is under way may still arrive at the device; no reply comes back."""
        if self.connected:
            self.connected = False
            lost = list(self.out.values())
            self.out.clear()
            self.unit.offline("the connection was lost")
            self.unit.disconnected(self.now)
            self.to_client.clear()
            if self.model is not None:
                for sent in lost:
                    self.model.unanswered(sent)
            self.pump()

    # -- what the client's loop does

    def pump(self) -> None:
        """Send what is to be sent now."""
        self.unit.drain(self.now)
        if not self.connected:
            self.unit.next(self.now)
        while self.connected and len(self.out) < self.settings.max_in_flight:
            job = self.unit.next(self.now)
            if job is None:
                break
            self._send(job)
        if self.connected and len(self.out) < self.settings.max_in_flight:
            assert self.unit.wake() > self.now, "wake() names a time when there is nothing: the client would spin"
        self._look()

    def _send(self, job: Job) -> None:
        self._look()  # what expired in the same moment
        request = self.unit.encode(job)
        sent = Sent(len(self.sent) + 1, request, job, self.now, self.now + self.settings.timeout)
        for entry, bits in job.shipment:
            for at, part in bits.items():
                sent.carried[entry.table, at] = sent.carried.get((entry.table, at), 0) | part
        sent.current = dict(sent.carried)
        if not sent.reads:
            assert all(other.reads for other in self.out.values()), "more than one write is outstanding"
        if self.model is not None:
            self.model.sends(sent)
        self.sent.append(sent)
        self.out[sent.transaction] = sent
        self.to_device.append(Message(sent, request))

    def _look(self) -> None:
        self.conflicts += (found := self.unit.conflicts())
        if self.model is not None:
            for conflict in found:
                if conflict.winner == "device":
                    self.model.dropped(conflict.name)
            for name, cause in self.ledger.failures(1 << 60):
                self.model.failed(name, cause)

    def pass_time(self, seconds: float) -> None:
        """Turn the clock. Nothing is delivered meanwhile, but what is due by time alone happens."""
        end = self.now + seconds
        while True:
            deadline = min((sent.deadline for sent in self.out.values()), default=math.inf)
            waking = self.unit.wake()
            if self.connected and len(self.out) >= self.settings.max_in_flight:
                waking = math.inf
            following = min(waking, deadline)
            if following > end or (following <= self.now and not self.connected):
                break
            self.now = max(self.now, following)
            for transaction, sent in list(self.out.items()):
                if sent.deadline <= self.now and transaction in self.out:
                    self._time_out(transaction, sent)
            self.pump()
        self.now = end
        self.pump()

    def _time_out(self, transaction: int, sent: Sent) -> None:
        del self.out[transaction]
        self._silent += self._heard < sent.left
        self.unit.timed_out(sent.job, "no answer in time", self.now, sent.left)
        if self.model is not None:
            self._look()
            self.model.unanswered(sent)
        if self._silent >= SILENT_TRANSACTIONS and self.unit.silent:
            self.reset()

    # -- what the network does

    def deliver_request(self, number: int = 0) -> None:
        """A request arrives at the device, which does it and answers."""
        message = self.to_device.pop(number)
        reply = self.plant.answer(message.data)
        if self.model is not None and not message.sent.reads and (not reply[0] & 0x80 or reply[1] in (5, 11)):
            self.model.done(message.sent)
        self.to_client.append(Message(message.sent, reply))

    def deliver_reply(self, number: int = 0) -> None:
        """A reply arrives at the client; one that nobody waits for is a stray."""
        message = self.to_client.pop(number)
        sent = message.sent
        if self.out.pop(sent.transaction, None) is None or not self.connected:
            self.strays += 1
            return
        self._silent = 0
        self._heard = self.now
        before = self.model.memory() if self.model is not None else {}
        self.unit.answered(sent.job, sent.request, message.data, self.now)
        if self.unit.paused_until > self.now:
            self._let_go()
        if self.model is not None:
            self._look()
            self.model.answered(sent, message.data, before)
        self.pump()

    def _let_go(self) -> None:
        """A gateway does not reach the unit: what else it was asked is forgotten."""
        for sent in self.out.values():
            if self.model is not None:
                self.model.unanswered(sent)
        self.out.clear()

    def lose_request(self, number: int = 0) -> None:
        del self.to_device[number]

    def lose_reply(self, number: int = 0) -> None:
        del self.to_client[number]

    def double_request(self, number: int = 0) -> None:
        self.to_device.append(self.to_device[number])

    def double_reply(self, number: int = 0) -> None:
        self.to_client.append(self.to_client[number])

    # -- for tests that want no faults

    def settle(self) -> None:
        """Deliver all that is under way, and all that follows from it at once."""
        for _ in range(10_000):
            if self.to_device:
                self.deliver_request()
            elif self.to_client:
                self.deliver_reply()
            else:
                return
        raise AssertionError("it never comes to rest")

    def run(self, seconds: float) -> None:
        """A sound network and device, for so long."""
        end = self.now + seconds
        self.pump()
        self.settle()
        self.connect()
        self.settle()
        while self.now < end:
            deadline = min((sent.deadline for sent in self.out.values()), default=math.inf)
            self.pass_time(min(max(min(self.unit.wake(), deadline) - self.now, 1e-6), end - self.now))
            if not self.connected:
                self.connect()
            self.settle()

    def start(self) -> None:
        """Connect and pull, without faults."""
        self.connect()
        self.settle()
        assert self.device.pulled

    def left_for_the_next_client(self) -> dict[Span, int]:
        """What a client that is attached now would send."""
        probe = Journal(weakref.WeakMethod(self._ring))
        image_of(self.store).attach(probe)
        image_of(self.store).detach(probe)
        return {span: times for span, times in probe.drain().items() if isinstance(span, Span)}

    @property
    def state(self) -> LinkState:
        return self.unit.state


@dataclass(eq=False)
class Command:
    """An assignment that is to be sent by itself."""

    name: str
    sequence: int
    value: int
    sent: bool = False
    done: set[Cell] = field(default_factory=set)
    """The cells of it that the device has."""
    over: bool = False
    """It must not be sent again."""


class Model:
    """What may be in the memory, on the wire and in the device, worked out without the code's own books.

    Of each bit it knows whether it is certain to wait (`unsent`), whether it may be on its way again (`retry`), and
    whether the device is still owed it. Where it cannot tell, it allows both.
    """

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        rig.model = self
        self.image = image_of(rig.store)
        self.spans: dict[str, Span] = {name: bound.span for name, bound in bound_of(rig.store).items()}
        self.assignments = 0
        self.sequence = 0
        self.value: Bits = {}
        self.unsent: Bits = {}
        self.retry: Bits = {}
        self.owed: Bits = {}
        self.order: dict[Cell, list[int]] = {}
        self.commands: list[Command] = []
        self.command_cells: set[Cell] = set()
        self.failures: list[tuple[str, str]] = []
        self.reported: dict[Cell, int] = {}
        self._fates = (0, 0, 0, 0, 0)

    # -- what happens

    def assigned(self, span: Span) -> None:
        """The application has just assigned these bits; the memory has their value."""
        self.assignments += 1
        self.sequence += 1
        self.spans[span.name] = span
        value = self._peek(span)
        if span.command:
            self.commands.append(Command(span.name, self.sequence, value))
        for cell, bits in cells_of(span, span.mask):
            part = dict(cells_of(span, value)).get(cell, 0)
            self.value[cell] = self.value.get(cell, 0) & ~bits | part & bits
            _set(self.unsent, cell, bits)
            if span.command:
                self.command_cells.add(cell)
            else:
                _set(self.owed, cell, bits)
            order = self.order.setdefault(cell, [0] * 16)
            for bit in range(16):
                if bits >> bit & 1:
                    order[bit] = self.sequence
            for sent in self.rig.sent:
                if sent.open:
                    _clear(sent.current, cell, bits)

    def sends(self, sent: Sent) -> None:
        """A request leaves."""
        if sent.reads:
            self._check_not_torn(reading(sent.request), "a read")
            return
        written = writing(sent.request)
        self._check_not_torn(set(written), "a write")
        for cell, (mask, value) in written.items():
            carried = sent.carried.get(cell, 0)
            if cell in self.command_cells:
                assert carried == mask
                continue
            may = self.unsent.get(cell, 0) | self.retry.get(cell, 0)
            assert not carried & ~may, f"{cell}: bits {carried & ~may:04X} are sent, and nobody assigned them (anew)"
            assert not carried & ~mask
            beside = mask & ~carried
            if beside:
                assert sent.job.racy, f"{cell}: bits {beside:04X} are written, and nobody assigned them"
                assert not self.rig.device.features.mask_write
                assert cell in self.reported, f"{cell}: written back without being read just before"
                wrong = (value ^ self.reported[cell]) & beside
                assert not wrong, f"{cell}: bits {wrong:04X} are not written back as the device had them"
            wrong = (value ^ self.value[cell]) & carried & self.unsent.get(cell, 0)
            assert not wrong, f"{cell}: bits {wrong:04X} are not sent as they were assigned"
        self.reported.clear()
        self._check_order(sent, written)
        if set(written) & self.command_cells:
            self._command_leaves(sent, written)
        else:
            for cell, bits in sent.carried.items():
                _clear(self.unsent, cell, bits)

    def _command_leaves(self, sent: Sent, written: dict[Cell, tuple[int, int]]) -> None:
        assert set(written) <= self.command_cells, "a command travels by itself"
        command = self._command_of(sent)
        earlier = [c for c in self.commands if c.sequence < command.sequence]
        failed = sum(1 for name, _ in self.failures if name in {c.name for c in earlier})
        assert sum(not c.sent for c in earlier) <= failed, f"{command} overtakes an earlier one"
        assert not any(c.sent and c.sequence > command.sequence for c in self.commands), f"{command} comes too late"
        assert not command.over, f"{command} is sent again"
        command.sent = True
        if all(c.sent for c in self.commands if c.name == command.name):
            for cell, bits in sent.carried.items():
                _clear(self.unsent, cell, bits)

    def _command_of(self, sent: Sent) -> Command:
        """Which command a request carries: each has a number of its own, the same in each of its words."""
        name = sent.job.shipment[0][0].name
        words = {value for _, value in writing(sent.request).values()}
        return next(c for c in self.commands if c.name == name and words == {c.value & 0xFFFF})

    def _check_order(self, sent: Sent, written: dict[Cell, tuple[int, int]]) -> None:
        """What was assigned before the newest bit of this request was sent before, or goes along."""
        if len(written) > 1:
            return  # to keep long values whole, later assignments of their words go along
        newest = max(self._newest(cell, bits) for cell, bits in sent.carried.items())
        if set(written) & self.command_cells:
            newest = self._command_of(sent).sequence
        for cell, bits in self.unsent.items():
            if cell in self.command_cells or cell[0] != next(iter(written))[0]:
                continue
            left = bits & ~sent.carried.get(cell, 0)
            late = [bit for bit in range(16) if left >> bit & 1 and self.order[cell][bit] < newest]
            assert not late, f"{sent.request.hex(' ')} overtakes bits {late} of {cell}"

    def _newest(self, cell: Cell, bits: int) -> int:
        return max(self.order[cell][bit] for bit in range(16) if bits >> bit & 1)

    def done(self, sent: Sent) -> None:
        """The device has done a write: what it carried is no longer owed."""
        for cell, bits in sent.current.items():
            _clear(self.owed, cell, bits)
        if set(sent.carried) & self.command_cells:
            self._command_of(sent).done |= set(sent.carried)

    def answered(self, sent: Sent, reply: bytes, before: dict[Cell, int]) -> None:
        """The reply to a request has come, in time."""
        sent.open = False
        if sent.reads:
            self._check_merge(sent, reply, before)
            return
        code = reply[1] if reply[0] & 0x80 else 0
        if set(sent.carried) & self.command_cells:
            command = self._command_of(sent)
            command.over = code not in (0, 1, 5, 6) or (code in (0, 5) and self._all_done(command))
        if code in (0, 5):
            for cell, bits in sent.current.items():
                _clear(self.retry, cell, bits)
            for other in self.rig.out.values():
                if other.reads:
                    for cell, bits in sent.carried.items():
                        _set(other.fenced, cell, bits)
        elif code == 11:
            self._nobody_knows(sent)
        elif code in (1, 6) or len(sent.job.shipment) > 1:
            for cell, bits in sent.current.items():
                _set(self.retry, cell, bits)
        else:
            self._nobody_knows(sent)

    def unanswered(self, sent: Sent) -> None:
        """The reply did not come in time, or never will."""
        if sent.open:
            sent.open = False
            if not sent.reads:
                self._nobody_knows(sent)

    def _nobody_knows(self, sent: Sent) -> None:
        """It is never sent again by itself."""
        if set(sent.carried) & self.command_cells:
            self._command_of(sent).over = True
        for cell, bits in sent.current.items():
            _clear(self.retry, cell, bits)

    def _all_done(self, command: Command) -> bool:
        return command.done >= {cell for cell, _ in cells_of(self.spans[command.name], -1)}

    def failed(self, name: str, cause: str) -> None:
        """The application is told that an assignment did not arrive."""
        assert cause.split(",", maxsplit=1)[0] in ("rejected", "expired", "unknown")
        self.failures.append((name, cause))
        self.dropped(name)

    def dropped(self, name: str) -> None:
        """An assignment has met its fate without being done; which one of that name it was is not known here."""
        span = self.spans[name]
        for cell, bits in cells_of(span, span.mask):
            _set(self.retry, cell, bits)
            _clear(self.unsent, cell, bits)
            _clear(self.owed, cell, bits)

    # -- what must hold

    def memory(self) -> dict[Cell, int]:
        """Every cell of the memory."""
        found = {}
        for table, (_, size, width, _) in self.image.tables.items():
            raw = self.image.read(table, 0, size)
            for at in range(size):
                found[table, at] = raw[2 * at] << 8 | raw[2 * at + 1] if width == 16 else raw[at // 8] >> at % 8 & 1
        return found

    def _check_merge(self, sent: Sent, reply: bytes, before: dict[Cell, int]) -> None:
        after = self.memory()
        refused = reply[0] & 0x80
        said = {} if refused else self._said(sent.request, reply)
        self.reported = dict(said)
        for cell, now in after.items():
            full = (1 << WIDTH[cell[0]]) - 1
            if cell not in said:
                assert now == before[cell], f"{cell}: changed by a reply that does not bring it"
                continue
            keep = self.unsent.get(cell, 0) | sent.fenced.get(cell, 0)
            perhaps = self.retry.get(cell, 0)
            if cell in self.command_cells and not all(command.over for command in self.commands):
                perhaps = full
            for other in self.rig.out.values():
                keep |= other.current.get(cell, 0)
                perhaps |= other.carried.get(cell, 0) & ~other.current.get(cell, 0)
            lost = (now ^ before[cell]) & keep & ~perhaps
            assert not lost, f"{cell}: a read undid bits {lost:04X} that were assigned or just written"
            stuck = (now ^ said[cell]) & ~(keep | perhaps) & full
            assert not stuck, f"{cell}: bits {stuck:04X} are not what the device says"
            neither = (now ^ before[cell]) & (now ^ said[cell])
            assert not neither, f"{cell}: bits {neither:04X} come from nowhere"

    def _said(self, request: bytes, reply: bytes) -> dict[Cell, int]:
        address, count = struct.unpack(">HH", request[1:])
        table = READS[request[0]]
        if request[0] in (3, 4):
            words = struct.unpack(f">{count}H", reply[2:])
            return {(table, address + at): word for at, word in enumerate(words)}
        return {(table, address + at): reply[2 + at // 8] >> at % 8 & 1 for at in range(count)}

    def whole(self, *, written: bool = False) -> Iterator[Span]:
        """The variables of several cells, each of which must never be seen in part.

        A device that takes only one cell at a time cannot be given a long value whole.
        """
        limits = self.rig.device.features.write_limits({"holding": 2, "coil": 2})
        for name, span in self.spans.items():
            single = written and limits.get(span.table) == 1
            if span.cells > 1 and "[" not in name and not single:
                yield span

    def _check_not_torn(self, cells: set[Cell], what: str) -> None:
        for span in self.whole(written=what == "a write"):
            own = {(span.table, at) for at in range(span.address, span.address + span.cells)}
            assert not own & cells or own <= cells, f"{what} of {sorted(cells)} cuts {span.name} in two"

    def check(self) -> None:
        """What holds at any instant."""
        ledger = self.rig.ledger
        self.rig.unit.drain(self.rig.now)
        fates = (ledger.acknowledged, ledger.superseded, ledger.rejected, ledger.expired, ledger.unknown)
        assert ledger.total == self.assignments == sum(fates) + ledger.pending, f"{ledger}, {self.assignments} made"
        assert ledger.pending >= 0
        assert all(old <= new for old, new in zip(self._fates, fates, strict=True)), "a fate was taken back"
        self._fates = fates
        assert sum(not sent.reads for sent in self.rig.out.values()) <= 1
        assert len(self.rig.out) <= self.rig.settings.max_in_flight
        for where, values in (("the memory", self.memory()), ("the device", self._plant())):
            for span in self.whole(written=True):
                found = {values[span.table, at] for at in range(span.address, span.address + span.cells)}
                assert len(found) == 1, f"{span.name} is torn in {where}: {found}"

    def check_at_rest(self) -> None:
        """What holds when both sides were left alone."""
        ledger = self.rig.ledger
        self.check()
        assert ledger.pending == 0, f"{ledger}"
        owed = {cell: bits for cell, bits in self.owed.items() if bits}
        assert not owed, f"assigned, never done by the device, and nobody was told: {owed}"
        missing = [c for c in self.commands if not self._all_done(c)]
        names = [name for name, _ in self.failures]
        for name in {c.name for c in missing}:
            lost = [c.value for c in missing if c.name == name]
            assert len(lost) <= names.count(name), f"{name}: {lost} were lost, and nobody was told"
        memory, plant = self.memory(), self._plant()
        different = {
            cell: (memory[cell], plant[cell])
            for cell in plant
            if memory[cell] != plant[cell] and cell not in self.rig.plant.holes
        }
        assert not different, f"the memory and the device differ: {different}"
        left = self.rig.left_for_the_next_client()
        assert not left, f"all has a fate, and yet the next client would send {left}"

    def _plant(self) -> dict[Cell, int]:
        return {(table, at): cell for table, cells in self.rig.plant.tables.items() for at, cell in enumerate(cells)}

    def _peek(self, span: Span) -> int:
        raw = self.image.read(span.table, span.address, span.cells)
        return int.from_bytes(raw, "big" if WIDTH[span.table] == 16 else "little")


def cells_of(span: Span, value: int) -> Iterator[tuple[Cell, int]]:
    """The part of a value in each cell of a span that has bits in it."""
    width = WIDTH[span.table]
    for at in range(span.cells):
        shift = width * (span.cells - 1 - at) if width > 1 else at
        part = value >> shift & (1 << width) - 1
        if span.mask >> shift & (1 << width) - 1:
            yield (span.table, span.address + at), part


def _set(bits: Bits, cell: Cell, more: int) -> None:
    bits[cell] = bits.get(cell, 0) | more


def _clear(bits: Bits, cell: Cell, less: int) -> None:
    if cell in bits:
        bits[cell] &= ~less
