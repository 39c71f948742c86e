"""Waking threads: none is missed, and none that has gone away holds up who rings."""

from __future__ import annotations

import random
import signal
import threading
import time

from msm.memory.bell import Bell
from tests.support import wait_until


def test_it_is_looked_at_before_waiting() -> None:
    assert Bell().wait(lambda: True, 0.0)
    assert not Bell().wait(lambda: False, 0.0)


def test_the_time_is_kept() -> None:
    began = time.monotonic()
    assert not Bell().wait(lambda: False, 0.05)
    assert 0.05 <= time.monotonic() - began < 1


def test_a_ring_without_cause_goes_on_waiting() -> None:
    bell, ready = Bell(), threading.Event()
    woken: list[bool] = []
    thread = threading.Thread(target=lambda: woken.append(bell.wait(ready.is_set, 10.0)))
    thread.start()
    for _ in range(5):
        wait_until(lambda: len(bell._latches) == 1)
        bell.ring()
    assert thread.is_alive()
    ready.set()
    bell.ring()
    thread.join(10)
    assert woken == [True]


def test_all_who_wait_are_woken_and_nothing_is_left() -> None:
    bell, ready = Bell(), threading.Event()
    threads = [threading.Thread(target=bell.wait, args=(ready.is_set, 10.0)) for _ in range(20)]
    for thread in threads:
        thread.start()
    ready.set()
    for thread in threads:
        while thread.is_alive():
            bell.ring()
            thread.join(0.001)
    bell.wait(lambda: False, 0.0)
    assert not bell._latches


def test_interrupts_at_any_moment_hold_up_nobody() -> None:
    """A thousand of them: whoever rings goes on, each time."""
    bell, chance = Bell(), random.Random(1)
    rung, stop = [0], threading.Event()

    def ringer() -> None:
        while not stop.is_set():
            bell.ring()
            rung[0] += 1

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    thread = threading.Thread(target=ringer)
    before = signal.signal(signal.SIGALRM, interrupt)
    thread.start()
    try:
        for _ in range(1000):
            try:
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.00002, 0.0005))
                for _ in range(10):
                    bell.wait(lambda: False, 0.005)
            except KeyboardInterrupt:
                pass
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        now = rung[0]
        wait_until(lambda: rung[0] > now + 10, what="it rings on")
    finally:
        signal.signal(signal.SIGALRM, before)
        stop.set()
        thread.join(10)
    assert not thread.is_alive()
