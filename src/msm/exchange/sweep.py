"""A run of reads in which there is nothing to decide: no assignment waits, nothing is in doubt, nothing else is due."""

from __future__ import annotations

from dataclasses import dataclass, field

from msm.exchange.plan import Read


@dataclass(slots=True, eq=False)
class Sweep:
    """Blocks of one round, to be read one after the other. The engine counts; `Device.swept()` is told the end."""

    reads: list[Read]
    period: float
    """Which round they are of."""
    until: float
    """When something else is due."""
    due: float
    """When the next round of this period is due: at once, where blocks of this one are left that it does not read."""
    window: int
    """How many may be out at a time."""
    said: list[list[bytes | bytearray]] = field(default_factory=list)
    """Of each: where the engine puts what the device has said, as the only item."""
    sent: int = 0
    done: int = 0
