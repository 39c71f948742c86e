"""Recordings in CSV: a header, and a line for each row.

Each row is one write of a whole line, so a kill cuts none. A last line that was cut off, as by a power failure, is not
read, and the next recorder takes it away.
"""

from __future__ import annotations

import csv
import errno
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path

from msm.cli.recording_files import TIME, Column, Recording, Value, Writer, time_of, time_text
from msm.errors import DeclarationError


class CsvWriter(Writer):
    """A file that grows by whole lines."""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        header = _line([TIME, *(column.name for column in columns)])
        self._file = path.open("ab", buffering=0)
        try:
            there = path.read_bytes()
            whole = there[: there.rfind(b"\n") + 1]
            if whole and not whole.startswith(header):
                raise DeclarationError(f"{path}: has other columns than the map; take another file")
            if there and not whole and not header.startswith(there):
                raise DeclarationError(f"{path}: is no recording; take another file")
            os.truncate(path, len(whole))  # without a last line that was cut off
            if not whole:
                self._add(header)
        except BaseException:
            self.close()
            raise

    def write(self, at: float, values: Sequence[Value]) -> None:
        self._add(_line([time_text(at), *map(_cell, values)]))

    def _add(self, line: bytes) -> None:
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)

    def close(self) -> None:
        self._file.close()


def _cell(value: Value) -> str | int | float:
    return "" if value is None else int(value) if isinstance(value, bool) else value


def _line(cells: Sequence[str | int | float]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8")


def read_csv(path: Path) -> Recording:
    """What a CSV holds; also one from elsewhere whose first column is a time.

    :raises DeclarationError: it is none, or has no such column.
    """
    text = path.read_bytes()
    text = text[: text.rfind(b"\n") + 1]
    try:
        rows = csv.reader(io.StringIO(text.decode("utf-8-sig"), newline=""), strict=True)
        header = next(rows, [])
        if header[:1] != [TIME]:
            raise DeclarationError(f"{path}: is no recording: its first column is not {TIME}")
        recording = Recording([], {name: [] for name in header[1:]})
        for row in rows:
            recording.times.append(time_of(row[0]))
            for name, cell in zip(header[1:], row[1:], strict=True):
                recording.columns[name].append(_parsed(cell))
    except (csv.Error, ValueError, IndexError) as error:
        if isinstance(error, DeclarationError):
            raise
        raise DeclarationError(f"{path}: is no recording: {error}") from None
    return recording


def _parsed(cell: str) -> Value:
    if re.match(r"[+-]?0\d", cell):
        return cell  # a text of digits, such as a serial number
    for read in (int, float):
        try:
            return read(cell)
        except ValueError:
            continue
    return cell or None
