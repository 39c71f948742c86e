"""`msm web` as a shell sees it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support import PATIENCE, free_port
from websockets.sync.client import connect

from msm.testing import FakeDevice

MAP = "size = 8\n[variables.setpoint]\ntype = 'int16'\naddress = 3\n"
COMMAND = [sys.executable, "-m", "msm", "web"]


@pytest.fixture
def map_file(tmp_path: Path) -> Path:
    path = tmp_path / "press.toml"
    path.write_text(MAP, "utf-8")
    return path


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and the address that it has printed."""
    child = subprocess.Popen(
        [*COMMAND, *arguments, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        told = re.match(r"(http://\S+)  \(Ctrl\+C ends it\)", child.stdout.readline())
        assert told is not None
        yield child, told[1]
    finally:
        child.kill()
        child.communicate(timeout=PATIENCE)


def test_it_serves_the_page_of_a_device_until_it_is_interrupted(map_file: Path) -> None:
    with FakeDevice(map_file) as device, running(device.endpoint, str(map_file)) as (child, url):
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            assert "MSM" in answer.read().decode()
        with connect(url.replace("http:", "ws:") + "live") as socket:
            assert f'"title":"press at {device.endpoint}"' in str(socket.recv(PATIENCE))
            socket.send('{"id": 1, "set": "setpoint", "to": "1500"}')
            while '"fate":"acknowledged"' not in str(socket.recv(PATIENCE)):
                pass
        device.assert_wrote("setpoint", 1500)
        os.kill(child.pid, signal.SIGINT)
        assert child.wait(PATIENCE) == 130
        assert child.stderr is not None
        assert child.stderr.read() == ""


def test_the_page_is_there_without_the_device(map_file: Path) -> None:
    with running(f"tcp://127.0.0.1:{free_port()}", str(map_file), "--token", "a-long-secret") as (_, url):
        assert url.endswith("/?token=a-long-secret")
        with connect(
            url.replace("http:", "ws:").partition("?")[0] + "live",
            additional_headers={"authorization": "Bearer a-long-secret"},
        ) as socket:
            while '"state":"offline"' not in str(socket.recv(PATIENCE)):
                pass


def test_a_phone_reaches_it_by_the_address_and_the_token(map_file: Path) -> None:
    secret = "correct-horse-battery"
    with running("tcp://127.0.0.1:1", str(map_file), "--host", "0.0.0.0", "--token", secret) as (_, url):
        phone = {"host": "192.168.0.20:8080"}
        for address, found in ((url, "Variables"), (url.partition("?")[0], "Log in")):
            request = urllib.request.Request(address, headers=phone)
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            with opener.open(request, timeout=PATIENCE) as answer:
                assert found in answer.read().decode()


def test_read_only_nothing_can_be_set(map_file: Path) -> None:
    with FakeDevice(map_file) as device, running(device.endpoint, str(map_file), "--read-only") as (_, url):
        with connect(url.replace("http:", "ws:") + "live") as socket:
            socket.send('{"id": 1, "set": "setpoint", "to": "1500"}')
            while '"fate":"invalid"' not in str(socket.recv(PATIENCE)):
                pass
        device.assert_wrote_only()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--host", "0.0.0.0"), "open to the network"),
        (("--basic", "anna"), "USER:PASSWORD"),
        (("--token", "short"), "at least 8"),
    ],
)
def test_what_is_not_safe_is_refused_in_one_line(map_file: Path, arguments: tuple[str, ...], told: str) -> None:
    done = subprocess.run(
        [*COMMAND, "tcp://127.0.0.1:1", str(map_file), *arguments],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("msm: ")
    assert done.stderr.count("\n") == 1
    assert told in done.stderr
