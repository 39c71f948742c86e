"""Connections that are made, and doors that listen."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from typing import Any

import pytest

from msm import BindError, ConnectError, ProtocolError
from msm.wire import listening
from msm.wire.channel import Channel, StreamChannel
from msm.wire.endpoint import Endpoint
from msm.wire.framing import Frame
from msm.wire.link import ClientLink, connect
from msm.wire.listening import listen
from msm.wire.lookup import look_up
from tests.support import FREE, SILENCE, FakeDevice, free_port, mbap, taken_port, until

READ = b"\x03\x00\x00\x00\x01"


class Ear:
    """Hears what a link tells."""

    def __init__(self, of: ClientLink) -> None:
        self.replies: list[tuple[int, bytes]] = []
        self.losses: list[Exception | None] = []
        of.handle(lambda transaction, pdu: self.replies.append((transaction, pdu)), self.losses.append)


async def linked(device: FakeDevice) -> tuple[ClientLink, Ear]:
    made = await connect(Endpoint.parse(device.endpoint), 5.0)
    return made, Ear(made)


async def test_requests_go_out_and_replies_come_in() -> None:
    async with FakeDevice([0x1234]) as device:
        to, ear = await linked(device)
        first = to.send(1, READ)
        await until(lambda: ear.replies)
        second = to.send(1, READ)
        await until(lambda: len(ear.replies) == 2)
        assert ear.replies == [(first, b"\x03\x02\x12\x34"), (second, b"\x03\x02\x12\x34")]
        assert first != second
        to.close()
        await until(lambda: ear.losses)


async def test_replies_are_matched_by_transaction_and_unit() -> None:
    async with FakeDevice([0]) as device:
        to, ear = await linked(device)
        device.script = lambda *_: SILENCE
        a, b, c = (to.send(1, READ) for _ in range(3))
        to.forget(a)
        await until(lambda: len(device.requests) == 3)
        device.send(mbap(b"\x03late", a) + mbap(b"\x03other", b, unit=2) + mbap(b"\x03foreign", 999))
        device.send(mbap(b"\x03c", c) + mbap(b"\x03b", b) + mbap(b"\x03b again", b))
        await until(lambda: to.strays == 4)
        assert ear.replies == [(c, b"\x03c"), (b, b"\x03b")], "in whatever order they come, each once"
        to.close()
        await until(lambda: ear.losses)


async def test_transaction_numbers_go_round_without_zero() -> None:
    async with FakeDevice([0]) as device:
        to, ear = await linked(device)
        device.script = lambda *_: SILENCE
        to.transaction = 0xFFFE
        assert [to.send(1, READ) for _ in range(3)] == [0xFFFF, 1, 2]
        to.close()
        await until(lambda: ear.losses)


async def test_what_is_not_modbus_ends_the_link_and_is_told_once() -> None:
    async with FakeDevice([0]) as device:
        to, ear = await linked(device)
        await until(lambda: device.connections)
        device.send(b"SSH-2.0-OpenSSH\r\n")
        await until(lambda: ear.losses)
        assert isinstance(ear.losses[0], ProtocolError)
        await device.stop()
        assert len(ear.losses) == 1
        assert not to._awaited


async def test_a_loss_is_told() -> None:
    async with FakeDevice([0]) as device:
        _, ear = await linked(device)
        await until(lambda: device.connections)
        device.hang_up()
        await until(lambda: ear.losses)


async def test_after_closing_nothing_is_handed_on() -> None:
    async with FakeDevice([0]) as device:
        device.script = lambda *_: SILENCE
        to, ear = await linked(device)
        late = mbap(b"\x03\x02\0\0", to.send(1, READ))
        to.close()
        channel = to._channel
        assert isinstance(channel, StreamChannel)
        channel.get_buffer(-1)[: len(late)] = late  # what had come in before it was closed
        channel.buffer_updated(len(late))
        await until(lambda: ear.losses)
        assert ear.replies == []


async def test_nobody_there() -> None:
    with pytest.raises(ConnectError, match="refused: is the server running"):
        await connect(Endpoint.parse(f"tcp://127.0.0.1:{free_port()}"), 5.0)


async def test_a_connection_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    async def for_ever(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", for_ever)
    with pytest.raises(ConnectError, match=r"no connection within 0.05 s"):
        await connect(Endpoint.parse("tcp://192.0.2.1:502"), 0.05)


class Hearer:
    """Owns a channel of a server: notes what comes."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.channel: Channel | None = None
        self.gone = False

    def made(self, channel: Channel) -> None:
        self.channel = channel

    def received(self, frames: list[Frame]) -> None:
        self.frames += frames

    def begun(self) -> None: ...

    def ended(self) -> bool:
        return False

    def broken(self, reason: str) -> None: ...

    def lost(self, cause: Exception | None) -> None:
        self.gone = True

    def full(self) -> None: ...

    def drained(self) -> None: ...


def accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1.0).close()
    except OSError:
        return False
    return True


async def test_listening_at_any_free_port() -> None:
    listener = await listen(Endpoint.parse(FREE), Hearer)
    assert listener.endpoint.port != 0
    assert accepts("127.0.0.1", listener.endpoint.port)
    listener.close()
    await until(lambda: not accepts("127.0.0.1", listener.endpoint.port))


async def test_localhost_is_one_port_on_all_its_addresses() -> None:
    found = await look_up("localhost", 0)
    listener = await listen(Endpoint.parse("tcp://localhost:0"), Hearer)
    hosts = {address[0] for _, address in found} & {"127.0.0.1", "::1"}
    assert hosts
    for host in hosts:
        assert accepts(str(host), listener.endpoint.port), host
    listener.close()


async def test_a_taken_port_leaves_no_socket() -> None:
    with taken_port() as port, pytest.raises(BindError, match="taken"):
        await listen(Endpoint.parse(f"tcp://localhost:{port}"), Hearer)


async def test_a_machine_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    bind = listening._bind

    def without_six(family: int, kind: socket.SocketKind, address: tuple[object, ...]) -> socket.socket | None:
        return None if family == socket.AF_INET6 else bind(family, kind, address)

    monkeypatch.setattr(listening, "_bind", without_six)
    listener = await listen(Endpoint.parse("tcp://localhost:0"), Hearer)
    assert accepts("127.0.0.1", listener.endpoint.port)
    assert not accepts("::1", listener.endpoint.port)
    listener.close()
    monkeypatch.setattr(listening, "_bind", lambda *_: None)
    with pytest.raises(BindError, match="does not have that address"):
        await listen(Endpoint.parse(FREE), Hearer)


def test_a_server_may_come_back_at_once_at_its_port() -> None:
    """SO_REUSEADDR: connections of the one before that still linger do not count."""
    sock = listening._bind(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
    assert sock is not None
    sock.listen()
    port = sock.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    sock.settimeout(10.0)
    peer, _ = sock.accept()
    peer.close()  # the server closes first: its end lingers
    sock.close()
    client.close()
    again = listening._bind(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", port))
    assert again is not None
    again.listen()
    again.close()


def test_addresses_of_a_kind_that_the_machine_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_family(*_: object) -> Any:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", no_family)
    assert listening._bind(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0, 0, 0)) is None


async def test_what_it_sends_is_mbap() -> None:
    async with FakeDevice([0]) as device:
        seen: list[tuple[int, int, bytes]] = []

        def note(transaction: int, unit: int, pdu: bytes) -> bytes:
            seen.append((transaction, unit, pdu))
            return SILENCE

        device.script = note
        to, ear = await linked(device)
        transaction = to.send(247, READ)
        await until(lambda: seen)
        assert seen == [(transaction, 247, struct.pack(">BHH", 3, 0, 1))]
        to.close()
        await until(lambda: ear.losses)
