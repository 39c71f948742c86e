"""The checker itself: it accepts what can be, and finds what cannot."""

from __future__ import annotations

from tests.reliability.history import Operation, linearizable

START = (0, 0, 0)


def write(called: float, returned: float, address: int, *values: int) -> Operation:
    return Operation("write", called, returned, address, values)


def read(called: float, returned: float, *gave: int) -> Operation:
    return Operation("read", called, returned, gave=gave)


def test_one_after_the_other() -> None:
    assert linearizable([], START)
    assert linearizable([write(0, 1, 0, 5), read(2, 3, 5, 0, 0)], START)
    assert not linearizable([write(0, 1, 0, 5), read(2, 3, 0, 0, 0)], START), "a lost write"


def test_at_the_same_time_either_order_will_do() -> None:
    for seen in ((0, 0, 0), (5, 0, 0)):
        assert linearizable([write(0, 3, 0, 5), read(1, 2, *seen)], START)
    assert not linearizable([write(0, 3, 0, 5, 6), read(1, 2, 5, 0, 0)], START), "a torn read"


def test_time_does_not_run_backwards() -> None:
    new, old = (5, 0, 0), (0, 0, 0)
    assert linearizable([write(0, 9, 0, 5), read(1, 2, *old), read(3, 4, *new)], START)
    assert not linearizable([write(0, 9, 0, 5), read(1, 2, *new), read(3, 4, *old)], START), "a stale read"


def test_mask_writes_and_exchanges() -> None:
    one = Operation("mask", 0, 5, 0, (0xFFFE, 1))
    two = Operation("mask", 0, 5, 0, (0xFFFD, 2))
    assert linearizable([one, two, read(6, 7, 3, 0, 0)], START)
    assert not linearizable([one, two, read(6, 7, 2, 0, 0)], START), "a lost bit"
    assert linearizable([Operation("exchange", 0, 1, 1, (7, 8), (0, 7, 8))], START)
    assert not linearizable([Operation("exchange", 0, 1, 1, (7, 8), (0, 0, 0))], START), "read before it wrote"
