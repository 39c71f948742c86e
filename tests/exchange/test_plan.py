"""Blocks to read and runs to write."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from msm.exchange.ledger import Ledger
from msm.exchange.plan import MaskWrite, Write, next_write, read_blocks

LIMITS = {"holding": 123, "coil": 1968}


@st.composite
def layouts(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]], int]:
    size = draw(st.integers(0, 60))
    limit = draw(st.integers(1, 20))
    whole = draw(
        st.lists(
            st.tuples(st.integers(0, max(size - 1, 0)), st.integers(1, 25)).filter(lambda v: v[0] + v[1] <= size),
            max_size=6,
        )
    )
    return size, whole, limit


@given(layouts())
def test_blocks_cover_exactly_and_keep_the_limit(layout: tuple[int, list[tuple[int, int]], int]) -> None:
    size, whole, limit = layout
    blocks = read_blocks(size, whole, limit)
    covered = [at for address, count in blocks for at in range(address, address + count)]
    assert covered == list(range(size))
    assert all(1 <= count <= limit for _, count in blocks)


@given(layouts())
def test_a_variable_that_fits_is_cut_only_where_there_is_no_other_place(
    layout: tuple[int, list[tuple[int, int]], int],
) -> None:
    size, whole, limit = layout
    fitting = [(address, count) for address, count in whole if count <= limit]
    for start, count in read_blocks(size, whole, limit)[:-1]:
        end = start + count
        cut = [variable for variable in fitting if variable[0] < end < sum(variable)]
        # Every earlier place in reach would have cut one as well.
        assert not cut or all(
            any(first < place < first + many for first, many in fitting) for place in range(start + 1, start + limit)
        )


@given(st.integers(1, 400), st.integers(1, 125), st.data())
def test_variables_that_do_not_overlap_are_never_cut(size: int, limit: int, data: st.DataObject) -> None:
    whole = []
    at = 0
    while at < size:
        count = min(data.draw(st.integers(1, min(limit, 4))), size - at)
        whole.append((at, count))
        at += count + data.draw(st.integers(0, 3))
    for start, count in read_blocks(size, whole, limit):
        assert not [variable for variable in whole if variable[0] < start + count < sum(variable)]


def test_the_quickstart_is_one_block() -> None:
    assert read_blocks(8, [(1, 2)], 125) == [(0, 8)]
    assert read_blocks(250, [], 125) == [(0, 125), (125, 125)]
    assert read_blocks(250, [(124, 2)], 125) == [(0, 124), (124, 125), (249, 1)]
    assert read_blocks(0, [], 125) == []
    assert read_blocks(10, [(0, 10)], 4) == [(0, 4), (4, 4), (8, 2)], "longer than a request"


# -- what to write next


def ledger_of(*assignments: tuple[int, int, int]) -> Ledger:
    """(address, cells, mask) in the order of their assignment; mask -1 is all of it."""
    ledger = Ledger()
    for number, (address, cells, mask) in enumerate(assignments):
        ledger.assign("holding", address, cells, 16, mask & (1 << 16 * cells) - 1, str(number))
    return ledger


def all_writes(ledger: Ledger, limit: int = 123, alone: int = 0) -> list[Write | MaskWrite]:
    """What goes out, one after the other, when all is well."""
    writes = []
    while (write := next_write(ledger, {"holding": limit}, alone=alone)) is not None:
        writes.append(write)
        if isinstance(write, MaskWrite):
            shipment = ledger.ship("holding", write.address, write.address + 1, write.mask)
        else:
            shipment = ledger.ship("holding", write.address, write.address + write.cells)
        assert shipment
        ledger.settle(shipment, "acknowledged")
    return writes


def test_nothing_to_write() -> None:
    assert next_write(Ledger(), LIMITS) is None


def test_a_word_and_a_part_of_one() -> None:
    assert all_writes(ledger_of((3, 1, -1))) == [Write("holding", 3, 1)]
    assert all_writes(ledger_of((3, 1, 1))) == [MaskWrite("holding", 3, 1)]


def test_neighbours_in_order_travel_together() -> None:
    assert all_writes(ledger_of((1, 2, -1), (3, 1, -1))) == [Write("holding", 1, 3)]
    assert all_writes(ledger_of((3, 1, -1), (1, 2, -1))) == [Write("holding", 1, 3)]
    assert all_writes(ledger_of((0, 1, 0xFF), (0, 1, 0xFF00))) == [Write("holding", 0, 1)]
    assert all_writes(ledger_of((0, 1, 1), (0, 1, 2))) == [MaskWrite("holding", 0, 3)]


def test_strangers_travel_in_the_order_of_their_assignment() -> None:
    assert all_writes(ledger_of((7, 1, -1), (5, 1, -1), (1, 1, -1))) == [
        Write("holding", 7, 1),
        Write("holding", 5, 1),
        Write("holding", 1, 1),
    ]
    # The last one would be a neighbour of the first: it waits for the one between them.
    assert all_writes(ledger_of((3, 1, -1), (7, 1, -1), (4, 1, -1))) == [
        Write("holding", 3, 1),
        Write("holding", 7, 1),
        Write("holding", 4, 1),
    ]


def test_bits_of_one_word_do_not_overtake_either() -> None:
    assert all_writes(ledger_of((3, 1, 1), (7, 1, -1), (3, 1, 2))) == [
        MaskWrite("holding", 3, 1),
        Write("holding", 7, 1),
        MaskWrite("holding", 3, 2),
    ]
    assert all_writes(ledger_of((3, 1, 0xFF), (7, 1, -1), (3, 1, 0xFF00))) == [
        MaskWrite("holding", 3, 0xFF),
        Write("holding", 7, 1),
        MaskWrite("holding", 3, 0xFF00),
    ]


def test_a_run_keeps_the_limit() -> None:
    assert all_writes(ledger_of(*((at, 1, -1) for at in range(10))), limit=4) == [
        Write("holding", 0, 4),
        Write("holding", 4, 4),
        Write("holding", 8, 2),
    ]


def test_a_variable_that_fits_never_straddles_two_requests() -> None:
    assert all_writes(ledger_of((0, 1, -1), (1, 2, -1), (3, 2, -1)), limit=4) == [
        Write("holding", 0, 3),
        Write("holding", 3, 2),
    ]


def test_a_variable_longer_than_a_request_is_cut() -> None:
    assert all_writes(ledger_of((0, 5, -1)), limit=2) == [
        Write("holding", 0, 2),
        Write("holding", 2, 2),
        Write("holding", 4, 1),
    ]


def test_refused_together_they_travel_alone() -> None:
    assert all_writes(ledger_of((1, 2, -1), (3, 1, -1), (4, 1, -1)), alone=2) == [
        Write("holding", 1, 2),
        Write("holding", 3, 1),
        Write("holding", 4, 1),
    ]


def test_bits_of_one_word_refused_together_travel_alone_too() -> None:
    assert all_writes(ledger_of((3, 1, 1), (3, 1, 2), (3, 1, 4), (3, 1, 8)), alone=2) == [
        MaskWrite("holding", 3, 1),
        MaskWrite("holding", 3, 2),
        MaskWrite("holding", 3, 12),
    ]


def test_nothing_is_written_where_nobody_is_sure() -> None:
    ledger = ledger_of((1, 2, -1), (3, 1, -1))
    assert next_write(ledger, LIMITS, blocked={("holding", 2)}) is None
    assert next_write(ledger, LIMITS, blocked={("holding", 3)}) == Write("holding", 1, 2)
    assert next_write(ledger, LIMITS, blocked={("coil", 1)}) == Write("holding", 1, 3)
    assert next_write(ledger_of((3, 1, 1)), LIMITS, blocked={("holding", 3)}) is None


assignments = st.lists(
    st.tuples(st.integers(0, 7), st.integers(1, 3), st.sampled_from([-1, 0xFF, 0xFF00, 1, 2, 0x8000])).map(
        lambda drawn: (drawn[0], drawn[1] if drawn[2] == -1 else 1, drawn[2])
    ),
    max_size=12,
)


@given(assignments, st.integers(1, 6))
def test_every_assigned_bit_is_written_and_no_other(made: list[tuple[int, int, int]], limit: int) -> None:
    ledger = ledger_of(*made)
    expected = {(at, bit) for at in range(12) for bit in range(16) if ledger.waiting_bits("holding", at) >> bit & 1}
    written: set[tuple[int, int]] = set()
    for write in all_writes(ledger, limit):
        if isinstance(write, MaskWrite):
            bits = {(write.address, bit) for bit in range(16) if write.mask >> bit & 1}
        else:
            assert 1 <= write.cells <= limit
            bits = {(write.address + at, bit) for at in range(write.cells) for bit in range(16)}
        assert bits <= expected - written, "neither unassigned bits, nor the same ones twice"
        written |= bits
    assert written == expected
    assert ledger.pending == 0


@given(assignments, st.integers(3, 6))
def test_of_assignments_that_do_not_overlap_none_overtakes(made: list[tuple[int, int, int]], limit: int) -> None:
    taken: set[tuple[int, int]] = set()
    apart = []
    for address, cells, mask in made:
        whole = mask & (1 << 16 * cells) - 1
        bits = {(address + a, b) for a in range(cells) for b in range(16) if whole >> 16 * (cells - 1 - a) + b & 1}
        if not bits & taken:
            taken |= bits
            apart.append((address, cells, mask))
    ledger = ledger_of(*apart)
    order: list[int] = []
    while (write := next_write(ledger, {"holding": limit})) is not None:
        mask = write.mask if isinstance(write, MaskWrite) else -1
        cells = write.cells if isinstance(write, Write) else 1
        shipment = ledger.ship("holding", write.address, write.address + cells, mask)
        order += [int(entry.name) for entry, _ in shipment]
        ledger.settle(shipment, "acknowledged")
    assert order == list(range(len(apart))), "each in one request, in the order they were made"
