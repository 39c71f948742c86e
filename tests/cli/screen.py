"""A terminal for commands: what a person sees of them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable

import pyte


def screen(
    *arguments: str,
    columns: int = 80,
    lines: int = 60,
    timeout: float = 30.0,
    look: Callable[[pyte.Screen], object] = lambda _: None,
) -> tuple[pyte.Screen, int]:
    """Run a command on a terminal to its end; returns the screen and the exit code.

    :param look: called with the screen each time something was written to it.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")}
    child = subprocess.Popen(
        [sys.executable, "-m", "msm", *arguments],
        stdin=slave, stdout=slave, stderr=slave, close_fds=True, env={**environment, "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(slave)
    shown = pyte.Screen(columns, lines)
    stream = pyte.ByteStream(shown)
    try:
        with contextlib.suppress(OSError):  # the other end is closed: it has ended
            while data := os.read(master, 65536):
                stream.feed(data)
                look(shown)
        return shown, child.wait(timeout)
    finally:
        os.close(master)
        if child.poll() is None:
            child.kill()
            child.wait()
