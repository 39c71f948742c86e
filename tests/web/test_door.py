"""The web door: beside a program, in its own thread or its own loop."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from msm import BindError, DeclarationError, StateError, web
from tests.support import PATIENCE, port_of, taken_port, wait_until
from tests.web.press import Press

ROOT = Path(__file__).parent.parent.parent


def status(url: str, **headers: str) -> int:
    """What the server answers to a request for this address."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=PATIENCE) as answer:
            found: int = answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    return found


def live(hmi: web.WebServer | web.AsyncWebServer) -> str:
    return hmi.endpoint.replace("http:", "ws:") + "/live"


def test_serve_runs_when_it_returns_and_ends_with_its_block() -> None:
    with web.serve(Press(), port=0) as hmi:
        assert not hmi.endpoint.endswith(":0")
        assert hmi.url == f"{hmi.endpoint}/"
        assert status(hmi.url) == 200
        hmi.run()  # it runs already
    with pytest.raises(urllib.error.URLError):
        status(hmi.url)
    hmi.kill()
    with pytest.raises(StateError):
        hmi.run()


def test_the_page_shows_what_the_program_assigns_and_sets_what_it_reads() -> None:
    mem = Press()
    with web.serve(mem, port=0, period=0.05) as hmi, connect(live(hmi)) as page:
        assert '"setpoint":["0",0.0,"own",""]' in str(page.recv(PATIENCE))
        mem.setpoint = 42
        while '"setpoint":["42"' not in str(page.recv(PATIENCE)):
            pass
        page.send('{"id": 1, "set": "setpoint", "to": "43"}')
        wait_until(lambda: mem.setpoint == 43)


async def test_in_a_loop_it_is_awaited() -> None:
    hmi = web.AsyncWebServer(Press(), port=0)
    async with hmi:
        assert await asyncio.to_thread(status, hmi.url) == 200
        with pytest.raises(StateError):
            await hmi.start()
    await hmi.stop()
    with pytest.raises(StateError):
        await hmi.start()


def test_a_port_that_is_taken_is_told() -> None:
    with taken_port() as port, pytest.raises(BindError, match=f"http://127.0.0.1:{port}: cannot listen there"):
        web.serve(Press(), port=port)


def test_what_cannot_be_is_told_before_anything_runs() -> None:
    with pytest.raises(DeclarationError, match="open to the network"):
        web.serve(Press(), host="0.0.0.0")
    with pytest.raises(DeclarationError, match="is not a MemoryStore"):
        web.serve("mem")  # type: ignore[arg-type]


def test_beyond_this_computer_it_says_so_once_and_wants_its_token(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "msm.web"), web.serve(Press(), "0.0.0.0", 0, token="a long & secret") as hmi:
        told = [record.message for record in caplog.records]
        assert told == [f"{hmi.endpoint} is open to the network, without encryption"]
        assert hmi.url.startswith("http://127.0.0.1:")
        assert "a%20long%20%26%20secret" in hmi.url
        there = hmi.url.partition("?")[0]
        assert status(f"{there}layout.svg") == 401
        assert status(f"{there}layout.svg", Authorization="Bearer a long & secret") == 200
        with pytest.raises(InvalidStatus), connect(live(hmi).replace("0.0.0.0", "127.0.0.1")):
            pass


def test_a_message_that_is_too_long_is_not_even_taken_in() -> None:
    with web.serve(Press(), port=0) as hmi, connect(live(hmi)) as page:
        page.recv(PATIENCE)
        page.send("x" * 100_000)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                page.recv(PATIENCE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


@pytest.mark.parametrize("said", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HT"])
def test_a_connection_of_which_no_request_comes_gives_way(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("msm.web.serving.REQUEST_DEADLINE", 0.1)
    with web.serve(Press(), port=0) as hmi, connect(live(hmi)) as page:
        with socket.create_connection(("127.0.0.1", port_of(hmi.endpoint)), timeout=PATIENCE) as slow:
            slow.sendall(said)
            while not is_over(slow):
                pass
        assert page.ping().wait(PATIENCE)  # an open page is no such connection


def is_over(connection: socket.socket) -> bool:
    """Has the server ended this connection?"""
    try:
        return connection.recv(4096) == b""
    except ConnectionResetError:
        return True


def test_open_pages_do_not_hold_up_the_end() -> None:
    with web.serve(Press(), port=0) as hmi, connect(live(hmi)) as page:
        page.recv(PATIENCE)
        hmi.kill()
        with pytest.raises(ConnectionClosed):
            while True:
                page.recv(PATIENCE)


def test_the_wheel_has_the_files_of_the_page(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    static = ROOT / "src" / "msm" / "web" / "static"
    wanted = {f"msm/web/static/{path.relative_to(static).as_posix()}" for path in static.rglob("*") if path.is_file()}
    assert "msm/web/static/vendor/uPlot.LICENSE" in wanted
    assert wanted <= set(zipfile.ZipFile(wheel).namelist())
