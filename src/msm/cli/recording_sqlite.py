"""Recordings in SQLite: the table `samples` has the rows, the table `map` the register map.

Each row is a transaction in the write-ahead log (WAL): it survives the end of the program, and others may read
meanwhile. After a kill the log lies beside the file, as `-wal`. It belongs to it, until somebody opens the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from msm.cli.recording_files import TIME, Column, ColumnType, Recording, Row, Value, Writer, time_of, time_text
from msm.errors import DeclarationError

# An integer of SQLite has 63 bits and a sign: larger ones are text, and in a column without a type they stay that.
_DECLARED: dict[ColumnType, str] = {
    "bool": "INTEGER",
    "int": "INTEGER",
    "unsigned": "",
    "float": "REAL",
    "single": "REAL",
    "text": "TEXT",
}
LARGEST = (1 << 63) - 1


class SqliteWriter(Writer):
    """A database with a row for each moment."""

    def __init__(self, path: Path, columns: Sequence[Column], map_text: str) -> None:
        self._path = path
        with _told(path):
            self._database = sqlite3.connect(path, isolation_level=None)
        try:
            with _told(path):
                self._prepare(columns, map_text)
        except BaseException:
            self._database.close()
            raise
        self._insert = f"INSERT INTO samples VALUES ({', '.join('?' * (len(columns) + 1))})"

    def _prepare(self, columns: Sequence[Column], map_text: str) -> None:
        run = self._database.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        declared = [f"{TIME} TEXT", *(f"{_quoted(column.name)} {_DECLARED[column.type]}" for column in columns)]
        run("BEGIN IMMEDIATE")
        run(f"CREATE TABLE IF NOT EXISTS samples ({', '.join(declared)})")
        run("CREATE TABLE IF NOT EXISTS map (json TEXT)")
        if _names(self._database) != [column.name for column in columns]:
            raise DeclarationError(f"{self._path}: has other columns than the map; take another file")
        run("DELETE FROM map")
        run("INSERT INTO map VALUES (?)", (map_text,))
        run("COMMIT")

    def write(self, at: float, values: Sequence[Value]) -> None:
        cells = [str(value) if isinstance(value, int) and value > LARGEST else value for value in values]
        with _told(self._path):
            self._database.execute(self._insert, (time_text(at), *cells))

    def is_the_last(self) -> bool:
        """Has nobody else the file open? Then it is one file from now on, without a log beside it."""
        try:
            self._database.execute("PRAGMA busy_timeout = 200")
            (mode,) = self._database.execute("PRAGMA journal_mode = DELETE").fetchone()
        except sqlite3.OperationalError:
            return False
        return bool(mode == "delete")

    def close(self) -> None:
        self._database.close()


def read_sqlite(path: Path) -> Recording:
    """What a database holds.

    :raises DeclarationError: it is none, or no recording.
    :raises OSError: the file cannot be read.
    """
    with path.open("rb"), _told(path), closing(sqlite3.connect(path)) as database:
        names = _names(database)
        text = next(database.execute("SELECT json FROM map"), ("",))[0]
    recording = Recording([], {name: [] for name in names}, text)
    for at, values in sqlite_rows(path):
        recording.times.append(at)
        for column, value in zip(recording.columns.values(), values, strict=True):
            column.append(value)
    return recording


def sqlite_rows(path: Path, after: float = 0.0) -> Iterator[Row]:
    """The rows of a database, or those after this time in seconds since 1970.

    :raises DeclarationError: it is none, or no recording.
    """
    with _told(path), closing(sqlite3.connect(path)) as database:
        names = _names(database)
        types = [declared for _, _, declared, *_ in database.execute("PRAGMA table_info(samples)")]
        unsigned = [number for number in range(len(names)) if not types[number + 1]]
        try:
            for time, *values in database.execute("SELECT * FROM samples"):
                if (at := time_of(time)) > after:
                    for number in unsigned:
                        values[number] = None if values[number] is None else int(values[number])
                    yield at, values
        except (TypeError, ValueError) as error:
            raise DeclarationError(f"{path}: is no recording: {error}") from None


def _names(database: sqlite3.Connection) -> list[str]:
    return [name for _, name, *_ in database.execute("PRAGMA table_info(samples)")][1:]


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What SQLite complains of becomes an error of ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise DeclarationError(f"{path}: {error}") from None


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
