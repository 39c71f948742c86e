"""Addresses that a device does not have: found by bisection, left out, asked for again, reported."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msm import MemoryStore, MemoryVariable
from msm.exchange.holes import FIRST_PROBE, LAST_PROBE, Holes
from tests.exchange.simulation import Cell, Plant, Rig, reading


def rig_with(holes: set[Cell], size: int = 40) -> Rig:
    mem = MemoryStore(size)
    mem.LONG = MemoryVariable.uint32(10)
    mem.DOUBLE = MemoryVariable.float64(20)
    plant = Plant(size)
    plant.tables["holding"] = list(range(100, 100 + size))
    plant.holes = holes
    return Rig(mem, plant, period=1.0)


@given(st.sets(st.integers(0, 39), max_size=6))
def test_bisection_finds_every_hole_and_loses_nothing_else(bad: set[int]) -> None:
    rig = rig_with({("holding", at) for at in bad})
    rig.start()
    whole = [range(10, 12), range(20, 24)]
    lost = bad | {at for cells in whole if bad & set(cells) for at in cells}
    assert [at for at in range(40) if rig.store[at] != 100 + at] == sorted(lost)
    found = {at for hole in rig.device.holes.known() for at in range(hole.address, hole.address + hole.cells)}
    assert found == lost
    assert len(rig.plant.reads) <= 2 * len(bad) * 7 + 1, "bisection, not one by one"


def test_a_variable_is_read_whole_or_not_at_all() -> None:
    rig = rig_with({("holding", 21)})
    rig.start()
    for request in rig.plant.reads:
        cells = {at for _, at in reading(request)}
        for own in (set(range(10, 12)), set(range(20, 24))):
            assert not cells & own or own <= cells


def test_a_hole_is_left_out_and_its_neighbours_are_polled() -> None:
    rig = rig_with({("holding", 5)})
    rig.start()
    asked = len(rig.plant.reads)
    rig.run(10.0)
    polled = [reading(request) for request in rig.plant.reads[asked:]]
    assert not any(("holding", 5) in cells for cells in polled)
    assert set().union(*polled) == {("holding", at) for at in range(40) if at != 5}


def test_it_is_told_in_info() -> None:
    rig = rig_with({("holding", 10)})
    rig.start()
    info = rig.store.info("LONG")
    assert (info.quality, rig.store.info("DOUBLE").quality) == ("bad", "good")
    assert "reading holding 10-11" in info.error
    assert "exception 02" in info.error


def test_a_hole_that_heals_is_found_again() -> None:
    rig = rig_with({("holding", 10)})
    rig.start()
    rig.plant.holes.clear()
    rig.run(FIRST_PROBE + 1.0)
    assert rig.store.LONG == 111 << 16 | 110
    assert rig.store.info("LONG").quality == "good"
    assert rig.device.holes.known() == []
    asked = len(rig.plant.reads)
    rig.run(1.0)
    assert len(rig.plant.reads) == asked + 1, "one block again, the cut is gone with the hole"


def test_a_hole_is_asked_for_less_and_less_often() -> None:
    rig = rig_with({("holding", 5)})
    rig.start()
    rig.run(3 * LAST_PROBE)
    asked = [sent.left for sent in rig.sent if reading(sent.request) == {("holding", 5)}][1:]
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert 2 <= len(pauses) <= 8
    assert all(later >= earlier - 1e-6 for earlier, later in itertools.pairwise(pauses))
    assert max(pauses) <= LAST_PROBE + 1.0


def test_a_block_that_is_refused_once_by_mistake_is_not_lost_for_one_bad_register_in_it() -> None:
    """Exception 01 says that the whole table is missing. When it is there after all, its holes are looked for."""
    rig = rig_with({("holding", 5)})
    rig.plant.refusals = [1]
    rig.start()
    assert rig.store.info("LONG").quality == "bad"
    rig.run(FIRST_PROBE + 5.0)
    assert [at for at in range(40) if rig.store[at] != 100 + at] == [5]


@pytest.mark.parametrize("code", [2, 3, 4])
def test_every_refusal_of_a_cell_makes_a_hole_not_a_zero(code: int) -> None:
    mem = MemoryStore(1)
    mem.ONLY = MemoryVariable.word(0)
    plant = Plant(1)
    plant.words[0] = 9
    rig = Rig(mem, plant, period=1.0)
    rig.start()
    plant.refusals = [code]
    rig.run(1.5)
    assert (mem.ONLY, mem.info("ONLY").quality) == (9, "bad")


def test_a_missing_table_is_one_hole() -> None:
    mem = MemoryStore(2, input_registers=300)
    plant = Plant(2, 300)
    plant.lacks = {4}
    rig = Rig(mem, plant, period=1.0)
    rig.start()
    assert {hole.table for hole in rig.device.holes.known()} == {"input"}
    assert len(rig.plant.reads) == 4, "one of holding, three blocks of input: nothing is looked for in them"


def test_the_book_of_holes() -> None:
    it = Holes()
    assert it.next_probe() == math.inf
    it.add("holding", 4, 2, "exception 02", now=0.0)
    assert it.cells("holding") == {4, 5}
    assert it.probe(FIRST_PROBE - 1.0) is None
    assert it.next_probe() == FIRST_PROBE
    assert it.probe(FIRST_PROBE) == ("holding", 4, 2)
    it.refused_again("holding", 4, 2, now=FIRST_PROBE)
    assert it.next_probe() == FIRST_PROBE + 2 * FIRST_PROBE
    assert not it.heal("holding", 4, 1), "half of it"
    it.refused_again("holding", 4, 2, now=100.0, cut=5)
    assert [(hole.address, hole.cells, hole.due) for hole in it.known()] == [(4, 1, 100.0), (5, 1, 100.0)]
    assert it.heal("holding", 0, 5)
    assert it.heal("holding", 5, 1)
    assert it.cuts("holding") == frozenset()
