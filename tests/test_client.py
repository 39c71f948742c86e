"""The client against a device that answers as a test tells it, over a real socket in the same loop."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Unpack

import pytest

from msm import (
    AsyncModbusClient,
    AsyncModbusServer,
    ConnectError,
    DeclarationError,
    DeviceError,
    LinkState,
    LinkTimeoutError,
    MemoryStore,
    MemoryVariable,
    StateError,
    WriteError,
)
from msm.keywords import ClientKeywords
from tests.support import FREE, SILENCE, FakeDevice, free_port, mbap, until

LONG = 60.0  # a period that no test waits for


def quick_backoff() -> Iterator[float]:
    while True:
        yield 0.01


def client_of(store: MemoryStore, device: FakeDevice, **keywords: Unpack[ClientKeywords]) -> AsyncModbusClient:
    given: ClientKeywords = {"period": LONG, "backoff": quick_backoff, "timeout": 5.0, "linger": 0.05}
    given.update(keywords)
    return AsyncModbusClient(store, device.endpoint, **given)


def store(size: int = 8) -> MemoryStore:
    mem = MemoryStore(size)
    mem.WORK_MODE = MemoryVariable.byte(address=0, byte_number=0)
    mem.PROCESS_STEP = MemoryVariable.byte(address=0, byte_number=1)
    mem.CURRENT_VALUE = MemoryVariable.uint32(address=1)
    mem.CONTROL_WORD = MemoryVariable.word(address=3)
    mem.ERROR_STATE = MemoryVariable.bool(address=3, bit_number=0)
    mem.LAST = MemoryVariable.word(address=7)
    return mem


def totals(client: AsyncModbusClient) -> dict[str, int]:
    """The fates that occurred."""
    ledger = client.ledger
    fates = ("acknowledged", "superseded", "rejected", "expired", "unknown", "pending")
    counts = {fate: getattr(ledger, fate) for fate in fates}
    assert ledger.total == sum(counts.values())
    return {fate: count for fate, count in counts.items() if count}


# -- the first exchange


async def test_the_first_exchange_pulls_then_sends_what_was_assigned_before() -> None:
    mem = store()
    mem.CONTROL_WORD = 25
    async with FakeDevice([11, 12, 13, 14, 15, 16, 17, 18]) as device:
        async with client_of(mem, device) as client:
            assert (mem[0], mem[7]) == (11, 18), "the first exchange is in when start() returns"
            await client.flush()
        assert device.requests[0] == b"\x03\x00\x00\x00\x08"
        assert device.writes == [b"\x10\x00\x03\x00\x01\x02\x00\x19"]
        assert device.words == [11, 12, 13, 25, 15, 16, 17, 18]
        assert (mem.CONTROL_WORD, mem.CURRENT_VALUE) == (25, 13 << 16 | 12)
        assert totals(client) == {"acknowledged": 1}


async def test_what_was_assigned_before_the_client_was_made_is_sent_and_nothing_else() -> None:
    mem = store()
    mem[5] = 55
    mem.ERROR_STATE = True
    async with FakeDevice([9] * 8) as device, client_of(mem, device) as client:
        await client.flush()
        assert device.words == [9, 9, 9, 9, 9, 55, 9, 9]  # bit 0 of 9 was set before
        assert len(device.writes) == 2


async def test_a_memory_nobody_assigned_to_is_never_written() -> None:
    async with FakeDevice([3] * 8) as device, client_of(store(), device) as client:
        for _ in range(5):
            await client.refresh()
        assert device.writes == []
        assert totals(client) == {}


async def test_zeros_are_sent_when_they_were_assigned() -> None:
    mem = store()
    mem.CONTROL_WORD = 0
    async with FakeDevice([9] * 8) as device, client_of(mem, device) as client:
        await client.flush()
        assert device.words[3] == 0


async def test_a_large_memory_is_read_in_blocks_that_cut_no_variable() -> None:
    mem = MemoryStore(300)
    mem.ACROSS = MemoryVariable.uint32(124)  # words 124 and 125: the first block would end between them
    async with FakeDevice(list(range(300))) as device, client_of(mem, device):
        blocks = [struct.unpack(">HH", request[1:]) for request in device.reads]
        assert blocks == [(0, 124), (124, 125), (249, 51)]
        assert mem[:] == list(range(300))


async def test_max_read_and_max_write_are_kept() -> None:
    mem = MemoryStore(20)
    async with FakeDevice([0] * 20) as device, client_of(mem, device, max_read=6, max_write=4) as client:
        mem[0:20] = range(20)
        await client.flush()
        assert device.words == list(range(20))
        assert {struct.unpack(">H", request[3:5])[0] for request in device.reads} == {6, 2}
        assert [struct.unpack(">HH", request[1:5]) for request in device.writes] == [(at, 4) for at in range(0, 20, 4)]
        assert totals(client) == {"acknowledged": 1}


# -- writing


async def test_an_assignment_does_not_wait_for_the_next_poll() -> None:
    mem = store()
    async with FakeDevice([0] * 8) as device, client_of(mem, device, period=LONG):
        for value in range(1, 20):
            mem.CONTROL_WORD = value
            await until(lambda: device.words[3] == value, timeout=2.0)  # noqa: B023
        assert len(device.reads) == 1, "no poll was needed for it"


async def test_an_assignment_in_another_thread_wakes_as_well() -> None:
    mem = store()
    async with FakeDevice([0] * 8) as device, client_of(mem, device, period=LONG):
        await asyncio.to_thread(setattr, mem, "CONTROL_WORD", 77)
        await until(lambda: device.words[3] == 77, timeout=2.0)


async def test_equal_values_are_sent_too() -> None:
    mem = store()
    async with FakeDevice([0, 0, 0, 25, 0, 0, 0, 0]) as device, client_of(mem, device) as client:
        assert mem.CONTROL_WORD == 25
        mem.CONTROL_WORD = 25
        await client.flush()
        assert device.writes == [b"\x10\x00\x03\x00\x01\x02\x00\x19"]


@pytest.mark.parametrize("lacks", [(), (22,), (22, 16)], ids=["sound", "no FC22", "neither FC22 nor FC16"])
async def test_assigning_a_bit_changes_no_bit_that_the_device_changes(lacks: tuple[int, ...]) -> None:
    mem = store()
    async with FakeDevice([0] * 8, lacks=lacks) as device, client_of(mem, device) as client:
        for turn in range(50):
            device.words[3] = turn * 0x0102 & 0xFFFE | device.words[3] & 1  # the device's own fifteen bits
            device.words[0] = turn
            mem.ERROR_STATE = turn % 2 == 0
            await client.flush()
            assert device.words[3] == turn * 0x0102 & 0xFFFE | (turn % 2 == 0)
            assert device.words[0] == turn
        assert {request[0] for request in device.writes} <= {22, *lacks, 16 if 16 not in lacks else 6}
        assert client.stats.racy_writes == (50 if lacks else 0)


async def test_a_byte_is_a_mask_write() -> None:
    mem = store()
    async with FakeDevice([0xAABB] + [0] * 7) as device, client_of(mem, device) as client:
        mem.PROCESS_STEP = 0x12
        await client.flush()
        assert device.writes == [b"\x16\x00\x00\x00\xff\x12\x00"]
        mem.WORK_MODE = 0x34
        await client.flush()
        assert device.words[0] == 0x1234
        mem.WORK_MODE, mem.PROCESS_STEP = 0x56, 0x78
        await client.flush()
        assert device.words[0] == 0x7856
        assert totals(client) == {"acknowledged": 4}


async def test_a_device_without_mask_write_is_asked_once_for_it() -> None:
    mem = store()
    async with FakeDevice([0] * 8, lacks=(22,)) as device, client_of(mem, device) as client:
        for turn in range(5):
            mem.ERROR_STATE = turn % 2 == 0
            await client.flush()
        assert [request[0] for request in device.writes] == [22, 16, 16, 16, 16, 16]
        assert [request for request in device.reads if request[3:] == b"\x00\x01"] == [b"\x03\x00\x03\x00\x01"] * 5
        assert client.stats.racy_writes == 5
        assert client.stats.errors == {"exception 01": 1}
        assert totals(client) == {"acknowledged": 5}


async def test_read_modify_write_reads_anew_each_time() -> None:
    """A whole-word assignment between the reading and the writing half leaves no stale word behind."""
    mem = store()
    mem.OTHER = MemoryVariable.bool(address=3, bit_number=8)
    async with FakeDevice([0] * 8, lacks=(22,)) as device, client_of(mem, device) as client:
        mem.ERROR_STATE = True
        await client.flush()

        def assign_while_it_is_read(transaction: int, unit: int, pdu: bytes) -> bytes | None:
            if pdu == b"\x03\x00\x03\x00\x01":
                device.script = None
                mem.CONTROL_WORD = 0
            return None

        device.script = assign_while_it_is_read
        mem.ERROR_STATE = True
        await client.flush()
        await client.flush()
        assert device.words[3] == 0
        device.words[3] = 0x00F0  # the device goes on
        mem.OTHER = True
        await client.flush()
        assert device.words[3] == 0x01F0


async def test_a_device_without_fc16_gets_fc06() -> None:
    mem = store()
    async with FakeDevice([0] * 8, lacks=(16,)) as device, client_of(mem, device) as client:
        mem.CURRENT_VALUE = 99999
        mem.CONTROL_WORD = 5
        await client.flush()
        assert device.words[1:4] == [34463, 1, 5]
        assert [request[0] for request in device.writes] == [16, 6, 6, 6]
        assert totals(client) == {"acknowledged": 2}


async def test_neighbours_travel_in_one_request() -> None:
    mem = store()
    async with FakeDevice([0] * 8) as device, client_of(mem, device) as client:
        mem.CURRENT_VALUE = 99999
        mem.CONTROL_WORD = 5
        await client.flush()
        assert device.writes == [b"\x10\x00\x01\x00\x03\x06\x86\x9f\x00\x01\x00\x05"]


async def test_assignments_arrive_in_the_order_they_were_made() -> None:
    mem = store()
    async with FakeDevice([0] * 8) as device, client_of(mem, device) as client:
        mem[7], mem[5], mem[1], mem[3] = 70, 50, 10, 30
        await client.flush()
        assert [request[1:3] for request in device.writes] == [b"\0\x07", b"\0\x05", b"\0\x01", b"\0\x03"]


async def test_a_start_bit_does_not_overtake_its_parameter() -> None:
    """Also when another bit of its word was assigned before the parameter."""
    mem = store()
    mem.ENABLE = MemoryVariable.bool(address=3, bit_number=1)
    mem.START = MemoryVariable.bool(address=3, bit_number=2)
    async with FakeDevice([0] * 8) as device, client_of(mem, device) as client:
        seen: list[tuple[int, int]] = []

        def note(transaction: int, unit: int, pdu: bytes) -> None:
            seen.append((device.words[3], device.words[7]))

        device.script = note
        mem.ENABLE = True
        mem.LAST = 1234
        mem.START = True
        await client.flush()
        seen.append((device.words[3], device.words[7]))
        assert seen[-1] == (0b110, 1234)
        for word, parameter in seen:
            assert not word & 0b100 or parameter == 1234, f"started without its parameter: {seen}"


async def test_a_burst_of_assignments_sends_the_last_and_counts_the_others() -> None:
    mem = store()
    async with FakeDevice([0] * 8) as device, client_of(mem, device) as client:
        for value in range(1, 101):
            mem.CONTROL_WORD = value
        await client.flush()
        assert device.words[3] == 100
        assert len(device.writes) == 1
        assert totals(client) == {"acknowledged": 1, "superseded": 99}


async def test_a_poll_does_not_undo_an_assignment_made_while_it_is_under_way() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device) as client:
        held: list[bytes] = []

        def hold(transaction: int, unit: int, pdu: bytes) -> bytes | None:
            if pdu[0] != 3:
                return None
            held.append(mbap(device.answer(pdu), transaction, unit))
            return SILENCE

        device.script = hold
        refreshed = asyncio.create_task(client.refresh())
        await until(lambda: held)
        mem.CONTROL_WORD = 25
        mem.WORK_MODE = 7
        device.script = None
        device.send(held[0])
        await refreshed
        assert (mem.CONTROL_WORD, mem[0], mem[1]) == (25, 7, 1)
        await client.flush()
        assert (device.words[3], device.words[0]) == (25, 7)
        await client.refresh()
        assert (mem.CONTROL_WORD, mem[0]) == (25, 7)


async def test_a_value_assigned_while_its_write_is_under_way_is_sent_again() -> None:
    mem = store()
    async with FakeDevice([0] * 8) as device, client_of(mem, device) as client:

        def assign_meanwhile(transaction: int, unit: int, pdu: bytes) -> None:
            if pdu[0] == 16:
                device.script = None
                mem.CONTROL_WORD = 2

        device.script = assign_meanwhile
        mem.CONTROL_WORD = 1
        await client.flush()
        await until(lambda: device.words[3] == 2)
        await client.flush()
        assert [request[-2:] for request in device.writes] == [b"\0\x01", b"\0\x02"]
        assert totals(client) == {"acknowledged": 2}


async def test_the_memory_follows_the_device() -> None:
    mem = store()
    async with FakeDevice([0] * 8) as device, client_of(mem, device, period=0.01):
        for value in range(1, 30):
            device.words[1:3] = [value, value]
            await until(lambda: value << 16 | value == mem.CURRENT_VALUE)  # noqa: B023
        assert device.writes == [], "what was only read is not written back"


async def test_both_ends_change_their_own_bits_of_one_word() -> None:
    """The quickstart's word: the device flips ERROR_STATE while the client writes CONTROL_WORD."""
    mem = store()
    async with FakeDevice([0] * 8) as device, client_of(mem, device, period=0.002) as client:

        def flip(transaction: int, unit: int, pdu: bytes) -> None:
            device.words[3] ^= 1

        device.script = flip
        for value in range(2, 400, 2):
            mem.CONTROL_WORD = value
            await client.flush()
            assert device.words[3] & ~1 == value
        device.script = None
        await client.refresh()
        assert mem[3] == device.words[3]


# -- replies that are none


Wrong = Callable[[int, int, bytes, bytes], bytes]

WRONG_READS: dict[str, Wrong] = {
    "wrong function": lambda t, u, _, right: mbap(b"\x04" + right[1:], t, u),
    "wrong byte count": lambda t, u, _, right: mbap(right[:1] + bytes([right[1] + 2]) + right[2:], t, u),
    "too short": lambda t, u, _, right: mbap(right[:1] + bytes([right[1] - 2]) + right[2:-2], t, u),
    "too long": lambda t, u, _, right: mbap(right[:1] + bytes([right[1] + 2]) + right[2:] + b"\0\0", t, u),
    "no data": lambda t, u, _, right: mbap(b"\x03", t, u),
    "exception with a tail": lambda t, u, _, right: mbap(b"\x83\x02\0", t, u),
    "exception of another function": lambda t, u, _, right: mbap(b"\x90\x02", t, u),
}

WRONG_WRITES: dict[str, Wrong] = {
    "another address": lambda t, u, asked, right: mbap(right[:2] + b"\x07" + right[3:], t, u),
    "another quantity": lambda t, u, asked, right: mbap(right[:4] + b"\x02", t, u),
    "the whole request": lambda t, u, asked, right: mbap(asked, t, u),
    "too short": lambda t, u, asked, right: mbap(right[:-1], t, u),
    "wrong function": lambda t, u, asked, right: mbap(b"\x06" + right[1:], t, u),
}


@pytest.mark.parametrize("wrong", WRONG_READS.values(), ids=WRONG_READS)
async def test_a_wrong_reply_to_a_read_changes_nothing(wrong: Wrong) -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device, period=0.01) as client:
        before = mem[:]

        def script(transaction: int, unit: int, pdu: bytes) -> bytes:
            return wrong(transaction, unit, pdu, device.answer(pdu))

        device.script = script
        device.words = [2] * 8
        await until(lambda: client.stats.errors["protocol"] >= 2)
        assert mem[:] == before
        device.script = None
        await client.refresh()
        assert mem[:] == [2] * 8
        assert client.stats.reconnects == 0


@pytest.mark.parametrize("wrong", WRONG_WRITES.values(), ids=WRONG_WRITES)
async def test_after_a_wrong_echo_nobody_claims_the_write_arrived(wrong: Wrong) -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device) as client:

        def script(transaction: int, unit: int, pdu: bytes) -> bytes | None:
            return wrong(transaction, unit, pdu, device.answer(pdu)) if pdu[0] == 16 else None

        device.script = script
        mem.CONTROL_WORD = 2
        with pytest.raises(WriteError, match=r"CONTROL_WORD: unknown, .*answered"):
            await client.flush()
        assert totals(client) == {"unknown": 1}


@pytest.mark.parametrize("unit", [0, 2, 255])
async def test_a_reply_of_another_unit_is_not_taken(unit: int) -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device, timeout=0.05, period=0.01) as client:
        device.words = [2] * 8
        device.script = lambda transaction, _, pdu: mbap(device.answer(pdu), transaction, unit)
        await until(lambda: client.stats.errors["timeout"] >= 3)
        assert mem[:] == [1] * 8
        device.script = None
        await client.refresh()
        assert mem[:] == [2] * 8


async def test_a_reply_to_another_transaction_is_not_taken() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device, timeout=0.05, period=0.01) as client:
        device.words = [2] * 8
        device.script = lambda transaction, unit, pdu: mbap(device.answer(pdu), transaction + 1 & 0xFFFF, unit)
        await until(lambda: client.stats.errors["timeout"] >= 1)
        assert mem[:] == [1] * 8


async def test_a_late_reply_is_dropped() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device, timeout=0.1) as client:
        late: list[bytes] = []

        def hold_the_first(transaction: int, unit: int, pdu: bytes) -> bytes | None:
            if late:
                # The late reply comes right before the one that is waited for.
                return late[0] + mbap(device.answer(pdu), transaction, unit)
            late.append(mbap(device.answer(pdu), transaction, unit))
            return SILENCE

        device.script = hold_the_first
        device.words = [66] * 8
        with pytest.raises(LinkTimeoutError):
            await client.refresh(timeout=0.2)
        assert client.stats.errors == {"timeout": 1}
        device.words = [3] * 8
        await client.refresh()
        assert mem[:] == [3] * 8
        assert client.stats.reconnects == 0


async def test_a_reply_is_taken_once() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device) as client:
        device.script = lambda transaction, unit, pdu: mbap(device.answer(pdu), transaction, unit) * 3
        for value in range(5):
            device.words = [value] * 8
            await client.refresh()
            assert mem[:] == [value] * 8
        assert not client.stats.errors


async def test_a_reply_may_come_byte_by_byte() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device) as client:
        held: list[bytes] = []

        def hold(transaction: int, unit: int, pdu: bytes) -> bytes:
            held.append(mbap(device.answer(pdu), transaction, unit))
            return SILENCE

        device.words = [2] * 8
        device.script = hold
        refreshed = asyncio.create_task(client.refresh())
        await until(lambda: held)
        for byte in held[0]:
            device.send(bytes([byte]))
            await asyncio.sleep(0)
        await refreshed
        assert mem[:] == [2] * 8


async def test_bytes_that_are_not_modbus_break_the_connection_and_a_new_one_is_made() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device, period=0.01) as client:
        device.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await until(lambda: client.stats.reconnects == 1)
        device.words = [2] * 8
        await until(lambda: mem[:] == [2] * 8)
        await until(lambda: client.state is LinkState.ONLINE)


# -- exceptions


async def test_a_refused_write_is_rejected_and_the_device_is_the_truth() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device) as client:
        device.script = lambda t, u, pdu: mbap(bytes([pdu[0] | 0x80, 3]), t, u) if pdu[0] == 16 else None
        mem.CONTROL_WORD = 999
        with pytest.raises(WriteError, match=r"CONTROL_WORD: rejected.*exception 03") as caught:
            await client.flush()
        assert [name for name, _ in caught.value.failures] == ["CONTROL_WORD"]
        await until(lambda: mem.CONTROL_WORD == 1, what="the device's value")
        assert totals(client) == {"rejected": 1}
        assert len(device.writes) == 1
        await client.flush()  # a failure is told once
        device.script = None
        mem.CONTROL_WORD = 2
        await client.flush()
        assert device.words[3] == 2


async def test_a_refused_run_is_tried_variable_by_variable() -> None:
    mem = store()
    mem.A, mem.B, mem.C = (MemoryVariable.word(address) for address in (4, 5, 6))
    async with FakeDevice([1] * 8) as device, client_of(mem, device) as client:

        def refuse_word_5(transaction: int, unit: int, pdu: bytes) -> bytes | None:
            if pdu[0] != 16:
                return None
            address, count = struct.unpack(">HH", pdu[1:5])
            return mbap(b"\x90\x02", transaction, unit) if address <= 5 < address + count else None

        device.script = refuse_word_5
        mem.A, mem.B, mem.C = 40, 50, 60
        with pytest.raises(WriteError, match="B: rejected") as caught:
            await client.flush()
        assert len(caught.value.failures) == 1
        assert device.words[4:7] == [40, 1, 60]
        assert totals(client) == {"acknowledged": 2, "rejected": 1}
        await until(lambda: mem.B == 1, what="the device's value")
        assert (mem.A, mem.C) == (40, 60)


async def test_a_busy_device_is_asked_again() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device) as client:
        busy = [6, 6, 6]
        device.script = lambda t, u, pdu: mbap(bytes([pdu[0] | 0x80, busy.pop()]), t, u) if busy else None
        mem.CONTROL_WORD = 7
        await client.flush()
        assert device.words[3] == 7
        assert len(device.writes) == 4
        assert totals(client) == {"acknowledged": 1}


async def test_what_a_device_has_accepted_is_not_sent_again() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device) as client:

        def accept_one_write(transaction: int, unit: int, pdu: bytes) -> bytes | None:
            if pdu[0] != 16:
                return None
            device.script = None
            device.answer(pdu)
            return mbap(bytes([pdu[0] | 0x80, 5]), transaction, unit)

        device.script = accept_one_write
        mem.CONTROL_WORD = 7
        await client.flush()
        assert device.words[3] == 7
        await client.refresh()
        assert len(device.writes) == 1
        assert mem.CONTROL_WORD == 7
        assert totals(client) == {"acknowledged": 1}


async def test_start_returns_when_the_device_answers_with_exceptions_only() -> None:
    mem = store()
    async with FakeDevice([]) as device, client_of(mem, device) as client:
        assert client.state is LinkState.ONLINE
        assert client.stats.errors["exception 02"] >= 1
        assert mem[:] == [0] * 8


@pytest.mark.parametrize("middle", [5, 11], ids=["in the middle", "at the end"])
async def test_a_block_that_is_refused_keeps_its_values_and_the_others_are_used(middle: int) -> None:
    mem = MemoryStore(12)
    async with FakeDevice([5] * 12) as device, client_of(mem, device, max_read=4) as client:

        def touches(pdu: bytes) -> bool:
            address, count = struct.unpack(">HH", pdu[1:5])
            return bool(address <= middle < address + count)

        def refuse_one_word(transaction: int, unit: int, pdu: bytes) -> bytes | None:
            return mbap(b"\x83\x04", transaction, unit) if touches(pdu) else None

        device.script = refuse_one_word
        device.words = [6] * 12
        await client.refresh()
        expected = [6] * 12
        expected[middle] = 5
        assert mem[:] == expected, "the refused block is halved until only the one word is left out"
        device.words = [7] * 12
        asked = len(device.requests)
        await client.refresh()
        expected = [7] * 12
        expected[middle] = 5
        assert mem[:] == expected
        assert not [pdu for pdu in device.requests[asked:] if touches(pdu)], "and it is not asked for again so soon"


# -- timeouts and lost connections


async def test_a_write_that_timed_out_is_unknown_and_read_back_before_the_next_one() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device, timeout=0.05) as client:

        def swallow_one_write(transaction: int, unit: int, pdu: bytes) -> bytes | None:
            if pdu[0] != 16:
                return None
            device.script = None
            device.answer(pdu)  # it arrived, only the reply did not
            return SILENCE

        device.script = swallow_one_write
        mem.CONTROL_WORD = 2
        with pytest.raises(WriteError, match=r"CONTROL_WORD: unknown, writing holding 3: no answer within 0.05 s"):
            await client.flush()
        asked = len(device.requests)
        mem.CONTROL_WORD = 3
        await client.flush()
        after = device.requests[asked:]
        written = [request[0] for request in after].index(16)
        reads = [struct.unpack(">HH", request[1:]) for request in after[:written]]
        assert any(at <= 3 < at + count for at, count in reads), f"written before it was read back: {after}"
        assert [request[-1] for request in device.writes] == [2, 3], "and never repeated"
        assert totals(client) == {"acknowledged": 1, "unknown": 1}


async def test_a_write_whose_connection_was_lost_is_unknown_and_not_repeated() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device) as client:

        def hang_up(transaction: int, unit: int, pdu: bytes) -> bytes | None:
            if pdu[0] != 16:
                return None
            device.script = None
            device.hang_up()
            return SILENCE

        device.script = hang_up
        mem.CONTROL_WORD = 2
        with pytest.raises(WriteError, match=r"CONTROL_WORD: unknown.*connection was lost"):
            await client.flush()
        await client.refresh()
        assert len(device.writes) == 1
        assert mem.CONTROL_WORD == 1, "the device is the truth"


async def test_a_lost_connection_heals_and_values_hold_meanwhile() -> None:
    mem = store()
    async with FakeDevice([7] * 8) as device, client_of(mem, device, period=0.01) as client:
        for turn in range(3):
            await device.stop()
            await until(lambda: client.state is LinkState.OFFLINE)
            assert mem[:] == [7] * 8 if not turn else mem[:] == [7 + turn - 1] * 8
            mem.LAST = 100 + turn  # assigned while nobody is there
            device.words = [7 + turn] * 8
            await device.start()
            await until(lambda: client.state is LinkState.ONLINE)
            await client.flush()
            assert device.words[7] == 100 + turn
            device.words[7] = 7 + turn
            await client.refresh()
            assert mem[:] == [7 + turn] * 8
        assert client.stats.reconnects == 3


async def test_after_a_reconnect_the_device_is_read_before_it_is_written() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device) as client:
        await device.stop()
        await until(lambda: client.state is LinkState.OFFLINE)
        mem.CONTROL_WORD = 5
        before = len(device.requests)
        await device.start()
        await client.flush()
        assert [request[0] for request in device.requests[before:]][:2] == [3, 16]


async def test_attempts_follow_the_backoff_and_each_outage_begins_anew() -> None:
    taken: list[list[int]] = []

    def counted() -> Iterator[float]:
        taken.append([])
        number = 0
        while True:
            number += 1
            taken[-1].append(number)
            yield 0.01

    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device, backoff=counted, period=0.01) as client:
        for turn in range(1, 4):
            await device.stop()
            await until(lambda: client.state is LinkState.OFFLINE)
            await until(lambda: len(taken) == turn and len(taken[-1]) >= 3)  # noqa: B023
            await device.start()
            await until(lambda: client.state is LinkState.ONLINE)
    assert len(taken) == 3


async def test_a_device_that_falls_silent_is_an_outage_of_its_own_too() -> None:
    taken: list[int] = []

    def counted() -> Iterator[float]:
        taken.append(0)
        while True:
            taken[-1] += 1
            yield 0.01

    mem = store()
    keywords: ClientKeywords = {"backoff": counted, "period": 0.01, "timeout": 0.03}
    async with FakeDevice([1] * 8) as device, client_of(mem, device, **keywords) as client:
        for turn in range(1, 4):
            device.script = lambda *_: SILENCE
            await until(lambda: client.stats.reconnects >= turn)  # noqa: B023
            device.script = None
            await until(lambda: client.state is LinkState.ONLINE)
    assert len(taken) == 3, f"pauses went on growing from outage to outage: {taken}"


async def test_a_half_open_connection_is_replaced() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device, period=0.01, timeout=0.05) as client:
        device.script = lambda *_: SILENCE
        await until(lambda: device.connections >= 2)
        assert client.state is LinkState.OFFLINE
        device.script = None
        await until(lambda: client.state is LinkState.ONLINE)


async def test_a_single_timeout_does_not_cost_the_connection() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device, timeout=0.05) as client:

        def once(*_: object) -> bytes:
            device.script = None
            return SILENCE

        device.script = once
        with pytest.raises(LinkTimeoutError):
            await client.refresh(timeout=0.1)
        await client.refresh()
        assert (device.connections, client.state) == (1, LinkState.ONLINE)


async def test_one_request_is_outstanding_at_a_time() -> None:
    mem = store()
    open_requests = 0
    most = 0
    async with FakeDevice([1] * 8) as device, client_of(mem, device, period=0.001) as client:
        loop = asyncio.get_running_loop()

        def slowly(transaction: int, unit: int, pdu: bytes) -> bytes:
            nonlocal open_requests, most
            open_requests += 1
            most = max(most, open_requests)

            def answer() -> None:
                nonlocal open_requests
                open_requests -= 1
                device.send(mbap(device.answer(pdu), transaction, unit))

            loop.call_later(0.002, answer)
            return SILENCE

        device.script = slowly
        for value in range(30):
            mem.CONTROL_WORD = value
            mem.ERROR_STATE = bool(value % 2)
            await client.flush()
        device.script = None
        await client.refresh()
    assert most == 1


async def test_writes_go_on_while_polls_are_due_all_the_time_and_the_other_way_round() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device, period=0.001, max_read=1) as client:

        def assign_again(*_: object) -> None:
            mem.CONTROL_WORD = (mem.CONTROL_WORD + 1) & 0xFFFF

        device.script = assign_again
        await until(lambda: len(device.writes) > 50 and len(device.reads) > 50)
        kinds = [request[0] for request in device.requests[-100:]]
        assert 30 <= kinds.count(3) <= 70, kinds
        device.script = None
        await client.flush()


# -- starting, waiting, stopping


async def test_nobody_there() -> None:
    mem = store()
    port = free_port()
    client = AsyncModbusClient(mem, f"tcp://127.0.0.1:{port}", timeout=0.2)
    with pytest.raises(ConnectError, match=f"{port}.*refused"):
        await client.start(wait=0.2)
    assert client.state is LinkState.OFFLINE


async def test_a_peer_that_accepts_and_never_answers() -> None:
    async with FakeDevice([1]) as device:
        device.script = lambda *_: SILENCE
        client = client_of(store(), device, timeout=0.05)
        with pytest.raises(ConnectError, match="no answer"):
            await client.start(wait=0.3)


async def test_start_without_waiting_keeps_trying() -> None:
    mem = store()
    async with FakeDevice([4] * 8) as device:
        await device.stop()
        client = client_of(mem, device)
        await client.start(wait=0)
        await until(lambda: client.state is LinkState.OFFLINE)
        mem.CONTROL_WORD = 9
        with pytest.raises(LinkTimeoutError, match="offline"):
            await client.flush(timeout=0.05)
        await device.start()
        await client.flush()
        assert (mem[0], device.words[3]) == (4, 9)
        await client.stop()
        assert client.state is LinkState.CLOSED


async def test_a_failed_start_may_be_tried_again() -> None:
    mem = store()
    async with FakeDevice([4] * 8) as device:
        await device.stop()
        client = client_of(mem, device)
        with pytest.raises(ConnectError):
            await client.start(wait=0.05)
        mem.CONTROL_WORD = 9
        await device.start()
        await client.start()
        await client.flush()
        assert device.words[3] == 9
        await client.stop()


async def test_a_client_runs_once() -> None:
    async with FakeDevice([1] * 8) as device:
        client = client_of(store(), device)
        with pytest.raises(StateError):
            await client.flush()
        async with client:
            with pytest.raises(StateError):
                await client.start()
        await client.stop()
        await client.wait_closed()
        for call in (client.start, client.flush, client.refresh, client.read_device_identification):
            verb: Callable[[], Awaitable[Any]] = call
            with pytest.raises(StateError):
                await verb()


async def test_stopping_sends_what_is_pending() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device:
        client = client_of(mem, device, linger=2.0)
        await client.start()
        mem.CONTROL_WORD, mem.LAST = 5, 6
        await client.stop()
        assert (device.words[3], device.words[7]) == (5, 6)
        mem.CONTROL_WORD = 8  # nobody carries it away any more; the next client does
        async with client_of(mem, device) as other:
            await other.flush()
            assert device.words[3] == 8
            assert totals(other) == {"acknowledged": 1}, "what was delivered is not sent again"


async def test_stopping_is_bounded_when_the_device_does_not_answer() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device:
        client = client_of(mem, device, linger=0.05)
        await client.start()
        device.script = lambda *_: SILENCE
        mem.CONTROL_WORD = 5
        began = asyncio.get_running_loop().time()
        await client.stop()
        assert asyncio.get_running_loop().time() - began < 1.0
        assert totals(client) == {"unknown": 1}


async def test_flush_and_refresh_say_when_their_time_is_up() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device) as client:
        device.script = lambda *_: SILENCE
        mem.CONTROL_WORD = 5
        with pytest.raises(LinkTimeoutError, match=r"flush: 1 assignment.* after 0.05 s"):
            await client.flush(timeout=0.05)
        with pytest.raises(LinkTimeoutError, match=r"refresh: no complete exchange after 0.05 s"):
            await client.refresh(timeout=0.05)
        assert client.ledger.pending == 1


async def test_flush_answers_for_what_was_assigned_before_it_only() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device, client_of(mem, device) as client:

        def keep_on_assigning(transaction: int, unit: int, pdu: bytes) -> None:
            if pdu[0] == 16:
                mem.LAST = (mem.LAST + 1) & 0xFFFF

        device.script = keep_on_assigning
        mem.LAST = 1
        await client.flush(timeout=2.0)
        device.script = None


async def test_flush_with_nothing_assigned_returns_at_once() -> None:
    async with FakeDevice([1] * 8) as device, client_of(store(), device) as client:
        device.script = lambda *_: SILENCE
        await client.flush(timeout=0)


async def test_stopping_ends_those_who_wait() -> None:
    mem = store()
    async with FakeDevice([1] * 8) as device:
        client = client_of(mem, device)
        await client.start()
        device.script = lambda *_: SILENCE
        mem.CONTROL_WORD = 1
        waiting = [
            asyncio.create_task(client.flush(timeout=30)),
            asyncio.create_task(client.refresh(timeout=30)),
            asyncio.create_task(client.read_device_identification(timeout=30)),
        ]
        await until(lambda: len(device.requests) > 1)
        await client.stop()
        async with asyncio.timeout(2.0):
            results = await asyncio.gather(*waiting, return_exceptions=True)
        # The write was under way: its fate is unknown, which flush() can tell. The others were cut short.
        assert isinstance(results[0], WriteError | StateError)
        assert isinstance(results[1], StateError)
        assert isinstance(results[2], StateError | OSError)


async def test_statistics() -> None:
    async with FakeDevice([1] * 8) as device, client_of(store(), device, max_read=4) as client:
        for _ in range(3):
            await client.refresh()
        stats = client.stats
        assert stats.cycles == 4
        assert stats.requests == len(device.requests) == 8
        assert 0 < stats.cycle_time < PATIENT
        assert (stats.reconnects, stats.racy_writes, dict(stats.errors)) == (0, 0, {})


PATIENT = 5.0


async def test_a_variable_declared_later_is_exchanged() -> None:
    mem = MemoryStore(300)
    async with FakeDevice(list(range(300))) as device, client_of(mem, device) as client:
        mem.LATE = MemoryVariable.uint32(124)
        await client.refresh()
        assert mem.LATE == 125 << 16 | 124
        assert (124).to_bytes(2, "big") in {request[1:3] for request in device.reads[-3:]}, "and cut no more"
        mem.LATE = 7
        await client.flush()
        assert device.words[124:126] == [7, 0]


async def test_a_gateway_forwards_what_a_remote_client_writes() -> None:
    """A store with a server and a client attached: remote writes go on to the device, without echo."""
    mem, far = store(), store()
    async with (
        FakeDevice([1] * 8) as device,
        client_of(mem, device) as gateway,
        AsyncModbusServer(mem, FREE) as server,
        AsyncModbusClient(far, server.endpoint, period=0.01) as client,
    ):
        far.CONTROL_WORD = 25
        await client.flush()
        await gateway.flush()
        assert device.words[3] == 25
        far.ERROR_STATE = False
        await client.flush()
        await gateway.flush()
        assert device.words[3] == 24
        assert [request[0] for request in device.writes] == [16, 22]
        device.words[7] = 4711
        await gateway.refresh()
        await until(lambda: far.LAST == 4711)
        assert len(device.writes) == 2, "what the device says is not sent back to it"


async def test_device_identification_of_a_device_that_does_not_tell() -> None:
    async with FakeDevice([1] * 8) as device, client_of(store(), device) as client:
        device.script = lambda t, u, pdu: mbap(bytes([pdu[0] | 0x80, 1]), t, u) if pdu[0] == 43 else None
        with pytest.raises(DeviceError, match="exception 01"):
            await client.read_device_identification()


async def test_device_identification_in_parts() -> None:
    parts = {
        0: b"\x2b\x0e\x03\x83\xff\x01\x01" + b"\x00\x03ACM",
        1: b"\x2b\x0e\x03\x83\x00\x00\x02" + b"\x01\x02P1" + b"\x02\x031.0",
    }
    async with FakeDevice([1] * 8) as device, client_of(store(), device) as client:
        device.script = lambda t, u, pdu: mbap(parts[pdu[3]], t, u) if pdu[0] == 43 else None
        assert await client.read_device_identification() == {0: "ACM", 1: "P1", 2: "1.0"}


@pytest.mark.parametrize(
    ("keywords", "told"),
    [
        ({"unit": 256}, "unit"),
        ({"unit": True}, "unit"),
        ({"period": 0}, "period"),
        ({"period": float("nan")}, "period"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": "1"}, "timeout"),
        ({"max_read": 126}, "max_read"),
        ({"max_write": 0}, "max_write"),
        ({"linger": None}, "linger"),
    ],
)
def test_keywords_outside_their_limits(keywords: dict[str, Any], told: str) -> None:
    with pytest.raises(DeclarationError, match=told):
        AsyncModbusClient(MemoryStore(1), **keywords)


def test_what_is_no_store() -> None:
    with pytest.raises(DeclarationError, match="not a MemoryStore"):
        AsyncModbusClient("memory")  # type: ignore[arg-type]


async def test_waiting_times_are_checked() -> None:
    async with FakeDevice([1] * 8) as device, client_of(store(), device) as client:
        for verb in (client.flush, client.refresh):
            with pytest.raises(DeclarationError, match="timeout"):
                await verb(timeout=-1)
    with pytest.raises(DeclarationError, match="wait"):
        await client_of(store(), device).start(wait="soon")  # type: ignore[arg-type]


async def test_small_messages_are_not_held_back() -> None:
    """Nagle's algorithm would hold the second of two messages until the first is acknowledged: up to 40 ms."""
    async with (
        AsyncModbusServer(MemoryStore(4), FREE) as server,
        AsyncModbusClient(MemoryStore(4), server.endpoint) as client,
    ):
        assert client._conversation.link is not None
        (peer,) = server._peers
        for channel in (client._conversation.link._channel, peer._channel):
            assert channel is not None
            sock = channel.transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
