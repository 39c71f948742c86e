"""The ledger, alone and against a model that has one fact for each bit."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from msm.exchange.ledger import FATES, Fate, Ledger, Shipment, split

WORD = 0xFFFF


def word(ledger: Ledger, address: int, mask: int = WORD, name: str = "", times: int = 1) -> None:
    ledger.assign("holding", address, 1, 16, mask, name or f"w{address}", times)


def fates(ledger: Ledger) -> dict[str, int]:
    counts = {fate: getattr(ledger, fate) for fate in (*FATES, "pending")}
    assert ledger.total == sum(counts.values())
    return {fate: count for fate, count in counts.items() if count}


def test_an_assignment_is_pending_then_acknowledged() -> None:
    ledger = Ledger()
    word(ledger, 3)
    assert fates(ledger) == {"pending": 1}
    shipment = ledger.ship("holding", 3, 4)
    assert fates(ledger) == {"pending": 1}
    assert not list(ledger.waiting())
    ledger.settle(shipment, "acknowledged")
    assert fates(ledger) == {"acknowledged": 1}


@pytest.mark.parametrize("others", [0, 1])
def test_what_waits_in_some_cells_is_what_has_bits_there_and_no_command(others: int) -> None:
    ledger = Ledger()
    for _ in range(others):
        ledger.assign("coil", 3, 1, 1, 1, "coil 3")
    ledger.assign("holding", 3, 3, 16, 0xFFFF_0000_FFFF, "w3 and w5")
    assert [entry.name for entry in ledger.waiting_in("holding", 0, 4)] == ["w3 and w5"]
    assert [entry.name for entry in ledger.waiting_in("holding", 5, 9)] == ["w3 and w5"]
    for table, first, end in (("holding", 0, 3), ("holding", 4, 5), ("holding", 6, 9), ("input", 0, 9)):
        assert ledger.waiting_in(table, first, end) == []
    alone = Ledger()
    alone.command("holding", 3, 1, 16, 0xFFFF, "w3", 7, 10.0)
    assert alone.waiting_in("holding", 0, 9) == []


@pytest.mark.parametrize("fate", get_args(Fate))
def test_every_fate_is_counted_once(fate: Fate) -> None:
    ledger = Ledger()
    word(ledger, 3)
    shipment = ledger.ship("holding", 0, 8)
    ledger.settle(shipment, fate, "the cause")
    ledger.settle(shipment, fate, "again")
    assert fates(ledger) == {fate: 1}
    failures = ledger.failures(ledger.mark())
    assert failures == ([("w3", f"{fate}, the cause")] if fate in ("rejected", "expired", "unknown") else [])
    assert ledger.failures(ledger.mark()) == [], "told once"


def test_a_newer_assignment_of_the_same_bits_supersedes() -> None:
    ledger = Ledger()
    word(ledger, 3)
    word(ledger, 3)
    assert fates(ledger) == {"superseded": 1, "pending": 1}


def test_repeated_assignments_are_counted_at_once() -> None:
    ledger = Ledger()
    word(ledger, 3, times=100)
    assert fates(ledger) == {"superseded": 99, "pending": 1}
    assert ledger.mark() == 100


def test_superseded_when_the_last_bit_is_taken() -> None:
    ledger = Ledger()
    ledger.assign("holding", 1, 2, 16, 0xFFFFFFFF, "long")
    word(ledger, 1)
    assert fates(ledger) == {"pending": 2}
    word(ledger, 2, 0xFF00)
    assert fates(ledger) == {"pending": 3}
    word(ledger, 2, 0x00FF)
    assert fates(ledger) == {"superseded": 1, "pending": 3}
    assert [entry.name for entry in ledger.waiting()] == ["w1", "w2", "w2"]


def test_what_is_sent_cannot_be_superseded() -> None:
    ledger = Ledger()
    word(ledger, 3)
    shipment = ledger.ship("holding", 3, 4)
    word(ledger, 3)
    ledger.settle(shipment, "acknowledged")
    assert fates(ledger) == {"acknowledged": 1, "pending": 1}


def test_taken_back_it_waits_in_its_old_place() -> None:
    ledger = Ledger()
    word(ledger, 3)
    word(ledger, 5)
    shipment = ledger.ship("holding", 3, 4)
    word(ledger, 7)
    ledger.take_back(shipment)
    assert [entry.name for entry in ledger.waiting()] == ["w3", "w5", "w7"]
    assert fates(ledger) == {"pending": 3}


def test_taken_back_it_is_superseded_by_what_was_assigned_meanwhile() -> None:
    ledger = Ledger()
    word(ledger, 3)
    shipment = ledger.ship("holding", 3, 4)
    word(ledger, 3)
    ledger.take_back(shipment)
    assert fates(ledger) == {"superseded": 1, "pending": 1}
    assert len(list(ledger.waiting())) == 1


def test_only_some_bits_are_shipped() -> None:
    ledger = Ledger()
    word(ledger, 3, 0x00FF, "low")
    word(ledger, 3, 0xFF00, "high")
    shipment = ledger.ship("holding", 3, 4, 0x00FF)
    assert [(entry.name, bits) for entry, bits in shipment] == [("low", {3: 0x00FF})]
    assert ledger.waiting_bits("holding", 3) == 0xFF00
    assert ledger.keep("holding", 3, 1, 16) == WORD, "neither is the device's to change"
    ledger.settle(shipment, "acknowledged")
    assert ledger.keep("holding", 3, 1, 16) == 0xFF00


def test_one_fate_for_an_assignment_longer_than_a_request() -> None:
    ledger = Ledger()
    ledger.assign("holding", 0, 4, 16, (1 << 64) - 1, "long")
    first = ledger.ship("holding", 0, 2)
    ledger.settle(first, "acknowledged")
    assert fates(ledger) == {"pending": 1}
    second = ledger.ship("holding", 2, 3)
    ledger.settle(second, "rejected", "no")
    assert fates(ledger) == {"rejected": 1}
    assert not list(ledger.waiting()), "the rest is not sent"
    assert ledger.keep("holding", 0, 4, 16) == 0


def test_flush_asks_for_what_was_before_its_mark() -> None:
    ledger = Ledger()
    assert ledger.settled(ledger.mark())
    word(ledger, 1)
    mark = ledger.mark()
    word(ledger, 2)
    assert not ledger.settled(mark)
    ledger.settle(ledger.ship("holding", 2, 3), "rejected", "late")
    assert not ledger.settled(mark)
    ledger.settle(ledger.ship("holding", 1, 2), "rejected", "early")
    assert ledger.settled(mark)
    assert ledger.failures(mark) == [("w1", "rejected, early")]
    assert ledger.failures(ledger.mark()) == [("w2", "rejected, late")]


def test_failures_that_nobody_asks_for_do_not_pile_up() -> None:
    ledger = Ledger()
    for _ in range(3000):
        word(ledger, 1)
        ledger.settle(ledger.ship("holding", 1, 2), "rejected")
    assert ledger.rejected == 3000
    assert len(ledger.failures(ledger.mark())) == 1000


def test_tables_are_apart() -> None:
    ledger = Ledger()
    word(ledger, 1)
    ledger.assign("coil", 1, 3, 1, 0b101, "coils")
    assert ledger.keep("coil", 0, 8, 1) == 0b1010
    assert ledger.keep("holding", 0, 2, 16) == WORD
    assert [entry.name for entry, _ in ledger.ship("coil", 0, 8)] == ["coils"]
    assert fates(ledger) == {"pending": 2}


@given(st.integers(0, 100), st.integers(1, 6), st.sampled_from([1, 16]), st.data())
def test_split_gives_each_cell_its_bits(address: int, count: int, width: int, data: st.DataObject) -> None:
    mask = data.draw(st.integers(0, (1 << count * width) - 1))
    found = dict(split(address, count, width, mask))
    for at in range(count):
        shift = width * (count - 1 - at) if width == 16 else at
        assert found.get(address + at, 0) == mask >> shift & (1 << width) - 1
    assert 0 not in found.values()


# -- the model: each bit belongs to the newest assignment of it

Bit = tuple[int, int]
CELLS = 4


class Model:
    def __init__(self, name: int, waiting: set[Bit]) -> None:
        self.name = name
        self.waiting = waiting
        self.sent: set[Bit] = set()


def bits_in(parts: dict[int, int]) -> set[Bit]:
    return {(at, bit) for at, part in parts.items() for bit in range(16) if part >> bit & 1}


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.open: list[Model] = []
        self.counts: Counter[str] = Counter()
        self.assigned = 0
        self.under_way: list[tuple[Shipment, list[tuple[Model, set[Bit]]]]] = []

    def close(self) -> None:
        pass

    def end(self, model: Model, fate: str) -> None:
        if not model.waiting and not model.sent and model in self.open:
            self.open.remove(model)
            self.counts[fate] += 1

    @rule(
        address=st.integers(0, CELLS - 1),
        cells=st.integers(1, 3),
        mask=st.one_of(st.just(-1), st.integers(1, (1 << 48) - 1)),
        times=st.integers(1, 3),
    )
    def assign(self, address: int, cells: int, mask: int, times: int) -> None:
        cells = min(cells, CELLS - address)
        mask &= (1 << 16 * cells) - 1
        if not mask:
            return
        self.assigned += times
        self.ledger.assign("holding", address, cells, 16, mask, str(self.assigned), times)
        bits = {
            (address + at, bit) for at in range(cells) for bit in range(16) if mask >> 16 * (cells - 1 - at) + bit & 1
        }
        for model in list(self.open):
            if model.waiting & bits:
                model.waiting -= bits
                self.end(model, "superseded")
        self.counts["superseded"] += times - 1
        self.open.append(Model(self.assigned, bits))

    @rule(first=st.integers(0, CELLS - 1), count=st.integers(1, CELLS), mask=st.sampled_from([-1, 0x00FF, 0x8001]))
    def ship(self, first: int, count: int, mask: int) -> None:
        shipment = self.ledger.ship("holding", first, first + count, mask)
        carried = []
        for model in self.open:
            bits = {(at, bit) for at, bit in model.waiting if first <= at < first + count and mask >> bit & 1}
            if bits:
                model.waiting -= bits
                model.sent |= bits
                carried.append((model, bits))
        assert [(int(entry.name), bits_in(bits)) for entry, bits in shipment] == [
            (model.name, bits) for model, bits in carried
        ]
        if shipment:
            self.under_way.append((shipment, carried))

    @precondition(lambda self: self.under_way)
    @rule(fate=st.sampled_from(FATES), which=st.integers(0, 100))
    def settle(self, fate: Fate, which: int) -> None:
        shipment, carried = self.under_way.pop(which % len(self.under_way))
        self.ledger.settle(shipment, fate)
        for model, bits in carried:
            if model not in self.open:
                continue
            model.sent -= bits
            if fate in ("rejected", "expired", "unknown"):
                model.sent.clear()
                model.waiting.clear()
            self.end(model, fate)

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 100))
    def take_back(self, which: int) -> None:
        shipment, carried = self.under_way.pop(which % len(self.under_way))
        self.ledger.take_back(shipment)
        for model, bits in carried:
            if model not in self.open:
                continue
            model.sent -= bits
            newer: set[Bit] = set()
            for other in self.open:
                if other.name > model.name:
                    newer |= other.waiting | other.sent
            model.waiting |= bits - newer
            self.end(model, "superseded")

    @invariant()
    def the_totals_balance(self) -> None:
        assert self.ledger.total == self.assigned
        assert self.ledger.pending == len(self.open)
        for fate in FATES:
            assert getattr(self.ledger, fate) == self.counts[fate], fate

    @invariant()
    def no_bit_is_lost(self) -> None:
        waiting = [(int(entry.name), bits_in(entry.waiting)) for entry in self.ledger.waiting()]
        assert waiting == [(model.name, model.waiting) for model in self.open if model.waiting]
        kept: set[Bit] = set()
        for model in self.open:
            kept |= model.waiting | model.sent
        keep = self.ledger.keep("holding", 0, CELLS, 16)
        assert {(at, b) for at in range(CELLS) for b in range(16) if keep >> 16 * (CELLS - 1 - at) + b & 1} == kept

    @invariant()
    def no_bit_waits_twice(self) -> None:
        seen: set[Bit] = set()
        for entry in self.ledger.waiting():
            bits = bits_in(entry.waiting)
            assert not seen & bits
            seen |= bits

    @invariant()
    def marks_are_met_when_all_before_them_is(self) -> None:
        for mark in range(self.assigned + 1):
            assert self.ledger.settled(mark) == all(model.name > mark for model in self.open)


TestLedger = LedgerMachine.TestCase
