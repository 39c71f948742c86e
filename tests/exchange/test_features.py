"""What a device can do is learnt from what it refuses, asked once, and remembered."""

from __future__ import annotations

from typing import Literal

import pytest

from msm import MemoryStore, MemoryVariable
from msm.exchange.features import Features
from msm.exchange.plan import MaskWrite, Read, Write
from tests.exchange.simulation import Plant, Rig

WORD, WORDS, COIL, COILS = Write("holding", 0, 1), Write("holding", 0, 3), Write("coil", 0, 1), Write("coil", 0, 3)


def rig_with(lacks: set[int], function: Literal["auto", "single", "multiple"] = "auto") -> Rig:
    mem = MemoryStore(8, coils=8)
    mem.RUN = MemoryVariable.bool(0, 0)
    mem.LONG = MemoryVariable.uint32(2)
    mem.LAMP = MemoryVariable.coil(1)
    mem.LAMPS = MemoryVariable.coil(4, count=3)
    plant = Plant(8, 0, 8)
    plant.lacks = lacks
    rig = Rig(mem, plant, period=60.0, write_function=function)
    rig.start()
    return rig


def functions(rig: Rig) -> list[int]:
    return [request[0] for request in rig.plant.writes]


def do(rig: Rig) -> None:
    rig.pump()
    rig.settle()


def test_what_is_used_where_nothing_is_missing() -> None:
    rig = rig_with(set())
    rig.store.LONG = 70000
    do(rig)
    rig.store[6] = 6
    do(rig)
    rig.store.RUN = True
    do(rig)
    rig.store.LAMP = True
    do(rig)
    rig.store.LAMPS = [True, False, True]
    do(rig)
    assert functions(rig) == [16, 16, 22, 5, 15]
    assert rig.plant.words == [1, 0, 4464, 1, 0, 0, 6, 0]
    assert rig.plant.tables["coil"] == [0, 1, 0, 0, 1, 0, 1, 0]


def test_a_missing_function_is_asked_for_once() -> None:
    rig = rig_with({22, 16, 15})
    for turn in range(3):
        rig.store.LONG = 70000 + turn
        rig.store.RUN = turn % 2 == 0
        rig.store.LAMPS = [True, False, True]
        do(rig)
    assert [functions(rig).count(function) for function in (22, 16, 15)] == [1, 1, 1]
    assert rig.plant.words[:4] == [1, 0, 4466, 1]
    assert rig.plant.tables["coil"][4:7] == [1, 0, 1]
    assert rig.ledger.acknowledged == rig.ledger.total == 9
    assert rig.device.stats.racy_writes == 3


def test_a_device_without_function_05_gets_15() -> None:
    rig = rig_with({5})
    rig.store.LAMP = True
    do(rig)
    assert functions(rig) == [5, 15]
    assert rig.plant.tables["coil"][1] == 1


@pytest.mark.parametrize(("lacks", "left"), [({16, 6}, "word"), ({15, 5}, "coil")])
def test_a_device_that_cannot_be_written_rejects(lacks: set[int], left: str) -> None:
    rig = rig_with(lacks)
    if left == "word":
        rig.store[6] = 6
    else:
        rig.store.LAMP = True
    do(rig)
    assert (rig.ledger.rejected, rig.ledger.pending) == (1, 0)
    assert "exception 01" in rig.ledger.failures(rig.ledger.mark())[0][1]


def test_single_writes_by_05_and_06_only() -> None:
    rig = rig_with({15, 16}, "single")
    rig.store.LONG = 70000
    rig.store.LAMPS = [True, False, True]
    do(rig)
    assert functions(rig) == [6, 6, 5, 5, 5]
    assert rig.ledger.acknowledged == 2


def test_multiple_writes_by_15_and_16_only() -> None:
    rig = rig_with({5, 6}, "multiple")
    rig.store[6] = 6
    rig.store.LAMP = True
    do(rig)
    assert functions(rig) == [16, 15]


@pytest.mark.parametrize("code", [2, 3, 4])
def test_another_refusal_teaches_nothing(code: int) -> None:
    it = Features()
    assert not it.learn(MaskWrite("holding", 0, 1), single=False, code=code)
    assert it.mask_write


def test_what_is_learnt() -> None:
    it = Features()
    limits = {"holding": 123, "coil": 1968}
    assert not it.by_single(WORD)
    assert it.by_single(COIL)
    assert not it.by_single(COILS)
    assert it.learn(WORDS, single=False, code=1)
    assert it.write_limits(limits) == {"holding": 1, "coil": 1968}
    assert it.by_single(WORD)
    assert not it.learn(WORD, single=True, code=1), "there is no third way"
    assert it.learn(COIL, single=True, code=1)
    assert not it.by_single(COIL)
    assert not it.learn(Read("holding", 0, 1), single=False, code=1)
