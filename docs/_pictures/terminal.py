"""Takes the pictures of the commands at a terminal, and of a plot, that the documentation shows: `nox -s pictures`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from io import StringIO
from pathlib import Path

from pyte.screens import Char
from rich.color import ColorParseError
from rich.console import Console
from rich.style import Style
from rich.text import Text
from tests.cli.terminal import Terminal, terminal
from tests.docs.test_docs import DOCS, blocks

STATIC = DOCS / "_static"
MAP = next(block.body for block in blocks(DOCS / "how-to" / "command-line.md") if block.mark == "file")
ENDPOINT = "tcp://localhost:5020"
SHOWN = 20.0  # seconds: a trend needs something to show
RECORDING = "examples/recordings/press.csv"


def style_of(cell: Char) -> Style:
    """How a character is drawn."""
    named = {"brown": "yellow", "brightbrown": "bright_yellow"}

    def colour(name: str) -> str | None:
        if name == "default":
            return None
        name = named.get(name, name)
        return (
            f"#{name}"
            if len(name) == 6 and all(digit in "0123456789abcdef" for digit in name)
            else (name.replace("bright", "bright_"))
        )

    try:
        return Style(
            color=colour(cell.fg), bgcolor=colour(cell.bg), bold=cell.bold, reverse=cell.reverse,
            underline=cell.underscore, italic=cell.italics,
        )  # fmt: skip
    except ColorParseError:
        return Style(bold=cell.bold, reverse=cell.reverse)


def take(it: Terminal, name: str, title: str) -> None:
    """One picture of what is on the screen, without the empty lines at its end."""
    screen = it.screen
    console = Console(record=True, width=screen.columns, file=StringIO(), force_terminal=True, color_system="truecolor")
    used = max((number for number, line in enumerate(screen.display) if line.strip()), default=0)
    for number in range(used + 1):
        line = Text()
        for column in range(screen.columns):
            cell = screen.buffer[number][column]
            line.append(cell.data, style_of(cell))
        line.rstrip()
        console.print(line, no_wrap=True, crop=False)
    (STATIC / f"terminal-{name}.svg").write_text(console.export_svg(title=title, unique_id=f"msm-{name}"), "utf-8")


def watch(it: Terminal, seconds: float) -> None:
    """Let it draw for a while."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        it._read(0.05)


def main() -> None:
    """Take them all."""
    with terminal("demo", columns=84, lines=18) as demo:
        demo.see("ONLINE")
        demo.type("MODE=RUN\n")
        watch(demo, SHOWN)
        demo.type("SPEED_SETPOINT=900\n")
        watch(demo, 4.0)
        take(demo, "demo", "msm demo")
        demo.end()
    with tempfile.TemporaryDirectory() as folder:
        map_file = Path(folder) / "press.toml"
        map_file.write_text(MAP, "utf-8")
        msm = [sys.executable, "-m", "msm"]
        serve = [*msm, "serve", str(map_file), "--endpoint", ENDPOINT]
        with subprocess.Popen(serve, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as device:
            try:
                assert device.stdout is not None
                device.stdout.readline()  # it serves
                with terminal("watch", ENDPOINT, str(map_file), columns=84, lines=12) as seen:
                    seen.see("ONLINE")
                    watch(seen, 3.0)
                    subprocess.run([*msm, "set", ENDPOINT, str(map_file), "SETPOINT=900", "MODE=RUN"], check=True)
                    watch(seen, SHOWN)
                    take(seen, "watch", f"msm watch {ENDPOINT} press.toml")
                    seen.end()
                with terminal("doctor", ENDPOINT, str(map_file), columns=84) as told:
                    told.wait()
                    take(told, "doctor", f"msm doctor {ENDPOINT} press.toml")
                with terminal("layout", str(map_file), columns=84) as drawn:
                    drawn.wait()
                    take(drawn, "layout", "msm layout press.toml")
            finally:
                device.kill()
    subprocess.run(
        [sys.executable, "-m", "msm", "plot", RECORDING, "SPEED", "STATE", "-o", str(STATIC / "recording.svg")],
        check=True,
    )


if __name__ == "__main__":
    main()
