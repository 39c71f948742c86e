"""Log lines that do not flood: at most one a second for each cause."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

QUIET = 1.0  # seconds
CAUSES = 1000  # remembered at a time


def guarded(trace: Callable[[T], object] | None, logger: logging.Logger) -> Callable[[T], object] | None:
    """A trace that cannot hurt whoever is traced: one that raises is told, and not called again."""
    if trace is None:
        return None
    working = trace

    def call(message: T) -> None:
        nonlocal working
        try:
            working(message)
        except Exception:
            working = _ignore
            logger.exception("trace= has raised, and is not called any more")

    return call


def _ignore(_message: object) -> None:
    """What is left of a trace that has raised."""


class Reporter:
    """Writes to a logger, and leaves out what it has said about the same cause within the last second.

    What was left out is counted, and the number is told with the next line about that cause. Every record carries
    `msm`, a dictionary with the endpoint and the cause, for handlers that write structured logs.
    """

    def __init__(self, logger: logging.Logger, endpoint: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._endpoint = endpoint
        self._clock = clock
        self._said: dict[str, tuple[float, int]] = {}

    def say(self, level: int, cause: str, message: str, *args: object) -> None:
        """One line, unless the same cause had one less than a second ago."""
        if not self._logger.isEnabledFor(level):
            return
        now = self._clock()
        last, left_out = self._said.get(cause, (-QUIET, 0))
        if now - last < QUIET:
            self._said[cause] = (last, left_out + 1)
            return
        if len(self._said) >= CAUSES:
            self._said.clear()
        self._said[cause] = (now, 0)
        more = f" ({left_out} more like this)" if left_out else ""
        fields = {"endpoint": self._endpoint, "cause": cause, "left_out": left_out}
        self._logger.log(level, "%s: " + message + more, self._endpoint, *args, extra={"msm": fields})
