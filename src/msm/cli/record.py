"""The command that writes the values of a device to a file, again and again: `msm record`."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from msm.cli.app import app
from msm.cli.device import Endpoint, MapFile, Period, Timeout, Unit, connected, map_of
from msm.cli.recording_files import Writer, check_suffix, columns_of, open_writer, sample
from msm.memory.store import MemoryStore


@app.command()
def record(
    endpoint: Endpoint,
    map_file: MapFile,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="A .csv, .sqlite, .db or .parquet file.", show_default=False
        ),
    ],
    unit: Unit = 1,
    period: Period = 1.0,
    timeout: Timeout = 1.0,
    seconds: Annotated[
        float | None, typer.Option("--seconds", "-s", min=0, help="Seconds to record; by default until Ctrl+C.")
    ] = None,
) -> None:
    """Record the values of a device to a file: CSV, SQLite or Parquet.

    Example: `msm record tcp://192.168.0.10 press.toml -o press.csv --period 0.5`

    A row has the time in UTC and the values that were good then; others are empty. A file that is there is continued.
    Ctrl+C ends it. Whatever else does, the file stays readable.
    """
    check_suffix(output)
    store = map_of(map_file)
    columns_of(store)
    with (
        ended_by_sigterm(),
        connected(store, endpoint, unit=unit, period=period, timeout=timeout),
        open_writer(output, store) as writer,
    ):
        rows, gaps = write_rows(writer, store, period, seconds, str(output))
    print(f"{output}: {rows} rows, {gaps} of them with gaps", file=sys.stderr)


def write_rows(writer: Writer, store: MemoryStore, period: float, seconds: float | None, told: str) -> tuple[int, int]:
    """Write a row each `period` until the time is up, or Ctrl+C.

    :returns: the number of rows, and of those in which a value was not good.
    """
    columns = columns_of(store)
    rows = gaps = 0
    began = due = time.monotonic()
    console = Console(stderr=True)
    status = console.status(f"recording to {told}; Ctrl+C ends it")
    try:
        with status:
            while seconds is None or due - began < seconds + period / 2:
                time.sleep(max(0.0, due - time.monotonic()))
                values = sample(store, columns)
                writer.write(time.time(), values)
                rows += 1
                gaps += None in values
                status.update(f"recording to {told}: {rows} rows, {gaps} of them with gaps; Ctrl+C ends it")
                due = next_due(due, time.monotonic(), period)
    except KeyboardInterrupt:
        pass  # the way to end it
    return rows, gaps


def next_due(due: float, now: float, period: float) -> float:
    """When the next row is due: a whole number of periods after the last one. What was missed is left out."""
    return due + period * max(1, 1 + (now - due) // period)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let the signal by which services are stopped do what Ctrl+C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
