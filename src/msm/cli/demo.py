"""`msm demo`: a machine and its panel in one process, to look at without hardware."""

from __future__ import annotations

from pathlib import Path

from msm import ModbusServer
from msm.cli.app import app
from msm.cli.device import assign, connected, map_of, split
from msm.cli.live import Seconds, View, follow, link_bar, on_a_screen
from msm.cli.machine import Machine
from msm.cli.text import shown

MAP = Path(__file__).with_name("demo.toml")
PATIENCE = 2.0  # seconds that a write may take
SHOWN_AT_ONCE, SHOWN_IN_LINES = 0.2, 1.0  # seconds between two polls: of a table, and of plain lines


@app.command()
def demo(seconds: Seconds = None) -> None:
    """See it work without hardware: a machine that moves, and a panel that reads and sets it over Modbus.

    Example: `msm demo`

    Type `SPEED_SETPOINT=900`, `MODE=RUN` or `LAMP=on` and Enter; the speed follows a second later. Ctrl+C ends it. In
    a pipe it prints a line for each change: `msm demo --seconds 10 | cat`
    """
    machine = Machine(map_of(MAP))
    panel = map_of(MAP)

    with ModbusServer(machine.store, "tcp://127.0.0.1:0") as server:
        period = SHOWN_AT_ONCE if on_a_screen() else SHOWN_IN_LINES
        with connected(panel, server.endpoint, period=period) as client:

            def command(line: str) -> str:
                name, text = split(line)
                assign(panel, {name: text})
                client.flush(PATIENCE)
                return f"{name} = {shown(panel[name], panel.variables()[name].kind)}, acknowledged"

            follow(View(panel, link_bar(client, panel), command, machine.advance), seconds)
