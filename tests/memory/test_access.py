"""`access`: who may write, at home and from afar."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msm import AccessError, AddressError, MemoryStore, MemoryVariable, ModbusServer, MsmError, UnknownVariableError
from msm.memory.kinds import Access
from msm.memory.store import image_of
from msm.servant import Servant
from tests.support import FREE, PATIENCE, RawClient


def store() -> MemoryStore:
    mem = MemoryStore(16, input_registers=4, coils=16, discrete_inputs=4)
    mem.STATE = MemoryVariable.uint32(2, access="ro")
    mem.SPEED = MemoryVariable.word(4)
    mem.RESET = MemoryVariable.word(5, access="wo")
    mem.ALARM = MemoryVariable.bool(6, 3, access="ro")
    mem.LAMP = MemoryVariable.coil(9, access="ro")
    return mem


class Press(MemoryStore, size=4):
    state = MemoryVariable.word(0, access="ro")


@pytest.mark.parametrize("mem", [store(), Press()], ids=["instance", "class"])
def test_a_read_only_variable_cannot_be_assigned(mem: MemoryStore) -> None:
    name = "STATE" if "STATE" in mem else "state"
    ways: list[Callable[[], None]] = [lambda: setattr(mem, name, 5), lambda: mem.__setitem__(name, 5)]
    for assign in ways:
        with pytest.raises(AccessError) as caught:
            assign()
        assert str(caught.value).startswith(f"{name}: cannot be assigned 5, it is read-only (access='ro')")
        assert f"provide({name}=...)" in str(caught.value)
        assert isinstance(caught.value, AttributeError)
        assert isinstance(caught.value, MsmError)
    assert mem[name] == 0
    assert mem.variables()[name].access == "ro"


def test_not_in_a_block_either() -> None:
    mem = store()
    with pytest.raises(AccessError), mem.atomic():
        mem.SPEED = 1
        mem.STATE = 1
    assert (mem.SPEED, mem.STATE) == (0, 0)


def test_the_device_itself_provides() -> None:
    mem = store()
    mem.provide(STATE=70000, ALARM=True, SPEED=3)
    assert (mem.STATE, mem.ALARM, mem.SPEED) == (70000, True, 3)
    with pytest.raises(UnknownVariableError, match="did you mean STATE"):
        mem.provide(SPEED=9, STAET=1)
    with pytest.raises(MsmError, match="STATE: 'x' is a str"):
        mem.provide(SPEED=9, STATE="x")
    assert (mem.STATE, mem.SPEED) == (70000, 3)


def test_what_is_write_only_can_be_read_where_it_lies() -> None:
    mem = store()
    mem.RESET = 5
    assert mem.RESET == 5


def test_reads_and_polls_are_not_concerned() -> None:
    mem = store()
    image_of(mem).merge("holding", 2, 2, lambda _ours: b"\0\1\0\2")
    assert mem.STATE == 0x20001


REFUSED = [
    ("FC6 of its first word", struct.pack(">BHH", 6, 2, 5)),
    ("FC6 of its second word", struct.pack(">BHH", 6, 3, 5)),
    ("FC6 of a word with a bit of it", struct.pack(">BHH", 6, 6, 0)),
    ("FC16 of exactly it", struct.pack(">BHHB2H", 16, 2, 2, 4, 5, 5)),
    ("FC16 that begins before it", struct.pack(">BHHB3H", 16, 0, 3, 6, 5, 5, 5)),
    ("FC16 that ends after it", struct.pack(">BHHB3H", 16, 3, 3, 6, 5, 5, 5)),
    ("FC22 of the bit", struct.pack(">BHHH", 22, 6, 0xFFF7, 8)),
    ("FC22 of a bit of the number", struct.pack(">BHHH", 22, 2, 0xFFFE, 1)),
    ("FC23 that writes it", struct.pack(">BHHHHBH", 23, 0, 1, 2, 1, 2, 5)),
    ("FC5 of the coil", struct.pack(">BHH", 5, 9, 0xFF00)),
    ("FC15 over the coil", struct.pack(">BHHBH", 15, 1, 16 - 1, 2, 0xFFFF)),
]
ACCEPTED = [
    ("FC6 beside it", struct.pack(">BHH", 6, 4, 5)),
    ("FC6 of what is write-only", struct.pack(">BHH", 6, 5, 5)),
    ("FC16 around nothing of it", struct.pack(">BHHB2H", 16, 0, 2, 4, 5, 5)),
    ("FC22 of the other bits of its word", struct.pack(">BHHH", 22, 6, 0x0008, 0xFFFF)),
    ("FC22 that writes no bit at all", struct.pack(">BHHH", 22, 2, 0xFFFF, 0)),
    ("FC5 of the coil before", struct.pack(">BHH", 5, 8, 0xFF00)),
    ("FC15 up to the coil", struct.pack(">BHHBH", 15, 0, 9, 2, 0xFFFF)),
    ("FC15 after the coil", struct.pack(">BHHBB", 15, 10, 6, 1, 0xFF)),
    ("FC23 that only reads it", struct.pack(">BHHHHBH", 23, 2, 2, 4, 1, 2, 5)),
]


def test_a_remote_write_to_what_is_read_only_is_refused_and_changes_nothing() -> None:
    mem = store()
    mem.provide(STATE=70000)
    with ModbusServer(mem, FREE) as server, RawClient(server.endpoint) as client, mem.changes() as stream:
        for what, request in REFUSED:
            before = bytes(image_of(mem).buffer)
            assert client.ask(request) == bytes((request[0] | 0x80, 2)), what
            assert bytes(image_of(mem).buffer) == before, what
        assert not stream.queue
        for what, request in ACCEPTED:
            assert client.ask(request)[0] == request[0], what
        assert client.ask(struct.pack(">BHH", 3, 2, 2)) == struct.pack(">BBHH", 3, 4, 70000 & 0xFFFF, 1)
    assert (mem.STATE, mem.ALARM, mem.LAMP, mem.SPEED, mem.RESET) == (70000, False, False, 5, 5)


def test_declarations_hold_from_when_they_are_made() -> None:
    mem = MemoryStore(8)
    servant = Servant(1, image_of(mem))
    write = struct.pack(">BHH", 6, 1, 7)
    assert servant.answer(write) == write
    mem.X = MemoryVariable.word(1, access="ro")
    assert servant.answer(write) == bytes((0x86, 2))
    mem.X = MemoryVariable.word(2, access="ro")  # declared anew, somewhere else
    assert servant.answer(write) == write
    mem.Y = MemoryVariable.word(1, access="ro")
    assert servant.answer(write) == bytes((0x86, 2))
    del mem.Y
    assert servant.answer(write) == write


def test_what_another_variable_declares_as_writable_is_writable() -> None:
    mem = MemoryStore(4)
    mem.WORD = MemoryVariable.word(1, access="ro")
    mem.ENABLE = MemoryVariable.bool(1, 0)
    image = image_of(mem)
    image.accept("holding", 1, 1, lambda _old: b"\0\1", mask=1)
    assert mem.ENABLE is True
    for mask in (2, 0xFFFF):
        with pytest.raises(AddressError, match="holding 1 to 1: read-only"):
            image.accept("holding", 1, 1, lambda _old: b"\xff\xff", mask=mask)
    assert mem.WORD == 1


VARIABLE = st.tuples(st.integers(0, 15), st.integers(1, 16), st.sampled_from(["rw", "ro", "wo"])).filter(
    lambda variable: variable[0] + variable[1] <= 16
)


@given(
    variables=st.lists(VARIABLE, max_size=5),
    write=st.tuples(st.integers(0, 15), st.integers(1, 16)).filter(lambda write: sum(write) <= 16),
)
def test_coils_against_a_model(variables: list[tuple[int, int, Access]], write: tuple[int, int]) -> None:
    mem = MemoryStore(0, coils=16)
    by_cell: list[set[str]] = [set() for _ in range(16)]
    for at, (address, count, access) in enumerate(variables):
        mem[f"V{at}"] = MemoryVariable.coil(address, count=count, access=access)
        for cell in range(address, address + count):
            by_cell[cell].add(access)
    address, count = write
    refused = any(by_cell[cell] == {"ro"} for cell in range(address, address + count))
    data = b"\xff" * ((count + 7) // 8)
    try:
        image_of(mem).accept("coil", address, count, lambda _old: data)
    except AddressError:
        assert refused
        assert not any(image_of(mem).buffer)
    else:
        assert not refused
        assert sum(mem.get_value(cell, "coil") for cell in range(16)) == count


def test_declaring_while_remote_clients_write() -> None:
    """A variable that is read-only is so for every write that begins after its declaration."""
    mem = MemoryStore(64)
    servant = Servant(1, image_of(mem))
    over = threading.Event()
    raised: list[BaseException] = []

    def write() -> None:
        try:
            while not over.is_set():
                servant.answer(struct.pack(">BHH", 6, 63, 7))
        except BaseException as error:  # noqa: BLE001 - asserted below
            raised.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(300):
            address = number % 60
            mem.X = MemoryVariable.word(address, access="ro")
            assert servant.answer(struct.pack(">BHH", 6, address, 9)) == bytes((0x86, 2))
            del mem.X
    finally:
        over.set()
        thread.join(PATIENCE)
    assert raised == []
