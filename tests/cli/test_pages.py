"""The commands of the pages about the shell: run as they stand there, and they print what stands there.

A block of text after the remark `<!-- prints -->` is what the command before it prints.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.docs.test_docs import DOCS, ROOT, blocks
from tests.support import FREE, PATIENCE

from msm import Functions, MemoryStore, MemoryVariable
from msm.testing import FakeDevice

PRINTED = re.compile(
    r"^```sh\n(?P<command>[^\n]+)\n```\n(?:\n<!-- prints -->\n```text\n(?P<printed>.*?)^```$)?", re.M | re.S
)
VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "2026-01-31T12:00:00.000Z"),
    (re.compile(r"\d+ rows"), "5 rows"),
)


def unknown() -> FakeDevice:
    """The device of the page about scanning."""
    mem = MemoryStore(40, input_registers=10, coils=8)
    mem.measured = MemoryVariable.float32(0, count=5, word_order="big")
    mem.counter = MemoryVariable.uint32(10, word_order="big")
    mem.provide(measured=(230.1, 229.87, 231.4, 49.98, 12.5), counter=123456)
    identity = Functions(identification={0: "Acme", 1: "M-230", 2: "1.2"})
    device = FakeDevice(mem, FREE, functions=identity)
    device.unreadable(20, 10)
    return device


def press() -> FakeDevice:
    """The device of the page about recordings."""
    device = FakeDevice(ROOT / "examples" / "recordings" / "press.toml", FREE)
    device.mem.provide(SPEED=40.5, PRESSURE=6.25, STATE=2, SETPOINT=40.0, PUMP=True)
    return device


PAGES: dict[str, Callable[[], AbstractContextManager[FakeDevice]]] = {
    "tutorial/from-an-address.md": press,
    "how-to/maps-from-the-shell.md": press,
    "how-to/scan.md": unknown,
    "how-to/recordings.md": press,
}


def browse(words: list[str]) -> str:
    """Serve a page of the web at a free port, look at it as a phone in the network does, and end it by Ctrl+C."""
    with subprocess.Popen(
        [sys.executable, "-m", *words, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as serving:
        try:
            assert serving.stdout is not None
            printed = serving.stdout.readline()
            phone = urllib.request.Request(printed.split()[0], headers={"host": "192.168.0.20:8080"})
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            with opener.open(phone, timeout=PATIENCE) as answer:
                assert "Variables" in answer.read().decode()
            serving.send_signal(signal.SIGINT)
            assert serving.wait(PATIENCE) == 130
        finally:
            serving.kill()
    return printed


def shell(page: Path, endpoint: str) -> Iterator[tuple[str, str, str | None]]:
    """The commands of a page: each with what it has printed, and with what the page says that it does."""
    for found in PRINTED.finditer(page.read_text("utf-8")):
        words = shlex.split(found["command"].replace("tcp://localhost:5020", endpoint))
        if words[:2] == ["msm", "web"]:
            yield found["command"], browse(words), found["printed"]
            continue
        command = [sys.executable, "-m", *words] if words[0] == "msm" else words
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{found['command']}: {done.stdout}"
        printed = done.stdout.replace(endpoint, "tcp://localhost:5020")
        yield found["command"], "".join(f"{line.rstrip()}\n" for line in printed.splitlines()), found["printed"]


def alike(text: str) -> str:
    """The text, with what is another each time replaced."""
    for pattern, stand_in in VARYING:
        text = pattern.sub(stand_in, text)
    return text


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_a_page_print_what_it_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = DOCS / name
    monkeypatch.chdir(tmp_path)
    Path("examples").symlink_to(ROOT / "examples")
    for block in blocks(page):
        if block.mark == "file":
            Path(block.file).write_text(block.body, "utf-8")
    commands = 0
    with PAGES[name]() as device:
        for command, printed, expected in shell(page, device.endpoint):
            commands += 1
            if expected is not None:
                assert alike(printed) == alike(expected), command
    assert commands == page.read_text("utf-8").count("```sh\n")
