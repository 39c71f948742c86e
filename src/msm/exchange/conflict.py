"""What is told when both sides changed the same bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Conflict:
    """The device changed a variable while an assignment of it was waiting to be sent."""

    name: str
    base: Any
    """What the device said before."""
    mine: Any
    """What was assigned."""
    theirs: Any
    """What the device says now."""
    winner: str
    """"mine": the assignment is sent all the same. "device": it gave way."""
    unit: int
    at: float
    """When it was found, in seconds since 1970."""
