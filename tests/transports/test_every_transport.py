"""One suite for every transport: what travels differs, and nothing else does."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from msm import (
    AsyncModbusClient,
    AsyncModbusServer,
    BindError,
    ConnectError,
    DeclarationError,
    LinkState,
    MemoryStore,
    MemoryVariable,
    ModbusClient,
    ModbusServer,
    WriteError,
)
from msm.wire import in_memory
from tests.certificates import Certificates
from tests.support import PATIENCE, mbap, port_of, until, wait_until
from tests.transports.conftest import TRANSPORTS, Way
from tests.transports.lines import ENCODERS
from tests.wire.test_link import Hearer

# Quick to notice that the other end is gone; a machine that is busy is forgiven all the same.
QUICK: dict[str, Any] = {"period": 0.02, "timeout": 0.5}


def device() -> MemoryStore:
    mem = MemoryStore(16, input_registers=4, coils=16, discrete_inputs=8)
    mem.SPEED = MemoryVariable.word(0)
    mem.TOTAL = MemoryVariable.uint32(2)
    mem.FLOW = MemoryVariable.float64(4)
    mem.ALARM = MemoryVariable.bool(9, 3)
    mem.LEVEL = MemoryVariable.uint16(1, table="input", access="ro")
    mem.LAMP = MemoryVariable.coil(3)
    mem.LAMPS = MemoryVariable.coil(5, count=4)
    mem.DOOR = MemoryVariable.discrete(2, access="ro")
    return mem


async def test_first_exchange(way: Way) -> None:
    there, here = device(), device()
    there.SPEED, there.TOTAL, there.FLOW, there.ALARM, there.LAMP = 7, 70_000, 2.5, True, True
    there.set_value(1, 99, table="input")
    there.set_value(2, 1, table="discrete")
    async with (
        AsyncModbusServer(there, way.listen, **way.server) as server,
        AsyncModbusClient(here, way.to(server.endpoint), **way.client) as client,
    ):
        assert client.state is LinkState.ONLINE
        assert (here.SPEED, here.TOTAL, here.FLOW, here.ALARM, here.LAMP) == (7, 70_000, 2.5, True, True)
        assert (here.LEVEL, here.DOOR) == (99, True)
    assert client.state.value == "closed"


FUNCTIONS = [
    # request, reply: words are 0x0100 + address, coils 3 and 5 are set, discrete input 2 is set
    ("01 0000 0008", "01 01 28"),
    ("02 0000 0008", "02 01 04"),
    ("03 0000 0002", "03 04 0100 0101"),
    ("04 0001 0002", "04 04 0201 0202"),
    ("05 0009 FF00", "05 0009 FF00"),
    ("06 000C 1234", "06 000C 1234"),
    ("0F 0000 000A 02 CD01", "0F 0000 000A"),
    ("10 0001 0002 04 000A 0102", "10 0001 0002"),
    ("16 0004 00F2 0025", "16 0004 00F2 0025"),
    ("17 0003 0002 0005 0001 02 BEEF", "17 04 0103 0005"),
]
REFUSED = [
    ("03 000F 0002", "83 02"),
    ("03 0000 0000", "83 03"),
    ("05 0000 0001", "85 03"),
    ("06 0010 0000", "86 02"),
    ("16 0010 0000 0000", "96 02"),
    ("17 0000 0001 0010 0001 02 0000", "97 02"),
    ("41 00", "C1 01"),
    ("2B 0E 01 00", "AB 01"),
]


def numbered() -> MemoryStore:
    mem = MemoryStore(16, input_registers=4, coils=16, discrete_inputs=8)
    for at in range(16):
        mem[at] = 0x0100 + at
    for at in range(4):
        mem.set_value(at, 0x0200 + at, table="input")
    for table, at in (("coil", 3), ("coil", 5), ("discrete", 2)):
        mem.set_value(at, 1, table=table)
    return mem


async def test_every_function_and_its_refusals(way: Way) -> None:
    async with AsyncModbusServer(numbered(), way.listen, **way.server) as server:
        here = MemoryStore(16)
        async with AsyncModbusClient(here, way.to(server.endpoint), period=60.0, timeout=5.0, **way.client) as client:
            for request, reply in FUNCTIONS + REFUSED:
                answered = await client._conversation.ask(None, bytes.fromhex(request))
                assert answered == bytes.fromhex(reply), f"{request}: {answered.hex(' ')}"


async def test_what_is_assigned_is_sent(way: Way) -> None:
    there, here = device(), device()
    async with (
        AsyncModbusServer(there, way.listen, **way.server) as server,
        AsyncModbusClient(here, way.to(server.endpoint), **way.client) as client,
    ):
        here.SPEED, here.TOTAL, here.FLOW, here.ALARM, here.LAMP = 8, 80_000, -1.25, True, True
        here.LAMPS = [True, False, True, True]
        await client.flush()
        assert (there.SPEED, there.TOTAL, there.FLOW, there.ALARM, there.LAMP) == (8, 80_000, -1.25, True, True)
        assert list(there.LAMPS) == [True, False, True, True]
        assert client.ledger.total == client.ledger.acknowledged


async def test_the_devices_own_changes_arrive(way: Way) -> None:
    there, here = device(), device()
    async with (
        AsyncModbusServer(there, way.listen, **way.server) as server,
        AsyncModbusClient(here, way.to(server.endpoint), period=0.02, **way.client),
    ):
        for value in (1, 0xFFFF, 1 << 31):
            there.TOTAL = value
            await until(lambda: here.TOTAL == there.TOTAL)
        there.set_value(1, 5, table="input")
        await until(lambda: here.LEVEL == 5)


async def test_a_refusal_is_told(way: Way) -> None:
    there, here = MemoryStore(8), MemoryStore(16)
    here.BEYOND = MemoryVariable.word(12)
    async with (
        AsyncModbusServer(there, way.listen, **way.server) as server,
        AsyncModbusClient(here, way.to(server.endpoint), **way.client) as client,
    ):
        here.BEYOND = 1
        with pytest.raises(WriteError, match="BEYOND"):
            await client.flush()


async def test_several_units(way: Way) -> None:
    there = {1: MemoryStore(4), 2: MemoryStore(4), 247: MemoryStore(4)}
    here = {unit: MemoryStore(4) for unit in there}
    for unit, mem in there.items():
        mem[0] = unit
    async with (
        AsyncModbusServer(there, way.listen, **way.server) as server,
        AsyncModbusClient(here, way.to(server.endpoint), **way.client) as client,
    ):
        assert [mem[0] for mem in here.values()] == [1, 2, 247]
        for unit, mem in here.items():
            mem[3] = 1000 + unit
        await client.flush()
        assert [mem[3] for mem in there.values()] == [1001, 1002, 1247]


async def test_a_server_that_comes_back(way: Way) -> None:
    there, here = device(), device()
    server = AsyncModbusServer(there, way.listen, **way.server)
    await server.start()
    where = server.endpoint
    async with AsyncModbusClient(here, way.to(where), **QUICK, **way.client) as client:
        await server.stop()
        await until(lambda: client.state is LinkState.OFFLINE)
        there.TOTAL = 123_456
        here.SPEED = 77
        async with AsyncModbusServer(there, where, **way.server):
            await until(lambda: client.state is LinkState.ONLINE)
            await until(lambda: here.TOTAL == 123_456)
            await client.flush()
            assert there.SPEED == 77


async def test_nobody_there_leaves_nothing(way: Way) -> None:
    """The guards of every test see to what is left."""
    server = AsyncModbusServer(device(), way.listen, **way.server)
    await server.start()
    where = server.endpoint
    await server.stop()
    client = AsyncModbusClient(device(), way.to(where), timeout=0.1, **way.client)
    with pytest.raises(ConnectError):
        await client.start(wait=0.3)
    await client.stop()


async def test_a_place_that_is_taken(way: Way) -> None:
    async with AsyncModbusServer(device(), way.listen, **way.server) as server:
        with pytest.raises(BindError):
            await AsyncModbusServer(device(), server.endpoint, **way.server).start()


async def test_stopping_in_the_middle_of_requests(way: Way) -> None:
    there, here = device(), device()
    server = AsyncModbusServer(there, way.listen, **way.server)
    await server.start()
    client = AsyncModbusClient(here, way.to(server.endpoint), period=0.001, **way.client)
    await client.start()
    cycles = client.stats.cycles
    await until(lambda: client.stats.cycles > cycles + 3)
    async with asyncio.timeout(PATIENCE):
        await server.stop()
        await client.stop()
        await server.stop()


def test_doors_in_threads(way: Way) -> None:
    there, here = device(), device()
    there.TOTAL = 70_000
    server = ModbusServer(there, way.listen, **way.server)
    server.run()
    client = ModbusClient(here, way.to(server.endpoint), period=0.02, **way.client)
    client.run()
    assert here.TOTAL == 70_000
    here.FLOW = 0.5
    client.flush()
    assert there.FLOW == 0.5
    there.SPEED = 4711
    wait_until(lambda: here.SPEED == 4711)
    client.kill()
    server.kill()
    assert not [thread for thread in threading.enumerate() if "Modbus" in thread.name]


# -- byte by byte


READ = struct.pack(">BHH", 3, 0, 2)
EXPECTED = bytes.fromhex("03 04 0100 0101")


def framed(way: Way, pdu: bytes) -> bytes:
    return mbap(pdu) if way.framing == "mbap" else ENCODERS[way.framing](pdu, 1)


@pytest.mark.parametrize("way", [scheme for scheme in TRANSPORTS if scheme not in ("rtu", "ascii")], indirect=True)
async def test_torn_requests(way: Way, certificates: Certificates) -> None:
    """Every byte by itself: the frame is answered when it is whole, and once. Of serial lines, see test_serial.py."""
    request, reply = framed(way, READ), framed(way, EXPECTED)
    async with AsyncModbusServer(numbered(), way.listen, **way.server) as server:
        if way.scheme == "memory":
            hearer = Hearer()
            in_memory.join(server.endpoint.removeprefix("memory://"), hearer)
            assert hearer.channel is not None
            for byte in request:
                hearer.channel.send(bytes((byte,)))
            await until(lambda: hearer.frames)
            assert [frame.pdu for frame in hearer.frames] == [EXPECTED]
            hearer.channel.close()
            await until(lambda: hearer.gone)
            return
        if way.scheme == "udp":
            # A datagram is whole or nothing: pieces are dropped, and do not disturb what comes behind them.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.connect(("127.0.0.1", port_of(server.endpoint)))
                for byte in request:
                    sock.send(bytes((byte,)))
                sock.send(request)
                async with asyncio.timeout(PATIENCE):
                    assert await asyncio.get_running_loop().sock_recv(sock, 1000) == reply
            return
        secure = certificates.client if way.scheme == "tls" else None
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server.endpoint), ssl=secure)
        async with asyncio.timeout(PATIENCE):
            for _ in range(3):
                for byte in request:
                    writer.write(bytes((byte,)))
                    await writer.drain()
                    await asyncio.sleep(0)
                assert await reader.readexactly(len(reply)) == reply
            writer.close()
            await writer.wait_closed()


async def test_a_client_without_a_certificate_is_not_served(certificates: Certificates) -> None:
    context = ssl.create_default_context()
    certificates.authority.configure_trust(context)
    async with AsyncModbusServer(device(), "tls://127.0.0.1:0", tls=certificates.server) as server:
        client = AsyncModbusClient(device(), server.endpoint, tls=context)
        with pytest.raises(ConnectError):
            await client.start(wait=0.5)
        stranger = AsyncModbusClient(device(), server.endpoint)  # which does not trust this server
        with pytest.raises(ConnectError, match="TLS handshake failed"):
            await stranger.start(wait=0.5)
        plain = AsyncModbusClient(device(), server.endpoint.replace("tls", "tcp"), timeout=0.3)
        with pytest.raises(ConnectError):
            await plain.start(wait=0.5)


async def test_certificates_by_paths(certificates: Certificates, tmp_path: Path) -> None:
    """As a user gives them who has files, and no context."""
    for name in ("localhost", "hmi@press.example"):
        issued = certificates.authority.issue_cert(name)
        kind = name.partition("@")[0]
        issued.private_key_pem.write_to_path(tmp_path / f"{kind}.key")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{kind}.pem")
    certificates.authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    def files(kind: str) -> str:
        return f"?ca={tmp_path}/ca.pem&cert={tmp_path}/{kind}.pem&key={tmp_path}/{kind}.key"

    there, here = device(), device()
    there.SPEED = 5
    async with AsyncModbusServer(there, f"tls://localhost:0{files('localhost')}") as server:
        async with AsyncModbusClient(here, server.endpoint + files("hmi")):
            assert here.SPEED == 5
        nameless = AsyncModbusClient(device(), f"{server.endpoint}?ca={tmp_path}/ca.pem")
        with pytest.raises(ConnectError):
            await nameless.start(wait=0.5)
    with pytest.raises(DeclarationError, match="needs its certificate"):
        await AsyncModbusServer(there, "tls://localhost:0").start()
    with pytest.raises(DeclarationError, match=r"nowhere\.pem"):
        await AsyncModbusServer(there, f"tls://localhost:0?cert={tmp_path}/nowhere.pem").start()


async def test_rtu_over_tcp_is_no_place_for_a_flood_of_noise() -> None:
    """Looking for frames in it costs time: who sends nothing else is let go, and the others do not notice."""
    async with (
        AsyncModbusServer(numbered(), "rtu+tcp://127.0.0.1:0") as server,
        AsyncModbusClient(MemoryStore(16), server.endpoint, period=0.01, timeout=5.0) as client,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server.endpoint))
        async with asyncio.timeout(PATIENCE):
            writer.write(b"\xff" * 200 + ENCODERS["rtu"](READ, 1))
            reply = ENCODERS["rtu"](EXPECTED, 1)
            assert await reader.readexactly(len(reply)) == reply
            writer.write(b"\0" * 1_000_000)
            with suppress(ConnectionResetError):  # it closed with some of that unread
                assert await reader.read() == b""
        writer.close()
        cycles = client.stats.cycles
        await until(lambda: client.stats.cycles > cycles + 3)
        assert client.stats.reconnects == 0
