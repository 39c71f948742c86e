"""A terminal that a command runs at: what it draws is read as a person sees it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyte
from tests.support import Deadline

PATIENCE = 20.0  # seconds; what is seen sooner is noticed sooner


class Terminal:
    """A child on a pseudo terminal of its own, and its screen."""

    def __init__(self, arguments: tuple[str, ...], columns: int, lines: int) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        try:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "msm", *arguments],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
                env={**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", "COLUMNS": "", "LINES": ""},
            )
        finally:
            os.close(slave)

    @property
    def text(self) -> str:
        """What is on the screen now."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self._master, text.encode())

    def echoes(self) -> bool:
        """Does the terminal echo what is typed?"""
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)

    def resize(self, columns: int, lines: int) -> None:
        """Make the window larger or smaller."""
        self.screen.resize(lines, columns)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def see(self, *texts: str) -> str:
        """Wait until all of these are on the screen."""
        return self._wait_for(lambda: all(text in self.text for text in texts), f"{texts}")

    def see_row(self, name: str, value: str) -> str:
        """Wait until the table has this value for a variable."""
        row = re.compile(rf"^{re.escape(name)} +{re.escape(value)} ", re.MULTILINE)
        return self._wait_for(lambda: row.search(self.text), f"{name} with {value}")

    def _wait_for(self, condition: Callable[[], object], what: str) -> str:
        deadline = Deadline(PATIENCE)
        while not condition():
            self._read(0.05)
            assert not deadline.over, f"not seen: {what}\n{self.text}"
        return self.text

    def end(self, number: int = signal.SIGINT) -> int:
        """Send a signal, and wait for the end; returns the exit code."""
        os.killpg(self.child.pid, number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end; returns the exit code."""
        deadline = Deadline(PATIENCE)
        while self.child.poll() is None:
            self._read(0.05)
            assert not deadline.over, f"it did not end:\n{self.text}"
        while self._read(0.0):
            pass
        return self.child.returncode

    def _read(self, seconds: float) -> bool:
        """Take what was drawn; is there something?"""
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False  # nobody holds the other end any more
        self._stream.feed(data)
        return bool(data)

    def close(self) -> None:
        """End what still runs."""
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait(10)
        os.close(self._master)


@contextmanager
def terminal(*arguments: str, columns: int = 80, lines: int = 24) -> Iterator[Terminal]:
    """`msm` with these arguments, at a terminal of that size."""
    it = Terminal(arguments, columns, lines)
    try:
        yield it
    finally:
        it.close()
