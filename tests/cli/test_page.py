"""The page of the command line: each of its commands is run, in order, and says what stands there."""

from __future__ import annotations

import re
import shlex
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
                done = subprocess.run(
                    line,
                    shell=True,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    timeout=50,
                    check=False,
                )
                missing = [each for each in said(output) if each not in said(done.stdout.replace(port, "5020"))]
                assert not missing, f"{command}\n{done.stdout}"
                assert "Traceback" not in done.stdout
            device.send_signal(2)
            rest, _ = device.communicate(timeout=20)
            assert set(said(wanted)[1:]) <= set(said(rest))
        finally:
            device.kill()


def on_a_screen(command: str, output: str) -> None:
    """At a terminal: the head and the names of the table, and the bar."""
    head, *rows = [line.split() for line in output.splitlines()]
    with terminal(*command.split()[1:]) as it:
        shown = it.see(*head, "ONLINE", "no errors", *(row[0] for row in rows if row and row[0].isupper()))
        first = [line.split()[0] for line in shown.splitlines() if line]
        assert (
            first[: first.index("ONLINE")]
            == [head[0], *(row[0] for row in rows[: len(first) - 2] if row)][: first.index("ONLINE")]
        )
        assert it.end() == 0
