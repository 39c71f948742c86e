"""Listening to a memory: streams of changes, callbacks, and waiting for a value.

A change is noted under the image's lock as bytes, and becomes a `Change` where it is consumed. Every consumer
has a bounded queue of its own; a slow one loses its oldest changes and is told how many, the memory never waits.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Any, NamedTuple, Self

from msm.errors import DeclarationError, LinkTimeoutError
from msm.memory.bell import Bell
from msm.memory.image import Image, Origin, Place

log = logging.getLogger("msm.memory")

QUEUE = 1000  # changes that a consumer may be behind
IDLE = 0.5  # seconds after which the thread of a callback that has nothing to do ends


class Change(NamedTuple):
    """A variable has changed: from `old` to `new`, at `at` (seconds since 1970).

    `origin` is "local" (this program assigned it), "remote" (a client wrote it through our server) or
    "device" (a poll brought it).
    """

    name: str
    old: Any
    new: Any
    origin: Origin
    at: float


Decoders = dict[str, Callable[[bytes], Any]]


class Queue:
    """The changes of some places that one consumer has not yet taken. A `Watcher` of the image."""

    def __init__(self, size: int, on_change: weakref.WeakMethod[Callable[[], None]]) -> None:
        self.places: tuple[Place, ...] = ()
        self.decoders: Decoders = {}
        self.missed = 0
        self.owner: object = None
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise DeclarationError(f"size {size!r} is not a number of changes from 1")
        self._changes: deque[tuple[Callable[[bytes], Any], str, bytes, bytes, Origin, float]] = deque(maxlen=size)
        self._on_change = on_change
        self._lock = threading.Lock()  # so that none is counted as missed that is just being taken

    @property
    def held(self) -> bool:
        """Is there still somebody who consumes it?"""
        return self._on_change() is not None

    def note(self, place: Place, before: bytes, after: bytes, origin: Origin, at: float) -> None:
        """A place has changed. The image's lock is held."""
        with self._lock:
            if len(self._changes) == self._changes.maxlen:
                self.missed += 1
            self._changes.append((self.decoders[place.name], place.name, before, after, origin, at))

    def ring(self) -> None:
        """Tell the consumer, if there is something."""
        if self._changes and (on_change := self._on_change()) is not None:
            on_change()

    def take(self) -> Change | None:
        """The oldest change, or nothing."""
        with self._lock:
            if not self._changes:
                return None
            decode, name, before, after, origin, at = self._changes.popleft()
        return Change(name, decode(before), decode(after), origin, at)

    def __bool__(self) -> bool:
        return bool(self._changes)


class ChangeStream:
    """The changes of some variables, for `for` and `async for`; it begins when it is made and ends with `close()`.

    `missed` counts the changes that were lost because the consumer was more than `size` behind.
    """

    def __init__(self, image: Image, size: int = QUEUE) -> None:
        self._image = image
        self.queue = Queue(size, weakref.WeakMethod(self._wake))
        self._bell = Bell()
        self._lock = threading.Lock()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._closed = False
        image.watch(self.queue)

    @property
    def missed(self) -> int:
        """How many changes were lost because nobody took them in time."""
        return self.queue.missed

    def get(self, timeout: float) -> Change:
        """The next change; waits for it.

        :param timeout: seconds.
        :raises LinkTimeoutError: none came in time.
        :raises StopIteration: the stream was closed.
        """
        taken: list[Change] = []

        def take() -> bool:
            if (change := self.queue.take()) is not None:
                taken.append(change)
            return bool(taken) or self._closed

        self._bell.wait(take, timeout)
        if taken:
            return taken[0]
        if self._closed:
            raise StopIteration
        raise LinkTimeoutError(f"no change within {timeout:g} s")

    async def get_async(self) -> Change:
        """The next change; awaits it.

        :raises StopAsyncIteration: the stream was closed.
        """
        event = asyncio.Event()
        waiter = (asyncio.get_running_loop(), event)
        try:
            while True:
                event.clear()
                with self._lock:
                    self._waiters.append(waiter)
                if (change := self.queue.take()) is not None:
                    return change
                if self._closed:
                    raise StopAsyncIteration
                await event.wait()
        finally:
            with self._lock:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)

    def close(self) -> None:
        """End the stream; those who wait for a change are told."""
        self._closed = True
        self._image.unwatch(self.queue)
        self._wake()

    def _wake(self) -> None:
        self._bell.ring()
        with self._lock:
            # Each is told once for each time that it waits: a loop that is busy is not flooded with calls.
            waiters, self._waiters = self._waiters, []
        for loop, event in waiters:
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:
                log.debug("a change came after the event loop of its consumer was closed")

    def __iter__(self) -> Iterator[Change]:
        return self

    def __next__(self) -> Change:
        while True:
            try:
                return self.get(3600.0)
            except LinkTimeoutError:
                continue

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        return await self.get_async()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Watch:
    """A callback that is called for every change of a variable, in a thread of its own; `cancel()` ends it.

    The thread begins with the first change and ends when there is nothing to do, so a callback that blocks or raises
    harms nobody but itself. What it raises is logged.
    """

    def __init__(self, image: Image, name: str, callback: Callable[[Change], object], size: int = QUEUE) -> None:
        self._image = image
        self._name = name
        self._callback = callback
        self._bell = Bell()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._cancelled = False
        self.queue = Queue(size, weakref.WeakMethod(self._wake))
        self.queue.owner = self  # nobody has to keep a Watch: it lives as long as the image tells its queue
        image.watch(self.queue)

    @property
    def missed(self) -> int:
        """How many changes were lost because the callback was too slow."""
        return self.queue.missed

    def cancel(self) -> None:
        """Call it no more. Idempotent; may be called from the callback."""
        self._image.unwatch(self.queue)
        with self._lock:
            self._cancelled = True
            self.queue.owner = None
        self._bell.ring()

    def _wake(self) -> None:
        with self._lock:
            if self._thread is None and not self._cancelled:
                thread = threading.Thread(target=self._run, name=f"msm watch {self._name}", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # too many threads, or the program is ending: not the assigner's fault
                    log.exception("no thread for the callback that watches %s", self._name)
                    return
                self._thread = thread
        self._bell.ring()

    def _run(self) -> None:
        while True:
            self._bell.wait(lambda: self.queue or self._cancelled, IDLE)
            with self._lock:
                if self._cancelled or not self.queue:
                    self._thread = None
                    return
            try:
                if (change := self.queue.take()) is not None:
                    self._callback(change)
            except BaseException:  # sys.exit() in a callback too: it ends neither this thread nor the watch
                log.exception("the callback that watches %s raised", self._name)

    def __repr__(self) -> str:
        return f"<Watch {self._name}, missed {self.missed}>"
