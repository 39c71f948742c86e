"""`msm demo`, `serve` and `watch`, at a terminal and in a pipe."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.terminal import terminal
from tests.support import FREE, free_port, port_of

from msm import MemoryStore, MemoryVariable, ModbusClient, ModbusServer
from msm.cli.app import run
from msm.testing import FakeDevice

MAP = """
[variables.SPEED]
type = "float32"
address = 0
unit = "rpm"
behaviour = "ramp 0 100 5"

[variables.STATE]
type = "enum"
address = 2
members = { OFF = 0, RUN = 1 }

[variables.ANSWER]
type = "word"
address = 3
access = "ro"
behaviour = "echo STATE 0"
"""

LINE = re.compile(r"\d\d:\d\d:\d\d\.\d{3}  (?P<name>\w+)  (?P<value>.*)")


@pytest.fixture
def map_file(tmp_path: Path) -> str:
    file = tmp_path / "press.toml"
    file.write_text(MAP, "utf-8")
    return str(file)


@contextmanager
def piped(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`msm` with these arguments, in a pipe at both ends."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "msm", *arguments]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def line_with(child: subprocess.Popen[str], text: str) -> str:
    """The next line that it prints with that text in it."""
    assert child.stdout is not None
    for line in child.stdout:
        if text in line:
            return line.strip()
    raise AssertionError(f"it ended without a line with {text!r}")


def say(child: subprocess.Popen[str], text: str) -> None:
    """Write a line into its pipe."""
    assert child.stdin is not None
    child.stdin.write(f"{text}\n")
    child.stdin.flush()


# -- demo


def test_demo_shows_values_that_move_and_can_be_set() -> None:
    with terminal("demo") as it:
        it.see("POSITION", "ONLINE", "NAME=VALUE and Enter sets a value")
        before = it.text
        it.type("SPEED_SETPOINT=901\r")
        it.see("SPEED_SETPOINT = 901, acknowledged")
        it.see_row("SPEED_SETPOINT", "901 rpm")
        shown = it.see_row("SPEED", "901 rpm")  # a second later
        assert shown.splitlines()[:10] != before.splitlines()[:10]
        it.type("MODE=FAST\r")
        it.see("MODE: 'FAST' is none of STOP, RUN, SERVICE")
        it.type("LAMQ\x7fP=on\rx\x15")  # with a typing error
        it.see("LAMP = true, acknowledged", "> NAME=VALUE")
        assert not it.echoes()
        assert it.end() == 0
        assert it.echoes()
        assert "Traceback" not in it.text


def test_demo_in_a_pipe_prints_plain_lines_and_ends_by_itself() -> None:
    command = [sys.executable, "-m", "msm", "demo", "--seconds", "2.5"]
    done = subprocess.run(command, input="MODE=RUN\nMODE=\n", capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "msm: MODE: '' is none of STOP, RUN, SERVICE\n")
    lines = done.stdout.splitlines()
    assert "MODE = RUN, acknowledged" in lines
    found = [match for match in map(LINE.fullmatch, lines) if match]
    assert len(found) == len(lines) - 1
    assert {"MODE", "SPEED", "LAMP", "OIL_TEMP"} <= {match["name"] for match in found}
    assert len({match["value"] for match in found if match["name"] == "POSITION"}) >= 2
    assert "RUN" in {match["value"] for match in found if match["name"] == "MODE"}


# -- serve


def test_serve_in_a_pipe_moves_and_takes_values_meanwhile(map_file: str) -> None:
    panel = MemoryStore.load(map_file)
    with piped("serve", map_file, "-e", FREE, "--unit", "3") as child:
        found = re.fullmatch(r"serving .*press\.toml at (tcp://\S+), unit 3", line_with(child, "serving"))
        assert found
        with ModbusClient(panel, found[1], unit=3, period=0.02) as client:
            panel.wait_for("SPEED", lambda speed: speed > 5, 10)
            say(child, "SPEED=77")
            assert line_with(child, "=") == "SPEED = 77 rpm"
            panel.wait_for("SPEED", lambda speed: speed == 77, 10)
            say(child, "SPEED=")
            assert line_with(child, "again") == "SPEED moves again"
            panel.wait_for("SPEED", lambda speed: speed != 77, 10)
            panel.STATE = 1
            client.flush()
            assert line_with(child, "STATE").endswith("STATE  RUN")
            panel.wait_for("ANSWER", lambda answer: answer == 1, 10)
        say(child, "SPEED=fast")
        say(child, "SPED=1")
        say(child, "SPEED")
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=20)
    assert child.returncode == 0
    assert "Traceback" not in told


def test_serve_tells_what_cannot_be_set(map_file: str) -> None:
    command = [sys.executable, "-m", "msm", "serve", map_file, "-e", FREE, "--seconds", "1"]
    lines = "SPEED=fast\nSPED=1\nSPEED"  # the last one without an end
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1  # what moves by itself is no news
    assert done.stderr.splitlines() == [
        "msm: SPEED: 'fast' is not a number",
        "msm: no variable 'SPED' is in the map; did you mean SPEED?",
        "msm: 'SPEED' is not NAME=VALUE",
    ]


def test_serve_at_a_terminal_is_a_table(map_file: str) -> None:
    with terminal("serve", map_file, "-e", FREE) as it:
        shown = it.see("SERVING", "3 variables, 2 move", "SPEED", "STATE")
        assert "quality" not in shown
        it.type("STATE=RUN\r")
        it.see("STATE = RUN")
        it.see_row("ANSWER", "1")
        assert it.end(signal.SIGTERM) == 128 + signal.SIGTERM
        assert it.echoes()


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [("sin 0 1 2", "SPEED: behaviour 'sin 0 1 2' is none of"), ("ramp 0 1e39 5", "SPEED: 1e+39")],
)
def test_serve_refuses_a_behaviour_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], behaviour: str, told: str
) -> None:
    file = tmp_path / "press.toml"
    file.write_text(MAP.replace("ramp 0 100 5", behaviour), "utf-8")
    assert run(["serve", str(file), "-e", FREE]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"msm: {told}")
    assert err.count("\n") == 1


def test_serve_at_a_port_that_is_taken_is_told(map_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    with ModbusServer(MemoryStore(1), FREE) as server:
        assert run(["serve", map_file, "-e", server.endpoint]) == 1
    assert capsys.readouterr().err.startswith("msm: ")


# -- watch


@pytest.fixture
def device(map_file: str) -> Iterator[FakeDevice]:
    with FakeDevice(MemoryStore.load(map_file)) as device:
        yield device


def test_watch_in_a_pipe_prints_a_line_for_each_change(device: FakeDevice, map_file: str) -> None:
    with piped("watch", device.endpoint, map_file, "STATE", "SPEED", "--period", "0.05") as child:
        assert line_with(child, "STATE").endswith("STATE  OFF")
        device.mem.STATE = 1
        assert line_with(child, "STATE").endswith("STATE  RUN")
        device.mem.SPEED = 40.1
        assert line_with(child, "SPEED").endswith("SPEED  40.1 rpm")
        device.kill()
        assert child.stderr is not None
        assert child.stderr.readline().startswith("msm: the connection is lost")
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 0


def test_watch_prints_json_for_scripts(device: FakeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    before = time.time()
    device.mem[0] = 7
    assert run(["watch", device.endpoint, "holding:0", "--json", "--seconds", "0.3"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[0])
    assert before - 1 < said.pop("at") < time.time() + 1
    assert said == {"name": "holding:0", "value": 7, "unit": ""}


def test_watch_in_a_pipe_tells_what_the_device_refuses(device: FakeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["watch", device.endpoint, "holding:0", "holding:99", "--seconds", "0.5"]) == 0
    out, err = capsys.readouterr()
    assert out.endswith("holding:0  0\n")
    assert "msm: connected, but every read of holding 99 is refused (the device does not have it)" in err
    lines = err.splitlines()
    assert all(line.startswith("msm: ") for line in lines)
    assert len(set(lines)) == len(lines)  # it is told once


def test_watch_in_a_pipe_wants_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["watch", f"tcp://127.0.0.1:{free_port()}", "0", "--timeout", "0.05"]) == 1
    assert "connection refused" in capsys.readouterr().err


def test_watch_at_a_terminal_goes_on_when_the_device_is_gone(device: FakeDevice, map_file: str) -> None:
    endpoint = device.endpoint
    with terminal("watch", endpoint, map_file) as it:
        it.see("ONLINE", "no errors", "SPEED", "good")
        device.mem.STATE = 1
        it.see("RUN")
        device.kill()
        shown = it.see("OFFLINE", "connection", "stale")
        assert "RUN" in shown  # values hold
        again = MemoryStore.load(map_file)
        again.STATE = 0
        with ModbusServer(again, f"tcp://127.0.0.1:{port_of(endpoint)}"):
            it.see("ONLINE", "OFF")
            assert it.end() == 0


def test_watch_at_a_terminal_waits_for_a_device_that_is_not_there_yet() -> None:
    port = free_port()
    with terminal("watch", f"tcp://127.0.0.1:{port}", "holding:0") as it:
        it.see("no connection yet", "never")
        with ModbusServer(MemoryStore(1), f"tcp://127.0.0.1:{port}"):
            it.see("ONLINE", "good")
        assert it.end() == 0


def test_watch_can_be_scrolled_and_fits_a_window_that_changes() -> None:
    mem = MemoryStore(40)
    mem.A = MemoryVariable.word(0)
    with (
        ModbusServer(mem, FREE) as server,
        terminal("watch", server.endpoint, *(f"holding:{at}" for at in range(40)), lines=12) as it,
    ):
        assert "holding:9 " not in it.see("holding:8 ", "1-9 of 40")
        it.type("\x1b[B\x1bOB")
        it.see("holding:10 ", "3-11 of 40")
        it.type("\x1b[6~\x1b[A\x1b[1;5C")  # a page down, a line up, and a key that means nothing
        it.see("holding:11 ", "12-20 of 40")
        it.resize(100, 50)
        it.see("holding:0 ", "holding:39 ")
        assert it.end() == 0
