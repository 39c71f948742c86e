"""Devices that do not say what they cannot do: they drop it."""

from __future__ import annotations

from msm.exchange.device import Device
from msm.exchange.features import SILENT_MASK_WRITES, Features
from msm.exchange.job import Job, Terms
from msm.exchange.plan import MaskWrite, Read, Write

BITS = MaskWrite("holding", 3, 0x00FF)


def test_a_device_that_never_answers_mask_writes_is_asked_for_them_a_few_times() -> None:
    features = Features()
    for _ in range(SILENT_MASK_WRITES - 1):
        features.unanswered(BITS)
        features.unanswered(Write("holding", 0, 1))
        features.unanswered(Read("holding", 0, 1))
    assert features.mask_write
    features.unanswered(BITS)
    assert not features.mask_write


def test_a_device_that_has_answered_one_has_them() -> None:
    features = Features()
    features.done(BITS)
    for _ in range(10):
        features.unanswered(BITS)
    assert features.mask_write


def device(in_flight: int) -> Device:
    device = Device({"holding": 40}, Terms(period=60.0, max_read=2, max_in_flight=in_flight))
    device.connected(0.0)
    return device


def take(device: Device) -> list[Job]:
    """All that may be out at this moment."""
    jobs = []
    while (job := device.next(0.0)) is not None:
        jobs.append(job)
    return jobs


def test_a_device_that_drops_what_comes_close_together_is_asked_one_by_one_from_then_on() -> None:
    slow = device(8)
    first = take(slow)
    slow.replied(first[0], 0.0)
    both = take(slow)
    assert (len(first), len(both)) == (1, 2)
    slow.replied(both[1], 0.0)
    later = take(slow)
    slow.unanswered(both[0], "timeout", "no answer", 0.0)
    for job in later:
        slow.replied(job, 0.0)
    assert len(take(slow)) == 1
    slow.disconnected()
    slow.connected(0.0)
    for _ in range(5):
        jobs = take(slow)
        assert len(jobs) == 1, "on a new connection too"
        slow.replied(jobs[0], 0.0)


def test_a_device_that_was_gone_may_be_asked_many_things_at_a_time_again() -> None:
    gone = device(8)
    gone.replied(take(gone)[0], 0.0)
    for job in take(gone):
        gone.unanswered(job, "timeout", "no answer", 0.0)
    assert len(take(gone)) == 1
    gone.disconnected()
    gone.connected(0.0)
    gone.replied(take(gone)[0], 0.0)
    assert len(take(gone)) == 2
