"""Both sides changed the same bits: who wins, and what is told."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from msm import MemoryStore, MemoryVariable
from msm.exchange.conflict import Conflict
from tests.exchange.simulation import Plant, Rig


def rig_with(conflict: Literal["mine", "device"] = "mine", **variables: MemoryVariable[Any]) -> Rig:
    mem = MemoryStore(8, coils=8)
    for name, variable in variables.items():
        setattr(mem, name, variable)
    rig = Rig(mem, Plant(8, 0, 8), period=1.0, timeout=0.5, conflict=conflict)
    rig.start()
    return rig


def clash(rig: Rig, name: str, mine: Any, theirs: dict[int, int], table: str = "holding") -> Conflict:
    """The link is down; both sides change the variable; the link comes back."""
    rig.reset()
    setattr(rig.store, name, mine)
    for at, value in theirs.items():
        rig.plant.tables[table][at] = value
    rig.connect()
    rig.settle()
    (found,) = rig.conflicts
    assert isinstance(found, Conflict)
    assert (found.name, found.unit, rig.device.stats.conflicts) == (name, 1, 1)
    return found


VARIABLES: list[tuple[MemoryVariable[Any], dict[int, int], Any, dict[int, int], Any, Any]] = [
    # the variable; its words before; what they say; the words that the device changes it to; what those say; mine
    (MemoryVariable.word(3), {3: 5}, 5, {3: 6}, 6, 7),
    (MemoryVariable.int16(3), {3: 0xFFFF}, -1, {3: 0xFFFE}, -2, -3),
    (MemoryVariable.uint32(3), {3: 34463, 4: 1}, 99999, {3: 34464, 4: 1}, 100000, 70000),
    (MemoryVariable.byte(3, 1), {3: 0x0599}, 5, {3: 0x0699}, 6, 7),
    (MemoryVariable.bits(3, 4, 3), {3: 0b001_0000}, 1, {3: 0b010_0000}, 2, 4),
    (MemoryVariable.float32(3), {3: 0, 4: 0x3F80}, 1.0, {3: 0, 4: 0x4000}, 2.0, 3.0),
]
IDS = [variable.kind for variable, *_ in VARIABLES]


@pytest.mark.parametrize("conflict", ["mine", "device"])
@pytest.mark.parametrize(("variable", "before", "base", "change", "theirs", "mine"), VARIABLES, ids=IDS)
def test_values_of_each_type(
    variable: MemoryVariable[Any],
    before: dict[int, int],
    base: Any,
    change: dict[int, int],
    theirs: Any,
    mine: Any,
    conflict: Literal["mine", "device"],
) -> None:
    rig = rig_with(conflict, VALUE=variable)
    for at, word in before.items():
        rig.plant.words[at] = word
    rig.run(1.5)
    assert base == rig.store.VALUE
    found = clash(rig, "VALUE", mine, change)
    assert (found.base, found.mine, found.theirs, found.winner) == (base, mine, theirs, conflict)
    rig.run(2.0)
    assert (mine if conflict == "mine" else theirs) == rig.store.VALUE
    assert rig.plant.words == rig.store[:], "and both sides agree"
    if conflict == "mine":
        assert (rig.ledger.acknowledged, rig.ledger.superseded) == (1, 0)
    else:
        assert (rig.ledger.acknowledged, rig.ledger.superseded) == (0, 1)
        assert rig.plant.writes == []


@pytest.mark.parametrize("conflict", ["mine", "device"])
def test_bits_with_two_values_never_clash_since_one_side_is_where_the_other_wants_it(
    conflict: Literal["mine", "device"],
) -> None:
    rig = rig_with(conflict, RUN=MemoryVariable.bool(3, 2))
    rig.reset()
    rig.store.RUN = True
    rig.plant.words[3] = 0b100
    rig.connect()
    rig.settle()
    assert rig.conflicts == [], "both say the same"
    assert rig.plant.words[3] == 0b100


def test_a_bit_that_was_changed_and_changed_back() -> None:
    """The device turned it on; before that was read, the application turned it off, as it had been."""
    rig = rig_with(RUN=MemoryVariable.bool(3, 2))
    rig.reset()
    rig.store.RUN = False
    rig.plant.words[3] = 0b100
    rig.connect()
    rig.settle()
    (found,) = rig.conflicts
    assert (found.base, found.mine, found.theirs) == (False, False, True)
    assert rig.plant.words[3] == 0


def test_a_coil() -> None:
    rig = rig_with(LAMP=MemoryVariable.coil(3))
    found = clash(rig, "LAMP", False, {3: 1}, "coil")
    assert (found.base, found.mine, found.theirs) == (False, False, True)
    assert rig.plant.tables["coil"][3] == 0


def test_other_bits_of_the_same_word_are_no_conflict() -> None:
    rig = rig_with(RUN=MemoryVariable.bool(3, 0), FAULT=MemoryVariable.bool(3, 1))
    rig.reset()
    rig.store.RUN = True
    rig.plant.words[3] = 0b10
    rig.connect()
    rig.settle()
    assert (rig.conflicts, rig.plant.words[3], rig.store[3]) == ([], 0b11, 0b11)


def test_the_first_exchange_is_no_conflict() -> None:
    """Nothing was known of the device, so nobody can say that it has changed anything."""
    mem = MemoryStore(8)
    mem.VALUE = MemoryVariable.word(3)
    mem.VALUE = 7
    plant = Plant(8)
    plant.words[3] = 5
    rig = Rig(mem, plant, period=1.0)
    rig.start()
    assert (rig.conflicts, plant.words[3]) == ([], 7)


def test_a_variable_may_say_otherwise() -> None:
    rig = rig_with("mine", YIELDS=MemoryVariable.word(3, conflict="device"))
    assert clash(rig, "YIELDS", 7, {3: 6}).winner == "device"
    assert rig.store.YIELDS == 6
    rig = rig_with("device", INSISTS=MemoryVariable.word(3, conflict="mine"))
    assert clash(rig, "INSISTS", 7, {3: 6}).winner == "mine"
    assert rig.plant.words[3] == 7


def test_what_the_device_has_taken_is_not_taken_for_its_own_change() -> None:
    """The read-back of an own value is no conflict with the next one."""
    rig = rig_with(VALUE=MemoryVariable.word(3))
    for value in range(5, 15):
        rig.store.VALUE = value
        rig.pump()
        rig.settle()
        rig.store.VALUE = value + 100
        rig.pass_time(1.0)
        rig.settle()
    assert rig.conflicts == []


def test_a_value_that_gave_way_is_not_sent_by_the_next_client() -> None:
    rig = rig_with("device", VALUE=MemoryVariable.word(3))
    clash(rig, "VALUE", 7, {3: 6})
    assert rig.left_for_the_next_client() == {}


def test_raw_words_are_told_as_numbers() -> None:
    rig = rig_with()
    rig.reset()
    rig.store[3] = 7
    rig.plant.words[3] = 6
    rig.connect()
    rig.settle()
    (found,) = rig.conflicts
    assert (found.name, found.base, found.mine, found.theirs) == ("holding[3]", 0, 7, 6)
