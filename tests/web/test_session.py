"""One open page: what it is sent, what becomes of what it sets, and what it cannot do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from msm import AsyncModbusClient, MemoryVariable, ModbusClient, WriteError
from msm.errors import MsmError
from msm.testing import FakeDevice, late, lost
from msm.web.app import Site
from msm.web.feed import Feed
from msm.web.session import MOST_PENDING, Session
from msm.web.settings import WebSettings
from msm.web.writes import Write, WriteDesk
from tests.support import PATIENCE, until, wait_until
from tests.web.press import Alarms, Mode, Press, keep_locked


class Page:
    """An open page, without a browser."""

    def __init__(self, socket: WebSocketTestSession) -> None:
        self._socket = socket
        self.first = socket.receive_json()
        self._number = 0

    def set(self, name: str, to: str) -> tuple[str, str]:
        """Set a variable; returns its fate and the cause."""
        self._number += 1
        self._socket.send_json({"id": self._number, "set": name, "to": to})
        while True:
            for write in self._socket.receive_json().get("writes", ()):
                assert (write["id"], write["name"]) == (self._number, name)
                if write["fate"] != "pending":
                    return write["fate"], write["cause"]

    def closes_after(self, **message: Any) -> int:
        """Send something that no page of ours sends; returns the code that the WebSocket is closed with."""
        self._socket.send(message)
        with pytest.raises(WebSocketDisconnect) as closed:
            while True:
                self._socket.receive_json()
        return closed.value.code


def site(store: Press, client: ModbusClient | None = None, **keywords: Any) -> tuple[TestClient, Feed]:
    feed = Feed(store, client, 0.05)
    feed.look(0.0)
    return TestClient(Site(store, feed, WebSettings(**keywords)).app, base_url="http://localhost"), feed


@contextmanager
def page(store: Press, **keywords: Any) -> Iterator[Page]:
    browser, _ = site(store, **keywords)
    with browser, browser.websocket_connect("ws://localhost/live") as socket:
        yield Page(socket)


# -- what is sent


def test_a_page_is_told_what_there_is() -> None:
    mem = Press()
    mem.setpoint = 1200
    mem.mode = Mode.MANUAL
    with page(mem, read_only=True) as opened:
        told = opened.first
    assert told["read_only"] is True
    variables = {each["name"]: each for each in told["variables"]}
    assert list(variables) == list(mem.variables())
    editors = {name: each["editor"] for name, each in variables.items()}
    assert editors["temperature"] == editors["door"] == ""
    assert editors["pump"] == editors["lamp"] == "switch"
    assert (editors["mode"], editors["alarms"], editors["setpoint"]) == ("menu", "flags", "field")
    assert variables["mode"]["choices"] == ["OFF", "MANUAL", "AUTOMATIC"]
    assert variables["setpoint"]["hint"] == "0 to 3000"
    assert variables["limits"]["hint"] == "3 values with commas between them; each -32768 to 32767"
    assert variables["recipe"]["hint"] == "at most 12 bytes"
    assert told["rows"]["setpoint"] == ["1200", 1200, "own", ""]
    assert told["rows"]["mode"] == ["MANUAL", 1, "own", ""]


def test_only_what_is_new_is_sent_and_a_variable_that_comes_late_is_told() -> None:
    mem = Press()
    feed = Feed(mem, None, 0.05)
    feed.look(1000.0)
    first = feed.version
    mem.setpoint = 7
    feed.look(1000.1)
    news = feed.news(first)
    assert news["rows"] == {"setpoint": ("7", 7.0, "own", "")}
    assert "variables" not in news
    feed.look(1000.2)
    assert feed.news(feed.version)["rows"] == {}
    before = feed.version
    mem.LATE = MemoryVariable.word(22)
    feed.look(1000.3)
    assert [each["name"] for each in feed.news(before)["variables"]][-1] == "LATE"
    del mem.LATE
    feed.look(1000.4)
    assert "LATE" not in feed.news(0)["rows"]


def test_numbers_that_json_does_not_have_are_only_text() -> None:
    mem = Press()
    mem.provide(speed=float("inf"), temperature=float("nan"))
    with page(mem) as opened:
        assert opened.first["rows"]["speed"][:2] == ["inf", None]
        assert opened.first["rows"]["temperature"][:2] == ["nan", None]


def test_a_trend_has_gaps_where_the_device_was_gone() -> None:
    mem = Press()
    with FakeDevice(Press) as device:
        device.mem.provide(pieces=5)
        client = ModbusClient(mem, device.endpoint, timeout=0.2, period=0.02)
        client.run()
        feed = Feed(mem, client, 0.05)
        feed.look(1000.0)
        device.kill()
        wait_until(lambda: mem.info("pieces").quality == "stale")
        feed.look(1001.0)
        client.kill()
    trend = feed.trends(["pieces"])
    assert trend == {"times": [1000.0, 1001.0], "numbers": {"pieces": [5.0, None]}}
    assert feed.news(0)["link"]["state"] == "offline"


async def test_a_slow_page_misses_what_came_in_between() -> None:
    """Nothing is queued for it: it takes one message, and then the newest state."""

    class SlowSocket:
        client = None

        def __init__(self) -> None:
            self.sent: list[dict[str, Any]] = []
            self.takes = asyncio.Semaphore(0)
            self.closed = asyncio.Event()

        async def send_text(self, text: str) -> None:
            await self.takes.acquire()
            self.sent.append(json.loads(text))

        async def receive(self) -> dict[str, Any]:
            await self.closed.wait()
            return {"type": "websocket.disconnect"}

    mem, socket = Press(), SlowSocket()
    feed = Feed(mem, None, 0.05)
    feed.look(1000.0)
    running = asyncio.create_task(Session(socket, feed, mem, read_only=False).run())  # type: ignore[arg-type]
    for number in range(1, 101):
        mem.setpoint = number
        feed.look(1000.0 + number / 100)
        await asyncio.sleep(0)
    for _ in range(3):
        socket.takes.release()
    await until(lambda: len(socket.sent) == 2)
    assert socket.sent[1]["rows"] == {"setpoint": ["100", 100.0, "own", ""]}
    socket.closed.set()
    await running


# -- what is set


@pytest.mark.parametrize(
    ("name", "to", "value"),
    [
        ("setpoint", "1500", 1500),
        ("mode", "AUTOMATIC", Mode.AUTOMATIC),
        ("alarms", "HOT|OIL", Alarms.HOT | Alarms.OIL),
        ("alarms", "0", Alarms(0)),
        ("pump", "true", True),
        ("lamp", "true", True),
        ("recipe", "LID-40", "LID-40"),
        ("limits", "-1, 0, 1", (-1, 0, 1)),
    ],
)
def test_every_kind_of_variable_is_set(name: str, to: str, value: object) -> None:
    mem = Press()
    with page(mem) as opened:
        assert opened.set(name, to) == ("done", "")
    assert mem[name] == value


@pytest.mark.parametrize(
    ("name", "to", "told"),
    [
        ("setpoint", "9999", "outside its limits"),
        ("setpoint", "much", "is not a number"),
        ("setpoint", "", "is not a number"),
        ("mode", "FAST", "none of OFF, MANUAL, AUTOMATIC"),
        ("temperature", "20", "only the device writes it"),
        ("recipe", "far too long for this", "bytes"),
        ("limits", "1, 2", "3"),
        ("nix", "1", "no variable 'nix'"),
    ],
)
def test_what_the_store_does_not_take_is_told_and_changes_nothing(name: str, to: str, told: str) -> None:
    mem = Press()
    before = mem[:]
    with page(mem) as opened:
        fate, cause = opened.set(name, to)
    assert fate == "invalid"
    assert told in cause
    assert mem[:] == before


def test_a_read_only_page_sets_nothing() -> None:
    mem = Press()
    with page(mem, read_only=True) as opened:
        assert opened.set("setpoint", "5") == ("invalid", "this page is read-only")
    assert mem.setpoint == 0


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"type": "websocket.receive", "text": "x" * 5000}, 1009),
        ({"type": "websocket.receive", "text": "not JSON"}, 1003),
        ({"type": "websocket.receive", "text": "[" * 4000}, 1003),
        ({"type": "websocket.receive", "text": '{"id": true, "set": "setpoint", "to": "1"}'}, 1003),
        ({"type": "websocket.receive", "text": '{"id": 1, "set": ["setpoint"], "to": "1"}'}, 1003),
        ({"type": "websocket.receive", "text": '{"id": 1, "set": "setpoint", "to": 1}'}, 1003),
        ({"type": "websocket.receive", "bytes": b"\x00"}, 1003),
    ],
)
def test_what_no_page_of_ours_sends_ends_it(message: dict[str, Any], code: int) -> None:
    mem = Press()
    with page(mem) as opened:
        assert opened.closes_after(**message) == code
    assert mem.setpoint == 0


def test_pages_beyond_the_limit_are_told_so() -> None:
    browser, _ = site(Press(), max_pages=1)
    with browser, browser.websocket_connect("ws://localhost/live") as first:
        first.receive_json()
        with browser.websocket_connect("ws://localhost/live") as second, pytest.raises(WebSocketDisconnect) as closed:
            second.receive_json()
        assert (closed.value.code, closed.value.reason) == (1013, "1 pages are open already")


# -- fates at a device


class Told(list[tuple[str, str]]):
    """Collects what a desk tells."""

    def __call__(self, write: Write, fate: str, cause: str) -> None:
        self.append((fate, cause))

    @property
    def fates(self) -> list[str]:
        return [fate for fate, _ in self]


async def test_a_write_is_pending_and_then_acknowledged() -> None:
    async with FakeDevice(Press) as device, AsyncModbusClient(mem := Press(), device.endpoint):
        told = Told()
        device.then(late(0.1), on="write")
        WriteDesk(mem, told, read_only=False).perform(Write(1, "setpoint", "1500"))
        assert told.fates == ["pending"]
        await until(lambda: len(told) == 2)
        assert told.fates == ["pending", "acknowledged"]
        device.assert_wrote("setpoint", 1500)
        device.assert_wrote_only("setpoint")


async def test_a_write_that_the_device_refuses_is_rejected_with_its_cause() -> None:
    async with (
        FakeDevice(Press, before_write=keep_locked) as device,
        AsyncModbusClient(mem := Press(), device.endpoint) as client,
    ):
        told = Told()
        desk = WriteDesk(mem, told, read_only=False)
        desk.perform(Write(1, "locked", "5"))
        desk.perform(Write(2, "setpoint", "7"))
        await until(lambda: len(told) == 4)
        assert sorted(told.fates) == ["acknowledged", "pending", "pending", "rejected"]
        assert "exception 03" in dict(told)["rejected"]
        assert not desk.pending
        with pytest.raises(WriteError, match="locked"):  # the program is told as well
            await client.flush()


async def test_a_write_that_is_not_answered_is_unknown() -> None:
    async with FakeDevice(Press) as device, AsyncModbusClient(mem := Press(), device.endpoint, timeout=0.1):
        told = Told()
        device.then(lost(), on="write")
        WriteDesk(mem, told, read_only=False).perform(Write(1, "setpoint", "1500"))
        await until(lambda: len(told) == 2)
        assert told.fates == ["pending", "unknown"]


async def test_what_is_set_while_the_device_is_gone_expires_and_is_not_sent_late() -> None:
    device = FakeDevice(Press)
    await device.start()
    endpoint = device.endpoint
    async with AsyncModbusClient(mem := Press(), endpoint, timeout=0.2, period=0.02) as client:
        await device.stop()
        await until(lambda: client.state.value == "offline")
        told = Told()
        WriteDesk(mem, told, read_only=False).perform(Write(1, "setpoint", "1500"))
        await until(lambda: len(told) == 2)
        assert told[-1] == ("expired", "it could not be sent in time")
        async with FakeDevice(Press, endpoint) as again:
            await until(lambda: client.state.value == "online")
            await client.refresh()
            assert mem.setpoint == again.mem.setpoint == 0
            again.assert_wrote_only()


async def test_of_two_devices_the_one_that_refuses_is_told() -> None:
    async with (
        FakeDevice(Press) as good,
        FakeDevice(Press, before_write=keep_locked) as strict,
        AsyncModbusClient(mem := Press(), strict.endpoint),
        AsyncModbusClient(mem, good.endpoint),
    ):
        told = Told()
        WriteDesk(mem, told, read_only=False).perform(Write(1, "locked", "5"))
        await until(lambda: len(told) == 2)
        assert told.fates == ["pending", "rejected"]


def test_a_page_has_so_many_writes_pending_and_no_more() -> None:
    mem = Press()
    with FakeDevice(Press) as device, ModbusClient(mem, device.endpoint, timeout=5.0) as client:
        device.then(late(1.0), on="write")
        browser, _ = site(mem, client)
        with browser, browser.websocket_connect("ws://localhost/live") as socket:
            socket.receive_json()
            for number in range(MOST_PENDING + 1):
                socket.send_json({"id": number, "set": "setpoint", "to": "5"})
            told: dict[int, str] = {}
            while told.get(MOST_PENDING) != "invalid":
                told |= {write["id"]: write["cause"] and write["fate"] for write in socket.receive_json()["writes"]}
        wait_until(lambda: client.ledger.pending == 0, PATIENCE)


def test_a_fate_that_comes_after_the_page_has_ended_harms_nobody() -> None:
    mem = Press()
    with FakeDevice(Press) as device, ModbusClient(mem, device.endpoint) as client:
        device.then(late(0.2), on="write")

        async def short() -> None:
            WriteDesk(mem, Told(), read_only=False).perform(Write(1, "setpoint", "5"))

        asyncio.run(short())
        client.flush()
        device.assert_wrote("setpoint", 5)


def test_the_fate_of_a_write_does_not_hide_it_from_the_program() -> None:
    """What the program itself has assigned is told to the program, whatever a page sets meanwhile."""
    mem = Press()
    with FakeDevice(Press, before_write=keep_locked) as device, ModbusClient(mem, device.endpoint) as client:
        browser, _ = site(mem, client)
        with browser, browser.websocket_connect("ws://localhost/live") as socket:
            opened = Page(socket)
            mem.locked = 5
            assert opened.set("setpoint", "7")[0] == "acknowledged"
            with pytest.raises(MsmError, match="locked: rejected"):
                client.flush()
