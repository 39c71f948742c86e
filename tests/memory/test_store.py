"""`MemoryStore`: names, raw access, errors."""

from __future__ import annotations

import copy
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from msm import (
    AddressError,
    DeclarationError,
    MemoryStore,
    MemoryVariable,
    MsmError,
    UnknownVariableError,
    ValueRangeError,
    ValueTypeError,
)


@pytest.fixture
def mem() -> MemoryStore:
    store = MemoryStore(8)
    store.WORK_MODE = MemoryVariable.byte(address=0, byte_number=0)
    store.PROCESS_STEP = MemoryVariable.byte(address=0, byte_number=1)
    store.CURRENT_VALUE = MemoryVariable.uint32(address=1)
    store.CONTROL_WORD = MemoryVariable.word(address=3)
    store.ERROR_STATE = MemoryVariable.bool(address=3, bit_number=0)
    return store


class Press(MemoryStore, size=16):
    state = MemoryVariable.word(0)
    speed = MemoryVariable.uint32(2)
    running = MemoryVariable.bool(0, 15)


# -- declaring


def test_the_quickstart(mem: MemoryStore) -> None:
    mem.CURRENT_VALUE = 99999
    assert mem.CURRENT_VALUE == 99999
    assert (mem[1], mem[2]) == (34463, 1)
    mem.WORK_MODE, mem.PROCESS_STEP = 1, 2
    assert mem[0] == 0x0201
    mem.CONTROL_WORD = 25
    assert mem.ERROR_STATE is True
    mem.ERROR_STATE = False
    assert mem.CONTROL_WORD == 24, "overlapping variables reflect each other"


def test_a_class_of_stores() -> None:
    one, other = Press(), Press()
    one.speed = 100000
    one.running = True
    assert (one.speed, one.state, other.speed, other.state) == (100000, 0x8000, 0, 0)
    assert len(one) == 16
    assert isinstance(Press.speed, MemoryVariable)
    assert isinstance(one, Press)
    assert list(one.variables()) == ["state", "speed", "running"]


def test_classes_inherit_size_and_variables() -> None:
    class BigPress(Press, size=32):
        extra = MemoryVariable.word(31)

    class Longer(BigPress):
        pass

    big = Longer()
    assert len(big) == 32
    big.extra = 7
    assert set(big.variables()) == {"state", "speed", "running", "extra"}
    assert len(Press()) == 16


def test_one_store_may_have_more_than_its_class() -> None:
    one, other = Press(), Press()
    one.MORE = MemoryVariable.word(5)
    one.MORE = 6
    assert one.MORE == 6
    with pytest.raises(UnknownVariableError):
        _ = other.MORE
    with pytest.raises(UnknownVariableError):
        other.MORE = 5


def test_a_size_given_to_a_store_goes_before_that_of_its_class() -> None:
    assert len(Press(20)) == 20
    with pytest.raises(DeclarationError, match="speed"):
        Press(3)


def test_a_class_tells_its_errors_where_it_is_written() -> None:
    with pytest.raises(DeclarationError, match=r"far.*15"):

        class _Wrong(MemoryStore, size=16):
            far = MemoryVariable.word(16)

    with pytest.raises(DeclarationError, match="dump"):

        class _Taken(MemoryStore, size=16):
            dump = MemoryVariable.word(0)  # type: ignore[assignment]


def test_methods_and_attributes_of_a_subclass_are_its_own() -> None:
    class Machine(MemoryStore, size=4):
        speed = MemoryVariable.word(0)

        def __init__(self, name: str) -> None:
            super().__init__()
            self._name = name

        @property
        def double(self) -> int:
            return 2 * self.speed

        @double.setter
        def double(self, value: int) -> None:
            self.speed = value // 2

        def stop(self) -> str:
            self.speed = 0
            return self._name

    machine = Machine("press")
    machine.double = 10
    assert (machine.speed, machine.double) == (5, 10)
    assert machine.stop() == "press"
    assert machine.speed == 0


def test_declaring_anew_moves_the_name(mem: MemoryStore) -> None:
    mem.CONTROL_WORD = 5
    mem.CONTROL_WORD = MemoryVariable.word(7)
    assert mem.CONTROL_WORD == 0
    mem.CONTROL_WORD = 9
    assert (mem[3], mem[7]) == (5, 9)


def test_one_declaration_under_two_names_and_on_two_stores(mem: MemoryStore) -> None:
    variable = MemoryVariable.word(5)
    other = MemoryStore(8)
    mem.A = variable
    mem.B = variable
    other.A = variable
    mem.A = 1
    assert (mem.B, other.A) == (1, 0)
    with pytest.raises(ValueRangeError, match=r"^B:"):
        mem.B = -1
    with pytest.raises(ValueRangeError, match=r"^A:"):
        mem.A = -1


def test_items_by_name(mem: MemoryStore) -> None:
    mem["any name"] = MemoryVariable.word(4)
    mem["any name"] = 44
    assert (mem["any name"], mem[4], mem["CURRENT_VALUE"]) == (44, 44, 0)
    assert "any name" in mem and "CURRENT_VALUE" in mem and "nothing" not in mem
    del mem["any name"]
    with pytest.raises(KeyError):
        _ = mem["any name"]


@pytest.mark.parametrize("name", ["get_value", "set_value", "dump", "variables", "_image", "__len__", "__new__", ""])
def test_names_that_the_store_uses_itself(mem: MemoryStore, name: str) -> None:
    with pytest.raises(DeclarationError):
        setattr(mem, name, MemoryVariable.word(0))
    assert mem.get_size() == 8


@pytest.mark.parametrize("name", ["size", "X", "_private", "läuft", "x1", "lock", "name", "run", "values"])
def test_any_other_name_is_free(mem: MemoryStore, name: str) -> None:
    setattr(mem, name, MemoryVariable.word(6))
    setattr(mem, name, 66)
    assert getattr(mem, name) == mem[6] == 66


def test_assigning_to_what_the_store_uses_itself(mem: MemoryStore) -> None:
    for name in ("dump", "get_value", "variables"):
        with pytest.raises(MsmError, match=name):
            setattr(mem, name, 5)
    assert callable(mem.dump)


def test_withdrawing(mem: MemoryStore) -> None:
    mem.CONTROL_WORD = 5
    del mem.CONTROL_WORD
    assert "CONTROL_WORD" not in mem
    assert mem[3] == 5, "the memory is as it was"
    for access in (lambda: mem.CONTROL_WORD, lambda: mem["CONTROL_WORD"], lambda: setattr(mem, "CONTROL_WORD", 1)):
        with pytest.raises(UnknownVariableError):
            access()
    with pytest.raises(UnknownVariableError):
        del mem.CONTROL_WORD
    mem.CONTROL_WORD = MemoryVariable.word(3)
    assert mem.CONTROL_WORD == 5


def test_withdrawing_what_a_class_declares_is_for_one_store() -> None:
    one, other = Press(), Press()
    del one.speed
    with pytest.raises(UnknownVariableError):
        _ = one.speed
    with pytest.raises(UnknownVariableError):
        one.speed = 3
    other.speed = 4
    assert other.speed == 4
    assert Press().speed == 0


# -- declarations that cannot be


WRONG: dict[str, tuple[Any, tuple[str, ...]]] = {
    "word behind": (MemoryVariable.word(8), ("8", "0 to 7")),
    "word before": (MemoryVariable.word(-1), ("-1", "0 to 65535")),
    "uint32 across the end": (MemoryVariable.uint32(7), ("7", "0 to 7")),
    "bit 16": (MemoryVariable.bool(0, 16), ("16", "0 to 15")),
    "bit -1": (MemoryVariable.bool(0, -1), ("-1", "0 to 15")),
    "bit True": (MemoryVariable.bool(0, True), ("True", "0 to 15")),
    "bit 1.0": (MemoryVariable.bool(0, 1.0), ("1.0", "0 to 15")),  # type: ignore[arg-type]
    "bool behind": (MemoryVariable.bool(8, 0), ("8", "0 to 7")),
    "byte 2": (MemoryVariable.byte(0, 2), ("2", "0 to 1")),
    "byte behind": (MemoryVariable.byte(8, 0), ("8", "0 to 7")),
    "address '0'": (MemoryVariable.word("0"), ("'0'",)),  # type: ignore[call-overload]
    "address True": (MemoryVariable.word(True), ("True",)),
    "address 1.0": (MemoryVariable.word(1.0), ("1.0",)),  # type: ignore[call-overload]
    "address None": (MemoryVariable.uint32(None), ("None",)),  # type: ignore[call-overload]
    "far behind": (MemoryVariable.word(10**9), ("1000000000", "0 to 65535")),
}


@pytest.mark.parametrize(("variable", "told"), WRONG.values(), ids=WRONG)
def test_a_wrong_declaration_names_the_variable_and_the_limit(
    mem: MemoryStore, variable: Any, told: tuple[str, ...]
) -> None:
    before = mem.variables()
    with pytest.raises(DeclarationError) as caught:
        mem.NEW = variable
    for part in ("NEW", *told):
        assert part in str(caught.value)
    assert mem.variables() == before
    with pytest.raises(DeclarationError, match="some name"):
        mem["some name"] = variable


def test_a_wrong_declaration_leaves_the_right_one_in_place(mem: MemoryStore) -> None:
    mem.CONTROL_WORD = 5
    with pytest.raises(DeclarationError):
        mem.CONTROL_WORD = MemoryVariable.word(99)
    assert mem.CONTROL_WORD == 5


@pytest.mark.parametrize("size", [-1, 65537, 1.0, "8", True])
def test_sizes_that_cannot_be(size: Any) -> None:
    with pytest.raises(DeclarationError, match="size"):
        MemoryStore(size)


def test_a_size_is_needed() -> None:
    with pytest.raises(DeclarationError, match=r"MemoryStore\(8\)"):
        MemoryStore()


def test_the_smallest_and_the_largest() -> None:
    assert len(MemoryStore(0)) == 0
    assert bool(MemoryStore(0)), "a store is a store, also an empty one"
    largest = MemoryStore(65536)
    largest.LAST = MemoryVariable.word(65535)
    largest.LAST = 1
    assert largest[65535] == 1


# -- names that were never declared


def test_did_you_mean(mem: MemoryStore) -> None:
    with pytest.raises(UnknownVariableError, match=r"CONTROL_WRD.*did you mean CONTROL_WORD") as caught:
        mem.CONTROL_WRD = 5
    assert isinstance(caught.value, AttributeError)
    assert isinstance(caught.value, KeyError)
    with pytest.raises(AttributeError, match="did you mean CURRENT_VALUE"):
        _ = mem.CURENT_VALUE
    with pytest.raises(KeyError, match="did you mean ERROR_STATE"):
        _ = mem["ERROR_STAT"]
    with pytest.raises(KeyError, match="did you mean ERROR_STATE"):
        mem["ERROR_STAT"] = True
    with pytest.raises(AttributeError, match="declare it first"):
        mem.zzz = 1
    with pytest.raises(AttributeError):
        del mem.CONTROL_WRD
    assert not hasattr(mem, "CONTROL_WRD")
    assert mem[:] == [0] * 8


# -- raw access


def test_get_and_set_value(mem: MemoryStore) -> None:
    mem.set_value(1, 34463)
    mem.set_value(address=2, value=1)
    assert mem.CURRENT_VALUE == 99999
    assert (mem.get_value(1), mem.get_value(address=2, table="holding")) == (34463, 1)
    assert (mem.get_size(), len(mem), mem.get_size("input")) == (8, 8, 0)


def test_items_and_slices(mem: MemoryStore) -> None:
    mem[0:8] = range(8)
    assert mem[0:8] == mem[:] == list(mem) == list(range(8))
    assert (mem[3], mem[2:4], mem[6:], mem[:2], mem[3:3]) == (3, [2, 3], [6, 7], [0, 1], [])
    mem[3] = 65535
    mem[4:6] = [1, 2]
    assert mem[2:7] == [2, 65535, 1, 2, 6]


@pytest.mark.parametrize("address", [8, -1, 65536, True, 1.0, None, (1,)])
def test_raw_addresses_outside_the_memory(mem: MemoryStore, address: Any) -> None:
    for access in (
        lambda: mem[address],
        lambda: mem.get_value(address),
        lambda: mem.set_value(address, 1),
        lambda: mem.__setitem__(address, 1),
    ):
        with pytest.raises(AddressError) as caught:
            access()
        assert isinstance(caught.value, IndexError) and isinstance(caught.value, DeclarationError)
    assert mem[:] == [0] * 8


@pytest.mark.parametrize("key", [slice(0, 9), slice(-1, 3), slice(0, 8, 2), slice(7, 10), slice(0, 1.0), slice(9, 9)])
def test_slices_outside_the_memory(mem: MemoryStore, key: slice) -> None:
    with pytest.raises(IndexError):
        _ = mem[key]
    with pytest.raises(IndexError):
        mem[key] = [0] * 8


@pytest.mark.parametrize(
    ("value", "error"),
    [(-1, ValueRangeError), (65536, ValueRangeError), (1.0, ValueTypeError), ("1", ValueTypeError)],
)
def test_raw_values_that_do_not_fit(mem: MemoryStore, value: Any, error: type[Exception]) -> None:
    mem[0:8] = range(8)
    assigning: list[Callable[[], None]] = [
        lambda: mem.set_value(3, value),
        lambda: mem.__setitem__(3, value),
        lambda: mem.__setitem__(slice(2, 4), [9, value]),
    ]
    for assign in assigning:
        with pytest.raises(error, match=r"holding\[3\]"):
            assign()
    assert mem[:] == list(range(8)), "all or nothing"


def test_a_slice_takes_as_many_words_as_it_has(mem: MemoryStore) -> None:
    for words in ([], [1], [1, 2, 3]):
        with pytest.raises(ValueRangeError, match="takes 2 words"):
            mem[0:2] = words
    assert mem[:] == [0] * 8


@pytest.mark.parametrize("table", ["holdings", "", None, 3])
def test_tables_that_there_are_not(mem: MemoryStore, table: Any) -> None:
    with pytest.raises(DeclarationError, match="holding, input, coil, discrete"):
        mem.get_value(0, table)


def test_the_other_tables() -> None:
    mem = MemoryStore(8, input_registers=4, coils=16, discrete_inputs=9)
    assert [mem.get_size(table) for table in ("holding", "input", "coil", "discrete")] == [8, 4, 16, 9]
    mem.set_value(3, 77, table="input")
    mem.set_value(15, 1, table="coil")
    mem.set_value(8, True, table="discrete")
    assert mem.get_value(3, "input") == 77
    assert [mem.get_value(at, "coil") for at in range(16)] == [0] * 15 + [1]
    assert [mem.get_value(at, "discrete") for at in range(9)] == [0] * 8 + [1]
    assert mem[:] == [0] * 8
    with pytest.raises(AddressError, match="0 to 3"):
        mem.get_value(4, "input")
    with pytest.raises(ValueTypeError):
        mem.set_value(0, 2, table="coil")


def test_dump(mem: MemoryStore) -> None:
    mem.CURRENT_VALUE = 99999
    assert mem.dump() == (
        "'0': 00000 | '1': 34463 | '2': 00001 | '3': 00000 | '4': 00000 | \n'5': 00000 | '6': 00000 | '7': 00000 | \n"
    )
    assert mem.dump(cols=8).count("\n") == 1
    assert mem.dump(cols=100) == mem.dump(8)
    assert MemoryStore(12).dump(12).startswith("'00': 00000 | '01': 00000 | ")


@pytest.mark.parametrize("cols", [0, -1, 1.5, "5", True])
def test_dump_in_columns_that_cannot_be(mem: MemoryStore, cols: Any) -> None:
    with pytest.raises(DeclarationError, match="cols"):
        mem.dump(cols)


# -- being an object


def test_a_store_is_freed() -> None:
    gone = weakref.ref(Press())
    gc.collect()
    assert gone() is None


def test_stores_are_compared_by_identity(mem: MemoryStore) -> None:
    other = MemoryStore(8)
    assert mem != other
    assert len({mem, other, mem}) == 2


def test_repr(mem: MemoryStore) -> None:
    assert repr(mem) == "<MemoryStore: 8 holding words, 5 variables>"
    assert "Press" in repr(Press())


def test_looking_at_a_store_is_harmless(mem: MemoryStore) -> None:
    assert "CONTROL_WORD" in dir(mem)
    with pytest.raises(AttributeError):
        _ = mem.__wrapped__
    with pytest.raises(AttributeError):
        _ = mem._repr_html_
    with pytest.raises((TypeError, MsmError)):
        copy.deepcopy(mem)


def test_declaring_from_several_threads(mem: MemoryStore) -> None:
    def declare(number: int) -> None:
        for turn in range(50):
            setattr(mem, f"N{number}_{turn}", MemoryVariable.word(number))
            setattr(mem, f"N{number}_{turn}", turn)
            mem.variables()

    threads = [threading.Thread(target=declare, args=(number,)) for number in range(4, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(mem.variables()) == 5 + 200
    assert mem[4:8] == [49] * 4
