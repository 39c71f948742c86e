"""What the pages show: looked up in the memory at intervals, once for all pages.

There is no queue. Each row has the number of the look that found it changed, and a page is sent what is newer than what
it was sent last: a slow one misses what came in between.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from msm import LinkState, MemoryStore, Stats
from msm.errors import UnknownVariableError
from msm.exchange.ledger import FATES
from msm.memory.variable import MemoryVariable
from msm.web import variables

KEPT = 600  # samples of a trend
SAMPLE = 0.5  # seconds from one to the next: five minutes in all
SLOW = 1.0  # seconds between two looks at what changes all the time: ages, and figures of the link


class Client(Protocol):
    """What the page asks a client, synchronous or async."""

    @property
    def endpoint(self) -> str: ...
    @property
    def state(self) -> LinkState: ...
    @property
    def stats(self) -> Stats: ...
    @property
    def ledger(self) -> Any: ...
    def diagnose(self) -> str: ...


class Row(NamedTuple):
    """What a page shows of one variable."""

    text: str
    number: float | None
    quality: str
    error: str


class Feed:
    """Looks at a store and at the client that keeps it fresh."""

    def __init__(self, store: MemoryStore, client: Client | None, period: float, title: str = "") -> None:
        self.version = 0
        """Counts the looks that found something new."""
        self.declared: list[dict[str, Any]] = []
        """The variables, as `variables.described` tells them."""
        self.declared_version = 0
        self._store = store
        self._client = client
        self._period = period
        self._title = title
        self._variables: dict[str, MemoryVariable[Any]] = {}
        self._rows: dict[str, tuple[int, Row]] = {}
        self._read: dict[str, float | None] = {}
        self._slow_version = 0
        self._slow_due = self._sample_due = 0.0
        self._link: dict[str, Any] = {}
        self._trends: dict[str, deque[float | None]] = {}
        self._times: deque[float] = deque(maxlen=KEPT)
        self._listeners: set[asyncio.Event] = set()

    # -- for the pages

    def follow(self, listener: asyncio.Event) -> None:
        """Set this event whenever there is something new."""
        self._listeners.add(listener)

    def unfollow(self, listener: asyncio.Event) -> None:
        """No more."""
        self._listeners.discard(listener)

    @property
    def title(self) -> str:
        """What the page is called."""
        return self._title or (self._client.endpoint if self._client is not None else "MSM")

    def news(self, since: int) -> dict[str, Any]:
        """What is newer than the version that a page was sent last; 0 for all of it."""
        told: dict[str, Any] = {"now": time.time()}
        if self.declared_version > since:
            told["title"] = self.title
            told["variables"] = self.declared
        told["rows"] = {name: row for name, (version, row) in self._rows.items() if version > since}
        if self._slow_version > since:
            told["link"] = self._link
            told["read"] = [self._read[name] for name in self._variables]
        return told

    def trends(self, names: Iterable[str]) -> dict[str, Any]:
        """The last minutes of some variables: times, and for each its numbers, None where it was not fresh.

        :raises UnknownVariableError: there is no such variable.
        """
        times = list(self._times)
        found: dict[str, list[float | None]] = {}
        for name in names:
            if name not in self._variables:
                raise UnknownVariableError(f"there is no variable {name!r}")
            numbers: list[float | None] = list(self._trends.get(name, ()))
            later: list[float | None] = [None] * (len(times) - len(numbers))  # it was declared later
            found[name] = later + numbers
        return {"times": times, "numbers": found}

    # -- looking

    async def run(self) -> None:
        """Look, at intervals, for ever."""
        while True:
            self.look(time.time())
            await asyncio.sleep(self._period)

    def look(self, now: float) -> None:
        """Look once; `now` is in seconds since 1970."""
        version = self.version + 1
        changed = self._look_at_declarations(version)
        for name, variable in self._variables.items():
            try:
                info = self._store.info(name)
            except UnknownVariableError:
                continue  # withdrawn just now; the next look will see it
            quality = "own" if self._client is None and info.quality == "never" else info.quality
            value = variables.number(info.value)
            row = Row(variables.text(info, variable), value, quality, info.error)
            self._read[name] = info.at
            if name not in self._rows or self._rows[name][1] != row:
                self._rows[name] = (version, row)
                changed = True
        if now >= self._slow_due or (self._client is not None and self._client.state.value != self._link.get("state")):
            self._slow_due = now + SLOW
            self._slow_version = version
            self._link = self._look_at_link()
            changed = True
        if now >= self._sample_due:
            self._sample_due = now + SAMPLE
            self._sample(now)
        if changed:
            self.version = version
            for listener in self._listeners:
                listener.set()

    def _look_at_declarations(self, version: int) -> bool:
        declared = self._store.variables()
        if declared == self._variables and self.declared_version:
            return False
        self._variables = declared
        self.declared = variables.described(self._store)
        self.declared_version = version
        for name in set(self._rows) - set(declared):
            for known in (self._rows, self._read, self._trends):
                known.pop(name, None)
        self._slow_due = 0.0
        return True

    def _look_at_link(self) -> dict[str, Any]:
        if self._client is None:
            return {}
        stats, ledger = self._client.stats, self._client.ledger
        return {
            "endpoint": self._client.endpoint,
            "state": self._client.state.value,
            "diagnosis": self._client.diagnose(),
            "cycle": stats.cycle_time,
            "cycles": stats.cycles,
            "requests": stats.requests,
            "reconnects": stats.reconnects,
            "conflicts": stats.conflicts,
            "errors": dict(stats.errors),
            "fates": {fate: getattr(ledger, fate) for fate in (*FATES, "pending")},
        }

    def _sample(self, now: float) -> None:
        self._times.append(now)
        for name, (_, row) in self._rows.items():
            if variables.is_number(self._variables[name]):
                fresh = row.quality in ("good", "own")
                self._trends.setdefault(name, deque(maxlen=KEPT)).append(row.number if fresh else None)
