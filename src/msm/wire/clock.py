"""The clock of an event loop, for those who look at it with each request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


def clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """What tells the loop's time: where it is the usual clock, without the method around it."""
    usual = getattr(loop.time, "__func__", None) is asyncio.BaseEventLoop.time
    return time.monotonic if usual else loop.time
