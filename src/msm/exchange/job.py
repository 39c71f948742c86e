"""What the engine is given to send, and what all of it is to keep to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from msm.exchange.ledger import Shipment
from msm.exchange.plan import MAX_READ_WORDS, MAX_WRITE_WORDS, MaskWrite, Read, Write

Request: TypeAlias = Read | Write | MaskWrite
Cell: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the exchange with a device is to keep to."""

    period: float = 0.2
    max_read: int = MAX_READ_WORDS
    max_write: int = MAX_WRITE_WORDS
    poll: Literal["all", "declared"] = "all"
    blocks: tuple[Read, ...] = ()
    gap: int = 0
    conflict: str = "mine"
    write_ttl: float = 10.0
    forward_ttl: float = 0.5
    """The same for what a gateway's client waits for: it gives up long before."""
    write_function: Literal["auto", "single", "multiple"] = "auto"
    max_in_flight: int = 1
    delay_between: float = 0.0
    delay_after_connect: float = 0.0


@dataclass(slots=True, eq=False)
class Job:
    """One request, and the assignments that it carries."""

    request: Request
    shipment: Shipment = field(default_factory=list)
    number: int = 0
    single: bool = False
    """Write one cell by function 05 or 06, not 15 or 16."""
    period: float | None = None
    """Part of the regular poll with that period."""
    before_write: bool = False
    """The reading half of a read-modify-write."""
    word: int = 0
    """Of that: the address of the word."""
    racy: bool = False
    """The writing half."""
    data: bytes | None = None
    """The cells to write, as they travel. Where it is None the memory's own are sent; the engine notes them here."""
    settled: dict[Cell, int] = field(default_factory=dict)
    """Of a read: bits whose write was acknowledged since it left. Its answer may be older than they are."""
