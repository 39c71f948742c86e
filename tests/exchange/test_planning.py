"""What is read: all or what is declared, in which blocks, with which gaps, and nothing cut in two."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msm import MemoryStore, MemoryVariable
from msm.exchange.plan import read_blocks, worth_joining
from tests.exchange.simulation import Plant, Rig, reading


def blocks_of(mem: MemoryStore, gap: int = 0, **keywords: Any) -> list[tuple[int, int]]:
    """The blocks of holding registers that the first exchange reads: address and count."""
    rig = Rig(mem, Plant(len(mem)), period=1.0, **keywords)
    rig.connect()
    rig.settle()
    rig.device.join_over(gap, rig.now)
    asked = len(rig.plant.reads)
    rig.run(1.5)
    cells = [reading(request) for request in rig.plant.reads[asked:]]
    return sorted((min(block)[1], len(block)) for block in cells)


def store_with(size: int, **variables: MemoryVariable[Any]) -> MemoryStore:
    mem = MemoryStore(size)
    for name, variable in variables.items():
        setattr(mem, name, variable)
    return mem


def test_all_of_the_memory_by_default() -> None:
    assert blocks_of(store_with(300, A=MemoryVariable.word(7))) == [(0, 125), (125, 125), (250, 50)]


def test_declared_reads_what_is_declared() -> None:
    mem = store_with(300, A=MemoryVariable.word(7), B=MemoryVariable.uint32(8), C=MemoryVariable.float64(200))
    assert blocks_of(mem, poll="declared") == [(7, 3), (200, 4)]


def test_declared_with_nothing_declared_reads_nothing_and_still_sends() -> None:
    mem = MemoryStore(8)
    rig = Rig(mem, Plant(8), period=1.0, poll="declared")
    rig.start()
    assert rig.plant.reads == []
    mem[3] = 5
    rig.pump()
    rig.settle()
    assert rig.plant.words[3] == 5


def test_what_is_declared_later_is_read_from_then_on() -> None:
    mem = MemoryStore(8)
    plant = Plant(8)
    plant.words[:] = range(8)
    rig = Rig(mem, plant, period=1.0, poll="declared")
    rig.start()
    mem.LATE = MemoryVariable.word(5)
    rig.run(1.5)
    assert (mem.LATE, mem[:]) == (5, [0, 0, 0, 0, 0, 5, 0, 0])


@pytest.mark.parametrize(("gap", "blocks"), [(0, [(0, 1), (4, 1), (20, 1)]), (3, [(0, 5), (20, 1)]), (15, [(0, 21)])])
def test_small_gaps_are_read_along(gap: int, blocks: list[tuple[int, int]]) -> None:
    mem = store_with(30, A=MemoryVariable.word(0), B=MemoryVariable.word(4), C=MemoryVariable.word(20))
    assert blocks_of(mem, gap, poll="declared") == blocks


@pytest.mark.parametrize(
    ("latency", "per_word", "most", "worth"),
    [(0.001, 0.000_002, 125, 125), (0.004, 0.002, 125, 2), (0.02, 0.002, 125, 10), (0.001, 0.0, 125, 125)],
)
def test_what_a_gap_is_worth_on_a_link(latency: float, per_word: float, most: int, worth: int) -> None:
    assert worth_joining(latency, per_word, most) == worth


def test_explicit_blocks() -> None:
    mem = MemoryStore(100, input_registers=10)
    rig = Rig(mem, Plant(100, 10), period=1.0, blocks=[(10, 5), ("input", 2, 3)])
    rig.connect()
    rig.device.join_over(0, rig.now)
    rig.settle()
    asked = set(rig.plant.reads[-2:])
    assert asked == {bytes.fromhex("03 000A 0005"), bytes.fromhex("04 0002 0003")}


def test_explicit_blocks_that_cut_a_variable_are_made_a_little_larger() -> None:
    mem = store_with(100, LONG=MemoryVariable.uint32(14), FLOW=MemoryVariable.float64(7))
    assert blocks_of(mem, blocks=[(10, 5)]) == [(7, 9)]


def test_a_write_only_variable_is_not_read() -> None:
    mem = store_with(10, A=MemoryVariable.word(0), B=MemoryVariable.word(1, access="wo"), C=MemoryVariable.word(2))
    assert blocks_of(mem, poll="declared") == [(0, 1), (2, 1)]


@given(
    st.lists(st.tuples(st.integers(0, 396), st.sampled_from([1, 2, 4])), max_size=30),
    st.integers(4, 125),
    st.sets(st.integers(0, 399), max_size=5),
    st.integers(0, 20),
    st.booleans(),
)
def test_no_variable_is_cut_whatever_is_declared(
    places: list[tuple[int, int]], limit: int, holes: set[int], gap: int, declared: bool
) -> None:
    # Chains of overlapping variables that are longer than a request have no place to be cut: only such are.
    taken: set[int] = set()
    variables = []
    for address, cells in places:
        own = set(range(address, address + cells))
        if not own & taken and not own & holes:
            taken |= own
            variables.append((address, cells))
    wanted = None
    if declared:
        wanted = bytearray(400)
        for address, cells in variables:
            wanted[address : address + cells] = b"\x01" * cells
    blocks = read_blocks(400, variables, limit, wanted=wanted, gap=gap, holes=holes)
    covered = [at for address, count in blocks for at in range(address, address + count)]
    assert len(covered) == len(set(covered)), "nothing twice"
    assert not set(covered) & holes
    assert set(covered) >= (taken if declared else set(range(400)) - holes)
    assert all(0 < count <= limit for _, count in blocks)
    for address, cells in variables:
        assert any(begin <= address and address + cells <= begin + count for begin, count in blocks)
    if declared:
        ends = {at for address, cells in variables for at in (address, address + cells - 1)}
        assert all(begin in ends and begin + count - 1 in ends for begin, count in blocks), "no block ends in a gap"


@pytest.mark.parametrize("address", range(118, 130))
def test_a_float64_is_never_split(address: int) -> None:
    mem = store_with(260, FLOW=MemoryVariable.float64(address))
    own = set(range(address, address + 4))
    for begin, count in blocks_of(mem):
        block = set(range(begin, begin + count))
        assert not block & own or own <= block


def test_a_variable_with_a_period_of_its_own_is_read_whole() -> None:
    mem = store_with(20, A=MemoryVariable.float64(4, period=0.5), B=MemoryVariable.uint32(7), C=MemoryVariable.word(1))
    rig = Rig(mem, Plant(20), period=1.0)
    rig.start()
    rig.run(3.0)
    for request in rig.plant.reads:
        cells = {at for _, at in reading(request)}
        for own in (set(range(4, 8)), {7, 8}):
            assert not cells & own or own <= cells, f"overlapping variables with different periods: {sorted(cells)}"


def test_the_first_exchange_reads_all_groups_before_anything_is_written() -> None:
    mem = store_with(20, A=MemoryVariable.word(4, period=0.5), B=MemoryVariable.word(9, period=30.0))
    mem[15] = 5
    rig = Rig(mem, Plant(20), period=1.0)
    rig.start()
    kinds = [request[0] for request in rig.plant.requests]
    first_write = kinds.index(16)
    read = set().union(*(reading(request) for request in rig.plant.requests[:first_write]))
    assert read == {("holding", at) for at in range(20)}
