"""Recordings in Parquet: a file of it has its index at its end, and cannot be read before that is written.

So the rows go into a spool beside it, `FILE.spool`, which is a recording in SQLite. When the recorder ends, the rows of
the file that is there and those of the spool are written to a new file, which takes the place of the old one in one
step; then the spool goes. After a kill the spool stays: it is read along, and the next recorder continues it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from msm.cli.recording_files import (
    TIME,
    Column,
    Recording,
    Row,
    Value,
    Writer,
)
from msm.cli.recording_sqlite import SqliteWriter, read_sqlite, sqlite_rows
from msm.errors import DeclarationError

ROWS = 10_000  # in a row group
MAP = b"msm-map"


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet  # noqa: PLC0415 - large, and an extra

        return pyarrow
    except ImportError:
        raise DeclarationError("Parquet needs an extra: pip install 'modbus-shared-memory[parquet]'") from None


def spool_of(path: Path) -> Path:
    """Where the rows of a recording are until it is finished."""
    return path.with_name(f"{path.name}.spool")


class ParquetWriter(Writer):
    """A spool, which becomes the file at the end."""

    def __init__(self, path: Path, columns: Sequence[Column], map_text: str) -> None:
        self._path = path
        self._columns = columns
        self._schema = _schema(columns, map_text)
        if path.exists() and not _opened(path).schema_arrow.equals(self._schema):
            raise DeclarationError(f"{path}: has other columns than the map; take another file")
        self._spool: SqliteWriter | None = SqliteWriter(spool_of(path), columns, map_text)

    def write(self, at: float, values: Sequence[Value]) -> None:
        assert self._spool is not None
        self._spool.write(at, values)

    def close(self) -> None:
        spool, self._spool = self._spool, None
        if spool is not None:
            # Where another recorder, or a reader, has the spool open, it stays: whoever closes it last takes it away.
            last = spool.is_the_last()
            spool.close()
            if last:
                self._finish()

    def _finish(self) -> None:
        """Make one file of what is there and the spool."""
        arrow = _pyarrow()
        new = self._path.with_name(f"{self._path.name}.new")
        last = 0.0
        with arrow.parquet.ParquetWriter(new, self._schema) as writer:
            if self._path.exists():
                old = _opened(self._path)
                last = _last_time(old)
                for number in range(old.num_row_groups):
                    writer.write_table(old.read_row_group(number).replace_schema_metadata(self._schema.metadata))
            rows = sqlite_rows(spool_of(self._path), last)
            while group := list(islice(rows, ROWS)):
                writer.write_table(_table(self._schema, self._columns, group))
        with new.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(new, self._path)
        for suffix in ("", "-wal", "-shm"):
            Path(f"{spool_of(self._path)}{suffix}").unlink(missing_ok=True)


def _schema(columns: Sequence[Column], map_text: str) -> Any:
    arrow = _pyarrow()
    types = {"bool": arrow.bool_(), "int": arrow.int64(), "unsigned": arrow.uint64(), "text": arrow.string()}
    fields = [(column.name, types.get(column.type, arrow.float64())) for column in columns]
    return arrow.schema([(TIME, arrow.timestamp("ms", tz="UTC")), *fields], metadata={MAP: map_text})


def _table(schema: Any, columns: Sequence[Column], rows: Sequence[Row]) -> Any:
    arrow = _pyarrow()
    arrays = [arrow.array([round(at * 1000) for at, _ in rows], schema.field(0).type)]
    for number, column in enumerate(columns):
        cells = [values[number] for _, values in rows]
        if column.type == "bool":
            cells = [None if cell is None else bool(cell) for cell in cells]
        arrays.append(arrow.array(cells, schema.field(number + 1).type))
    return arrow.table(arrays, schema=schema)


def read_parquet(path: Path) -> Recording:
    """What a file and its spool hold.

    :raises DeclarationError: it is none, or no recording.
    :raises OSError: the file cannot be read.
    """
    spool = spool_of(path)
    if not path.exists() and spool.exists():
        return read_sqlite(spool)
    table = _opened(path).read()
    times = table.column(TIME).cast("int64").to_pylist()
    recording = Recording(
        [at / 1000 for at in times],
        {name: table.column(name).to_pylist() for name in table.column_names[1:]},
        (table.schema.metadata or {}).get(MAP, b"").decode("utf-8"),
    )
    if spool.exists():
        # If the recorder was killed just before it removed its spool, both hold the same rows.
        for at, values in sqlite_rows(spool, max(recording.times, default=0.0)):
            recording.times.append(at)
            for column, value in zip(recording.columns.values(), values, strict=True):
                column.append(value)
    return recording


def _opened(path: Path) -> Any:
    """A Parquet file with a column of times.

    :raises DeclarationError: it is none.
    """
    arrow = _pyarrow()
    try:
        with path.open("rb") as file:
            opened = arrow.parquet.ParquetFile(arrow.py_buffer(file.read()))
    except arrow.ArrowException as error:
        raise DeclarationError(f"{path}: is no recording: {error}") from None
    if opened.schema_arrow.names[:1] != [TIME]:
        raise DeclarationError(f"{path}: is no recording: its first column is not {TIME}")
    return opened


def _last_time(opened: Any) -> float:
    """The time of the last row, in seconds since 1970; 0 where there is none."""
    if not opened.num_row_groups:
        return 0.0
    times = opened.read_row_group(opened.num_row_groups - 1, columns=[TIME]).column(TIME).cast("int64")
    return max(times.to_pylist(), default=0) / 1000
