"""A read that left before a write was acknowledged cannot undo that write, however many requests are out."""

from __future__ import annotations

import itertools
import random

import pytest

from msm import MemoryStore, MemoryVariable
from tests.exchange.simulation import Model, Plant, Rig


def rig_with(in_flight: int, size: int = 16) -> Rig:
    mem = MemoryStore(size)
    mem.VALUE = MemoryVariable.word(3)
    mem.RUN = MemoryVariable.bool(4, 0)
    rig = Rig(mem, Plant(size), period=1.0, timeout=100.0, max_in_flight=in_flight, max_read=4)
    rig.start()
    # One more request may be out after each that was answered: let the window open.
    rig.run(3.0)
    rig.pass_time(rig.unit.wake() - rig.now)
    return rig


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_replies_to_reads_and_a_write_in_every_order(order: tuple[int, ...]) -> None:
    rig = rig_with(3)
    assert len(rig.out) == 3, "three reads, and the write has to wait"
    rig.store.VALUE = 30
    for _ in range(2):
        rig.deliver_request()
        rig.deliver_reply()
    assert len(rig.out) == 3
    assert any(not sent.reads for sent in rig.out.values())
    seen = set()
    for number in order:
        while rig.to_device:
            rig.deliver_request()
        if number < len(rig.to_client):
            rig.deliver_reply(number)
        seen.add(rig.store.VALUE)
    rig.settle()
    seen.add(rig.store.VALUE)
    assert seen == {30}
    assert rig.plant.words[3] == 30


def test_a_read_that_left_before_the_acknowledgement() -> None:
    """The read is done by the device before the write, and its reply comes after the write's."""
    rig = rig_with(4, size=8)
    reads = [message for message in rig.to_device if message.data[2:3] == b"\x00"]
    assert reads, "a read of word 3 is out"
    rig.store.VALUE = 30
    rig.pump()
    while rig.to_device:
        rig.deliver_request()
    writes = [message for message in rig.to_client if not message.sent.reads]
    assert writes, "and a write of it"
    rig.deliver_reply(rig.to_client.index(writes[0]))
    assert rig.ledger.acknowledged == 1
    assert any(message.data[:1] == b"\x03" and message.data[8:10] == b"\0\0" for message in rig.to_client)
    rig.settle()
    assert rig.store.VALUE == 30, "the old word was in that reply"


def test_the_fence_is_exact_to_the_bit() -> None:
    rig = rig_with(4, size=8)
    rig.plant.words[4] = 0xAB00
    rig.store.RUN = True
    rig.pump()
    while rig.to_device:
        rig.deliver_request()
    write = next(message for message in rig.to_client if not message.sent.reads)
    rig.deliver_reply(rig.to_client.index(write))
    rig.settle()
    assert rig.store[4] == 0xAB01, "the other bits are those of the late read"


def test_the_fence_falls_with_the_read() -> None:
    rig = rig_with(4, size=8)
    rig.store.VALUE = 30
    rig.pump()
    rig.settle()
    rig.plant.words[3] = 7
    rig.run(1.5)
    assert rig.store.VALUE == 7, "the next poll left after the acknowledgement, and is believed"


@pytest.mark.parametrize("seed", range(20))
def test_replies_in_any_order_with_many_assignments(seed: int) -> None:
    chance = random.Random(seed)
    mem = MemoryStore(16)
    for at in range(16):
        setattr(mem, f"W{at}", MemoryVariable.word(at))
    rig = Rig(mem, Plant(16), period=0.01, timeout=1000.0, max_in_flight=4, max_read=4)
    model = Model(rig)
    rig.start()
    for turn in range(300):
        if chance.random() < 0.3:
            name = f"W{chance.randrange(16)}"
            setattr(mem, name, turn)
            model.assigned(model.spans[name])
            rig.pump()
        if rig.to_device and chance.random() < 0.7:
            rig.deliver_request()
        if rig.to_client and chance.random() < 0.7:
            rig.deliver_reply(chance.randrange(len(rig.to_client)))
        rig.pass_time(chance.choice([0.0, 0.01]))
        model.check()
    rig.run(5.0)
    model.check_at_rest()


def test_the_window_begins_with_one_and_goes_back_to_one_after_a_timeout() -> None:
    rig = Rig(MemoryStore(64), Plant(64), period=1.0, timeout=0.5, max_in_flight=4, max_read=4)
    rig.connect()
    assert len(rig.out) == 1
    most = 0
    for _ in range(100):
        most = max(most, len(rig.out))
        if rig.to_device:
            rig.deliver_request()
            rig.deliver_reply()
    assert most == 4
    rig.pass_time(1.0)
    rig.deliver_request()
    rig.deliver_reply()
    assert len(rig.out) == 4
    rig.lose_request()
    for _ in range(3):
        rig.deliver_request()
    rig.pass_time(0.6)
    rig.settle()
    rig.pass_time(1.0)
    assert len(rig.out) == 1
