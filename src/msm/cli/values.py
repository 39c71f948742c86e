"""Commands for single values: read some, write some, and say what became of it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from msm import MsmError, WriteError
from msm.cli.app import app
from msm.cli.device import (
    ATTEMPTS,
    Count,
    Endpoint,
    Json,
    Names,
    Timeout,
    Type,
    Unit,
    WordOrder,
    assign,
    completed_assignments,
    connected,
    map_and_names,
    split,
    store_of,
)
from msm.cli.text import as_json, plain, shown, with_unit
from msm.memory.textwidth import columns, printable


@app.command()
def get(
    endpoint: Endpoint,
    names: Names,
    unit: Unit = 1,
    timeout: Timeout = 1.0,
    type_: Type = "word",
    count: Count = 1,
    word_order: WordOrder = "little",
    as_json_: Json = False,
) -> None:
    """Read values once, and print them.

    Example: `msm get tcp://192.168.0.10 press.toml SPEED STATE`

    Without a map: `msm get tcp://192.168.0.10 holding:100 40102 coil:3 --type float32 --word-order big`

    The exit code is 1 where the device does not give one of them.
    """
    map_file, names = map_and_names(names)
    store = store_of(map_file, names, type_, count, word_order)
    with connected(store, endpoint, unit=unit, timeout=timeout):
        infos = [store.info(name) for name in names or store.variables()]
    kinds = {name: variable.kind for name, variable in store.variables().items()}
    if as_json_:
        print(json.dumps({info.name: as_json(info, kinds[info.name]) for info in infos}, indent=2, ensure_ascii=False))
    else:
        print_columns([(info.name, with_unit(info, kinds[info.name])) for info in infos if info.quality == "good"])
    missing = [f"{info.name}: {info.error or 'not read'}" for info in infos if info.quality != "good"]
    if missing:
        raise MsmError("; ".join(missing))


@app.command("set")
def set_(
    endpoint: Endpoint,
    assignments: Annotated[
        list[str],
        typer.Argument(
            metavar="[MAP] NAME=VALUE...",
            help="Variables of the map; without a map, addresses.",
            autocompletion=completed_assignments,
        ),
    ],
    unit: Unit = 1,
    timeout: Timeout = 1.0,
    type_: Type = "word",
    count: Count = 1,
    word_order: WordOrder = "little",
    as_json_: Json = False,
) -> None:
    """Write values, and say whether the device has taken them.

    Example: `msm set tcp://192.168.0.10 press.toml SPEED=40.5 STATE=RUN`

    Without a map: `msm set tcp://192.168.0.10 holding:100=40.5 --type float32 --word-order big`

    The exit code is 1 where the device does not take one of them. What is not named is never written.
    """
    map_file, assignments = map_and_names(assignments)
    wanted = dict(map(split, assignments))
    if not wanted:
        raise typer.BadParameter("nothing to write: give NAME=VALUE")
    store = store_of(map_file, list(wanted), type_, count, word_order)
    with connected(store, endpoint, unit=unit, timeout=timeout) as client:
        assign(store, wanted)
        failures: dict[str, str] = {}
        try:
            client.flush(ATTEMPTS * timeout)
        except WriteError as error:
            failures = dict(error.failures)
        values = {name: store[name] for name in wanted}
    variables = store.variables()
    if as_json_:
        fates = {
            name: {
                "value": plain(value, variables[name].kind),
                "acknowledged": name not in failures,
                "error": failures.get(name, ""),
            }
            for name, value in values.items()
        }
        print(json.dumps(fates, indent=2, ensure_ascii=False))
    else:
        taken = {name: shown(value, variables[name].kind) for name, value in values.items() if name not in failures}
        units = {name: printable(variables[name].unit) for name in taken}
        print_columns([(name, f"{text} {units[name]}".rstrip(), "acknowledged") for name, text in taken.items()])
    if failures:
        raise MsmError("; ".join(f"{name}: {cause}" for name, cause in failures.items()))


def print_columns(rows: list[tuple[str, ...]]) -> None:
    """Print rows, with each column as wide as its longest text."""
    rows = [tuple(printable(cell) for cell in row) for row in rows]
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell + " " * (width - columns(cell)) for cell, width in zip(row, widths, strict=True)).rstrip())
