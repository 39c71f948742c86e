"""The keywords that the doors take: their defaults, their limits, and what is said when one is wrong."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Literal, TypeAlias, TypedDict

from msm.errors import DeclarationError
from msm.exchange.job import Terms
from msm.exchange.plan import MAX_READ_WORDS, MAX_WRITE_WORDS, WIDTH, Read
from msm.exchange.schedule import backoff as default_backoff
from msm.functions import Functions
from msm.memory.image import TableName
from msm.memory.store import MemoryStore
from msm.roles import Roles, check_roles
from msm.wire.framing import Message

Backoff = Callable[[], Iterator[float]]
Blocks = Sequence[tuple[int, int] | tuple[str, int, int]]
NO_FUNCTIONS = Functions()
UnknownUnit = Literal["exception", "silent", "accept"]


@dataclass(frozen=True, slots=True)
class RemoteWrite:
    """What a remote client wants to write: `values` are words from 0 to 65535, or bits as 0 and 1."""

    unit: int
    table: TableName
    address: int
    values: tuple[int, ...]


BeforeWrite: TypeAlias = Callable[[RemoteWrite], Any]
"""Asked before a remote write. It returns None to let it pass or the values to write in its place, and raises a
`DeviceError` to refuse it, e.g. `IllegalValueError`. It may be a coroutine function; a plain one runs in a thread."""


Writable: TypeAlias = Mapping[TableName, Sequence[tuple[int, int]]]
"""What remote clients may write: ranges of (address, count) by table, "holding" and "coil"."""


Trace: TypeAlias = Callable[[Message], object]


class ClientKeywords(TypedDict, total=False):
    """The keywords of `ModbusClient` and `AsyncModbusClient`; `ClientSettings` says what they mean."""

    unit: int
    period: float
    timeout: float
    max_read: int
    max_write: int
    linger: float
    backoff: Backoff
    poll: Literal["all", "declared"]
    blocks: Blocks
    conflict: Literal["mine", "device"]
    write_ttl: float
    write_function: Literal["auto", "single", "multiple"]
    max_in_flight: int
    delay_between: float
    delay_after_connect: float
    on_stale: Literal["hold", "raise", "zero"]
    tls: ssl.SSLContext | None
    rs485: Any
    trace: Trace | None


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """The keywords of a client, with their defaults.

    :raises DeclarationError: a keyword is outside its limits.
    """

    unit: int = 1
    """The Modbus unit id of the device, 0 to 255."""
    period: float = 0.2
    """Seconds from the beginning of one poll to the beginning of the next."""
    timeout: float = 1.0
    """Seconds for one transaction, from the request to the last byte of the reply; also for connecting."""
    max_read: int = MAX_READ_WORDS
    """Words that one read request may ask for, 1 to 125."""
    max_write: int = MAX_WRITE_WORDS
    """Words that one write request may carry, 1 to 123."""
    linger: float = 0.5
    """Seconds that stopping may take to send what is still pending."""
    backoff: Backoff = default_backoff
    """Gives the pauses in seconds between attempts to connect; called anew for each outage."""
    poll: Literal["all", "declared"] = "all"
    """What is polled: "all" of the memory, or only what is "declared", with small gaps read along."""
    blocks: Blocks = ()
    """What is polled, if you know better: (address, count) of holding registers, or (table, address, count)."""
    conflict: Literal["mine", "device"] = "mine"
    """Who wins when the device changes bits that were assigned and not yet sent; a variable may say otherwise."""
    write_ttl: float = 10.0
    """Seconds after which a command that could not be sent expires."""
    write_function: Literal["auto", "single", "multiple"] = "auto"
    """"single" writes only by functions 05 and 06, "multiple" only by 15 and 16; "auto" finds out."""
    max_in_flight: int = 1
    """Requests that may be out at a time, 1 to 16. It begins with one, and goes back to one on a time-out."""
    delay_between: float = 0.0
    """Seconds of rest after each transaction, for devices that need it."""
    delay_after_connect: float = 0.0
    """Seconds of rest after connecting."""
    on_stale: Literal["hold", "raise", "zero"] = "hold"
    """What reading a value gives that is not fresh: the last one, a `StaleError`, or zero."""
    tls: ssl.SSLContext | None = None
    """The context of a tls endpoint, if it is not made from the paths in the endpoint."""
    rs485: Any = None
    """A `serial.rs485.RS485Settings`, for serial adapters whose direction is switched by RTS."""
    trace: Trace | None = None
    """Called with each `Message` that is sent or received, in the client's own thread; for recording."""

    def __post_init__(self) -> None:
        _whole("unit", self.unit, 0, 255)
        _number("period", self.period, 0.001, 86400)
        _number("timeout", self.timeout, 0.001, 3600)
        _whole("max_read", self.max_read, 1, MAX_READ_WORDS)
        _whole("max_write", self.max_write, 1, MAX_WRITE_WORDS)
        _number("linger", self.linger, 0, 3600)
        _one_of("poll", self.poll, "all", "declared")
        _one_of("conflict", self.conflict, "mine", "device")
        _one_of("write_function", self.write_function, "auto", "single", "multiple")
        _one_of("on_stale", self.on_stale, "hold", "raise", "zero")
        _number("write_ttl", self.write_ttl, 0.001, 86400)
        _whole("max_in_flight", self.max_in_flight, 1, 16)
        _number("delay_between", self.delay_between, 0, 60)
        _number("delay_after_connect", self.delay_after_connect, 0, 60)
        for block in self.blocks:
            _read(block)

    def terms(self) -> Terms:
        """The same, as far as the exchange has to know it."""
        return Terms(
            period=self.period,
            max_read=self.max_read,
            max_write=self.max_write,
            poll=self.poll,
            blocks=tuple(_read(block) for block in self.blocks),
            conflict=self.conflict,
            write_ttl=self.write_ttl,
            forward_ttl=min(self.write_ttl, self.timeout / 2),
            write_function=self.write_function,
            max_in_flight=self.max_in_flight,
            delay_between=self.delay_between,
            delay_after_connect=self.delay_after_connect,
        )


class ServerKeywords(TypedDict, total=False):
    """The keywords of `ModbusServer` and `AsyncModbusServer`; `ServerSettings` says what they mean."""

    unit: int
    unknown_unit: UnknownUnit
    linger: float
    write_through: bool
    before_write: BeforeWrite | None
    writable: Writable | None
    functions: Functions | Mapping[int, Functions]
    roles: Roles | None
    allow: Sequence[str]
    max_connections: int
    max_connections_per_address: int
    frame_deadline: float
    idle_timeout: float
    max_in_flight: int
    max_unsent: int
    unsent_deadline: float
    tls: ssl.SSLContext | None
    rs485: Any
    trace: Trace | None


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The keywords of a server, with their defaults.

    :raises DeclarationError: a keyword is outside its limits.
    """

    unit: int = 1
    """The unit id that a single store answers, 0 to 255; over TCP it answers 0 and 255 as well."""
    unknown_unit: UnknownUnit = "exception"
    """What other units get: "exception" (0B), "silent" (nothing), or "accept" (served as the own unit)."""
    linger: float = 0.5
    """Seconds that stopping may take to send the replies under way."""
    write_through: bool = False
    """A gateway answers a write only when the device has: with the device's own refusal, or with exception 0B where
    it does not answer."""
    before_write: BeforeWrite | None = None
    """Asked before each remote write, with a `RemoteWrite`: may refuse it or give other values; may be async."""
    writable: Writable | None = None
    """What remote clients may write, e.g. ``{"holding": [(0, 10)]}``: ten words from 0, and no coil; exception 02
    elsewhere. None: all that is not declared with access="ro"."""
    functions: Functions | Mapping[int, Functions] = NO_FUNCTIONS
    """What is answered beside the memory: a `Functions`, or one for each unit."""
    roles: Roles | None = None
    """What each role may do, over TLS with client certificates; exception 01 for all else."""
    allow: Sequence[str] = ()
    """The networks whose clients are served, e.g. ("192.168.0.0/24", "10.0.0.7"); empty: all who can reach it."""
    max_connections: int = 64
    """Connections in all; beyond that the oldest idle one gives way."""
    max_connections_per_address: int = 8
    """Connections from one address; beyond that the oldest idle one of them gives way."""
    frame_deadline: float = 10.0
    """Seconds from the first byte of a request to its last."""
    idle_timeout: float = 300.0
    """Seconds without a request after which a connection is closed."""
    max_in_flight: int = 16
    """Requests of one client that are worked on at a time; beyond that they get exception 06."""
    max_unsent: int = 65536
    """Bytes of replies that a client has not taken; beyond that nothing more is read from it."""
    unsent_deadline: float = 10.0
    """Seconds after which a client that does not take its replies is dropped."""
    tls: ssl.SSLContext | None = None
    """The context of a tls endpoint, if it is not made from the paths in the endpoint."""
    rs485: Any = None
    """A `serial.rs485.RS485Settings`, for serial adapters whose direction is switched by RTS."""
    trace: Trace | None = None
    """Called with each `Message` that is received or sent, in the server's own thread; for recording."""

    def __post_init__(self) -> None:
        _whole("unit", self.unit, 0, 255)
        if self.unknown_unit not in ("exception", "silent", "accept"):
            raise DeclarationError(f"unknown_unit={self.unknown_unit!r} is none of 'exception', 'silent', 'accept'")
        if not isinstance(self.write_through, bool):
            raise DeclarationError(f"write_through={self.write_through!r} is not a bool")
        _number("linger", self.linger, 0, 3600)
        if self.writable is not None:
            _check_writable(self.writable)
        self.functions_of(0)
        if self.roles is not None:
            check_roles(self.roles)
        _whole("max_connections", self.max_connections, 1, 100_000)
        _whole("max_connections_per_address", self.max_connections_per_address, 1, 100_000)
        _number("frame_deadline", self.frame_deadline, 0.01, 3600)
        _number("idle_timeout", self.idle_timeout, 0.01, 86400 * 365)
        _whole("max_in_flight", self.max_in_flight, 1, 1000)
        _whole("max_unsent", self.max_unsent, 1024, 1 << 30)
        _number("unsent_deadline", self.unsent_deadline, 0.01, 3600)
        self.networks()

    def functions_of(self, unit: int) -> Functions:
        """What a unit answers beside its memory."""
        given = self.functions.get(unit, NO_FUNCTIONS) if isinstance(self.functions, Mapping) else self.functions
        if not isinstance(given, Functions):
            raise DeclarationError(f"functions={given!r} is not a Functions, nor a mapping of units to them")
        return given

    def networks(self) -> list[IPv4Network | IPv6Network]:
        """The networks of `allow`."""
        if isinstance(self.allow, str):
            raise DeclarationError(f"allow={self.allow!r} is one string: give a list of them")
        try:
            return [ip_network(network) for network in self.allow]
        except ValueError as error:
            raise DeclarationError(f"allow={list(self.allow)!r}: {error}") from None

    def allows(self, address: str) -> bool:
        """May a client at this address be served?"""
        if not self.allow:
            return True
        try:
            there = ip_address(address.partition("%")[0])
        except ValueError:
            return True  # a serial port or a name in this process
        mapped = getattr(there, "ipv4_mapped", None)
        return any((mapped or there) in network for network in self.networks())


def _check_writable(writable: object) -> None:
    if not isinstance(writable, Mapping):
        raise DeclarationError(f"writable={writable!r} is not a mapping of tables to ranges")
    for table, ranges in writable.items():
        _one_of("writable", table, "holding", "coil")
        for each in ranges:
            whole = isinstance(each, tuple | list) and len(each) == 2 and all(type(part) is int for part in each)
            if not whole or not 0 <= each[0] < each[0] + each[1] <= 65536:
                raise DeclarationError(f"writable: {each!r} is not (address, count) within 0 to 65535")


def by_unit(stores: MemoryStore | Mapping[int, MemoryStore], unit: int) -> dict[int, MemoryStore]:
    """The store of each unit, whichever way they were given.

    :raises DeclarationError: there is none, something is not a store, or a unit is not 0 to 255.
    """
    units = dict(stores) if isinstance(stores, Mapping) else {unit: stores}
    if not units:
        raise DeclarationError("no store was given: pass a MemoryStore, or {1: mem_a, 2: mem_b}")
    for number, store in units.items():
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 255:
            raise DeclarationError(f"unit {number!r} is not a number from 0 to 255")
        if not isinstance(store, MemoryStore):
            raise DeclarationError(f"unit {number}: {store!r} is not a MemoryStore")
    return units


def check_unit(unit: Any) -> None:
    """Is it a unit?

    :raises DeclarationError: it is not a number from 0 to 255.
    """
    _whole("unit", unit, 0, 255)


def check_wait(name: str, value: Any) -> float:
    """The seconds that a caller is ready to wait.

    :raises DeclarationError: it is not a number from 0 to 86400.
    """
    return _number(name, value, 0, 86400)


def _number(name: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise DeclarationError(f"{name}={value!r} is not a number from {low:g} to {high:g} (seconds)")
    return value


def _whole(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise DeclarationError(f"{name}={value!r} is not a whole number from {low} to {high}")


def _one_of(name: str, value: object, *allowed: str) -> None:
    if value not in allowed:
        raise DeclarationError(f"{name}={value!r} is none of {', '.join(map(repr, allowed))}")


def _read(block: Any) -> Read:
    """One of `blocks`, as it was given."""
    parts = tuple(block) if isinstance(block, (tuple, list)) else ()
    table, address, cells = ("holding", *parts) if len(parts) == 2 else parts if len(parts) == 3 else ("", -1, 0)
    if table not in WIDTH or any(isinstance(each, bool) or not isinstance(each, int) for each in (address, cells)):
        raise DeclarationError(f"blocks: {block!r} is neither (address, count) nor (table, address, count)")
    if not 0 <= address < address + cells <= 65536:
        raise DeclarationError(f"blocks: {block!r} is outside addresses 0 to 65535, or empty")
    return Read(str(table), address, cells)
