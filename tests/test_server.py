"""The server, spoken to in raw bytes over real sockets."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from msm import AsyncModbusServer, BindError, DeclarationError, MemoryStore, MemoryVariable, ModbusServer, StateError
from tests.support import FREE, PATIENCE, Deadline, RawClient, mbap, taken_port, until

SIZE = 130


@pytest.fixture
def mem() -> MemoryStore:
    store = MemoryStore(SIZE)
    for address in range(SIZE):
        store[address] = 0x1000 + address
    return store


@pytest.fixture
def server(mem: MemoryStore) -> Iterator[ModbusServer]:
    with ModbusServer(mem, FREE) as running:
        yield running


@pytest.fixture
def raw(server: ModbusServer) -> Iterator[RawClient]:
    with RawClient(server.endpoint) as client:
        yield client


def words(*values: int) -> bytes:
    return struct.pack(f">{len(values)}H", *values)


def read(address: int, count: int) -> bytes:
    return struct.pack(">BHH", 3, address, count)


def write_one(address: int, value: int) -> bytes:
    return struct.pack(">BHH", 6, address, value)


def write(address: int, *values: int, count: int | None = None, size: int | None = None) -> bytes:
    data = words(*values)
    head = (16, address, len(values) if count is None else count, len(data) if size is None else size)
    return struct.pack(">BHHB", *head) + data


def mask(address: int, and_mask: int, or_mask: int) -> bytes:
    return struct.pack(">BHHH", 22, address, and_mask, or_mask)


def read_write(
    from_: int, count: int, to: int, *values: int, many: int | None = None, size: int | None = None
) -> bytes:
    data = words(*values)
    many = len(values) if many is None else many
    return struct.pack(">BHHHHB", 23, from_, count, to, many, len(data) if size is None else size) + data


# -- what each function does


def test_reading(raw: RawClient) -> None:
    assert raw.ask(read(0, 1)) == b"\x03\x02\x10\x00"
    assert raw.ask(read(3, 2)) == b"\x03\x04\x10\x03\x10\x04"
    assert raw.ask(read(5, 125)) == b"\x03\xfa" + words(*range(0x1005, 0x1005 + 125))


def test_writing_one_word(raw: RawClient, mem: MemoryStore) -> None:
    request = write_one(7, 0xBEEF)
    assert raw.ask(request) == request
    assert mem[6:9] == [0x1006, 0xBEEF, 0x1008]


def test_writing_words(raw: RawClient, mem: MemoryStore) -> None:
    assert raw.ask(write(1, 34463, 1)) == b"\x10\x00\x01\x00\x02"
    assert mem[0:4] == [0x1000, 34463, 1, 0x1003]
    assert raw.ask(write(SIZE - 123, *range(123))) == struct.pack(">BHH", 16, SIZE - 123, 123)
    assert mem[SIZE - 123 :] == list(range(123))


def test_mask_write_is_the_formula_of_the_specification(raw: RawClient, mem: MemoryStore) -> None:
    # The example of section 6.16: 12 with AND F2 and OR 25 becomes 17.
    mem[4] = 0x12
    request = mask(4, 0xF2, 0x25)
    assert raw.ask(request) == request
    assert mem[4] == 0x17
    raw.ask(mask(4, 0xFFFE, 0x0001))
    assert mem[4] == 0x17
    raw.ask(mask(4, 0xFFFE, 0x0000))
    assert mem[4] == 0x16


def test_read_write_writes_first(raw: RawClient, mem: MemoryStore) -> None:
    assert raw.ask(read_write(2, 3, 3, 0xAAAA)) == b"\x17\x06" + words(0x1002, 0xAAAA, 0x1004)
    assert mem[3] == 0xAAAA
    longest = raw.ask(read_write(0, 125, 0, *range(121)))
    assert longest == b"\x17\xfa" + words(*range(121), *range(0x1000 + 121, 0x1000 + 125))


def test_variables_see_what_a_client_writes(raw: RawClient, mem: MemoryStore) -> None:
    mem.CURRENT_VALUE = MemoryVariable.uint32(address=1)
    raw.ask(write(1, 34463, 1))
    assert mem.CURRENT_VALUE == 99999


# -- what is refused, in the order of the specification: function, quantity, address


REFUSED = {
    "read nothing": (read(0, 0), 3),
    "read too many": (read(0, 126), 3),
    "read 65535": (read(0, 0xFFFF), 3),
    "read too many where nothing is": (read(0xFFFF, 126), 3),
    "read short": (read(0, 1)[:-1], 3),
    "read long": (read(0, 1) + b"\0", 3),
    "read: function only": (b"\x03", 3),
    "read behind": (read(SIZE, 1), 2),
    "read across the end": (read(SIZE - 1, 2), 2),
    "read at the end of addresses": (read(0xFFFF, 125), 2),
    "write one short": (write_one(0, 1)[:-1], 3),
    "write one long": (write_one(0, 1) + b"\0", 3),
    "write one behind, short": (write_one(SIZE, 1)[:-1], 3),
    "write one behind": (write_one(SIZE, 1), 2),
    "write nothing": (write(0), 3),
    "write too many": (write(0, *range(123), count=124), 3),
    "write with a wrong byte count": (write(0, 1, 2, size=3), 3),
    "write with byte count of another quantity": (write(0, 1, 2, count=1), 3),
    "write with less than it says": (write(0, 1, 2)[:-1], 3),
    "write with more than it says": (write(0, 1, 2) + b"\0", 3),
    "write nothing where nothing is": (write(SIZE), 3),
    "write: function only": (b"\x10", 3),
    "write without data": (write(0, 1)[:5], 3),
    "write behind": (write(SIZE, 1), 2),
    "write across the end": (write(SIZE - 1, 1, 2), 2),
    "mask short": (mask(0, 0, 1)[:-1], 3),
    "mask long": (mask(0, 0, 1) + b"\0", 3),
    "mask behind": (mask(SIZE, 0, 1), 2),
    "read-write nothing read": (read_write(0, 0, 0, 1), 3),
    "read-write too many read": (read_write(0, 126, 0, 1), 3),
    "read-write nothing written": (read_write(0, 1, 0), 3),
    "read-write too many written": (read_write(0, 1, 0, *range(121), many=122, size=244), 3),
    "read-write with a wrong byte count": (read_write(0, 1, 0, 1, 2, size=3), 3),
    "read-write short": (read_write(0, 1, 0, 1)[:-1], 3),
    "read-write long": (read_write(0, 1, 0, 1) + b"\0", 3),
    "read-write: function only": (b"\x17", 3),
    "read-write quantity before address": (read_write(SIZE, 126, 0, 1), 3),
    "read-write read behind": (read_write(SIZE, 1, 0, 1), 2),
    "read-write written behind": (read_write(0, 1, SIZE, 1), 2),
    "read-write read across the end": (read_write(SIZE - 1, 2, 0, 1), 2),
    "read-write written across the end": (read_write(0, 1, SIZE - 1, 1, 2), 2),
}


@pytest.mark.parametrize(("request_pdu", "code"), REFUSED.values(), ids=REFUSED)
def test_a_refused_request_is_told_why_and_changes_nothing(
    raw: RawClient, mem: MemoryStore, request_pdu: bytes, code: int
) -> None:
    before = mem[:]
    assert raw.ask(request_pdu) == bytes([request_pdu[0] | 0x80, code])
    assert mem[:] == before
    assert raw.ask(read(0, 1)) == b"\x03\x02\x10\x00", "the connection goes on"


SERVED = {1, 2, 3, 4, 5, 6, 15, 16, 22, 23}  # 1, 2, 4, 5 and 15 come with the other tables


@pytest.mark.parametrize("rest", [b"", b"\0\0\0\x01", b"\xff" * 20], ids=["alone", "like a read", "long"])
def test_other_functions_are_refused_by_their_own_code(raw: RawClient, mem: MemoryStore, rest: bytes) -> None:
    before = mem[:]
    for function in sorted(set(range(256)) - SERVED):
        assert raw.ask(bytes([function]) + rest) == bytes([function | 0x80, 1]), function
    assert mem[:] == before


# -- frames in a stream


def test_all_frames_of_a_segment_are_answered_in_order(raw: RawClient) -> None:
    asked = [(transaction, read(transaction % 100, 1 + transaction % 20)) for transaction in range(1, 101)]
    raw.send(b"".join(mbap(pdu, transaction) for transaction, pdu in asked))
    for transaction, pdu in asked:
        address, count = struct.unpack(">HH", pdu[1:])
        expected = bytes([3, 2 * count]) + words(*range(0x1000 + address, 0x1000 + address + count))
        assert raw.frame() == (transaction, 1, expected)


def test_writes_and_reads_of_a_segment_take_effect_in_order(raw: RawClient) -> None:
    raw.send(mbap(write_one(0, 1), 1) + mbap(read(0, 1), 2) + mbap(write_one(0, 2), 3) + mbap(read(0, 1), 4))
    replies = [raw.frame() for _ in range(4)]
    assert [transaction for transaction, _, _ in replies] == [1, 2, 3, 4]
    assert (replies[1][2], replies[3][2]) == (b"\x03\x02\0\x01", b"\x03\x02\0\x02")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 7, 8, 11, 13])
def test_frames_split_anywhere_are_put_together(raw: RawClient, size: int) -> None:
    data = mbap(read(0, 1), 1) + mbap(write(8, 1, 2), 2) + mbap(read(9, 2), 3)
    for at in range(0, len(data), size):
        raw.send(data[at : at + size])
    assert [raw.frame() for _ in range(3)] == [
        (1, 1, b"\x03\x02\x10\x00"),
        (2, 1, b"\x10\x00\x08\x00\x02"),
        (3, 1, b"\x03\x04\x00\x02\x10\x0a"),
    ]


def test_the_first_of_two_is_answered_while_the_second_is_under_way(raw: RawClient) -> None:
    second = mbap(read(1, 1), 2)
    raw.send(mbap(read(0, 1), 1) + second[:9])
    assert raw.frame() == (1, 1, b"\x03\x02\x10\x00")
    raw.send(second[9:])
    assert raw.frame() == (2, 1, b"\x03\x02\x10\x01")


def test_transactions_and_units_come_back_as_they_were(raw: RawClient) -> None:
    for transaction in (0, 1, 0x00FF, 0xFF00, 0xFFFF):
        raw.send(mbap(read(0, 1), transaction))
        assert raw.frame()[0] == transaction


BROKEN = {
    "protocol 1": mbap(read(0, 1), protocol=1),
    "protocol FFFF": mbap(read(0, 1), protocol=0xFFFF),
    "length 0": mbap(b"", length=0),
    "length 1": mbap(b"", length=1),
    "length 255": mbap(b"", length=255),
    "length FFFF": mbap(b"", length=0xFFFF),
    "not Modbus at all": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_is_not_modbus_closes_the_connection(server: ModbusServer, mem: MemoryStore, broken: bytes) -> None:
    with RawClient(server.endpoint) as raw:
        raw.send(mbap(write_one(0, 5), 7) + mbap(read(0, 1), 8) + broken)
        assert raw.frame() == (7, 1, write_one(0, 5)), "frames before it are answered"
        assert raw.frame() == (8, 1, b"\x03\x02\x00\x05")
        assert raw.closed()
    with RawClient(server.endpoint) as other:
        assert other.ask(read(0, 1)) == b"\x03\x02\x00\x05", "the next connection is served"


def test_nothing_after_a_broken_frame_is_done(server: ModbusServer, mem: MemoryStore) -> None:
    with RawClient(server.endpoint) as raw:
        raw.send(mbap(read(0, 1), protocol=1) + mbap(write_one(0, 5)))
        assert raw.closed()
    assert mem[0] == 0x1000


@pytest.mark.parametrize("length", [2, 254])
def test_the_shortest_and_the_longest_frame_are_frames(raw: RawClient, length: int) -> None:
    raw.send(mbap(b"\x41" * (length - 1)))
    assert raw.frame() == (1, 1, b"\xc1\x01")


def test_a_client_that_hangs_up_within_a_frame_is_forgotten(server: ModbusServer) -> None:
    with RawClient(server.endpoint) as raw:
        raw.send(mbap(read(0, 1))[:9])
    with RawClient(server.endpoint) as other:
        assert other.ask(read(0, 1)) == b"\x03\x02\x10\x00"


def test_several_clients_are_served_at_once(server: ModbusServer) -> None:
    clients = [RawClient(server.endpoint) for _ in range(8)]
    try:
        for number, client in enumerate(clients):
            client.send(mbap(write_one(number, number), number))
        for number, client in enumerate(clients):
            assert client.frame() == (number, 1, write_one(number, number))
    finally:
        for client in clients:
            client.socket.close()


# -- units


@pytest.mark.parametrize("unit", [0, 1, 255])
def test_a_store_answers_its_unit_and_0_and_255(raw: RawClient, unit: int) -> None:
    assert raw.ask(read(0, 1), unit) == b"\x03\x02\x10\x00"


@pytest.mark.parametrize("unit", [2, 17, 247, 254])
def test_other_units_get_0b(raw: RawClient, mem: MemoryStore, unit: int) -> None:
    assert raw.ask(read(0, 1), unit) == b"\x83\x0b"
    assert raw.ask(write_one(0, 1), unit) == b"\x86\x0b"
    assert raw.ask(b"\x41", unit) == b"\xc1\x0b"
    assert mem[0] == 0x1000


def test_the_own_unit_can_be_another(mem: MemoryStore) -> None:
    with ModbusServer(mem, FREE, unit=9) as server, RawClient(server.endpoint) as raw:
        assert raw.ask(read(0, 1), 9) == b"\x03\x02\x10\x00"
        assert raw.ask(read(0, 1), 1) == b"\x83\x0b"


def test_a_store_for_each_unit(mem: MemoryStore) -> None:
    other = MemoryStore(4)
    with ModbusServer({1: mem, 2: other}, FREE) as server, RawClient(server.endpoint) as raw:
        raw.ask(write_one(0, 0x2222), 2)
        assert raw.ask(read(0, 1), 1) == b"\x03\x02\x10\x00"
        assert raw.ask(read(0, 1), 2) == b"\x03\x02\x22\x22"
        assert raw.ask(read(4, 1), 2) == b"\x83\x02", "each has its own size"
        for unit in (0, 3, 255):
            assert raw.ask(read(0, 1), unit) == b"\x83\x0b", "nobody can say which of them is meant"
    assert (mem[0], other[0]) == (0x1000, 0x2222)


def test_unknown_units_may_be_met_with_silence(mem: MemoryStore) -> None:
    with ModbusServer(mem, FREE, unknown_unit="silent") as server, RawClient(server.endpoint) as raw:
        raw.send(mbap(read(0, 1), 1, unit=2) + mbap(read(0, 1), 2, unit=1))
        assert raw.frame() == (2, 1, b"\x03\x02\x10\x00")


def test_unknown_units_may_be_accepted(mem: MemoryStore) -> None:
    with ModbusServer(mem, FREE, unknown_unit="accept") as server, RawClient(server.endpoint) as raw:
        assert raw.ask(read(0, 1), 77) == b"\x03\x02\x10\x00"


# -- starting and stopping


async def test_async_server_runs_once_and_tells_its_endpoint(mem: MemoryStore) -> None:
    server = AsyncModbusServer(mem, FREE)
    async with server:
        assert not server.endpoint.endswith(":0")
        with pytest.raises(StateError):
            await server.start()
    with pytest.raises(StateError):
        await server.start()
    await server.stop()
    await server.wait_closed()


async def test_async_server_on_a_taken_port(mem: MemoryStore) -> None:
    with taken_port() as port:
        server = AsyncModbusServer(mem, f"tcp://127.0.0.1:{port}")
        with pytest.raises(BindError, match=str(port)):
            await server.start()


async def test_an_address_that_is_looked_up_for_ever(mem: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def never(*_: object, **__: object) -> None:
        answered.wait(PATIENCE)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", never)
    with pytest.raises(BindError, match=r"within 0.05 s"):
        await AsyncModbusServer(mem, "tcp://press.invalid:5020").start(wait=0.05)
    answered.set()


async def test_stopping_closes_the_connections(mem: MemoryStore) -> None:
    async with AsyncModbusServer(mem, FREE) as server:
        raw = RawClient(server.endpoint)
        await until(lambda: "1 connections" in repr(server))
    with raw:
        assert raw.closed()


def test_a_client_that_does_not_read_does_not_hold_up_the_end(mem: MemoryStore) -> None:
    server = ModbusServer(mem, FREE, linger=0.1)
    server.run()
    with RawClient(server.endpoint) as raw:
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.socket.setblocking(False)
        request = b"".join(mbap(read(0, 125)) for _ in range(100))
        # The server stops reading when nobody takes its replies: until nothing more can be sent.
        while select.select([], [raw.socket], [], 0.3)[1]:
            raw.socket.send(request)
        deadline = Deadline(2.0)
        server.kill()
        assert not deadline.over


def test_localhost_listens_at_one_port_on_every_address_it_has(mem: MemoryStore) -> None:
    with ModbusServer(mem, "tcp://localhost:0") as server, RawClient(server.endpoint) as raw:
        assert server.endpoint.startswith("tcp://localhost:")
        assert raw.ask(read(0, 1)) == b"\x03\x02\x10\x00"


@pytest.mark.parametrize(
    ("stores", "keywords", "told"),
    [
        ({}, {}, "no store"),
        ({256: MemoryStore(1)}, {}, "256"),
        ({True: MemoryStore(1)}, {}, "True"),
        ({1: "memory"}, {}, "not a MemoryStore"),
        (MemoryStore(1), {"unit": 256}, "unit"),
        (MemoryStore(1), {"unknown_unit": "maybe"}, "maybe"),
        (MemoryStore(1), {"linger": -1}, "linger"),
    ],
)
def test_what_cannot_be_served_is_refused_at_once(
    stores: dict[int, MemoryStore], keywords: dict[str, object], told: str
) -> None:
    with pytest.raises(DeclarationError, match=told):
        AsyncModbusServer(stores, FREE, **keywords)  # type: ignore[arg-type]


async def test_what_fails_in_the_server_itself_is_answered_by_04(monkeypatch: pytest.MonkeyPatch) -> None:
    mem = MemoryStore(8, coils=8)
    async with AsyncModbusServer(mem, "tcp://127.0.0.1:0") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.endpoint.rsplit(":", 1)[1]))

        def broken(*_args: object) -> bytes:
            raise ZeroDivisionError

        with monkeypatch.context() as patched:
            patched.setattr("msm.memory.image.Image.read", broken)
            writer.write(bytes.fromhex("000100000006010100000001"))
            assert await reader.readexactly(9) == bytes.fromhex("000100000003018104")
        writer.write(bytes.fromhex("000200000006010300000001"))
        assert await reader.readexactly(11) == bytes.fromhex("0002000000050103020000")
        writer.close()
        await writer.wait_closed()
