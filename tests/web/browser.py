"""A real browser: Debian's Chromium, driven by Playwright's core in a program of its own (`driver.mjs`)."""

from __future__ import annotations

import json
import os
import select
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support import wait_until

HERE = Path(__file__).parent
SETUP = HERE / "setup.sh"
PATIENCE = 30.0  # seconds; a browser on a busy machine takes a while to start
PHONE = (390, 844)
DESK = (1280, 900)


class BrowserError(AssertionError):
    """What was asked of the browser did not come about."""


class Browser:
    """One Chromium with one page at a time.

    :param profile: a directory of its own for what the browser keeps.
    """

    def __init__(self, profile: Path) -> None:
        self._unread = b""
        self._process = subprocess.Popen(
            ["node", str(HERE / "driver.mjs"), str(profile)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=HERE,
            bufsize=0,
        )
        try:
            assert self._answer() == {"ready": True}
        except BaseException:
            self._process.kill()
            self.close()
            raise

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while b"\n" not in self._unread:
            ready, _, _ = select.select([pipe], [], [], PATIENCE)
            assert ready, "the browser says nothing"
            more = os.read(pipe, 65536)
            assert more, f"the browser has ended by itself: {self._process.wait(PATIENCE)}"
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def call(self, name: str, *args: Any) -> Any:
        """Call a function of Playwright, e.g. ``call("page.click", "#theme")``; gives what is data."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"call": name, "args": args}).encode() + b"\n")
        answer = self._answer()
        if "error" in answer:
            raise BrowserError(f"{name}{args}: {answer['error']}")
        return answer.get("answer")

    # -- what the tests say

    def open(self, url: str, size: tuple[int, int] = DESK, colours: str = "light") -> None:
        """A fresh page, at that address."""
        self.call("anew", *size, colours)
        self.call("page.goto", url)

    def click(self, selector: str) -> None:
        self.call("page.click", selector)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.call("page.keyboard.press", key)

    def write(self, text: str) -> None:
        self.call("page.keyboard.type", text)

    def evaluate(self, expression: str) -> Any:
        return self.call("page.evaluate", expression)

    def wait(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        # Not Playwright's waitForFunction: the page does not allow that its text is evaluated.
        wait_until(lambda: self._holds(expression), what=expression)

    def _holds(self, expression: str) -> bool:
        try:
            return bool(self.evaluate(expression))
        except BrowserError as error:
            if "context was destroyed" in str(error) or "TypeError" in str(error):
                return False  # the page is just being loaded
            raise

    def text(self, selector: str) -> str:
        found: str = self.call("page.innerText", selector)
        return found

    def wait_for_text(self, selector: str, text: str) -> None:
        """Wait until this text is shown there."""
        self.wait(f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(text)})")

    def screenshot(self, path: Path, **options: Any) -> None:
        self.call("page.screenshot", {"path": str(path), **options})

    @property
    def complaints(self) -> list[str]:
        """What the browser's console said was wrong."""
        found: list[str] = self.call("complained")
        return found

    def close(self) -> None:
        """End it: it closes its browser when nothing more comes."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def row(name: str) -> str:
    """The selector of a variable's row in the table."""
    return f"tbody tr:has(.name:text-is({json.dumps(name)}))"
