"""Recordings: a row for each moment, a column for each variable. CSV, SQLite or Parquet, as the suffix says.

A row has the time as `recorded_at`, in UTC, and the values that were good then. A value that was not good is empty, as
is one that the device marks as none. Members of enums are their numbers, an array is a column for each of its items.

Whatever happens to the program, the file stays readable, and at most the last row is lost:

- CSV: each row is written whole, at once (`recording_csv.py`).
- SQLite: each row is a transaction (`recording_sqlite.py`).
- Parquet: a file of it is readable only when it is finished, so rows go into a spool beside it, which becomes the file
  at the end (`recording_parquet.py`).

A recording that is there already is continued.
"""

from __future__ import annotations

import enum
import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TypeAlias

from msm.errors import DeclarationError
from msm.memory.store import MemoryStore
from msm.memory.variable import MemoryVariable

Value: TypeAlias = bool | int | float | str | None
ColumnType: TypeAlias = Literal["bool", "int", "unsigned", "float", "single", "text"]
"""A "single" is a float of 32 bits or less: it has few digits."""
Row: TypeAlias = tuple[float, Sequence[Value]]
"""Seconds since 1970, and the values."""

TIME = "recorded_at"
PAUSE = 2.5  # so many times the usual step from one row to the next is a pause of the recorder
SUFFIXES = (".csv", ".sqlite", ".db", ".parquet")
_TYPES: dict[str, ColumnType] = {
    **dict.fromkeys(("bool", "coil", "discrete"), "bool"),
    **dict.fromkeys(("float16", "float32"), "single"),
    "float64": "float",
    **dict.fromkeys(("string", "datetime"), "text"),
    "uint64": "unsigned",
}


class Column(NamedTuple):
    """A column of a recording. `item` is the number of the item where the variable is an array."""

    name: str
    type: ColumnType
    variable: str
    item: int | None = None


@dataclass
class Recording:
    """What a file holds."""

    times: list[float]
    """Seconds since 1970."""
    columns: dict[str, list[Value]]
    map_text: str = ""
    """The register map as JSON; a CSV has none."""


class Writer(ABC):
    """Writes the rows of a recording."""

    @abstractmethod
    def write(self, at: float, values: Sequence[Value]) -> None:
        """Write a row: it is in the file when this returns.

        :param at: seconds since 1970.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish the file. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_writer(path: Path, store: MemoryStore) -> Writer:
    """The recording of what can be read of a store; one that is there is continued.

    :raises DeclarationError: the suffix is not known, the file is something else, or has other columns.
    :raises OSError: the file cannot be written.
    """
    check_suffix(path)
    columns = columns_of(store)
    if path.suffix.lower() == ".csv":
        from msm.cli.recording_csv import CsvWriter  # noqa: PLC0415

        return CsvWriter(path, columns)
    if path.suffix.lower() == ".parquet":
        from msm.cli.recording_parquet import ParquetWriter  # noqa: PLC0415 - pyarrow is an extra, and large

        return ParquetWriter(path, columns, map_text(store))
    from msm.cli.recording_sqlite import SqliteWriter  # noqa: PLC0415

    return SqliteWriter(path, columns, map_text(store))


def read_recording(path: Path) -> Recording:
    """What a file holds; also one whose recorder was killed, or is still at it.

    :raises DeclarationError: the suffix is not known, or the file is something else.
    :raises OSError: the file cannot be read.
    """
    check_suffix(path)
    if path.suffix.lower() == ".csv":
        from msm.cli.recording_csv import read_csv  # noqa: PLC0415

        return read_csv(path)
    if path.suffix.lower() == ".parquet":
        from msm.cli.recording_parquet import read_parquet  # noqa: PLC0415

        return read_parquet(path)
    from msm.cli.recording_sqlite import read_sqlite  # noqa: PLC0415

    return read_sqlite(path)


def check_suffix(path: Path) -> None:
    """Is it the name of a recording?

    :raises DeclarationError: the suffix is none of those.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DeclarationError(f"{path}: a recording is a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file")


# -- columns


def columns_of(store: MemoryStore) -> list[Column]:
    """The columns for what can be read of a store, in the order of its declarations.

    :raises DeclarationError: a name is taken by the time, or there is nothing to record.
    """
    columns: list[Column] = []
    for name, variable in store.variables().items():
        if variable.access == "wo":
            continue
        count = variable.keywords.get("count")
        names = [name] if count is None else [f"{name}[{item}]" for item in range(count)]
        columns += [
            Column(each, _type(variable), name, None if count is None else item) for item, each in enumerate(names)
        ]
    taken = {TIME}
    for column in columns:
        if column.name.casefold() in taken:
            raise DeclarationError(f"{column.name}: this name is there twice, if upper and lower case do not count")
        taken.add(column.name.casefold())
    if not columns:
        raise DeclarationError("the map has no variable that can be read: there is nothing to record")
    return columns


def _type(variable: MemoryVariable[Any]) -> ColumnType:
    kind: ColumnType = _TYPES.get(variable.kind, "int")
    scaled = any(variable.keywords.get(key) is not None for key in ("scale", "offset"))
    return "float" if scaled and kind != "text" else kind


def sample(store: MemoryStore, columns: Sequence[Column]) -> list[Value]:
    """The values of this instant; None where one is not good."""
    snapshot = store.snapshot()
    good = {name: store.info(name).quality == "good" for name in {column.variable for column in columns}}
    return [_value(snapshot[column.variable], column) if good[column.variable] else None for column in columns]


def _value(value: Any, column: Column) -> Value:
    found = plain(value if column.item is None else value[column.item])
    return shortest(found) if column.type == "single" and isinstance(found, float) else found


def shortest(value: float) -> float:
    """The number with the fewest digits that is the same float of 32 bits: 230.1, and not 230.10000610351562."""
    if math.isinf(value):
        return value
    same = struct.pack(">f", value)
    return next(short for digits in range(6, 10) if struct.pack(">f", short := float(f"{value:.{digits}g}")) == same)


def plain(value: Any) -> Value:
    """A value as a recording has it."""
    if isinstance(value, enum.Enum):
        return int(value.value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return value  # type: ignore[no-any-return]


# -- time and map


def time_text(at: float) -> str:
    """A time as text: 2026-01-31T12:00:00.250Z."""
    return datetime.fromtimestamp(round(at, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def time_of(text: str) -> float:
    """The time that such a text means, in seconds since 1970.

    :raises ValueError: it is none.
    """
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def steps_of(times: Sequence[float]) -> tuple[float, list[bool]]:
    """The usual time from one row to the next, and for each row whether the recorder had paused before it."""
    steps = [after - before for before, after in pairwise(times)]
    usual = median(steps) if steps else 0.0
    return usual, [False, *(not 0 <= step <= PAUSE * usual for step in steps)][: len(times)]


def map_text(store: MemoryStore) -> str:
    """The register map of a store as JSON."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "map.json"
        store.save(file)
        return file.read_text("utf-8")


def store_of(text: str) -> MemoryStore:
    """The store of such a text.

    :raises MapError: it is none.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "map.json"
        file.write_text(text, "utf-8")
        return MemoryStore.load(file)


def rows_of(recording: Recording) -> Iterator[Row]:
    """The rows of a recording."""
    columns = list(recording.columns.values())
    for number, at in enumerate(recording.times):
        yield at, [column[number] for column in columns]
