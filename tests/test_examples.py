"""The examples, run as a user runs them: each in a process of its own, its output read, ended by Ctrl+C."""

from __future__ import annotations

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
PATIENCE = 20.0  # seconds until an output that does not come is a failure
ANY_PORT = "tcp://localhost:0"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C is sent as SIGINT")


class Program:
    """A running example and the lines it prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def expect(self, pattern: str) -> re.Match[str]:
        """Read on until a line matches."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"no line like {pattern!r} within {PATIENCE} s, but\n" + "\n".join(self.lines))
            if line is None:
                pytest.fail(f"ended without a line like {pattern!r}:\n" + "\n".join(self.lines))
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found

    def tell(self, line: str) -> None:
        """Type a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def interrupt(self) -> None:
        """Press Ctrl+C, and see that it ends in good order."""
        self.process.send_signal(signal.SIGINT)
        self.ends()

    def ends(self) -> str:
        """Wait for its end, which is in good order; what it printed."""
        assert self.process.stdin is not None and self.process.stderr is not None
        self.process.stdin.close()
        code = self.process.wait(PATIENCE)
        self._reader.join()
        while (line := self._queue.get_nowait()) is not None:
            self.lines.append(line)
        assert self.process.stderr.read() == ""
        assert code in (0, 130)
        return "\n".join(self.lines)


@contextmanager
def running(*arguments: str) -> Iterator[Program]:
    """A Python program in the directory of the examples."""
    pipe = subprocess.PIPE
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        [sys.executable, *arguments], stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=EXAMPLES, env=environment
    ) as process:
        program = Program(process)
        try:
            yield program
        finally:
            if process.poll() is None:
                process.kill()
            program._reader.join()


@contextmanager
def serving(example: str) -> Iterator[tuple[Program, str]]:
    """A server example at a free port, and its endpoint."""
    with running(example, ANY_PORT) as program:
        endpoint = program.expect(r"serving at (tcp://localhost:\d+)$")[1]
        yield program, endpoint
        program.interrupt()


def test_mapper_pair() -> None:
    with serving("ex_server_mapper.py") as (server, endpoint):
        server.expect("CURRENT_VALUE=0 CONTROL_WORD=1 ERROR_STATE=True")
        server.expect("CURRENT_VALUE=0 CONTROL_WORD=0 ERROR_STATE=False")
        with running("ex_client_mapper.py", endpoint) as client:
            client.expect("WORK_MODE=0 PROCESS_STEP=0 CURRENT_VALUE=0 ")
            client.expect("WORK_MODE=1 PROCESS_STEP=0 CURRENT_VALUE=0 ")
            server.expect("WORK_MODE=1 PROCESS_STEP=0 CURRENT_VALUE=0 ")
            client.interrupt()


def test_mapper_client_writes_all_four_and_ends_by_itself() -> None:
    with serving("ex_server_mapper.py") as (server, endpoint), running("ex_client_mapper.py", endpoint) as client:
        server.expect("WORK_MODE=1 PROCESS_STEP=20 CURRENT_VALUE=99999 CONTROL_WORD=(24|25) ERROR_STATE=")
        assert client.ends().count("CURRENT_VALUE=99999") == 2


def test_importing_the_client_gives_mem_and_client_to_play_with() -> None:
    play = """
import ex_client_mapper
mem, client = ex_client_mapper.mem, ex_client_mapper.client
mem.CONTROL_WORD = 500
client.flush()
print(client.state.value, mem.CONTROL_WORD | 1)
"""
    with serving("ex_server_mapper.py") as (server, endpoint), running("-c", play, endpoint) as shell:
        shell.expect("^online 501$")
        server.expect("CONTROL_WORD=50[01] ")
        shell.ends()


def test_raw_access_pair() -> None:
    with serving("ex_server_raw_access.py") as (server, endpoint):
        server.expect(r"^'00': \d{5} \| '01': 00000 \| ")
        with running("ex_client_raw_access.py", endpoint) as client:
            client.expect("read word 3")
            client.tell("3 500")
            server.expect("'03': 00500")
            client.tell("3")
            client.expect("^> (> )*500$")
            client.tell("")
            client.expect("'03': 00500")
            client.tell("20")
            client.expect("outside the memory")
            client.tell("3 70000")
            client.expect("out of range")
            client.tell("three")
            client.expect("invalid literal")
            client.tell("1 2 3")
            client.expect("read word 3")
            client.ends()
        with running("ex_client_raw_access.py", endpoint) as client:
            client.expect("Ctrl")
            client.interrupt()


def test_quickstart() -> None:
    with running("quickstart.py", ANY_PORT) as program:
        program.expect("^the machine serves at tcp://localhost:")
        for step in (1, 10):
            told = f"WORK_MODE=1 PROCESS_STEP={step} CURRENT_VALUE={11111 * step} CONTROL_WORD="
            machine = program.expect(f"^machine: {told}(.*)")[1]
            panel = program.expect(f"^panel  : {told}(.*)")[1]
            assert panel == machine
        program.ends()


def test_async_quickstart() -> None:
    with running("async_quickstart.py", ANY_PORT) as program:
        for step in range(1, 6):
            program.expect(f"^machine: PROCESS_STEP={step}$")
            program.expect(r"^panel  : CURRENT_VALUE=\d+ ERROR_STATE=(True|False)$")
        program.ends()


@pytest.mark.parametrize("example", ["quickstart.py", "async_quickstart.py"])
def test_ctrl_c(example: str) -> None:
    with running(example, ANY_PORT) as program:
        program.expect("^panel")
        program.interrupt()


@pytest.mark.parametrize("example", ["ex_client_mapper.py", "ex_client_raw_access.py"])
def test_ctrl_c_while_there_is_no_server(example: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens there
        with running(example, f"tcp://127.0.0.1:{taken.getsockname()[1]}") as program:
            program.expect("^looking for")
            program.interrupt()


def test_the_project_with_tests_passes_them_as_a_user_runs_them() -> None:
    """In its own directory, with nothing of our own settings."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", "."]
    project = EXAMPLES / "hmi_with_tests"
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=50, check=False)
    assert "5 passed" in done.stdout, done.stdout + done.stderr


def test_the_panel_of_that_project_shows_a_press() -> None:
    project = EXAMPLES / "hmi_with_tests"
    serve = (
        "from press import Press; from msm.testing import FakeDevice; d = FakeDevice(Press); d.run(); "
        "d.mem.provide(speed=33.0); print(d.endpoint, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", serve], cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as device:
        assert device.stdout is not None
        endpoint = device.stdout.readline().strip()
        with subprocess.Popen(
            [sys.executable, "hmi.py", endpoint], cwd=project, stdout=subprocess.PIPE, text=True
        ) as panel:
            assert panel.stdout is not None
            assert any("33 rpm" in panel.stdout.readline() for _ in range(20))
            panel.send_signal(signal.SIGINT)
            assert panel.wait(PATIENCE) == 0
        device.communicate("\n", timeout=PATIENCE)
