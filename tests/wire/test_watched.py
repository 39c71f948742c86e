"""Connections that are watched together are read as their transports would read them."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from msm.wire import watched
from msm.wire.channel import Channel
from msm.wire.framing import Frame, MbapFramer, frame
from msm.wire.watched import Watch, WatchedChannel
from tests.support import until

REQUEST = b"\3\0\0\0\1"


class Listener:
    """An owner that notes what it is told."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.over: list[Exception | None] = []
        self.has_ended = False
        self.on_frames: Callable[[], object] = lambda: None

    def made(self, channel: Channel) -> None: ...

    def received(self, frames: list[Frame]) -> None:
        self.frames += frames
        self.on_frames()

    def begun(self) -> None: ...

    def ended(self) -> bool:
        self.has_ended = True
        return False

    def broken(self, reason: str) -> None: ...

    def lost(self, cause: Exception | None) -> None:
        self.over.append(cause)

    def full(self) -> None: ...

    def drained(self) -> None: ...


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection: ours, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    ours.setblocking(False)
    return ours, client


class Connection:
    def __init__(self, channel: WatchedChannel, client: socket.socket) -> None:
        self.channel = channel
        self.client = client
        owner = channel.owner
        assert isinstance(owner, Listener)
        self.owner = owner

    def ask(self, transaction: int = 1) -> None:
        self.client.sendall(frame(transaction, 1, REQUEST))


@asynccontextmanager
async def connections(count: int, watch: Watch, *failures: type[Exception]) -> AsyncIterator[list[Connection]]:
    """Connections, and what the event loop is told of what fails meanwhile."""
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(type(context["exception"])))
    made = []
    for _ in range(count):
        ours, client = tcp_pair()
        channel = WatchedChannel(Listener(), MbapFramer(), ours, watch)
        await asyncio.get_running_loop().connect_accepted_socket(lambda made=channel: made, ours)  # type: ignore[misc]
        await until(lambda made=channel: not made.transport.is_reading(), what="that it is watched")  # type: ignore[misc]
        made.append(Connection(channel, client))
    yield made
    for each in made:
        each.channel.abort()
        each.client.close()
    await until(lambda: all(each.owner.over for each in made))
    assert told == list(failures)


async def test_what_comes_is_received() -> None:
    async with connections(3, Watch()) as made:
        for number, each in enumerate(made):
            each.ask(number)
        await until(lambda: all(each.owner.frames for each in made))
        assert [each.owner.frames for each in made] == [[Frame(number, 1, REQUEST)] for number in range(3)]


async def test_one_wake_up_serves_all(monkeypatch: pytest.MonkeyPatch) -> None:
    wakes = []
    look = Watch._look

    def counted(watch: Watch) -> None:
        wakes.append(1)
        look(watch)

    monkeypatch.setattr(Watch, "_look", counted)
    async with connections(8, Watch()) as made:
        for each in made:
            each.ask()
        await until(lambda: all(each.owner.frames for each in made))
    assert len(wakes) == 1


async def test_others_have_their_turn_beside_one_who_never_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "AT_A_TIME", 4)
    async with connections(2, Watch()) as made:
        for each in made:
            each.owner.on_frames = each.ask  # there is always something to be read
            each.ask()
        await until(lambda: len(made[0].owner.frames) >= 20)
        turns = len(made[0].owner.frames)
        await asyncio.sleep(0)
        assert len(made[0].owner.frames) <= turns + 4
        for each in made:
            each.owner.on_frames = lambda: None


async def test_nothing_is_read_while_it_is_paused() -> None:
    async with connections(2, Watch()) as made:
        made[0].channel.pause()
        made[0].channel.pause()
        made[0].ask()
        made[1].ask()
        await until(lambda: made[1].owner.frames)
        assert not made[0].owner.frames
        made[0].channel.resume()
        made[0].channel.resume()
        await until(lambda: made[0].owner.frames)


@pytest.mark.parametrize("leave", [WatchedChannel.pause, WatchedChannel.close, WatchedChannel.abort])
async def test_one_that_left_a_moment_ago_is_not_read(leave: Callable[[WatchedChannel], None]) -> None:
    async with connections(2, Watch()) as made:
        for each, other in (made, made[::-1]):
            each.owner.on_frames = partial(leave, other.channel)
            each.ask()
        await until(lambda: made[0].owner.frames or made[1].owner.frames)
        await asyncio.sleep(0)
        assert len(made[0].owner.frames) + len(made[1].owner.frames) == 1


async def test_the_end_is_found_by_the_transport() -> None:
    async with connections(1, Watch()) as (it,):
        it.ask()
        it.client.shutdown(socket.SHUT_WR)
        await until(lambda: it.owner.over)
        assert (len(it.owner.frames), it.owner.has_ended, it.owner.over) == (1, True, [None])


async def test_an_error_is_found_by_the_transport() -> None:
    async with connections(1, Watch()) as (it,):
        it.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        it.client.close()
        await until(lambda: it.owner.over)
        assert [type(cause) for cause in it.owner.over] == [ConnectionResetError]


async def test_what_fails_ends_its_connection_and_no_other() -> None:
    async with connections(2, Watch(), ZeroDivisionError) as made:

        def fail() -> None:
            raise ZeroDivisionError

        made[0].owner.on_frames = fail
        for each in made:
            each.ask()
        await until(lambda: made[0].owner.over and made[1].owner.frames)
        assert not made[1].owner.over


async def test_nothing_is_left_when_the_last_has_gone() -> None:
    watch = Watch()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        async with connections(2, watch) as made:
            assert len(os.listdir("/proc/self/fd")) == before + 5  # two of each connection, and the epoll
            made[0].ask()
            await until(lambda made=made: made[0].owner.frames)  # type: ignore[misc]
        await until(lambda: len(os.listdir("/proc/self/fd")) == before)


async def test_whose_transport_has_ended_is_watched_no_more() -> None:
    watch = Watch()
    before = len(os.listdir("/proc/self/fd"))
    async with connections(1, watch) as (it,):
        it.channel.transport.abort()  # as a transport ends by itself, when it cannot send
        await until(lambda: it.owner.over)
        assert len(os.listdir("/proc/self/fd")) == before + 1  # that of the client


async def test_a_descriptor_that_is_another_s_by_now_stays_watched() -> None:
    watch = Watch()
    ours, client = tcp_pair()
    seen: list[str] = []

    def first(_event: int) -> None:
        seen.append("first")

    def second(_event: int) -> None:
        seen.append("second")
        ours.recv(100)

    watch.join(ours.fileno(), first)
    number = ours.fileno()
    other = ours.dup()
    ours.close()  # without leaving: the kernel forgets it only when `other` is closed as well
    other.close()
    client.close()
    ours, client = tcp_pair()
    assert number in (ours.fileno(), client.fileno())
    if ours.fileno() != number:
        ours, client = client, ours
    ours.setblocking(False)
    watch.join(number, second)
    watch.leave(number, first)
    client.sendall(b"x")
    await until(lambda: seen)
    assert seen == ["second"]
    watch.leave(number, second)
    ours.close()
    client.close()


async def test_one_that_was_closed_before_it_left_disturbs_nobody() -> None:
    watch = Watch()
    ours, client = tcp_pair()
    number = ours.fileno()
    watch.join(number, _nothing)
    ours.close()
    watch.leave(number, _nothing)
    client.close()


def _nothing(_event: int) -> None: ...
