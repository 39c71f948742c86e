"""`msm doctor`: in plain words, what is wrong with a connection and what to try."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from msm import MemoryStore, MemoryVariable
from msm.cli.app import DEVICE, app
from msm.cli.device import Endpoint, Json, Timeout, Unit, map_of
from msm.cli.examination import Examination, Finding, Verdict
from msm.memory.textwidth import printable

STYLES: dict[Verdict, str] = {"ok": "green", "hint": "yellow", "wrong": "bold red"}


@app.command()
def doctor(
    endpoint: Endpoint,
    map_file: Annotated[
        Path | None, typer.Argument(metavar="[MAP]", help="A register map: are all of its variables there?")
    ] = None,
    unit: Unit = 1,
    timeout: Timeout = 1.0,
    as_json: Json = False,
) -> None:
    """Find out what is wrong with a connection, and what to try.

    Example: `msm doctor tcp://192.168.0.10 press.toml`

    It checks the name, the port, whether the device answers as this unit, which reads it refuses, how long its answers
    take, and whether it has function 22. It changes nothing. The exit code is 1 where something is wrong.
    """
    store = _ends_of_tables() if map_file is None else map_of(map_file)
    findings = []
    for finding in Examination(store, endpoint, unit, timeout, map_file is not None).findings():
        findings.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    if any(finding.verdict == "wrong" for finding in findings):
        raise typer.Exit(DEVICE)


def _ends_of_tables() -> MemoryStore:
    """The first cell of each table: some of them most devices have."""
    store = MemoryStore(1, input_registers=1, coils=1, discrete_inputs=1)
    store["holding 0"] = MemoryVariable.word(0)
    store["input 0"] = MemoryVariable.word(0, table="input")
    store["coil 0"] = MemoryVariable.coil(0)
    store["discrete 0"] = MemoryVariable.discrete(0)
    return store


def _print(finding: Finding) -> None:
    console = Console(highlight=False, soft_wrap=False)
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(width=5)
    row.add_column(width=8)
    row.add_column()
    row.add_row(Text(finding.verdict, STYLES[finding.verdict]), finding.check, Text(printable(finding.told)))
    if finding.remedy:
        row.add_row("", "", Text(f"try: {printable(finding.remedy)}", "italic"))
    console.print(row)
