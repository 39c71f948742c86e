"""What an exchange has done so far, in numbers."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

KEPT_CYCLES = 1000


@dataclass(slots=True)
class Stats:
    """What an exchange has done so far."""

    requests: int = 0
    """Requests sent."""
    errors: Counter[str] = field(default_factory=Counter)
    """Failures by kind: "timeout", "protocol", "connection", "exception 02", ..."""
    racy_writes: int = 0
    """Times that bits were written by reading and writing back their word: the device has no mask write."""
    conflicts: int = 0
    """Assignments that met a change of the same bits by the device."""
    reconnects: int = 0
    """Connections made after the first one."""
    cycles: int = 0
    """Complete polls of the memory."""
    cycle_time: float = 0.0
    """Seconds that the last complete poll took."""
    cells: int = 0
    """Words and bits read and written."""
    recent: deque[tuple[float, float, int]] = field(default_factory=lambda: deque(maxlen=KEPT_CYCLES), repr=False)
    """The last polls: when each ended, how long it took, and the value of `cells` by then."""

    def cycle_percentile(self, percent: float) -> float:
        """The time in seconds that so many percent of the last 1000 polls stayed under; 0 before the first."""
        times = sorted(duration for _, duration, _ in self.recent)
        if not times:
            return 0.0
        return times[min(len(times) - 1, int(len(times) * percent / 100))]

    @property
    def words_per_second(self) -> float:
        """Words and bits that were moved a second, over the last 1000 polls."""
        if len(self.recent) < 2:
            return 0.0
        (begin, _, before), (end, _, after) = self.recent[0], self.recent[-1]
        return (after - before) / (end - begin) if end > begin else 0.0

    def cycle(self, now: float, began: float) -> None:
        """A poll is complete."""
        self.cycles += 1
        self.cycle_time = now - began
        self.recent.append((now, self.cycle_time, self.cells))

    @classmethod
    def together(cls, all_stats: Iterable[Stats]) -> Stats:
        """The sums over several units; of times, the longest."""
        total = cls()
        for stats in all_stats:
            for name in ("requests", "racy_writes", "conflicts", "cycles", "cells"):
                setattr(total, name, getattr(total, name) + getattr(stats, name))
            total.reconnects = max(total.reconnects, stats.reconnects)
            total.cycle_time = max(total.cycle_time, stats.cycle_time)
            total.errors += stats.errors
            total.recent.extend(stats.recent)
        return total
