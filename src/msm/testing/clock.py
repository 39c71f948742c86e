"""Virtual time: an event loop in which waiting takes no time, and the same seed gives the same course of events."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

STUCK = 5.0  # real seconds without anything to do: then nothing will come any more


class VirtualTimeError(RuntimeError):
    """Everybody waits, and nobody will ever wake them."""


class _Selector(selectors.DefaultSelector):
    """Looks whether something has come; where asyncio would wait, the clock is put forward instead."""

    def __init__(self, clock: VirtualLoop) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if ready:
            return ready
        if timeout is None:
            # Nothing is due, ever: only another thread or a socket could still bring something.
            ready = super().select(STUCK)
            if not ready:
                raise VirtualTimeError(f"at {self._clock.time():g} s of virtual time everybody waits for nothing")
            return ready
        self._clock.advance(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to whatever is due next.

    What talks over `memory://` is deterministic in it. Sockets and other threads are not: they need real time.
    """

    def __init__(self) -> None:
        self._virtual = 0.0
        super().__init__(_Selector(self))
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Seconds of virtual time since the loop was made."""
        return self._virtual

    def advance(self, seconds: float) -> None:
        """Put the clock forward."""
        self._virtual += max(0.0, seconds)


def run_virtual(main: Callable[..., Coroutine[Any, Any, T]] | Awaitable[T], *args: object, seed: int = 0) -> T:
    """Run a coroutine (function) in virtual time: a day of waiting takes as long as the work in it.

    :param main: a coroutine function, called with `args`, or a coroutine.
    :param seed: of the module `random`, which among other things spreads the pauses between attempts to connect. It is
        put back as it was.
    :returns: what the coroutine returns.
    :raises VirtualTimeError: everybody waits for something that will never come.
    """

    async def whole() -> T:
        return await (main(*args) if callable(main) else main)

    state = random.getstate()
    random.seed(seed)
    try:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(whole())
    finally:
        random.setstate(state)
