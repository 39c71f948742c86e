"""An event loop in a daemon thread, and calls into it from other threads: what the synchronous doors stand on."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

import anyio

from msm.errors import LinkError

T = TypeVar("T")


def _faster() -> dict[str, Any]:
    """uvloop, where it is installed (the extra `fast`): the same event loop in C."""
    if importlib.util.find_spec("uvloop") is None:
        return {}
    return {"backend_options": {"use_uvloop": True}}


class Ended(Exception):
    """The event loop has ended before the call had."""


class _Call(Generic[T]):
    """A coroutine function that runs in the loop of a worker, and a thread that may wait for it.

    The thread waits at a plain lock: see `msm.memory.bell` for what Ctrl+C does to anything else.
    """

    def __init__(self, function: Callable[[], Awaitable[T]]) -> None:
        self._function = function
        self._latch = threading.Lock()
        self._latch.acquire()
        self._task: asyncio.Task[T] | None = None
        self._result: tuple[T] | None = None
        self._error: BaseException | None = None

    def begin(self, done: Callable[[_Call[T]], None]) -> None:
        """Run it, in the loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="msm call")
        self._task.add_done_callback(self._end)
        self._task.add_done_callback(lambda _: done(self))

    async def _run(self) -> T:
        return await self._function()

    def _end(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self._error = Ended()
        elif (error := task.exception()) is not None:
            self._error = error
        else:
            self._result = (task.result(),)
        self._latch.release()

    def fail(self) -> None:
        """It will never begin."""
        self._error = Ended()
        self._latch.release()

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        if self._task is not None:
            self._task.cancel()

    def wait(self) -> T:
        """What it returns or raises."""
        self._latch.acquire()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # it refers to this frame by its traceback
        assert self._result is not None
        return self._result[0]


class Worker:
    """An event loop in a daemon thread, and calls into it."""

    def __init__(self, name: str) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._failure: OSError | None = None
        self._ended = False
        self._waiting: deque[_Call[Any]] = deque()
        self._begun: set[_Call[Any]] = set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            anyio.run(self._serve, **_faster())
        except OSError as error:
            # An event loop needs file descriptors of its own, and there were none left.
            self._failure = error
        finally:
            self._ended = True
            self._fail_what_waits()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._begin_what_waits()
        await self._stop.wait()

    def _begin_what_waits(self) -> None:
        # What comes when the end has begun would be a task that nobody runs any more: it fails when the loop is closed.
        while self._waiting and self._stop is not None and not self._stop.is_set():
            call = self._waiting.popleft()
            self._begun.add(call)  # a loop holds its tasks weakly
            call.begin(self._begun.discard)

    def _fail_what_waits(self) -> None:
        with suppress(IndexError):
            while True:
                self._waiting.popleft().fail()
        with suppress(KeyError):  # begun while the loop was ending, and never ended
            while True:
                self._begun.pop().fail()

    @property
    def is_current(self) -> bool:
        """Does the caller run in this worker's own thread?"""
        return threading.current_thread() is self._thread

    def _submit(self, call: _Call[Any]) -> None:
        self._waiting.append(call)
        # Either the loop finds it when it begins, or it has begun and is told; or it has ended, and then nobody does.
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(self._begin_what_waits)
        if self._ended:
            self._fail_what_waits()

    def call(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        """Run a coroutine function in the loop; wait for what it returns or raises.

        :raises Ended: the loop has ended meanwhile.
        :raises LinkError: there never was one.
        """
        call = _Call(functools.partial(function, *args))
        self._submit(call)
        try:
            return call.wait()
        except Ended:
            if self._failure is not None:
                raise LinkError(f"no event loop could be started: {self._failure}") from self._failure
            raise
        except BaseException:
            if self._loop is not None:  # Ctrl+C, perhaps: what nobody waits for is given up
                with suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(call.cancel)
            raise

    def end(self, last: Callable[[], Awaitable[None]]) -> None:
        """Run a last coroutine function in the loop, then end loop and thread. Does not wait; see `join()`."""

        async def finish() -> None:
            try:
                await last()
            finally:
                assert self._stop is not None
                self._stop.set()

        self._submit(_Call(finish))

    def join(self, timeout: float) -> bool:
        """Wait for the thread to end; tells whether it has."""
        if not self.is_current:
            self._thread.join(timeout)
        return not self._thread.is_alive()
