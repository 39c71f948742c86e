"""What only a serial line has: neighbours, noise, silence, broadcasts, and adapters that are unplugged."""

from __future__ import annotations

import asyncio
import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from msm import AsyncModbusClient, AsyncModbusServer, BindError, ConnectError, LinkState, MemoryStore
from tests.support import PATIENCE, until
from tests.transports.lines import ENCODERS, Cable, Pty

KINDS = ("rtu", "ascii")
READ = struct.pack(">BHH", 3, 0, 2)
REPLY = struct.pack(">BBHH", 3, 4, 0x1234, 0x5678)
QUICK: dict[str, Any] = {"period": 0.05, "timeout": 0.3}

NOISE = (b"\x00", b"\xff\xff\xff", b"\x01\x10\x00\x00\x00\x7b\xf6", b":01", b"\x01\x03\x00", b"\r\n", b"\x55\x99\x01")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Pty]:
    with Pty(tmp_path / "port") as pty:
        yield pty


def at(kind: str, port: Pty) -> str:
    return f"{kind}://{port.path}?baudrate=115200"


def memory() -> MemoryStore:
    mem = MemoryStore(8)
    mem[0:2] = [0x1234, 0x5678]
    return mem


async def answered(port: Pty, request: bytes, reply: bytes, before: Callable[[], None] = lambda: None) -> None:
    """A request is answered by this reply and nothing else; asked again where the machine was too busy for it."""
    for _ in range(20):
        before()
        await port.send_torn(request)
        data = bytearray()

        def whole(into: bytearray = data) -> bool:
            into.extend(port.heard())
            return len(into) >= len(reply)

        try:
            await until(whole, 0.5)
        except AssertionError:
            assert not data, f"answered {bytes(data).hex(' ')}"
            continue
        assert bytes(data) == reply
        return
    raise AssertionError(f"never answered {request.hex(' ')}")


async def silence(kind: str, port: Pty) -> None:
    """Wait until what was begun on the line is surely given up: a frame is answered from a clean start."""
    frame = ENCODERS[kind]
    await answered(port, frame(READ, 1), frame(REPLY, 1))


async def test_requests_byte_by_byte(kind: str, port: Pty) -> None:
    frame = ENCODERS[kind]
    async with AsyncModbusServer(memory(), at(kind, port)):
        for _ in range(3):
            await answered(port, frame(READ, 1), frame(REPLY, 1))


async def test_silent_to_other_units_and_to_what_is_broken(kind: str, port: Pty) -> None:
    frame = ENCODERS[kind]
    right = frame(READ, 1)
    broken = right[:-3] + (b"00" if right[-3:-2] != b"0" else b"11") + right[-1:] if kind == "rtu" else b""
    if kind == "ascii":
        broken = right[:-4] + (b"00\r\n" if right[-4:-2] != b"00" else b"11\r\n")
    async with AsyncModbusServer(memory(), at(kind, port)):
        for unheard in (frame(READ, 2), frame(READ, 255), frame(READ, 0), broken):
            port.send(unheard)
            await port.hears_nothing()
        await silence(kind, port)


@pytest.mark.parametrize("noise", NOISE, ids=lambda noise: noise.hex())
async def test_noise_before_and_between_frames(kind: str, port: Pty, noise: bytes) -> None:
    """After noise and a silence the next frame is found; most noise does not even need the silence."""
    frame = ENCODERS[kind]
    async with AsyncModbusServer(memory(), at(kind, port)):
        for _ in range(2):
            await answered(port, frame(READ, 1), frame(REPLY, 1), before=lambda: port.send(noise))


@pytest.mark.parametrize("place", [1, 3, 5])
async def test_noise_inside_a_frame(kind: str, port: Pty, place: int) -> None:
    frame = ENCODERS[kind]
    right = frame(READ, 1)
    async with AsyncModbusServer(memory(), at(kind, port)):
        port.send(right[:place] + b"\xa5" + right[place:])
        await port.hears_nothing()
        await silence(kind, port)


async def test_a_frame_that_is_never_finished_is_given_up(kind: str, port: Pty) -> None:
    frame = ENCODERS[kind]
    async with AsyncModbusServer(memory(), at(kind, port)):
        port.send(frame(READ, 1)[:5])
        await port.hears_nothing()
        await silence(kind, port)


async def test_other_devices_replies_are_not_for_us(kind: str, port: Pty) -> None:
    """Also where a reply of theirs carries what looks like a request to us."""
    frame = ENCODERS[kind]
    mem = memory()
    trap = frame(struct.pack(">BHH", 6, 0, 0xDEAD), 1)
    trap += b"\0" * (len(trap) % 2)
    theirs = frame(bytes((3, len(trap))) + trap, 2)
    async with AsyncModbusServer(mem, at(kind, port)):
        for other in (theirs, frame(b"\x83\x02", 2), frame(struct.pack(">BHH", 16, 0, 2), 2)):
            port.send(frame(READ, 2) + other)
            await port.hears_nothing()
            port.send(other)
            await port.hears_nothing()
        assert mem[0] == 0x1234
        await silence(kind, port)


async def test_broadcasts_are_executed_and_not_answered(kind: str, port: Pty) -> None:
    frame = ENCODERS[kind]
    one, two = memory(), memory()
    async with AsyncModbusServer({1: one, 2: two}, at(kind, port)):
        port.send(frame(struct.pack(">BHH", 6, 4, 99), 0))
        await until(lambda: one[4] == two[4] == 99)
        port.send(frame(struct.pack(">BHHBH", 16, 5, 1, 2, 77), 0))
        await until(lambda: one[5] == two[5] == 77)
        port.send(frame(READ, 0))
        await port.hears_nothing()
        await silence(kind, port)


async def test_an_unknown_function_is_refused(kind: str, port: Pty) -> None:
    frame = ENCODERS[kind]
    async with AsyncModbusServer(memory(), at(kind, port)):
        await answered(port, frame(b"\x41\x01\x02", 1), frame(b"\xc1\x01", 1))


# -- unplugged


async def test_a_server_whose_adapter_is_unplugged(kind: str, port: Pty) -> None:
    frame = ENCODERS[kind]
    async with AsyncModbusServer(memory(), at(kind, port)) as server:
        for _ in range(2):
            await answered(port, frame(READ, 1), frame(REPLY, 1))
            port.unplug()
            await until(lambda: not server._peers)
            port.plug_in()
            await until(lambda: server._peers)


async def test_a_server_is_stopped_while_its_adapter_is_out(kind: str, port: Pty) -> None:
    async with AsyncModbusServer(memory(), at(kind, port)) as server:
        port.unplug()
        await until(lambda: not server._peers)


async def test_a_client_whose_adapter_is_unplugged(kind: str, tmp_path: Path) -> None:
    here = MemoryStore(8)
    with Pty(tmp_path / "port") as port:
        device = asyncio.create_task(answer_all(kind, port, REPLY[2:]))
        try:
            async with AsyncModbusClient(here, at(kind, port), blocks=[(0, 2)], **QUICK) as client:
                assert here[0:2] == [0x1234, 0x5678]
                device.cancel()
                await asyncio.wait([device])
                port.unplug()
                await until(lambda: client.state is LinkState.OFFLINE)
                port.plug_in()
                device = asyncio.create_task(answer_all(kind, port, b"\x00\x01\x00\x02"))
                await until(lambda: here[0:2] == [1, 2])
                assert client.state is LinkState.ONLINE
        finally:
            device.cancel()
            await asyncio.wait([device])


async def answer_all(kind: str, port: Pty, words: bytes) -> None:
    """A device in the test's own loop: every request for two words gets these, whatever else is asked nothing."""
    frame = ENCODERS[kind]
    request, data = frame(READ, 1), b""
    while True:
        data += port.heard()
        if request in data:
            data = data.partition(request)[2]
            port.send(frame(bytes((3, len(words))) + words, 1))
        await asyncio.sleep(0.002)


# -- late replies


async def test_a_late_reply_is_not_used_for_the_next_request(kind: str, port: Pty) -> None:
    frame = ENCODERS[kind]
    request = frame(READ, 1)
    here = MemoryStore(8)
    client = AsyncModbusClient(here, at(kind, port), blocks=[(0, 2)], **QUICK)
    starting = asyncio.create_task(client.start())
    assert await port.hears(len(request)) == request
    await until(lambda: client.state is LinkState.OFFLINE)  # its time is over
    port.send(frame(b"\x03\x04\xba\xd0\xba\xd0", 1))
    assert await port.hears(len(request)) == request
    assert here[0] == 0
    port.send(frame(REPLY, 1))
    await starting
    assert here[0:2] == [0x1234, 0x5678]
    assert client._conversation.link is not None
    assert client._conversation.link.strays == 1
    await client.stop()


async def test_replies_of_others_are_not_ours(kind: str, port: Pty) -> None:
    frame = ENCODERS[kind]
    request = frame(READ, 1)
    here = MemoryStore(8)
    client = AsyncModbusClient(here, at(kind, port), blocks=[(0, 2)], period=60.0, timeout=PATIENCE)
    starting = asyncio.create_task(client.start(wait=PATIENCE))
    assert await port.hears(len(request)) == request
    await port.send_torn(frame(b"\x03\x04\xba\xd0\xba\xd0", 2))
    await until(lambda: client._conversation.link is not None and client._conversation.link.strays == 1)
    port.send(frame(REPLY, 1))
    await starting
    assert here[0:2] == [0x1234, 0x5678]
    await client.stop()


# -- closing, opening


async def test_closing_with_output_that_nobody_takes(kind: str, port: Pty) -> None:
    """Bounded, though the line takes nothing any more."""
    frame = ENCODERS[kind]
    mem = MemoryStore(125)
    server = AsyncModbusServer(mem, at(kind, port), linger=0.2)
    await server.start()
    request = frame(struct.pack(">BHH", 3, 0, 125), 1)
    for _ in range(300):
        try:
            port.send(request)
        except BlockingIOError:
            break
        await asyncio.sleep(0)
    began = time.monotonic()
    async with asyncio.timeout(PATIENCE):
        await server.stop()
    assert time.monotonic() - began < 5.0


async def test_a_port_is_opened_by_one_only(kind: str, port: Pty) -> None:
    async with AsyncModbusServer(memory(), at(kind, port)):
        with pytest.raises(BindError, match="has the port open"):
            await AsyncModbusServer(memory(), at(kind, port)).start()
        with pytest.raises(ConnectError, match="has the port open"):
            await AsyncModbusClient(memory(), at(kind, port)).start(wait=0.3)


async def test_a_port_that_is_not_there(kind: str, tmp_path: Path) -> None:
    with pytest.raises(BindError, match="nowhere"):
        await AsyncModbusServer(memory(), f"{kind}://{tmp_path}/nowhere").start()
    with pytest.raises(ConnectError, match="nowhere"):
        await AsyncModbusClient(memory(), f"{kind}://{tmp_path}/nowhere").start(wait=0.3)
    with pytest.raises(BindError):
        await AsyncModbusServer(memory(), f"{kind}://{os.devnull}").start()


async def test_direction_settings_pass_through(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import serial
    from serial.rs485 import RS485Settings

    seen: list[object] = []
    monkeypatch.setattr(
        serial.Serial, "rs485_mode", property(lambda self: None, lambda self, value: seen.append(value))
    )
    settings = RS485Settings(rts_level_for_tx=False, delay_before_tx=0.001)
    with Cable(tmp_path) as cable:
        one, other = cable.ends
        async with (
            AsyncModbusServer(memory(), at(kind, one), rs485=settings),
            AsyncModbusClient(MemoryStore(8), at(kind, other), rs485=settings),
        ):
            assert len(seen) == 2
            assert all(each is settings for each in seen)


async def test_settings_that_the_adapter_refuses_leave_the_port_closed(
    kind: str, port: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    import serial

    def refuse(_self: object, _value: object) -> None:
        raise ValueError("Failed to set RS485 mode")

    with monkeypatch.context() as patch:
        patch.setattr(serial.Serial, "rs485_mode", property(lambda self: None, refuse))
        with pytest.raises(BindError, match="RS485"):
            await AsyncModbusServer(memory(), at(kind, port), rs485=object()).start()
    await asyncio.sleep(0)
    async with AsyncModbusServer(memory(), at(kind, port)):
        await silence(kind, port)
