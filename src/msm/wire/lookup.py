"""From the name of a host to its addresses, and to the first of them that can be connected to.

asyncio looks names up in the threads of an executor, which the end of a program waits for, however long the name
server takes; and in Python 3.12 it cannot be closed once the program is ending. So names are looked up in a daemon
thread of our own, which nobody waits for.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

Address = tuple[int, tuple[Any, ...]]  # address family, and what a socket of that family binds or connects to

STAGGER = 0.25  # seconds before the next address is tried as well (RFC 8305, section 5)


async def look_up(host: str, port: int, *, passive: bool = False) -> list[Address]:
    """The stream addresses of a host, in the order in which they are to be tried.

    :param passive: for listening, not for connecting.
    :raises OSError: the name is not known.
    :raises UnicodeError: the name cannot be one.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[Any]] = loop.create_future()
    flags = socket.AI_PASSIVE if passive else 0

    def settle(result: list[Any] | None, error: Exception | None) -> None:
        if found.done():
            return
        if error is not None:
            found.set_exception(error)
        else:
            found.set_result(result or [])

    def work() -> None:
        result, failure = None, None
        try:
            result = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
        except (OSError, UnicodeError) as error:
            failure = error
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            return  # the loop was closed: nobody wants to know any more

    threading.Thread(target=work, name=f"msm look-up of {host}", daemon=True).start()
    infos = await found
    return list(dict.fromkeys((info[0], info[4]) for info in infos))


async def first_of(
    addresses: Sequence[Address], attempt: Callable[[Address], Awaitable[T]], discard: Callable[[T], object]
) -> T:
    """What the first address that works gives; each has a little time before the next is tried beside it.

    :param attempt: connects to one address; cancelled where another one was faster.
    :param discard: closes what an attempt gave that nobody takes: two at once, or none is wanted any more.
    :raises OSError: none of them works; the error of the first.
    """
    errors: list[OSError] = []
    tasks: set[asyncio.Task[T]] = set()
    taken: asyncio.Task[T] | None = None
    left = list(addresses)

    def unwanted(task: asyncio.Task[T]) -> None:
        if not task.cancelled() and task.exception() is None:
            discard(task.result())

    try:
        while left or tasks:
            if left:
                tasks.add(asyncio.ensure_future(attempt(left.pop(0))))
            done, _ = await asyncio.wait(tasks, timeout=STAGGER if left else None, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                try:
                    result = task.result()
                except OSError as error:
                    errors.append(error)
                    tasks.discard(task)
                else:
                    taken = task
                    return result
    finally:
        # Not waited for: were this cancelled meanwhile, the one that was taken would be lost as well.
        for task in tasks - {taken}:
            task.cancel()
            task.add_done_callback(unwanted)
    raise errors[0] if errors else OSError("the name has no address")
