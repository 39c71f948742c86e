"""Waking threads that wait, without ever waiting for them.

`threading.Condition`, and with it `Event` and `Future`, is not safe from Ctrl+C. A `KeyboardInterrupt` that comes at
the wrong moment of a `wait()` leaves its lock held for ever, and whoever wants to wake the waiter waits himself: here
that would be the event loop that all the exchange runs in. A plain lock as a latch has no such moment.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress


class Bell:
    """Threads wait for it; ringing it never blocks, whatever has become of them."""

    def __init__(self) -> None:
        self._latches: deque[threading.Lock] = deque()

    def ring(self) -> None:
        """Wake all who wait now."""
        with suppress(IndexError):  # empty, or another thread rings as well
            while True:
                self._latches.popleft().release()

    def wait(self, ready: Callable[[], object], timeout: float) -> bool:
        """Wait until something is ready; it is looked at now, and after each ring.

        :param timeout: seconds.
        :returns: is it ready?
        """
        deadline = time.monotonic() + timeout
        while True:
            latch = threading.Lock()
            latch.acquire()
            self._latches.append(latch)  # before looking: a ring from now on is not missed
            try:
                if ready():
                    return True
                left = deadline - time.monotonic()
                if left <= 0 or not latch.acquire(timeout=min(left, threading.TIMEOUT_MAX)):
                    return bool(ready())
            finally:
                with suppress(ValueError, IndexError):  # it was rung
                    self._latches.remove(latch)
