"""What the programs here that are written in Python have in common: standard input tells them what to do."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

WORDS, INPUTS, BITS = 120, 20, 40
SIZES = {"holding": WORDS, "input": INPUTS, "coil": BITS, "discrete": BITS}

Answer = list[int] | str


def endpoint_of(where: str) -> tuple[str, str]:
    """(scheme, port or path) of "5020" or "rtu:///dev/ttyS0"."""
    scheme, found, place = where.partition("://")
    return (scheme, place.rpartition(":")[2]) if found else ("tcp", where)


def say(answer: Answer) -> None:
    print(answer if isinstance(answer, str) else " ".join(str(int(value)) for value in answer), flush=True)


def obey(do: Callable[[list[str]], Answer]) -> None:
    """Do line by line what standard input says, until it is closed."""
    say("ready")
    for line in sys.stdin:
        say(do(line.split()))


async def obey_async(do: Callable[[list[str]], Awaitable[Answer]]) -> None:
    """Likewise, in an event loop."""
    import asyncio

    say("ready")
    while line := await asyncio.to_thread(sys.stdin.readline):
        say(await do(line.split()))
