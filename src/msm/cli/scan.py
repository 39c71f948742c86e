"""The command that looks what is at an endpoint: `msm scan`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from msm.cli.app import DEVICE, INTERRUPTED, app
from msm.cli.asking import asking
from msm.cli.device import Endpoint
from msm.cli.draft import UnitFound, draft_text
from msm.cli.guess import WordTable, report
from msm.cli.maps import keep
from msm.cli.ranges import CELLS
from msm.cli.scanning import Scan, Wanted

LINES = ("rtu", "ascii", "rtu+tcp", "ascii+tcp")  # a line carries one request at a time, and unit 0 is all of its units
LINE_UNITS, NETWORK_UNITS = "1-32,247", "1-16,247,255,0"


@app.command()
def scan(
    endpoint: Endpoint,
    units: Annotated[
        str, typer.Option("--units", "-u", metavar="LIST", help=f"Units to ask; by default {NETWORK_UNITS}.")
    ] = "",
    addresses: Annotated[
        str,
        typer.Option(
            "--addresses", "-a", metavar="RANGE", help="Look at all of these; by default where devices begin."
        ),
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the draft of a map there.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", "-t", min=0.01, max=60, help="Seconds for an answer.")] = 0.5,
    seconds: Annotated[float, typer.Option("--seconds", min=1, max=86400, help="Seconds for all of it.")] = 120.0,
    pause: Annotated[float, typer.Option("--pause", min=0, max=60, help="Seconds of rest before each request.")] = 0.0,
    write_checks: Annotated[
        bool, typer.Option("--write-checks", help="Try functions 22 and 23, with values that change nothing.")
    ] = False,
    guess: Annotated[
        str, typer.Option("--guess", metavar="RANGE", help="Show what the registers of a range may mean, e.g. 0-19.")
    ] = "",
    table: Annotated[WordTable, typer.Option("--table", help="The table for --guess.")] = "holding",
) -> None:
    """Look what is there: units, ranges that can be read, block sizes. The result is the draft of a map.

    Example: `msm scan tcp://192.168.0.10 -o device.toml`

    Example: `msm scan tcp://192.168.0.10 --units 1 --guess 0-19`

    It only reads, one request at a time, and ends after `--seconds`. Ctrl+C ends it sooner; what was found is kept.
    """
    line = endpoint.partition("://")[0] in LINES
    asked = numbers(units or (LINE_UNITS if line else NETWORK_UNITS), "--units", 255)
    if line and 0 in asked:
        raise typer.BadParameter("--units: on a line, 0 speaks to all units at once: it cannot be read")
    if guess:
        cells = span(guess, "--guess")
        with asking(endpoint, timeout, pause) as asker:
            print("\n".join(report(asker.registers(asked[0], table, cells), cells.start, table)))
        return
    if output is not None:
        keep(output, force=force)
        draft_text(UnitFound(0), output.suffix, endpoint)  # a wrong suffix is told before the work, not after it
    wanted = Wanted(
        units=asked,
        addresses=span(addresses, "--addresses") if addresses else None,
        write_checks=write_checks,
        together=not line,
    )
    scanning = Scan(endpoint, wanted, timeout, pause)
    scanning.run(time.monotonic() + seconds)
    scanning.tell(output)
    if scanning.interrupted:
        raise typer.Exit(INTERRUPTED)
    if not scanning.found:
        raise typer.Exit(DEVICE)


def numbers(text: str, option: str, most: int) -> list[int]:
    """The numbers of a list like "1-16,247", in its order.

    :raises typer.BadParameter: it is none, or a number is above `most`.
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isascii() and first.isdigit() and (not dash or (last.isascii() and last.isdigit()))):
            raise typer.BadParameter(f"{option}: {part!r} is neither a number nor a range like 1-16")
        low, high = int(first), int(last) if dash else int(first)
        if not low <= high <= most:
            raise typer.BadParameter(f"{option}: {part!r} is not within 0 to {most}")
        found += [number for number in range(low, high + 1) if number not in found]
    return found


def span(text: str, option: str) -> range:
    """The addresses of a range like "0-99", which count from 0.

    :raises typer.BadParameter: it is none.
    """
    its = numbers(text, option, CELLS - 1)
    if its[-1] - its[0] + 1 != len(its):
        raise typer.BadParameter(f"{option}: {text!r} is not one range like 0-99")
    return range(its[0], its[-1] + 1)
