"""The command that draws a recording: `msm plot`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msm.cli.app import app
from msm.cli.recording_files import Recording, Value, columns_of, read_recording, steps_of, store_of
from msm.errors import DeclarationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 16  # variables that are drawn at a time
SUFFIXES = (".svg", ".png")


@app.command()
def plot(
    recording_file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A recording: .csv, .sqlite, .db or .parquet.", show_default=False)
    ],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="What to draw; by default all numbers.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="An .svg or .png file; by default FILE.svg.")
    ] = None,
) -> None:
    """Draw variables of a recording over time, one below the other, as SVG or PNG.

    Example: `msm plot press.csv SPEED STATE -o press.png`

    A line has a gap where a value was not good, and where the recorder did not run. Times are in UTC.
    """
    output = output or recording_file.with_suffix(".svg")
    if output.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(f"{output}: a picture is an {' or a '.join(SUFFIXES)} file")
    recording = read_recording(recording_file)
    figure = drawing(recording, chosen(recording, names or []), str(recording_file))
    figure.savefig(output, dpi=150)


def chosen(recording: Recording, names: Sequence[str]) -> list[str]:
    """The names to draw: those that were asked for, or all that are numbers. The name of an array is all its items.

    :raises typer.BadParameter: there is no such column, or it holds texts, or there are too many.
    """
    if not recording.times:
        raise typer.BadParameter("the recording has no rows: there is nothing to draw")
    wanted: list[str] = []
    for name in names or recording.columns:
        items = [each for each in recording.columns if each == name or each.startswith(f"{name}[")]
        if not items:
            raise typer.BadParameter(f"{name}: the recording has only {', '.join(recording.columns)}")
        texts = [each for each in items if any(isinstance(value, str) for value in recording.columns[each])]
        if texts and names:
            raise typer.BadParameter(f"{texts[0]}: is a text, it cannot be drawn")
        wanted += [each for each in items if each not in texts and each not in wanted]
    if len(wanted) > MOST:
        raise typer.BadParameter(f"{len(wanted)} variables are more than the {MOST} that can be drawn: name some")
    if not wanted:
        raise typer.BadParameter("the recording has no numbers: there is nothing to draw")
    return wanted


def with_gaps(times: Sequence[float], values: Sequence[Value]) -> tuple[list[float], list[float]]:
    """The points of a line. A point without a value is where it breaks: where there is none, or time has jumped."""
    points: tuple[list[float], list[float]] = ([], [])
    for at, value, paused in zip(times, values, steps_of(times)[1], strict=True):
        if paused:
            points[0].append(points[0][-1])  # the line of a state ends there, and not where the next one begins
            points[1].append(math.nan)
        points[0].append(at)
        points[1].append(math.nan if value is None or isinstance(value, str) else float(value))
    return points


def alone(values: Sequence[float]) -> list[int]:
    """The points between two gaps: a line does not show them."""
    padded = [math.nan, *values, math.nan]
    return [
        number - 1
        for number in range(1, len(padded) - 1)
        if math.isfinite(padded[number]) and math.isnan(padded[number - 1]) and math.isnan(padded[number + 1])
    ]


def drawing(recording: Recording, names: Sequence[str], title: str) -> Figure:
    """The picture of some columns.

    :raises DeclarationError: matplotlib is not installed.
    """
    try:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415 - large, and an extra
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        raise DeclarationError("plots need an extra: pip install 'modbus-shared-memory[plot]'") from None
    figure = Figure(figsize=(10, 1 + 1.6 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    labels = _labels(recording)
    for axis, name in zip(axes, names, strict=True):
        _draw(axis, recording.times, recording.columns[name], labels.get(name, name))
    locator = AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call]
    axes[-1].xaxis.set_major_locator(locator)
    axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
    axes[-1].set_xlabel("UTC")
    figure.suptitle(title)
    return figure


def _draw(axis: Axes, times: Sequence[float], values: Sequence[Value], label: str) -> None:
    at, points = with_gaps(times, values)
    moments = [datetime.fromtimestamp(each, UTC) for each in at]
    # What is whole jumps from one value to the next, and has none between them.
    steps = all(point.is_integer() for point in points if math.isfinite(point))
    axis.plot(moments, points, drawstyle="steps-post" if steps else "default", linewidth=1.2)  # type: ignore[arg-type]
    single = alone(points)
    axis.plot([moments[each] for each in single], [points[each] for each in single], ".", color="C0")  # type: ignore[arg-type]
    axis.set_ylabel(label, rotation=0, horizontalalignment="right", verticalalignment="center")
    axis.grid(alpha=0.4)
    axis.ticklabel_format(axis="y", useOffset=False)
    if steps:
        axis.locator_params(axis="y", integer=True)


def _labels(recording: Recording) -> dict[str, str]:
    """The names with their units, where the recording knows them."""
    if not recording.map_text:
        return {}
    store = store_of(recording.map_text)
    variables = store.variables()
    units = {column.name: variables[column.variable].unit for column in columns_of(store)}
    return {name: f"{name}\n{unit}" for name, unit in units.items() if unit}
