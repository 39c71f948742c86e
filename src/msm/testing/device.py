"""A device that is not there: memory, behaviour, faults, and a memory of what was asked of it."""

from __future__ import annotations

import asyncio
import logging
import random
import struct
import time
from collections import deque
from collections.abc import Callable, Generator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TypeAlias

from msm.errors import DeclarationError, StateError, UnknownVariableError
from msm.memory.bell import Bell
from msm.memory.store import MemoryStore, bound_of
from msm.testing.answering import WRITING, FaultyServer
from msm.testing.faults import Fault
from msm.testing.recording import recorded
from msm.wire import pdu
from msm.worker import Worker

log = logging.getLogger("msm.testing")

KEPT = 1000  # exchanges and writes
SHOWN = 10  # exchanges in a message
KILL = 3.0  # seconds

Steps: TypeAlias = Generator[float, None, None]
On: TypeAlias = Literal["any", "read", "write"]
ANYTHING: Any = type("Anything", (), {"__repr__": lambda _self: "anything"})()


class Exchange(NamedTuple):
    """A request to a device, and what it answered."""

    at: float
    """Seconds since the device was started."""
    unit: int
    request: bytes
    reply: bytes | None
    """None where none was given."""
    fault: str
    """What went wrong with it on purpose."""

    def __str__(self) -> str:
        reply = self.reply.hex(" ") if self.reply is not None else "no answer"
        fault = f"  ({self.fault})" if self.fault else ""
        asked = f"{pdu.describe(self.request)}: {self.request.hex(' ')}"
        return f"{self.at:10.3f} s  unit {self.unit}  {asked} -> {reply}{fault}"


class Wrote(NamedTuple):
    """A variable that a client wrote, and the value that it has after it."""

    name: str
    value: Any
    at: float
    """Seconds since the device was started."""


class FakeDevice:
    """A Modbus device for tests: a server with a memory, behaviour, and faults.

    :param memory: a store, a class of stores, or the path of a register map.
    :param endpoint: where it is found, over whatever transport; by default at a free TCP port.
    :param seed: of all that it does by chance.
    :param keywords: of the server, see `ServerSettings`; `unit` and `functions` among them.

    ::

        with FakeDevice(Press) as device, ModbusClient(panel, device.endpoint) as client:
            panel.speed = 40.0
            client.flush()
            device.assert_wrote("speed", 40.0)

    By ``with`` it runs in a thread of its own, by ``async with`` in the running loop. `mem` is its memory: assign to it
    what the device shows.
    """

    def __init__(
        self,
        memory: MemoryStore | Callable[[], MemoryStore] | str | Path,
        endpoint: str = "tcp://127.0.0.1:0",
        *,
        seed: int = 0,
        **keywords: Any,
    ) -> None:
        self.mem: Any = store_of(memory)
        """The memory; its variables are attributes."""
        self.random = random.Random(seed)
        """For behaviour that is left to chance, and yet the same each time."""
        self.faults: float = 0.0
        """How often one of `chances` happens to a request, as a probability."""
        self.chances: tuple[Fault, ...] = ()
        """What may happen then; each is as likely."""
        self.writes: deque[Wrote] = deque(maxlen=KEPT)
        """What was written to variables, oldest first."""
        self.exchanges: deque[Exchange] = deque(maxlen=KEPT)
        """What was asked and answered, oldest first."""
        self.trouble: list[BaseException] = []
        """What your own functions have raised; told by the assertions, and at the end of ``with``."""
        self._next: list[tuple[Fault, On]] = []
        self._follows: dict[str, Callable[[float], Any]] = {}
        self._sequences: list[tuple[str, Any, Callable[[Any], Steps]]] = []
        self._unreadable: set[tuple[str, int]] = set()
        self._replies: dict[tuple[int, bytes], deque[bytes | None]] = {}
        self._replays = False
        self._bell = Bell()
        self._server = FaultyServer(self, endpoint, keywords)
        self._worker: Worker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._began = 0.0
        self._timers: list[asyncio.TimerHandle] = []

    @classmethod
    def replay(
        cls,
        path: str | Path,
        endpoint: str = "tcp://127.0.0.1:0",
        *,
        memory: MemoryStore | Callable[[], MemoryStore] | str | Path | None = None,
        **keywords: Any,
    ) -> Self:
        """A device that answers as a recorded one did: each request with the reply that it got there.

        A request that came several times is answered by its replies in turn, and then by the last one of them; one that
        was not answered is not answered here either. What was never asked there gets exception 04.

        :param memory: the register map, if the assertions are to know names: what is written well is also done there.
        :raises RecordingError: the file is no recording.
        """
        device = cls(MemoryStore(0) if memory is None else memory, endpoint, unknown_unit="accept", **keywords)
        device._replays = True
        asked: dict[tuple[int, int, int], bytes] = {}
        for message in recorded(path):
            key = (message.connection, message.transaction, message.unit)
            if message.request:
                if key in asked:  # it was never answered
                    device._replies.setdefault((message.unit, asked[key]), deque()).append(None)
                asked[key] = message.pdu
            elif key in asked:
                device._replies.setdefault((message.unit, asked.pop(key)), deque()).append(message.pdu)
        for (_, _, unit), request in asked.items():
            device._replies.setdefault((unit, request), deque()).append(None)
        return device

    # -- what it does

    def follow(self, name: str, function: Callable[[float], Any]) -> None:
        """Let a variable follow time: before each request it is `function` of the seconds since the device started.

        :raises UnknownVariableError: there is no such variable.
        """
        self._check_name(name)
        self._follows[name] = function

    def sequence(self, name: str, value: Any, steps: Callable[[Any], Steps]) -> None:
        """Let a command start a sequence: when a client writes this value to this variable, `steps` begins.

        :param steps: a generator function that gets the memory, changes it, and yields the seconds to its next step.
        :raises UnknownVariableError: there is no such variable.
        """
        self._check_name(name)
        self._sequences.append((name, value, steps))

    def unreadable(self, address: int, count: int = 1, table: str = "holding") -> None:
        """Give these cells to nobody: each read that touches one of them gets exception 02."""
        self._unreadable |= {(table, address + at) for at in range(count)}

    def readable(self) -> None:
        """Give all cells again."""
        self._unreadable.clear()

    def then(self, *faults: Fault, on: On = "any") -> None:
        """Let this happen to the next requests, one after the other; `fine()` lets one pass.

        :param on: to which of them: "read" and "write" leave the others alone, such as polls that come in between.
        """
        if on not in ("any", "read", "write"):
            raise DeclarationError(f"then: on={on!r} is none of 'any', 'read', 'write'")
        self._next.extend((fault, on) for fault in faults)

    def by_chance(self, probability: float, *faults: Fault) -> None:
        """Let one of these happen now and then, in the same way for the same seed."""
        if not 0 <= probability <= 1:
            raise DeclarationError(f"by_chance: {probability!r} is not a probability from 0 to 1")
        if probability and not faults:
            raise DeclarationError("by_chance: what is to happen?")
        self.faults, self.chances = probability, faults

    # -- running

    @property
    def endpoint(self) -> str:
        """Where it is found: once it runs, with the port that was really bound."""
        return self._server.endpoint

    async def start(self) -> None:
        """Listen, in the running loop.

        :raises BindError: it cannot listen there.
        """
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        await self._server.start()

    async def stop(self) -> None:
        """Stop. Idempotent."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        await self._server.stop()

    def run(self) -> None:
        """Listen, in a thread of its own; it is bound when this returns.

        :raises BindError: it cannot listen there.
        :raises StateError: it was run before.
        """
        if self._worker is not None:
            raise StateError(f"{self.endpoint}: a device runs once, make a new one")
        self._worker = Worker(f"FakeDevice {self.endpoint}")
        try:
            self._worker.call(self.start)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """Stop, and wait until its thread has ended. Idempotent."""
        if self._worker is not None:
            self._worker.end(self.stop)
            self._worker.join(KILL)

    def __enter__(self) -> Self:
        self.run()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        self._tell_trouble(exc)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
        self._tell_trouble(exc)

    def _tell_trouble(self, exc: BaseException | None) -> None:
        if self.trouble and exc is None:
            raise self.trouble[0]

    def __repr__(self) -> str:
        return f"<FakeDevice {self.endpoint}, {len(self.exchanges)} exchanges>"

    # -- what was asked of it

    def assert_wrote(self, name: str, value: Any = ANYTHING, timeout: float = 0.0) -> None:
        """A client has written this variable, with this value.

        :param value: leave it out for any value.
        :param timeout: seconds to wait for it, where the device runs in a thread of its own.
        :raises AssertionError: not so; the message shows what was written, the layout, and the last exchanges.
        :raises UnknownVariableError: there is no such variable.
        """
        self._check_name(name)
        self._tell_trouble(None)
        if not self._bell.wait(lambda: self._wrote(name, value), timeout):
            raise AssertionError(self._told(f"{name} was not written with {value!r}", name))

    def assert_not_wrote(self, name: str, value: Any = ANYTHING) -> None:
        """No client has written this variable, or not with this value.

        :raises AssertionError: one has.
        :raises UnknownVariableError: there is no such variable.
        """
        self._check_name(name)
        if self._wrote(name, value):
            raise AssertionError(self._told(f"{name} was written with {value!r}", name))

    def assert_wrote_only(self, *names: str) -> None:
        """No other variables than these were written.

        :raises AssertionError: others were.
        """
        others = sorted({each.name for each in list(self.writes)} - set(names))
        if others:
            raise AssertionError(self._told(f"{', '.join(others)} was written as well", *others))

    def forget(self) -> None:
        """Begin a new page: what was asked and written so far is forgotten."""
        self.writes.clear()
        self.exchanges.clear()

    def transcript(self, last: int = SHOWN) -> str:
        """The last exchanges, as text."""
        return "\n".join(map(str, list(self.exchanges)[-last:])) or "nothing was asked"

    def _wrote(self, name: str, value: Any) -> bool:
        return any(each.name == name and (value is ANYTHING or each.value == value) for each in list(self.writes))

    def _told(self, what: str, *names: str) -> str:
        wrote = [f"{each.at:10.3f} s  {each.name} = {each.value!r}" for each in list(self.writes) if each.name in names]
        return "\n".join(
            [
                what,
                "",
                f"Written to {', '.join(names)}:",
                *(wrote[-SHOWN:] or ["nothing"]),
                "",
                "The last exchanges:",
                self.transcript(),
                "",
                str(self.mem.layout()),
            ]
        )

    def _check_name(self, name: str) -> None:
        if name not in self.mem.variables():
            raise UnknownVariableError(f"the device has no variable {name!r}, only {', '.join(self.mem.variables())}")

    # -- for its server

    @property
    def _now(self) -> float:
        return (self._loop.time() if self._loop is not None else time.monotonic()) - self._began

    def _fault(self, request: bytes) -> Fault | None:
        kind = "write" if request[0] in WRITING else "read"
        for number, (fault, on) in enumerate(self._next):
            if on in ("any", kind):
                del self._next[number]
                return None if fault.kind == "fine" else fault
        if self.chances and self.random.random() < self.faults:
            return self.random.choice(self.chances)
        return None

    def _before(self, request: bytes) -> bytes | None:
        """What time has changed; and the refusal of what cannot be read."""
        if self._follows:
            self.mem.provide(**{name: function(self._now) for name, function in list(self._follows.items())})
        if self._unreadable and request[0] not in pdu.WRITES:
            table, address, count = (pdu.spans(request) or [("", 0, 0)])[0]
            if any((table, address + at) in self._unreadable for at in range(count)):
                return pdu.refusal(request[0], pdu.ILLEGAL_DATA_ADDRESS)
        return None

    def _replayed(self, unit: int, request: bytes) -> bytes | None:
        replies = self._replies.get((unit, request))
        if not replies:
            return pdu.refusal(request[0], pdu.SERVER_DEVICE_FAILURE)
        return replies.popleft() if len(replies) > 1 else replies[0]

    def _performed(self, request: bytes, reply: bytes) -> None:
        """A request was performed: which variables has it written?"""
        if reply[0] & 0x80 or request[0] not in WRITING:
            return
        table, address, count = pdu.spans(request)[-1]
        keep = struct.unpack_from(">H", request, 3)[0] if request[0] == pdu.MASK_WRITE_REGISTER else 0
        now = self._now
        touched = []
        for name, bound in bound_of(self.mem).items():
            span = bound.span
            first, last = max(span.address, address), min(span.address + span.cells, address + count)
            if span.table != table or first >= last:
                continue
            if table == "holding" and last - first == 1:
                mine = span.mask >> 16 * (span.cells - 1 - (first - span.address)) & 0xFFFF
                if not mine & ~keep & 0xFFFF:
                    continue  # other bits of the same word
            touched.append(Wrote(name, self.mem.info(name).value, now))
        self.writes.extend(touched)
        self._bell.ring()
        for wrote in touched:
            for name, value, steps in self._sequences:
                if name == wrote.name and value == wrote.value:
                    self._step(steps(self.mem))

    def _step(self, steps: Steps) -> None:
        try:
            pause = next(steps)
        except StopIteration:
            return
        except Exception as error:
            log.exception("a sequence of a device has raised")
            self.trouble.append(error)
            return
        assert self._loop is not None
        self._timers = [timer for timer in self._timers if timer.when() > self._loop.time()]
        self._timers.append(self._loop.call_later(pause, self._step, steps))

    def _note(self, unit: int, request: bytes, reply: bytes | None, fault: Fault | None) -> None:
        self.exchanges.append(Exchange(self._now, unit, request, reply, str(fault) if fault is not None else ""))


def store_of(memory: MemoryStore | Callable[[], MemoryStore] | str | Path) -> MemoryStore:
    """The store that is meant: itself, a new one of that class, or one of that register map.

    :raises DeclarationError: it is none of them.
    :raises MapError: the register map cannot be read.
    """
    if isinstance(memory, MemoryStore):
        return memory
    if isinstance(memory, str | Path):
        return MemoryStore.load(memory)
    made = memory() if callable(memory) else None
    if isinstance(made, MemoryStore):
        return made
    raise DeclarationError(f"{memory!r} is no MemoryStore, no class of them, and no path of a register map")
