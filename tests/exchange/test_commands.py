"""Commands: each is sent, in order, equal ones too; and none arrives late."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msm import AsyncModbusClient, MemoryStore, MemoryVariable, ModbusClient, ModbusServer
from msm.memory.journal import MAX_COMMANDS
from tests.exchange.simulation import Plant, Rig, writing


def rig_with(lacks: set[int] | None = None) -> Rig:
    mem = MemoryStore(8)
    mem.STEP = MemoryVariable.word(3, command=True)
    mem.JOG = MemoryVariable.bool(4, 2, command=True)
    mem.MOVE = MemoryVariable.int32(5, command=True)
    mem.SPEED = MemoryVariable.word(0)
    plant = Plant(8)
    plant.lacks = lacks or set()
    rig = Rig(mem, plant, period=1.0, timeout=0.5, write_ttl=2.0)
    rig.start()
    return rig


def done(rig: Rig) -> list[list[tuple[int, int]]]:
    """The writes as the device did them: (address, value) of each word."""
    return [[(at, value & mask) for (_, at), (mask, value) in write.items()] for write in rig.plant.written]


@given(st.lists(st.integers(0, 3), max_size=20))
def test_each_is_sent_in_order_equal_ones_too(values: list[int]) -> None:
    rig = rig_with()
    for value in values:
        rig.store.STEP = value
    rig.pump()
    rig.settle()
    assert done(rig) == [[(3, value)] for value in values]
    assert (rig.ledger.acknowledged, rig.ledger.superseded) == (len(values), 0)


def test_they_keep_their_order_among_other_assignments() -> None:
    rig = rig_with()
    rig.store.SPEED = 10
    rig.store.STEP = 1
    rig.store.SPEED = 20
    rig.store.STEP = 2
    rig.pump()
    rig.settle()
    # SPEED coalesces to its last value, in the place of its last assignment.
    assert done(rig) == [[(3, 1)], [(0, 20)], [(3, 2)]]


@pytest.mark.parametrize("lacks", [set(), {22}])
def test_a_command_in_a_part_of_a_word(lacks: set[int]) -> None:
    rig = rig_with(lacks)
    rig.plant.words[4] = 0xFF00
    for value in (True, True, False):
        rig.store.JOG = value
    rig.pump()
    rig.settle()
    assert [write[0][1] & 0b100 for write in done(rig)] == [0b100, 0b100, 0]
    assert rig.plant.words[4] == 0xFF00
    assert rig.device.stats.racy_writes == (3 if lacks else 0)


def test_a_long_command_travels_whole() -> None:
    rig = rig_with()
    rig.store.MOVE = -5
    rig.store.MOVE = -5
    rig.pump()
    rig.settle()
    assert done(rig) == [[(5, 0xFFFB), (6, 0xFFFF)]] * 2


def test_a_command_that_could_not_be_sent_in_time_expires() -> None:
    rig = rig_with()
    rig.reset()
    rig.store.STEP = 1
    rig.pump()
    rig.pass_time(1.0)
    rig.store.STEP = 2
    rig.pump()
    rig.pass_time(1.5)
    assert (rig.ledger.expired, rig.ledger.pending) == (1, 1)
    rig.connect()
    rig.settle()
    assert done(rig) == [[(3, 2)]], "the first one is too late, the second is not"
    assert rig.ledger.failures(rig.ledger.mark()) == [("STEP", "expired, it could not be sent in time")]


def test_an_expired_command_is_not_sent_by_the_next_client_either() -> None:
    rig = rig_with()
    rig.reset()
    rig.store.STEP = 1
    rig.pump()
    rig.pass_time(3.0)
    rig.unit.detach()
    assert rig.left_for_the_next_client() == {}
    later = Rig(rig.store, rig.plant, period=1.0)
    later.start()
    assert rig.plant.writes == []


def test_a_command_expires_while_a_gateway_does_not_reach_the_unit() -> None:
    rig = rig_with()
    rig.plant.refusals = [11]
    rig.pass_time(1.0)
    rig.deliver_request()
    rig.deliver_reply()
    rig.store.STEP = 1
    rig.plant.refusals = [11] * 100
    rig.run(4.0)
    assert (rig.ledger.expired, rig.ledger.pending) == (1, 0)


def test_a_command_that_expires_while_its_word_is_read() -> None:
    """The reading half of a read-modify-write is refused, and the command that it was for is gone."""
    rig = rig_with({22})
    rig.device.features.mask_write = False
    rig.store.JOG = True
    rig.pump()
    rig.pass_time(0.4)
    rig.plant.refusals = [2]
    rig.deliver_request()
    rig.ledger.expire(rig.now + 10.0)
    rig.deliver_reply()
    rig.run(2.0)
    assert (rig.ledger.expired, rig.ledger.pending, rig.ledger.total) == (1, 0, 1)


def test_a_busy_device_gets_it_again_and_one_that_accepted_it_does_not() -> None:
    rig = rig_with()
    rig.plant.refusals = [6, 5]
    rig.store.STEP = 1
    rig.store.STEP = 2
    rig.run(1.0)
    assert done(rig) == [[(3, 1)], [(3, 2)]]
    assert rig.ledger.acknowledged == 2


def test_a_command_that_was_not_answered_is_unknown_and_not_sent_again() -> None:
    rig = rig_with()
    rig.store.STEP = 1
    rig.store.STEP = 2
    rig.pump()
    rig.deliver_request()
    rig.lose_reply()
    rig.run(3.0)
    assert done(rig) == [[(3, 1)], [(3, 2)]]
    assert (rig.ledger.unknown, rig.ledger.acknowledged) == (1, 1)


def test_a_refused_command_does_not_take_the_next_one_down() -> None:
    rig = rig_with()
    rig.plant.refusals = [3]
    rig.store.STEP = 1
    rig.store.STEP = 2
    rig.run(0.5)
    assert done(rig) == [[(3, 2)]]
    assert (rig.ledger.rejected, rig.ledger.acknowledged) == (1, 1)


def test_the_queue_is_bounded_and_what_it_loses_has_a_fate() -> None:
    rig = rig_with()
    for value in range(MAX_COMMANDS + 7):
        rig.store.STEP = value
    rig.pump()
    assert (rig.ledger.expired, rig.ledger.total) == (7, MAX_COMMANDS + 7)
    rig.settle()
    assert [write[0][1] for write in done(rig)][:2] == [7, 8], "the oldest are lost"


def test_a_poll_does_not_show_an_older_command() -> None:
    rig = rig_with()
    for value in (1, 2, 3):
        rig.store.STEP = value
    rig.pass_time(1.0)
    while rig.to_device or rig.to_client:
        rig.deliver_request() if rig.to_device else rig.deliver_reply()
        assert rig.store.STEP == 3
    assert {at for sent in rig.sent if not sent.reads for _, at in writing(sent.request)} == {3}


def test_a_command_that_a_stopped_client_has_not_sent_is_not_left_for_the_next_one() -> None:
    """It would arrive late: hours after somebody pressed START."""
    mem = MemoryStore(8)
    mem.START = MemoryVariable.word(1, command=True)
    mem.SET_POINT = MemoryVariable.word(2)
    first = AsyncModbusClient(mem, "tcp://127.0.0.1:1")
    mem.START = 1
    mem.SET_POINT = 40
    asyncio.run(first.stop())
    assert (first.ledger.expired, first.ledger.pending, first.ledger.total) == (1, 1, 2)
    with ModbusServer(MemoryStore(8), "tcp://127.0.0.1:0") as server, ModbusClient(mem, server.endpoint) as second:
        second.flush()
        assert (second.ledger.acknowledged, second.ledger.total) == (1, 1)
        assert mem[1:3] == [0, 40]
