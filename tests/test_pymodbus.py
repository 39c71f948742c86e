"""Against pymodbus: its client with our server, our client with its server, its PDUs and frames as an oracle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus import FramerType
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu import register_message as theirs
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from msm import AsyncModbusClient, AsyncModbusServer, MemoryStore, MemoryVariable
from msm.wire import pdu
from msm.wire.framing import frame
from tests.support import FREE, port_of, until


@asynccontextmanager
async def their_client(endpoint: str) -> AsyncIterator[AsyncModbusTcpClient]:
    client = AsyncModbusTcpClient("127.0.0.1", port=port_of(endpoint), framer=FramerType.SOCKET, retries=0, timeout=5)
    assert await client.connect()
    try:
        yield client
    finally:
        client.close()


@asynccontextmanager
async def their_server(words: list[int]) -> AsyncIterator[str]:
    device = SimDevice(id=1, simdata=[SimData(0, values=words, datatype=DataType.REGISTERS)])
    server = ModbusTcpServer(device, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        assert isinstance(server.transport, asyncio.Server)  # pymodbus calls both kinds a transport
        yield f"tcp://127.0.0.1:{server.transport.sockets[0].getsockname()[1]}"
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]


# -- its client, our server


async def test_their_client_reads_and_writes_our_memory() -> None:
    mem = MemoryStore(130)
    mem.CURRENT_VALUE = MemoryVariable.uint32(address=1)
    mem.CURRENT_VALUE = 99999
    async with AsyncModbusServer(mem, FREE) as server, their_client(server.endpoint) as client:
        read = await client.read_holding_registers(1, count=2)
        assert read.registers == [34463, 1]
        assert client.convert_from_registers(read.registers, client.DATATYPE.UINT32, word_order="little") == 99999
        assert (await client.read_holding_registers(0, count=125)).registers == [0, 34463, 1] + [0] * 122

        assert not (await client.write_register(3, 25)).isError()
        assert mem[3] == 25
        assert not (await client.write_registers(7, list(range(123)))).isError()
        assert mem[7:130] == list(range(123))
        assert not (await client.mask_write_register(address=3, and_mask=0xFFF0, or_mask=0x0005)).isError()
        assert mem[3] == 25 & 0xFFF0 | 5
        both = await client.readwrite_registers(read_address=2, read_count=3, write_address=4, values=[77])
        assert both.registers == [1, mem[3], 77]
        assert mem[4] == 77


async def test_their_client_understands_our_refusals() -> None:
    async with AsyncModbusServer(MemoryStore(8), FREE) as server, their_client(server.endpoint) as client:
        assert (await client.read_holding_registers(8, count=1)).exception_code == 2
        assert (await client.write_registers(7, [1, 2])).exception_code == 2
        assert (await client.report_device_id()).exception_code == 1
        assert (await client.read_holding_registers(0, count=1, device_id=9)).exception_code == 11
        assert not (await client.read_holding_registers(0, count=8)).isError()


async def test_their_client_and_ours_at_one_server() -> None:
    far, near = MemoryStore(8), MemoryStore(8)
    async with (
        AsyncModbusServer(far, FREE) as server,
        AsyncModbusClient(near, server.endpoint, period=0.005),
        their_client(server.endpoint) as client,
    ):
        await client.write_register(5, 500)
        await until(lambda: near[5] == 500)
        near[6] = 600
        await until(lambda: far[6] == 600)
        assert (await client.read_holding_registers(5, count=2)).registers == [500, 600]


# -- our client, its server


async def test_our_client_keeps_their_server_and_our_memory_the_same() -> None:
    mem = MemoryStore(200)
    mem.CURRENT_VALUE = MemoryVariable.uint32(address=1)
    mem.CONTROL_WORD = MemoryVariable.word(address=3)
    mem.ERROR_STATE = MemoryVariable.bool(address=3, bit_number=0)
    mem.HIGH = MemoryVariable.byte(address=4, byte_number=1)
    words = list(range(1000, 1200))
    async with (
        their_server(words) as endpoint,
        AsyncModbusClient(mem, endpoint, period=0.01) as client,
        their_client(endpoint) as other,
    ):
        assert mem[:] == words
        mem.CURRENT_VALUE = 99999
        mem.CONTROL_WORD = 0x1234
        mem.HIGH = 0xAB
        await client.flush()
        mem.ERROR_STATE = True
        await client.flush()
        there = (await other.read_holding_registers(0, count=6)).registers
        assert there == [1000, 34463, 1, 0x1235, 0xAB00 | 1004 & 0xFF, 1005]
        assert (await other.read_holding_registers(190, count=10)).registers == words[190:]
        await other.write_register(150, 4711)
        await until(lambda: mem[150] == 4711)
        mem[60:183] = range(123)
        await client.flush()
        assert (await other.read_holding_registers(60, count=123)).registers == list(range(123))
        assert not client.stats.errors
        assert client.ledger.acknowledged == client.ledger.total == 5


async def test_our_client_at_a_server_with_less_memory() -> None:
    mem = MemoryStore(8)
    async with their_server([5] * 4) as endpoint, AsyncModbusClient(mem, endpoint, max_read=4) as client:
        assert mem[:] == [5] * 4 + [0] * 4
        mem[0] = 1
        await client.flush()
        assert client.stats.errors["exception 02"] >= 1


async def test_their_server_has_no_device_identification_of_ours_to_tell_but_answers() -> None:
    async with their_server([0]) as endpoint, AsyncModbusClient(MemoryStore(1), endpoint) as client:
        told = await client.read_device_identification()
        assert all(isinstance(text, str) for text in told.values())


# -- its PDUs and frames as an oracle

address = st.integers(0, 0xFFFF)
word = st.integers(0, 0xFFFF)


def encoded(message: ModbusPDU) -> bytes:
    return bytes([message.function_code]) + message.encode()


@given(address, st.integers(1, 125))
def test_read_requests_are_the_same(at: int, count: int) -> None:
    ours = pdu.read(3, at, count)
    assert ours == encoded(theirs.ReadHoldingRegistersRequest(address=at, count=count))
    assert pdu.parse_read(ours, pdu.MAX_READ_WORDS) == (at, count)


@given(address, word)
def test_single_writes_are_the_same(at: int, value: int) -> None:
    ours = pdu.write_word(at, value.to_bytes(2, "big"))
    assert ours == encoded(theirs.WriteSingleRegisterRequest(address=at, registers=[value]))


@given(address, st.lists(word, min_size=1, max_size=123))
def test_writes_are_the_same(at: int, values: list[int]) -> None:
    ours = pdu.write_words(at, b"".join(value.to_bytes(2, "big") for value in values))
    assert ours == encoded(theirs.WriteMultipleRegistersRequest(address=at, registers=values))


@given(address, word, word)
def test_mask_writes_are_the_same(at: int, mask: int, value: int) -> None:
    ours = pdu.mask_write(at, mask, value)
    and_mask, or_mask = mask ^ 0xFFFF, value & mask
    assert ours == encoded(theirs.MaskWriteRegisterRequest(address=at, and_mask=and_mask, or_mask=or_mask))


@given(address, st.integers(1, 125), address, st.lists(word, min_size=1, max_size=121))
def test_read_writes_are_the_same(at: int, count: int, to: int, values: list[int]) -> None:
    request = theirs.ReadWriteMultipleRegistersRequest(
        read_address=at, read_count=count, write_address=to, write_registers=values
    )
    parsed = pdu.parse_read_write(encoded(request))
    words = b"".join(value.to_bytes(2, "big") for value in values)
    assert parsed == (at, count, (to, len(values), words))


@given(st.integers(0, 0xFFFF), st.integers(0, 255), st.binary(min_size=1, max_size=253))
def test_frames_are_the_same(transaction: int, unit: int, message: bytes) -> None:
    assert frame(transaction, unit, message) == FramerSocket(DecodePDU(False)).encode(message, unit, transaction)


@pytest.mark.parametrize("code", range(1, 12))
def test_refusals_are_the_same(code: int) -> None:
    from pymodbus.pdu import ExceptionResponse

    assert pdu.refusal(3, code) == encoded(ExceptionResponse(3, exception_code=code))
