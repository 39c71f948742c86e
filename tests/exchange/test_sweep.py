"""Sweeps: runs of reads in which nothing is decided, as the device's decisions see them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from msm.exchange.device import Device
from msm.exchange.job import Terms
from msm.exchange.plan import Piece, Read

BLOCKS = [Read("holding", 0, 125), Read("holding", 125, 125), Read("holding", 250, 50)]


def read(device: Device, now: float) -> None:
    """One exchange the long way."""
    job = device.next(now)
    assert job is not None
    assert isinstance(job.request, Read)
    device.merge(job, bytes(2 * job.request.cells), bytes(2 * job.request.cells))
    device.replied(job, now)


def polled(sizes: dict[str, int] | None = None, **terms: Any) -> Device:
    device = Device(sizes or {"holding": 300}, Terms(period=1.0, **terms))
    device.connected(-1.0)
    now = -1.0
    while not device.pulled:
        read(device, now)
        now += terms.get("delay_between", 0.0)
    device.poll_now()
    return device


def test_a_round_is_one_run() -> None:
    device = polled()
    sweep = device.sweep(1.0)
    assert sweep is not None
    assert (sweep.reads, sweep.period, sweep.window) == (BLOCKS, 1.0, 1)
    sweep.sent = sweep.done = 3
    assert device.swept(sweep, 1.5) == []
    assert device.stats.cycles == 2
    assert device.stats.cycle_time == 0.5
    assert device.sweep(1.9) is None
    assert device.sweep(2.0) is not None


def test_what_was_not_sent_is_asked_for_the_long_way_and_what_is_out_is_a_job() -> None:
    device = polled(max_in_flight=1)
    before = device.next(1.0)
    assert before is not None
    device.replied(before, 1.0)
    sweep = device.sweep(1.0)
    assert sweep is not None
    assert sweep.reads == BLOCKS[1:]
    sweep.sent = 1
    (out,) = device.swept(sweep, 1.1)
    assert out.request == BLOCKS[1]
    assert out.number == before.number + 1
    assert device.jobs == [out]
    device.replied(out, 1.2)
    last = device.next(1.2)
    assert last is not None
    assert (last.request, last.number) == (BLOCKS[2], out.number + 1)
    device.replied(last, 1.3)
    assert device.stats.cycles == 2


def test_a_run_that_was_not_begun_changes_nothing() -> None:
    device = polled()
    sweep = device.sweep(1.0)
    assert sweep is not None
    assert device.swept(sweep, 1.0) == []
    assert device.stats.cycles == 1
    again = device.sweep(1.0)
    assert again is not None
    assert again.reads == BLOCKS


@pytest.mark.parametrize("what", ["assigned", "command", "heartbeat", "delay", "hole", "busy", "lost", "out"])
def test_where_there_is_something_to_decide_there_is_none(what: str) -> None:
    device = polled(delay_between=0.1 if what == "delay" else 0.0)
    now = 1.0
    if what == "assigned":
        device.assign("holding", 0, 1, 0xFFFF, "X", 1, now)
    elif what == "command":
        device.command("holding", 0, 1, 0xFFFF, "X", 5, now)
    elif what == "heartbeat":
        device.declare([Piece("holding", 0, 1, 0xFFFF, "X", heartbeat=5.0)], now)
        device.assign("holding", 0, 1, 0xFFFF, "X", 1, now)
        job = device.next(now)
        assert job is not None
        job.data = b"\0\1"
        device.replied(job, now)
        read(device, now)
    elif what == "hole":
        device.holes.add("holding", 299, 1, "exception 02", now)
    elif what in ("busy", "out"):
        job = device.next(now)
        assert job is not None
        if what == "busy":
            device.refused(job, 6, "busy", now)
    elif what == "lost":
        device.disconnected()
    assert device.sweep(now) is None


def test_a_run_tells_when_the_next_round_is_due_and_when_something_else_is() -> None:
    device = polled()
    slow = Piece("holding", 0, 2, 0xFFFFFFFF, "SLOW", period=60.0)
    device.declare([slow], 1.0)
    for now in (1.0, 1.0, 1.0, 1.5):  # the others, in three blocks, and a little later the slow one
        read(device, now)
    sweep = device.sweep(2.0)
    assert sweep is not None
    assert (sweep.period, sweep.due) == (1.0, 3.0)
    assert sweep.until == 61.5
    sweep.sent = sweep.done = len(sweep.reads)
    device.swept(sweep, 2.0)
    assert device.wake() == 3.0
    assert device.sweep(61.5) is None, "two rounds take turns"


def test_what_a_run_leaves_of_its_round_is_due_behind_it_and_does_not_cut_it_short() -> None:
    device = polled({"holding": 10, "coil": 10})
    sweep = device.sweep(1.0)
    assert sweep is not None
    assert (sweep.due, sweep.until) == (-math.inf, math.inf)
    sweep.sent = sweep.done = 1
    device.swept(sweep, 1.0)
    job = device.next(1.0)
    assert job is not None
    assert job.request == Read("coil", 0, 10)


def test_other_tables_end_a_run() -> None:
    device = polled({"holding": 10, "coil": 10})
    sweep = device.sweep(1.0)
    assert sweep is not None
    assert sweep.reads == [Read("holding", 0, 10)]
    sweep.sent = sweep.done = 1
    device.swept(sweep, 1.0)
    assert device.stats.cycles == 1
    assert device.sweep(1.0) is None
    read(device, 1.0)
    assert device.stats.cycles == 2
