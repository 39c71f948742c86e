"""The command that plays a recording again, as a device: `msm replay`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from msm.cli.app import app
from msm.cli.device import Unit, map_of
from msm.cli.recording_files import Column, Recording, Value, columns_of, read_recording, rows_of, steps_of, store_of
from msm.errors import MsmError
from msm.memory.store import MemoryStore
from msm.sync import ModbusServer

WIRE_SUFFIX = ".jsonl"
"""Of recordings of a line, as `msm.testing.Recording` writes them."""


@app.command()
def replay(
    recording_file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A .csv, .sqlite, .db, .parquet or .jsonl file.", show_default=False),
    ],
    map_file: Annotated[
        Path | None, typer.Argument(metavar="[MAP]", help="The register map; a CSV needs it.", show_default=False)
    ] = None,
    endpoint: Annotated[
        str, typer.Option("--endpoint", "-e", metavar="ENDPOINT", help="Where the device is to be found.")
    ] = "tcp://localhost:5020",
    unit: Unit = 1,
    speed: Annotated[float, typer.Option("--speed", min=0.001, max=10000, help="How many times as fast.")] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end; else the last values stay.")] = False,
    seconds: Annotated[
        float | None, typer.Option("--seconds", "-s", min=0, help="Seconds to run; by default until Ctrl+C.")
    ] = None,
) -> None:
    """Serve the values of a recording over time: a device that does again what a real one did.

    Example: `msm replay press.sqlite --endpoint tcp://localhost:5020`

    Example: `msm replay press.csv press.toml --speed 10 --loop`

    Where a value was not good, the one before it stays. A pause of the recorder is left out. A .jsonl file is a line
    that `msm.testing.Recording` has recorded: each request gets the reply that it got there.
    """
    end = time.monotonic() + seconds if seconds is not None else float("inf")
    try:
        if recording_file.suffix.lower() == WIRE_SUFFIX:
            _replay_wire(recording_file, map_file, endpoint, end)
        else:
            recording = read_recording(recording_file)
            store = map_of(map_file) if map_file is not None else _own_map(recording_file, recording)
            with ModbusServer(store, endpoint, unit=unit) as server:
                _tell(recording_file, server.endpoint)
                Player(recording, store).play(speed, loop, end)
    except KeyboardInterrupt:
        pass  # the way to end it


def _replay_wire(recording_file: Path, map_file: Path | None, endpoint: str, end: float) -> None:
    from msm.testing import FakeDevice  # noqa: PLC0415 - the others do without

    with FakeDevice.replay(recording_file, endpoint, memory=map_file) as device:
        _tell(recording_file, device.endpoint)
        _wait_until(end)


def _own_map(recording_file: Path, recording: Recording) -> MemoryStore:
    if not recording.map_text:
        raise typer.BadParameter(f"{recording_file} has no register map in it: msm replay {recording_file} MAP")
    return store_of(recording.map_text)


def _tell(recording_file: Path, endpoint: str) -> None:
    print(f"{recording_file} is played at {endpoint}; Ctrl+C ends it", file=sys.stderr, flush=True)


def _wait_until(moment: float) -> None:
    """Wait for this moment of `time.monotonic()`."""
    while (left := moment - time.monotonic()) > 0:
        time.sleep(min(left, 3600.0))


class Player:
    """Gives the rows of a recording to a store.

    :raises typer.BadParameter: the recording has no rows, or none of its columns is a variable of the store.
    """

    def __init__(self, recording: Recording, store: MemoryStore) -> None:
        self._recording = recording
        self._store = store
        self._refused: set[str] = set()
        numbers = {name: number for number, name in enumerate(recording.columns)}
        self._columns = [(numbers[each.name], each) for each in columns_of(store) if each.name in numbers]
        if not recording.times or not self._columns:
            raise typer.BadParameter("the recording has no row with a variable of the map")

    def play(self, speed: float, loop: bool, end: float) -> None:
        """Let each row come at its time, until the end."""
        moments = timetable(self._recording.times, speed)
        began = time.monotonic()
        while True:
            for moment, (_, values) in zip(moments, rows_of(self._recording), strict=True):
                if began + moment >= end:
                    break
                _wait_until(began + moment)
                self.show(values)
            if not loop or time.monotonic() >= end:
                break
            began += moments[-1] + max(0.01, steps_of(self._recording.times)[0] / speed)
        _wait_until(end)

    def show(self, values: Sequence[Value]) -> None:
        """Make these the values of the store, all at once."""
        wanted: dict[str, Any] = {}
        for number, column in self._columns:
            if values[number] is None:
                continue
            value = restored(values[number], column, self._store.variables()[column.variable].kind)
            if column.item is None:
                wanted[column.variable] = value
            else:
                items = wanted.setdefault(column.variable, list(self._store[column.variable]))
                items[column.item] = value
        try:
            self._store.provide(**wanted)
        except MsmError:
            for name, value in wanted.items():
                self._show_one(name, value)

    def _show_one(self, name: str, value: Any) -> None:
        try:
            self._store.provide(**{name: value})
        except MsmError as error:  # a device may hold what nobody may assign, such as a number beyond its enum
            if name not in self._refused:
                print(f"msm: left out: {error}", file=sys.stderr)
            self._refused.add(name)


def timetable(times: Sequence[float], speed: float) -> list[float]:
    """When each row is due, in seconds from the first one. A pause of the recorder is one usual step."""
    usual, paused = steps_of(times)
    moments = [0.0]
    for (before, after), was_paused in zip(pairwise(times), paused[1:], strict=True):
        moments.append(moments[-1] + (usual if was_paused else after - before) / speed)
    return moments


def restored(value: Value, column: Column, kind: str) -> Any:
    """A value of a recording as its variable takes it."""
    if kind == "datetime":
        return datetime.fromisoformat(str(value))
    if column.type == "text":
        return str(value)
    return bool(value) if column.type == "bool" else value
