"""What a person types while the screen is alive, or the lines that come through a pipe."""

from __future__ import annotations

import codecs
import io
import os
import queue
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PAGE = 10  # lines that a page key goes
SCROLLS = {"A": -1, "B": 1, "5~": -PAGE, "6~": PAGE}
_SEQUENCE = re.compile(r"\x1b(?:[\[O](?P<code>[0-9;]*[A-Za-z~]))?")
_BEGUN = re.compile(r"\x1b(?:[\[O][0-9;]*)?\Z")  # the rest may be still on its way


class Keyboard:
    """Lines of standard input. At a terminal nothing is echoed: `typed` is the line so far, to be shown.

    `scroll` is how many lines the arrow and page keys have asked to go down.
    """

    def __init__(self) -> None:
        self.typed = ""
        self.scroll = 0
        self._chunks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = ""
        self._ended = False

    def lines(self, seconds: float) -> list[str]:
        """The lines that were completed; waits for a key at most so long."""
        done: list[str] = []
        with suppress(queue.Empty):
            chunk = self._chunks.get(timeout=seconds)
            while True:
                self._take(self._decoder.decode(chunk, final=not chunk), done)
                self._ended = not chunk
                chunk = self._chunks.get_nowait()
        if self._ended and self.typed:
            done.append(self.typed)  # the last line of a file may be without an end
            self.typed = ""
        return [line.strip() for line in done if line.strip()]

    def _take(self, text: str, done: list[str]) -> None:
        text = self._begun + text
        begun = _BEGUN.search(text)
        self._begun = begun[0] if begun else ""
        text = text.removesuffix(self._begun)
        at = 0
        while at < len(text):
            if sequence := _SEQUENCE.match(text, at):
                self.scroll += SCROLLS.get(sequence["code"] or "", 0)
                at = sequence.end()
                continue
            char = text[at]
            at += 1
            if char in "\r\n":
                done.append(self.typed)
                self.typed = ""
            elif char in "\x7f\b":
                self.typed = self.typed[:-1]
            elif char == "\x15":  # Ctrl+U
                self.typed = ""
            elif char.isprintable():
                self.typed += char

    def read(self, descriptor: int) -> None:
        """Take all that comes, until the end; in a thread of its own, which nobody waits for."""
        chunk = b"?"
        while chunk:
            try:
                chunk = os.read(descriptor, 1024)
            except OSError:
                chunk = b""  # a terminal that was taken away, or is another program's just now: the same as its end
            self.feed(chunk)

    def feed(self, chunk: bytes) -> None:
        """Some bytes have come; none are the end."""
        self._chunks.put(chunk)


@contextmanager
def keyboard() -> Iterator[Keyboard]:
    """A keyboard at standard input; a terminal is as it was afterwards."""
    keys = Keyboard()
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, io.UnsupportedOperation, ValueError):
        yield keys  # there is no standard input
        return
    with _without_echo(descriptor):
        threading.Thread(target=keys.read, args=(descriptor,), name="keyboard", daemon=True).start()
        yield keys


@contextmanager
def _without_echo(descriptor: int) -> Iterator[None]:
    try:
        import termios  # noqa: PLC0415 - Windows has none: its console goes on echoing
    except ImportError:
        yield
        return
    if not os.isatty(descriptor):
        yield
        return
    for in_background in (signal.SIGTTIN, signal.SIGTTOU):  # there is no keyboard then: no reason to stop
        signal.signal(in_background, signal.SIG_IGN)
    before = termios.tcgetattr(descriptor)
    silent = termios.tcgetattr(descriptor)
    silent[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(descriptor, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
