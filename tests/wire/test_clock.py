"""The clock of an event loop is that of the loop, whichever it is."""

from __future__ import annotations

import asyncio
import time

from msm.testing import run_virtual
from msm.wire.clock import clock_of


async def test_the_usual_one_is_taken_without_the_method_around_it() -> None:
    clock = clock_of(asyncio.get_running_loop())
    assert clock is time.monotonic
    assert clock() <= asyncio.get_running_loop().time() <= clock()


def test_another_one_is_kept() -> None:
    async def look() -> None:
        loop = asyncio.get_running_loop()
        clock = clock_of(loop)
        await asyncio.sleep(1000)
        assert clock() == loop.time() != time.monotonic()

    run_virtual(look())


def test_one_that_was_put_into_a_loop_is_kept() -> None:
    loop = asyncio.new_event_loop()
    try:
        loop.time = lambda: 7.0  # type: ignore[method-assign]
        assert clock_of(loop)() == 7.0
    finally:
        loop.close()
