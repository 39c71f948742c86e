"""`msm serve`: a device made of a register map."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from msm import ModbusServer
from msm.cli.app import app
from msm.cli.device import MapFile, Unit, map_of, split
from msm.cli.live import Seconds, View, follow, on_a_screen
from msm.cli.machine import Machine
from msm.cli.screen import Bar, age

Listen = Annotated[
    str, typer.Option("--endpoint", "-e", metavar="ENDPOINT", help="Where to listen; port 0 is any free port.")
]


@app.command()
def serve(
    map_file: MapFile, endpoint: Listen = "tcp://localhost:5020", unit: Unit = 1, seconds: Seconds = None
) -> None:
    """Be a device: serve the memory of a map, with values that move as its `behaviour` says. Ctrl+C ends it.

    Example: `msm serve press.toml --endpoint tcp://0.0.0.0:5020`

    Type `NAME=VALUE` and Enter to set a value; it stays there. `NAME=` lets one that has a behaviour move again. The
    lines may also come through a pipe: `echo SPEED=40 | msm serve press.toml`
    """
    store = map_of(map_file)
    machine = Machine(store)
    start = time.monotonic()
    with ModbusServer(store, endpoint, unit=unit) as server:

        def bar() -> Bar:
            moves = f"{len(store.variables())} variables, {machine.moving} move"
            facts = [server.endpoint, f"unit {unit}", moves, f"up {age(time.monotonic() - start)}"]
            return Bar("serving", well=True, facts=facts, told="; ".join(machine.troubles.values()))

        if not on_a_screen():
            print(f"serving {map_file} at {server.endpoint}, unit {unit}", flush=True)
        follow(
            View(
                store, bar, lambda line: machine.set(*split(line)), machine.advance, qualities=False, worth=("remote",)
            ),
            seconds,
        )
