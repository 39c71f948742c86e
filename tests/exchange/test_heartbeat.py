"""A variable with a heartbeat is sent again by itself, and nobody's books are disturbed by it."""

from __future__ import annotations

from msm import MemoryStore, MemoryVariable
from tests.exchange.simulation import Plant, Rig


def rig_with() -> Rig:
    mem = MemoryStore(8)
    mem.ALIVE = MemoryVariable.word(3, heartbeat=1.0)
    mem.ENABLE = MemoryVariable.bool(4, 1, heartbeat=0.5)
    mem.SPEED = MemoryVariable.word(0)
    rig = Rig(mem, Plant(8), period=60.0, timeout=0.4)
    rig.start()
    return rig


def times(rig: Rig, address: int) -> list[float]:
    return [round(sent.left, 3) for sent in rig.sent if not sent.reads and sent.request[2] == address]


def test_nothing_is_sent_before_it_was_assigned() -> None:
    rig = rig_with()
    rig.run(5.0)
    assert rig.plant.writes == []


def test_it_is_sent_again_and_again() -> None:
    rig = rig_with()
    rig.store.ALIVE = 7
    rig.run(4.5)
    assert times(rig, 3) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert rig.plant.words[3] == 7
    assert {write[3:5] for write in rig.plant.writes} == {b"\x00\x01"}


def test_only_its_own_bits_are_sent() -> None:
    rig = rig_with()
    rig.store.ENABLE = True
    rig.pump()
    rig.settle()
    rig.plant.words[4] |= 0xFF00
    rig.run(2.2)
    assert rig.plant.words[4] == 0xFF02
    assert all(mask == 0b10 for write in rig.plant.written for mask, _ in write.values())


def test_an_assignment_is_a_beat() -> None:
    rig = rig_with()
    rig.store.ALIVE = 1
    rig.run(0.7)
    rig.store.ALIVE = 2
    rig.run(2.0)
    assert times(rig, 3) == [0.0, 0.7, 1.7, 2.7]


def test_a_beat_is_nobodys_assignment() -> None:
    rig = rig_with()
    rig.store.ALIVE = 7
    rig.run(10.5)
    assert (rig.ledger.total, rig.ledger.acknowledged, rig.ledger.pending) == (1, 1, 0)


def test_a_beat_that_is_lost_fails_no_flush_and_the_next_one_comes() -> None:
    rig = rig_with()
    rig.store.ALIVE = 7
    rig.run(0.5)
    rig.pass_time(0.6)
    rig.lose_request()
    rig.pass_time(0.5)
    assert (rig.ledger.unknown, rig.ledger.failures(rig.ledger.mark())) == (0, [])
    rig.run(3.0)
    assert len(rig.plant.writes) >= 3


def test_no_beats_pile_up_while_the_link_is_down() -> None:
    rig = rig_with()
    rig.store.ALIVE = 7
    rig.run(0.5)
    rig.reset()
    rig.pass_time(30.0)
    assert rig.ledger.pending == 0
    sent = len(rig.plant.writes)
    rig.connect()
    rig.settle()
    assert len(rig.plant.writes) == sent + 1


def test_it_ends_when_the_variable_is_withdrawn() -> None:
    rig = rig_with()
    rig.store.ALIVE = 7
    rig.run(2.5)
    del rig.store.ALIVE
    sent = len(rig.plant.writes)
    rig.run(3.0)
    assert len(rig.plant.writes) == sent


def test_it_sends_the_value_of_that_moment() -> None:
    """Also one that the device has changed: who wants otherwise assigns it."""
    rig = rig_with()
    rig.store.ALIVE = 7
    rig.run(1.5)
    rig.store.ALIVE = 9
    rig.run(1.5)
    assert rig.plant.words[3] == 9
    assert rig.store.ALIVE == 9


def test_declared_anew_it_beats_where_it_lies_now_and_not_without_a_heartbeat() -> None:
    rig = rig_with()
    rig.store.ALIVE = 7
    rig.run(1.5)
    rig.store.ALIVE = MemoryVariable.word(5, heartbeat=1.0)
    rig.run(1.0)
    assert times(rig, 5) == [2.0]
    rig.store.ALIVE = MemoryVariable.word(5)
    rig.run(3.0)
    assert (times(rig, 3), times(rig, 5)) == ([0.0, 1.0], [2.0])
