"""Servers on other people's libraries, our client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal

import pytest

from msm import DeviceError, LinkState, MemoryStore, MemoryVariable, ModbusClient, WriteError
from tests.counterparts.programs import BITS, INPUTS, WORDS, Library, Server
from tests.support import PATIENCE, wait_until

TIMEOUT = 5.0  # seconds for a transaction: a busy machine is not a fault


@pytest.fixture(scope="module")
def device(library: Library, binaries: Path) -> Iterator[Server]:
    with Server(library, binaries) as server:
        yield server


def memory(words: int = WORDS, inputs: int = INPUTS, bits: int = BITS) -> MemoryStore:
    mem = MemoryStore(words, input_registers=inputs, coils=bits, discrete_inputs=bits)
    mem.CURRENT_VALUE = MemoryVariable.uint32(address=1)
    mem.CONTROL_WORD = MemoryVariable.word(address=3)
    mem.ERROR_STATE = MemoryVariable.bool(address=4, bit_number=9)
    mem.HIGH = MemoryVariable.byte(address=5, byte_number=1)
    mem.FLOW = MemoryVariable.float64(address=10)
    mem.VALVE = MemoryVariable.coil(3)
    mem.DOORS = MemoryVariable.coil(20, count=5)
    mem.LEVEL = MemoryVariable.uint16(4, table="input")
    mem.LIMIT = MemoryVariable.discrete(7)
    return mem


def shown(mem: MemoryStore) -> dict[str, list[int]]:
    return {
        table: [int(mem.get_value(at, table=table)) for at in range(mem.get_size(table))]
        for table in ("holding", "input", "coil", "discrete")
    }


def client_of(mem: MemoryStore, device: Server, period: float = 0.02, timeout: float = TIMEOUT) -> ModbusClient:
    return ModbusClient(mem, device.endpoint, period=period, timeout=timeout)


def balances(client: ModbusClient) -> bool:
    ledger = client.ledger
    fates = (ledger.acknowledged, ledger.superseded, ledger.rejected, ledger.expired, ledger.unknown, ledger.pending)
    return ledger.total == sum(fates)


def test_the_first_exchange_pulls_and_writes_nothing(device: Server) -> None:
    there = device.fill(1)
    mem = memory()
    with client_of(mem, device) as client:
        assert shown(mem) == there
        client.refresh()
        assert client.ledger.total == 0
        assert not client.stats.errors
        assert there["input"][4] == mem.LEVEL
        assert there["discrete"][7] == mem.LIMIT
    assert device.everything() == there


def test_what_was_assigned_before_is_sent_after_the_pull(device: Server) -> None:
    there = device.fill(2)
    mem = memory()
    mem.CONTROL_WORD = 25
    with client_of(mem, device) as client:
        client.flush()
        there["holding"][3] = 25
        assert device.everything() == there
        assert client.ledger.acknowledged == client.ledger.total == 1


def test_assignments_arrive_and_only_these(device: Server) -> None:
    there = device.fill(3)
    mem = memory()
    with client_of(mem, device) as client:
        mem.CURRENT_VALUE = 99999
        mem.CONTROL_WORD = 0x1234
        mem.FLOW = -12.5
        mem[60:WORDS] = range(7000, 7000 + WORDS - 60)
        client.flush()
        there["holding"][1:4] = [34463, 1, 0x1234]
        there["holding"][10:14] = [0, 0, 0, 0xC029]
        there["holding"][60:WORDS] = range(7000, 7000 + WORDS - 60)
        assert device.everything() == there
        client.refresh()
        assert shown(mem) == there
        assert (mem.CURRENT_VALUE, mem.FLOW) == (99999, -12.5)
        assert client.ledger.acknowledged == client.ledger.total == 4
        assert client.stats.racy_writes == 0


def test_coils_arrive_and_only_these(device: Server) -> None:
    there = device.fill(4)
    mem = memory()
    with client_of(mem, device) as client:
        for valve in (True, False, True):
            mem.VALVE = valve
            client.flush()
            there["coil"][3] = int(valve)
            assert device.everything() == there
        doors = [not there["coil"][at] for at in range(20, 25)]
        mem.DOORS = doors
        client.flush()
        there["coil"][20:25] = doors
        assert device.everything() == there
        client.refresh()
        assert shown(mem) == there
        assert client.ledger.acknowledged == client.ledger.total == 4


def test_parts_of_words_arrive_and_only_these(device: Server, library: Library) -> None:
    """By mask write, or else by reading and writing back the word, which is counted."""
    there = device.fill(5)
    mem = memory()
    with client_of(mem, device, timeout=0.5 if library.silent_mask_write else TIMEOUT) as client:
        if library.silent_mask_write:
            # It drops the function that it does not know. What became of that write nobody knows, until it is clear.
            for unknown in (1, 2, 3):
                mem.ERROR_STATE = True
                with pytest.raises(WriteError, match="unknown"):
                    client.flush()
                assert client.ledger.unknown == unknown
                assert device.everything() == there
        for state in (True, False, True):
            mem.ERROR_STATE = state
            client.flush()
            word = there["holding"][4] & ~0x200 | (0x200 if state else 0)
            there["holding"][4] = word
            assert device.everything() == there
        mem.HIGH = 0xAB
        client.flush()
        there["holding"][5] = 0xAB00 | there["holding"][5] & 0xFF
        assert device.everything() == there
        assert client.ledger.acknowledged == 4
        assert balances(client)
        assert client.stats.racy_writes == (0 if library.mask_write else 4)
        told = not library.mask_write and not library.silent_mask_write
        assert client.stats.errors["exception 01"] == told


def test_every_function_that_writes(device: Server, library: Library) -> None:
    """05, 06, 15 and 16, whichever way it is told to; and 23, where the device has it."""
    there = device.fill(10)
    ways: tuple[tuple[Literal["single", "multiple"], tuple[int, int]], ...] = (
        ("single", (1, 0)),
        ("multiple", (0, 1)),
    )
    for function, values in ways:
        mem = memory()
        client = ModbusClient(mem, device.endpoint, period=0.02, timeout=TIMEOUT, write_function=function)
        with client:
            for value in values:
                mem.CONTROL_WORD = 0x5500 + value
                mem.VALVE = value
                client.flush()
                there["holding"][3], there["coil"][3] = 0x5500 + value, value
                assert device.everything() == there
    if library.silent_mask_write:
        return  # it drops whatever function it does not know
    with client_of(mem := memory(), device) as client:
        if not library.read_write:
            with pytest.raises(DeviceError):
                client.read_write(2, 3, 3, [7, 8])
            return
        assert client.read_write(2, 3, 3, [7, 8]) == [there["holding"][2], 7, 8]
        there["holding"][3:5] = [7, 8]
        assert device.everything() == there
        client.refresh()
        assert mem.CONTROL_WORD == 7


def test_changes_of_the_device_are_seen(device: Server) -> None:
    device.fill(6)
    mem = memory()
    with client_of(mem, device) as client:
        device.set("holding", 1, 34463, 1)
        device.set("input", 4, 4711)
        device.set("coil", 3, 1)
        device.set("discrete", 7, 0)
        client.refresh()
        assert (mem.CURRENT_VALUE, mem.LEVEL, mem.VALVE, mem.LIMIT) == (99999, 4711, True, False)
        device.set("coil", 3, 0)
        device.set("discrete", 7, 1)
        wait_until(lambda: not mem.VALVE and mem.LIMIT)
        assert shown(mem) == device.everything()
        assert client.ledger.total == 0


def test_a_device_with_less_memory(device: Server, library: Library) -> None:
    """What it has is exchanged, the rest is left out and told, and a write there is refused."""
    there = device.fill(7)
    mem = memory(words=WORDS + 4)
    mem.BEYOND = MemoryVariable.word(address=WORDS + 2)
    with client_of(mem, device) as client:
        if library.short_replies:
            # It answers with less than it was asked for: none of that is taken for a value.
            wait_until(lambda: client.stats.errors["protocol"] > 2)
            assert mem[:] == [0] * (WORDS + 4)
            assert mem.info("CONTROL_WORD").quality == "never"
            assert mem.info("LEVEL").words == (there["input"][4],)
            assert f"answered with {2 * WORDS} bytes, not {2 * WORDS + 8}" in client.diagnose()
            return
        wait_until(lambda: f"holding {WORDS}" in client.diagnose(), what="the hole is known")
        wait_until(lambda: mem[:WORDS] == there["holding"], what="the rest is read")
        assert mem.info("BEYOND").quality == "bad"
        mem.BEYOND = 5
        mem.CONTROL_WORD = 26
        with pytest.raises(WriteError) as caught:
            client.flush()
        assert [failure[0] for failure in caught.value.failures] == ["BEYOND"]
        there["holding"][3] = 26
        assert device.everything() == there
        assert (client.ledger.rejected, client.ledger.acknowledged) == (1, 1)
        assert balances(client)


def test_many_requests_in_flight(device: Server) -> None:
    """Where the device copes with it; where it does not, they go one after the other."""
    there = device.fill(8)
    mem = memory()
    client = ModbusClient(mem, device.endpoint, period=0.005, timeout=0.5, max_in_flight=16, max_read=5)
    with client:
        for number in range(20):
            mem.CURRENT_VALUE = number << 16 | number
            mem.CONTROL_WORD = number
            mem.VALVE = number % 2
        with suppress(WriteError):  # where the device does not cope, what was out together is unknown
            client.flush()
        assert client.ledger.total == 60
        assert balances(client)
        device.set("holding", 100, 4711)
        client.refresh()
        mem.CURRENT_VALUE = 99999
        mem.CONTROL_WORD = 27
        mem.VALVE = True
        client.flush()
        client.refresh()
    there["holding"][1:4] = [34463, 1, 27]
    there["holding"][100] = 4711
    there["coil"][3] = 1
    assert device.everything() == there
    assert shown(mem) == there


def test_a_device_that_is_restarted(library: Library, binaries: Path) -> None:
    mem = memory()
    with Server(library, binaries) as device:
        there = device.fill(9)
        client = client_of(mem, device)
        client.run()
    with ExitStack() as last:
        last.callback(client.kill)
        wait_until(lambda: client.state is LinkState.OFFLINE, what="the loss is noticed")
        assert shown(mem) == there
        assert mem.info("CONTROL_WORD").quality == "stale"
        mem.CURRENT_VALUE = 99999
        with Server(library, binaries, device.port) as device:
            # It has forgotten everything: zeros, but for what is still to be sent.
            client.flush(timeout=PATIENCE)
            client.refresh()
            expected = {table: [0] * len(values) for table, values in there.items()}
            expected["holding"][1:3] = [34463, 1]
            assert device.everything() == expected
            assert shown(mem) == expected
            assert client.ledger.acknowledged == client.ledger.total == 1
            assert client.stats.reconnects >= 1
            assert mem.info("CONTROL_WORD").quality == "good"
