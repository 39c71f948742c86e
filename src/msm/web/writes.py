"""What a page sets, and what becomes of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from msm import MemoryStore, MsmError
from msm.cli.text import parsed
from msm.memory.store import assign_and_tell
from msm.web.variables import is_settable

log = logging.getLogger("msm.web")

WELL = ("acknowledged", "superseded")


@dataclass(slots=True, eq=False)
class Write:
    """One setting of a variable, numbered by its page."""

    number: int
    name: str
    text: str
    missing: int = 0
    """Clients that have not told its fate."""
    failure: tuple[str, str] | None = None
    """The fate and the cause at the first client that failed."""


Settled: TypeAlias = Callable[[Write, str, str], None]  # the write, its fate, and the cause


class WriteDesk:
    """Assigns what a page sets, and tells the fate of each write.

    Fates are those of the ledger (`acknowledged`, `rejected`, `expired`, `unknown`, `superseded`), and besides:
    `pending`; `invalid` for what the store does not take; `done` where no client has to bring it to a device.
    """

    def __init__(self, store: MemoryStore, settled: Settled, *, read_only: bool) -> None:
        self.pending: set[Write] = set()
        """Writes without a fate."""
        self._store = store
        self._settled = settled
        self._read_only = read_only
        self._loop = asyncio.get_running_loop()

    def perform(self, write: Write) -> None:
        """Assign it; its fate is told later, and sooner or later it is."""
        if self._read_only:
            self._settled(write, "invalid", "this page is read-only")
            return

        def done(fate: str, cause: str, _code: int) -> None:
            try:
                self._loop.call_soon_threadsafe(self._told, write, fate, cause)
            except RuntimeError:
                log.debug("a device answered after the page had ended")

        try:
            variable = self._store.variables().get(write.name)
            if variable is not None and not is_settable(variable):
                self._settled(write, "invalid", f"{write.name} is read-only: only the device writes it")
                return
            value = parsed(variable, write.text) if variable is not None else None
            clients = assign_and_tell(self._store, write.name, value, done)
        except MsmError as error:
            self._settled(write, "invalid", str(error))
            return
        if not clients:
            self._settled(write, "done", "")
            return
        self.pending.add(write)
        write.missing += clients
        self._settled(write, "pending", "")

    def _told(self, write: Write, fate: str, cause: str) -> None:
        """One client tells what became of it; the first that failed says why."""
        write.missing -= 1
        if fate not in WELL and write.failure is None:
            write.failure = (fate, cause)
        if write.missing == 0:
            self.pending.discard(write)
            self._settled(write, *(write.failure or (fate, "")))
