"""The keywords that the doors take: their defaults, their limits, and what is said when one is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from msm.errors import DeclarationError
from msm.exchange.plan import MAX_READ_WORDS, MAX_WRITE_WORDS
from msm.exchange.schedule import backoff as default_backoff

Backoff = Callable[[], Iterator[float]]
UnknownUnit = Literal["exception", "silent", "accept"]


class ClientKeywords(TypedDict, total=False):
    """The keywords of `ModbusClient` and `AsyncModbusClient`; `ClientSettings` says what they mean."""

    unit: int
    period: float
    timeout: float
    max_read: int
    max_write: int
    linger: float
    backoff: Backoff


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

    def __post_init__(self) -> None:
        _whole("unit", self.unit, 0, 255)
        _number("period", self.period, 0.001, 86400)
        _number("timeout", self.timeout, 0.001, 3600)
        _whole("max_read", self.max_read, 1, MAX_READ_WORDS)
        _whole("max_write", self.max_write, 1, MAX_WRITE_WORDS)
        _number("linger", self.linger, 0, 3600)


class ServerKeywords(TypedDict, total=False):
    """The keywords of `ModbusServer` and `AsyncModbusServer`; `ServerSettings` says what they mean."""

    unit: int
    unknown_unit: UnknownUnit
    linger: float


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

    def __post_init__(self) -> None:
        _whole("unit", self.unit, 0, 255)
        if self.unknown_unit not in ("exception", "silent", "accept"):
            raise DeclarationError(f"unknown_unit={self.unknown_unit!r} is none of 'exception', 'silent', 'accept'")
        _number("linger", self.linger, 0, 3600)


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
