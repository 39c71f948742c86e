"""When each block is asked for: rounds, periods, tickets; the clock is a number."""

from __future__ import annotations

import math
from collections import Counter

from msm import MemoryStore, MemoryVariable
from msm.exchange.plan import Read
from msm.exchange.polling import Polling
from tests.exchange.simulation import Plant, Rig

A, B, C = Read("holding", 0, 4), Read("holding", 4, 4), Read("input", 0, 2)


def polling(**blocks: list[Read]) -> Polling:
    made = Polling(1.0)
    made.plan({1.0: blocks.get("base", [A, B])}, -math.inf)
    return made


def round_of(it: Polling, now: float) -> list[Read]:
    """Take and answer all that is due."""
    taken = []
    while it.ready(now):
        read, period = it.take()
        taken.append(read)
        it.ended(period, answered=True)
    return taken


def test_a_round_is_every_block_once() -> None:
    it = polling()
    assert round_of(it, 0.0) == [A, B]
    assert round_of(it, 0.5) == []
    assert round_of(it, 1.0) == [A, B]
    assert it.pulled


def test_periods_are_counted_from_the_beginning_and_do_not_drift() -> None:
    it = polling(base=[A])
    round_of(it, 10.0)
    assert it.next_due() == 11.0
    round_of(it, 11.3)
    assert it.next_due() == 12.0, "not 12.3"


def test_lost_time_is_lost() -> None:
    it = polling(base=[A])
    round_of(it, 10.0)
    round_of(it, 17.9)
    assert it.next_due() == 18.9, "no burst of the rounds that were missed"


def test_a_round_does_not_begin_before_the_last_one_has_ended() -> None:
    it = polling()
    assert it.ready(0.0)
    it.take()
    it.take()
    assert not it.ready(5.0), "its answers are not in"
    it.ended(1.0, answered=True)
    assert not it.ready(5.0)
    it.ended(1.0, answered=True)
    assert it.ready(5.0)


def test_a_round_without_any_answer_has_not_pulled() -> None:
    it = polling()
    for _ in range(2):
        it.ready(0.0)
        _, period = it.take()
        it.ended(period, answered=False)
    assert not it.pulled
    round_of(it, 1.0)
    assert it.pulled


def test_a_block_that_met_a_busy_device_comes_first_again() -> None:
    it = polling()
    it.ready(0.0)
    read, period = it.take()
    it.put_back(read, period)
    assert it.take() == (A, 1.0)


def test_a_ticket_is_for_rounds_that_begin_after_it() -> None:
    it = polling()
    it.ready(0.0)
    it.take()
    ticket = it.ticket()
    it.hurry()
    it.ended(1.0, answered=True)
    it.take()
    it.ended(1.0, answered=True)
    assert not it.since(ticket), "that round had begun before"
    assert round_of(it, 0.1) == [A, B]
    assert it.since(ticket)


def test_after_a_new_connection_everything_is_due() -> None:
    it = polling()
    round_of(it, 0.0)
    it.halt()
    it.restart()
    assert not it.pulled
    assert round_of(it, 0.1) == [A, B]


def test_an_answer_from_before_the_new_connection_completes_nothing() -> None:
    it = polling()
    it.ready(0.0)
    it.take()
    it.restart()
    assert it.ended(1.0, answered=True) is None
    assert not it.pulled


def test_a_round_without_blocks_is_complete() -> None:
    it = polling(base=[])
    assert not it.ready(0.0)
    assert it.idle() is not None
    assert it.pulled


def test_groups_of_a_period_are_spread() -> None:
    it = Polling(1.0)
    it.plan({1.0: [A], 2.0: [B], 3.0: [C]}, -math.inf)
    assert round_of(it, 0.0) == [A, B, C], "the first exchange pulls all, at once"
    assert [due for at in range(1, 400) if round_of(it, due := at / 100)] == [1.0, 1.67, 2.0, 2.34, 3.0, 3.67]


def test_what_is_declared_later_begins_apart() -> None:
    it = polling(base=[A])
    round_of(it, 0.0)
    it.plan({1.0: [A], 2.0: [B], 3.0: [C]}, 0.0)
    assert round_of(it, 0.0) == []
    assert round_of(it, 0.34) == [B]
    assert round_of(it, 0.67) == [C]


def test_the_first_exchange_does_not_wait_for_slow_groups() -> None:
    """A client with a period of ten seconds starts in no time."""
    mem = MemoryStore(8)
    mem.SLOW = MemoryVariable.word(3, period=60.0)
    mem.SLOWER = MemoryVariable.word(5, period=600.0)
    rig = Rig(mem, Plant(8), period=10.0)
    rig.start()
    assert (rig.now, rig.device.pulled) == (0.0, True)


def test_a_period_that_is_gone_is_polled_no_more() -> None:
    it = Polling(1.0)
    it.plan({1.0: [A], 0.5: [B]}, -math.inf)
    round_of(it, 0.0)
    it.plan({1.0: [A, B]}, 0.0)
    assert round_of(it, 0.5) == []
    assert round_of(it, 1.0) == [A, B]


def test_each_variable_is_polled_with_its_own_period() -> None:
    mem = MemoryStore(12)
    mem.FAST = MemoryVariable.word(2, period=0.1)
    mem.SLOW = MemoryVariable.word(8, period=5.0)
    rig = Rig(mem, Plant(12), period=1.0, poll="all")
    rig.start()
    rig.run(10.05)
    asked = Counter(sent.job.period for sent in rig.sent)
    assert 99 <= asked[0.1] <= 102
    assert asked[5.0] == 3
    assert asked[1.0] == 11, "the rest, with one request; the two between are read along"


def test_the_polls_of_many_periods_do_not_come_in_a_heap() -> None:
    mem = MemoryStore(40)
    for number in range(10):
        setattr(mem, f"V{number}", MemoryVariable.word(4 * number, period=10.0 + number / 100))
    rig = Rig(mem, Plant(40), period=10.0)
    rig.start()
    begun = rig.now
    rig.run(9.0)
    asked = len(rig.plant.reads)
    rig.run(12.0)
    left = sorted({round(sent.left - begun, 3) for sent in rig.sent[asked:]})
    assert len(left) >= 10, f"all at the same instant: {left}"
