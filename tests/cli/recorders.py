"""A device whose values move, its map, and commands that run beside a test."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import FREE

from msm.testing import FakeDevice

MAP = """
[variables.speed]
type = "float32"
address = 0
unit = "rpm"

[variables.state]
type = "enum"
address = 2
members = { OFF = 0, RUN = 1 }

[variables.total]
type = "uint64"
address = 4

[variables.serial]
type = "string"
address = 8
length = 8

[variables.row]
type = "int16"
address = 12
count = 2

[variables.temperature]
type = "int16"
address = 14
scale = 0.5
nan = -32768

[variables.since]
type = "datetime"
address = 16
layout = "unix32"

[variables.pump]
type = "coil"
address = 0

[variables.setpoint]
type = "word"
address = 20
access = "wo"
"""
NAMES = ["speed", "state", "total", "serial", "row[0]", "row[1]", "temperature", "since", "pump"]
LARGE = (1 << 64) - 2


def map_file(folder: Path) -> Path:
    file = folder / "press.toml"
    file.write_text(MAP, "utf-8")
    return file


def moving(folder: Path, endpoint: str = FREE) -> FakeDevice:
    """A device whose speed moves."""
    device = FakeDevice(map_file(folder), endpoint)
    device.mem.provide(state=1, total=LARGE, serial="007", row=(-1, 2), temperature=21.5, pump=True)
    device.mem.set_value(16, 0x6A00)
    device.follow("speed", lambda at: 100.0 + at)
    return device


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs until it is told to end; at the end it is."""
    command = [sys.executable, "-m", "msm", *arguments]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.communicate(timeout=30)


def ended(child: subprocess.Popen[str], by: signal.Signals = signal.SIGINT) -> tuple[int, str, str]:
    """Tell a command to end; its exit code, and what it has printed."""
    child.send_signal(by)
    assert child.stdout is not None
    assert child.stderr is not None
    # Not communicate(): it does not know what was read ahead with a first line.
    errors, out = child.stderr.read(), child.stdout.read()
    return child.wait(30), out, errors
