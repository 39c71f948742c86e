"""The synchronous doors: the same engines in a daemon thread.

They hold no logic of their own. They start an event loop in a thread, call the engine in it, and wait.
"""

from __future__ import annotations

import atexit
import functools
import os
import sys
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, Unpack

from msm import client, server
from msm.client import AsyncModbusClient
from msm.errors import StateError
from msm.exchange.conflict import Conflict
from msm.exchange.ledger import Ledger, Totals
from msm.exchange.schedule import LinkState
from msm.exchange.stats import Stats
from msm.keywords import ClientKeywords, ServerKeywords
from msm.memory.store import MemoryStore
from msm.server import AsyncModbusServer
from msm.worker import Ended, Worker

T = TypeVar("T")
P = ParamSpec("P")
Engine = TypeVar("Engine", bound="AsyncModbusServer | AsyncModbusClient")

GRACE = 2.0  # seconds beyond `linger` that kill() waits for the thread
AT_ONCE = 0.1  # seconds that stopping takes where nothing is pending
AT_EXIT = 0.8  # seconds that doors nobody killed may hold up the end of the program, all together


class _Door(ABC, Generic[Engine]):
    """What both synchronous doors do: run an engine in a worker, and end it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._patience = engine.settings.linger + GRACE
        self._worker: Worker | None = None
        self._killed = False
        self._pid = os.getpid()

    @property
    def endpoint(self) -> str:
        """Where it listens or where the device is; of a running server, with the port really bound."""
        return self._engine.endpoint

    def _start(self, wait: float) -> None:
        if self._killed or self._worker is not None:
            raise StateError(f"{self.endpoint}: a door runs once, make a new one")
        self._pid = os.getpid()
        worker = self._worker = Worker(f"{type(self).__name__} {self.endpoint}")
        _running.add(self)
        try:
            if self._killed:
                raise self._killed_meanwhile("run")
            worker.call(self._engine.start, wait)
        except BaseException as error:
            # Nothing is left behind by a start that failed, or that Ctrl+C ended; it may be tried again.
            _running.discard(self)
            if not self._killed:
                self._worker = None
            worker.end(self._engine.stop if self._killed else self._engine.abandon)
            worker.join(self._patience)
            if self._killed and isinstance(error, Ended):
                raise self._killed_meanwhile("run") from None
            raise

    def _call(self, function: Callable[..., Awaitable[T]], *args: object, name: str = "") -> T:
        worker = self._worker
        name = name or getattr(function, "__name__", "call")
        if worker is None or self._killed:
            raise StateError(f"{name}: {self.endpoint} does not run")
        if self._pid != os.getpid():
            raise StateError(f"{name}: {self.endpoint} runs in the process that this one was forked from")
        if worker.is_current:
            raise StateError(f"{name}: called from a callback of the same door it would wait for itself")
        try:
            return worker.call(function, *args)
        except Ended:
            if self._killed:
                raise self._killed_meanwhile(name) from None
            raise

    def _killed_meanwhile(self, what: str) -> StateError:
        return StateError(f"{what}: {self.endpoint} was killed meanwhile")

    def kill(self) -> None:
        """Stop, and wait until the thread has ended.

        Idempotent and bounded in time, from any thread. From a callback of this door it stops
        without waiting, since the callback itself is what would have to end first. So it does in a signal handler that
        has interrupted an assignment: the thread ends when that goes on.
        """
        first, self._killed = not self._killed, True
        worker = self._worker
        if worker is None or self._pid != os.getpid():
            return
        if first:
            _running.discard(self)
        # Each time: Ctrl+C may have come between the first time and this.
        worker.end(self._engine.stop)
        if not worker.join(min(AT_ONCE, self._patience)) and not _interrupts_the_memory():
            worker.join(self._patience)

    @abstractmethod
    def run(self) -> None:
        """Start the engine; see the doors."""

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

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._engine!r}>"


class ModbusServer(_Door[AsyncModbusServer]):
    """Serves memory to Modbus clients, in a thread of its own.

    :param stores: the memory to serve, or a store for each unit: ``{1: mem_a, 2: mem_b}``.
    :param endpoint: where to listen, e.g. "tcp://localhost:5020"; port 0 asks for any free port.
    :param keywords: see `ServerSettings`.
    :raises DeclarationError: the endpoint, a store or a keyword cannot be as it is.

    ::

        server = ModbusServer(mem, "tcp://localhost:5020")
        server.run()
        ...
        server.kill()
    """

    def __init__(
        self,
        stores: MemoryStore | Mapping[int, MemoryStore],
        endpoint: str = server.DEFAULT_ENDPOINT,
        **keywords: Unpack[ServerKeywords],
    ) -> None:
        super().__init__(AsyncModbusServer(stores, endpoint, **keywords))

    def run(self) -> None:
        """Listen; the server is bound when this returns.

        :raises BindError: it cannot listen there; the message says what to do.
        :raises StateError: it was run before.
        """
        self._start(5.0)


def _blocking(
    function: Callable[Concatenate[AsyncModbusClient, P], Awaitable[T]],
) -> Callable[Concatenate[ModbusClient, P], T]:
    """The same for the synchronous door: ask, and wait for the answer."""

    @functools.wraps(function)
    def blocking(self: ModbusClient, /, *args: P.args, **keywords: P.kwargs) -> T:
        return self._call(functools.partial(function, self._engine, *args, **keywords), name=function.__name__)

    return blocking


class ModbusClient(_Door[AsyncModbusClient]):
    """Keeps a memory and a device the same, in a thread of its own.

    :param stores: the memory to exchange, or a store for each unit behind one link: ``{1: mem_a, 2: mem_b}``.
    :param endpoint: where the device is, e.g. "tcp://192.168.0.10:502".
    :param keywords: see `ClientSettings`.
    :raises DeclarationError: the endpoint, the store or a keyword cannot be as it is.

    ::

        client = ModbusClient(mem, "tcp://plc:502")
        client.run()
        mem.CONTROL_WORD = 25
        ...
        client.kill()
    """

    def __init__(
        self,
        stores: MemoryStore | Mapping[int, MemoryStore],
        endpoint: str = client.DEFAULT_ENDPOINT,
        **keywords: Unpack[ClientKeywords],
    ) -> None:
        super().__init__(AsyncModbusClient(stores, endpoint, **keywords))

    @property
    def state(self) -> LinkState:
        """Where it stands with the device."""
        return self._engine.state

    @property
    def stats(self) -> Stats:
        """What was done so far."""
        return self._engine.stats

    @property
    def states(self) -> dict[int, LinkState]:
        """Where it stands with each unit."""
        return self._engine.states

    @property
    def ledger(self) -> Ledger | Totals:
        """What became of every assignment; over all units."""
        return self._engine.ledger

    @property
    def conflicts(self) -> Sequence[Conflict]:
        """The last conflicts, oldest first: both sides changed the same bits."""
        return tuple(self._engine.conflicts)

    def diagnose(self) -> str:
        """In plain words, what is wrong and what to try; or that all is well."""
        return self._engine.diagnose()

    def run(self, wait: float = 5.0) -> None:
        """Connect and exchange; the first exchange is in when this returns.

        :param wait: seconds for that; 0 returns at once and keeps trying.
        :raises ConnectError: no exchange within `wait`; nothing is left running.
        :raises StateError: it was run before.
        """
        self._start(wait)

    def flush(self, timeout: float = 5.0) -> None:
        """Wait until all that was assigned before this call has met its fate.

        :param timeout: seconds.
        :raises WriteError: some of it was rejected, expired, or timed out after it was sent.
        :raises LinkTimeoutError: the time was up first; what is pending stays pending.
        :raises StateError: the client does not run, or this is a callback of its own.
        """
        self._call(self._engine.flush, timeout)

    def refresh(self, timeout: float = 5.0) -> None:
        """Wait until a complete exchange that began after this call is in.

        :param timeout: seconds.
        :raises LinkTimeoutError: the time was up first.
        :raises StateError: the client does not run, or this is a callback of its own.
        """
        self._call(self._engine.refresh, timeout)

    request = _blocking(AsyncModbusClient.request)
    read_write = _blocking(AsyncModbusClient.read_write)
    read_exception_status = _blocking(AsyncModbusClient.read_exception_status)
    diagnostic = _blocking(AsyncModbusClient.diagnostic)
    read_event_counter = _blocking(AsyncModbusClient.read_event_counter)
    read_event_log = _blocking(AsyncModbusClient.read_event_log)
    read_server_id = _blocking(AsyncModbusClient.read_server_id)
    read_file = _blocking(AsyncModbusClient.read_file)
    write_file = _blocking(AsyncModbusClient.write_file)
    read_fifo = _blocking(AsyncModbusClient.read_fifo)
    read_device_identification = _blocking(AsyncModbusClient.read_device_identification)


class ModbusSlaveTCP(ModbusServer):
    """The server under its earlier name, for scripts of earlier MSM.

    :param memory_store: the memory to serve.
    :param server_ip: the name or address to listen at.
    :param slave_id: the unit id to answer.
    :param sync_period: not needed any more: requests are served from the memory itself.
    :param server_port: the port to listen at.
    """

    def __init__(
        self,
        memory_store: MemoryStore,
        server_ip: str = "localhost",
        slave_id: int = 1,
        sync_period: float = 0.05,
        server_port: int = 502,
    ) -> None:
        super().__init__(memory_store, _tcp(server_ip, server_port), unit=slave_id)


class ModbusMasterTCP(ModbusClient):
    """The client under its earlier name, for scripts of earlier MSM.

    :param memory_store: the memory to exchange.
    :param server_ip: the name or address of the device.
    :param default_slave_id: the unit id of the device.
    :param sync_period: seconds from one poll to the next.
    :param server_port: the port of the device.
    """

    def __init__(
        self,
        memory_store: MemoryStore,
        server_ip: str = "localhost",
        default_slave_id: int = 1,
        sync_period: float = 0.2,
        server_port: int = 502,
    ) -> None:
        super().__init__(memory_store, _tcp(server_ip, server_port), unit=default_slave_id, period=sync_period)


def _tcp(host: str, port: int) -> str:
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _interrupts_the_memory() -> bool:
    """Is this a signal handler that has interrupted this thread while it holds the lock of a memory?"""
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("msm.memory.") and module != "msm.memory.changes":
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


_running: weakref.WeakSet[_Door[Any]] = weakref.WeakSet()


@atexit.register
def _kill_forgotten() -> None:
    """Doors that nobody killed close in order, all at once, when the program ends."""
    doors = [door for door in list(_running) if door._pid == os.getpid()]
    deadline = time.monotonic() + AT_EXIT
    for door in doors:
        if door._worker is not None and not door._killed:
            door._killed = True
            door._worker.end(door._engine.stop)
    for door in doors:
        if door._worker is not None:
            door._worker.join(max(0.0, deadline - time.monotonic()))
