"""memory://name: two ends in one process, without a socket."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from contextlib import suppress

from msm.wire.channel import NOBODY, Owner, UnpausedChannel
from msm.wire.framing import MbapFramer

_listeners: dict[str, tuple[asyncio.AbstractEventLoop, Callable[[], Owner]]] = {}


def offer(name: str, owner: Callable[[], Owner]) -> Callable[[], None]:
    """Listen under a name; returns what ends it.

    :raises OSError: the name is taken.
    """
    if name in _listeners:
        raise OSError(errno.EADDRINUSE, "another server of this process has that name")
    _listeners[name] = (asyncio.get_running_loop(), owner)

    def close() -> None:
        _listeners.pop(name, None)

    return close


def join(name: str, owner: Owner) -> None:
    """Connect to the server of that name.

    :raises OSError: there is none.
    """
    loop, make_owner = _listeners.get(name, (None, None))
    if loop is None or make_owner is None:
        raise OSError(errno.ECONNREFUSED, "no server of this process has that name")
    ours = MemoryChannel(asyncio.get_running_loop(), name)
    theirs = MemoryChannel(loop, name)
    MemoryChannel.pair(ours, theirs)

    def welcome() -> None:
        # A server's own objects are made and used in its own loop. What we send meanwhile is behind this in its queue.
        if name in _listeners:
            theirs.open(make_owner())
        else:
            theirs.close()

    try:
        loop.call_soon_threadsafe(welcome)
    except RuntimeError:
        raise OSError(errno.ECONNREFUSED, "the server of that name has ended") from None
    ours.open(owner)


class MemoryChannel(UnpausedChannel):
    """One of two ends in one process, which may live in different event loops."""

    framer: MbapFramer

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        super().__init__(NOBODY, MbapFramer())
        self._loop = loop
        self._name = name
        self._other: MemoryChannel | None = None

    @classmethod
    def pair(cls, one: MemoryChannel, other: MemoryChannel) -> None:
        """Join two ends."""
        one._other, other._other = other, one

    def open(self, owner: Owner) -> None:
        """From now on it is this owner's."""
        if self._closed:
            return
        self.owner = owner
        owner.made(self)

    def send(self, data: bytes) -> None:
        if self._other is not None and not self._closed:
            self._other.call(self._other.take, data)

    def call(self, function: Callable[..., None], *args: object) -> None:
        """Run a function in this end's loop."""
        with suppress(RuntimeError):  # the loop was closed: there is nobody left to tell
            self._loop.call_soon_threadsafe(function, *args)

    def take(self, data: bytes) -> None:
        """Something came from the other end."""
        if not self._closed:
            self.hand_over(self.framer.feed(data))

    def close(self) -> None:
        if not self._closed:
            self._end()
            if self._other is not None:
                self._other.call(self._other._end)

    abort = close

    def _end(self) -> None:
        if not self._closed:
            self._closed = True
            self._loop.call_soon(lambda: self.owner.lost(None))

    @property
    def peer(self) -> str:
        return self._name
