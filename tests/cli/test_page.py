"""The page of the command line: each of its commands is run, in order, and says what stands there."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.terminal import terminal
from tests.docs.test_docs import DOCS, Block, blocks
from tests.support import free_port

PAGE = DOCS / "how-to" / "command-line.md"
SERVE = "msm serve press.toml"
SCREENS = ("msm demo", "msm watch tcp://localhost:5020 press.toml")
EVERY_TIME_ELSE = re.compile(r"\d\d:\d\d:\d\d\.\d{3}|[0-9a-f]{4}( [0-9a-f]{4})*\b|[-\d.]+|[▁-█]+")
"""Times, raw words, numbers and trends."""


def said(text: str) -> list[str]:
    """The lines of an output, without what is different each time."""
    lines = (re.sub(r"\s+", " ", EVERY_TIME_ELSE.sub("#", line)).strip() for line in text.splitlines())
    return [line for line in lines if line]


def commands() -> list[tuple[str, str]]:
    """The commands of the page, each with the output that stands after it, if there is one."""
    found = [block for block in blocks(PAGE) if block.language in ("sh", "text")]
    after = [*found[1:], Block("", "", 0, "", "")]
    pairs = zip(found, after, strict=True)
    return [
        (block.body.strip(), output.body if output.language == "text" else "")
        for block, output in pairs
        if block.language == "sh" and block.body.startswith("msm")
    ]


def test_the_page_has_commands_of_all_kinds() -> None:
    kinds = {command.split()[1] for command, _ in commands()}
    assert kinds == {"demo", "serve", "get", "set", "watch", "doctor"}
    assert sum(bool(output) for _, output in commands()) >= 10


def test_the_page_says_what_the_commands_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (map_file,) = (block for block in blocks(PAGE) if block.mark == "file")
    Path(map_file.file).write_text(map_file.body, "utf-8")
    port = str(free_port())
    python = f"{shlex.quote(sys.executable)} -m msm"
    serving, wanted = next((command, output) for command, output in commands() if command.startswith(SERVE))
    with subprocess.Popen(
        [sys.executable, "-m", *serving.replace("5020", port).split()], stdout=subprocess.PIPE, text=True
    ) as device:
        try:
            assert device.stdout is not None
            assert said(device.stdout.readline()) == said(wanted)[:1]
            for command, output in commands():
                if command.startswith(SERVE):
                    continue
                if command in SCREENS:
                    on_a_screen(command.replace("5020", port), output)
                    continue
                line = command.replace("5020", port).replace("msm ", f"{python} ", 1)
                done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=50, check=False)
                printed = (done.stdout + done.stderr).replace(port, "5020")
                assert not [each for each in said(output) if each not in said(printed)], f"{command}\n{printed}"
                assert "Traceback" not in printed
            device.send_signal(signal.SIGINT)
            rest, _ = device.communicate(timeout=20)
            assert set(said(wanted)[1:]) <= set(said(rest))
        finally:
            device.kill()


def on_a_screen(command: str, output: str) -> None:
    """At a terminal: the head and the names of the table, and the bar."""
    table = output.partition("\n\n")[0].splitlines()
    names = [line.split()[0] for line in table]
    with terminal(*command.split()[1:]) as it:
        shown = it.see(*names, "ONLINE", "no errors")
        assert shown.splitlines()[0].split() == table[0].split()
        assert [line.split()[0] for line in shown.splitlines()[: len(names)]] == names
        assert it.end() == 0
