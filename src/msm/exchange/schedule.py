"""When: the state of a link and the pauses between attempts."""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator


class LinkState(enum.Enum):
    """Where a client stands with its device."""

    CONNECTING = "connecting"
    """There is no connection yet, or not one exchange over it."""
    ONLINE = "online"
    """The device answers."""
    OFFLINE = "offline"
    """The device was lost, or never found; attempts go on. Values hold."""
    CLOSED = "closed"
    """Stopped, for good."""


def backoff(
    first: float = 0.1, most: float = 3.0, factor: float = 2.0, jitter: random.Random | None = None
) -> Iterator[float]:
    """The pauses in seconds before each new attempt to connect: growing, with jitter, never above `most`.

    Jitter keeps a hall of clients from knocking all at once when their device comes back.
    """
    uniform = jitter.uniform if jitter is not None else random.uniform
    pause = first
    while True:
        yield pause * uniform(0.5, 1.0)
        pause = min(pause * factor, most)
