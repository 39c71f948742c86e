"""`msm record`: files that survive whatever ends the recorder."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from tests.cli.recorders import LARGE, NAMES, ended, map_file, moving, running
from tests.cli.screen import screen
from tests.cli.test_app import msm
from tests.support import free_port, wait_until

from msm import DeclarationError, MemoryStore, MemoryVariable
from msm.cli.record import next_due
from msm.cli.recording_files import (
    Recording,
    columns_of,
    open_writer,
    read_recording,
    shortest,
    steps_of,
    time_of,
    time_text,
)
from msm.cli.recording_parquet import spool_of

SUFFIXES = [".csv", ".sqlite", ".db", ".parquet"]


def rows(path: Path) -> int:
    """How many rows can be read there now."""
    with suppress(OSError, DeclarationError):  # not yet
        return len(read_recording(path).times)
    return 0


def record(endpoint: str, folder: Path, path: Path, *more: str) -> tuple[str, ...]:
    return ("record", endpoint, str(map_file(folder)), "-o", str(path), "--period", "0.05", *more)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_recording_has_the_values_and_is_continued(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"run{suffix}"
    with moving(tmp_path) as device:
        done = msm(*record(device.endpoint, tmp_path, path, "--seconds", "0.3"))
        first = read_recording(path)
        count = len(first.times)
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == f"{path}: {count} rows, 0 of them with gaps\n"
        assert 3 <= count <= 7  # a row that would be late is left out
        assert msm(*record(device.endpoint, tmp_path, path, "--seconds", "0.2")).returncode == 0
    both = read_recording(path)
    assert list(both.columns) == NAMES
    assert both.times[:count] == first.times
    assert len(both.times) > count
    values = {name: column[2] for name, column in both.columns.items()}
    assert {name: values[name] for name in ("state", "total", "serial", "row[0]", "row[1]", "temperature", "pump")} == {
        "state": 1, "total": LARGE, "serial": "007", "row[0]": -1, "row[1]": 2, "temperature": 21.5, "pump": True,
    }  # fmt: skip
    speeds = both.columns["speed"]
    assert speeds == sorted(speeds, key=lambda speed: float(speed or 0))
    assert speeds[0] != speeds[-1]
    assert all(after > before for before, after in pairwise(both.times))
    assert bool(both.map_text) is (suffix != ".csv")
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("run")] == [path.name]


@pytest.mark.parametrize("suffix", [".csv", ".sqlite", ".parquet"])
def test_a_recording_survives_a_kill_and_is_continued(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"run{suffix}"
    with moving(tmp_path) as device:
        with running(*record(device.endpoint, tmp_path, path)) as child:
            wait_until(lambda: rows(path) >= 5)
            child.send_signal(signal.SIGKILL)
            child.wait(30)
        killed = read_recording(path)
        assert len(killed.times) >= 5
        with running(*record(device.endpoint, tmp_path, path)) as child:
            wait_until(lambda: rows(path) >= len(killed.times) + 5)
            code, _, told = ended(child, signal.SIGTERM)
    assert code == 0
    assert told.startswith(f"{path}: ")
    whole = read_recording(path)
    assert whole.times[: len(killed.times)] == killed.times
    assert all(before < after for before, after in pairwise(whole.times))
    assert {len(column) for column in whole.columns.values()} == {len(whole.times)}
    assert steps_of(whole.times)[1][len(killed.times)]  # where nobody recorded
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("run")] == [path.name]


def test_many_kills_at_any_moment_break_no_file(tmp_path: Path) -> None:
    paths = [tmp_path / f"run{suffix}" for suffix in (".csv", ".sqlite", ".parquet")]
    with moving(tmp_path) as device:
        for _ in range(3):
            before = [rows(path) for path in paths]
            children = [running(*record(device.endpoint, tmp_path, path, "--period", "0.01")) for path in paths]
            with children[0] as a, children[1] as b, children[2] as c:
                for path, had in zip(paths, before, strict=True):
                    wait_until(lambda path=path, had=had: rows(path) > had)  # type: ignore[misc]
                for child in (a, b, c):
                    child.send_signal(signal.SIGKILL)
            assert all(rows(path) > had for path, had in zip(paths, before, strict=True))


def test_what_the_device_does_not_give_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    port = free_port()
    with running(*record(f"tcp://127.0.0.1:{port}", tmp_path, path, "--timeout", "0.3")) as child:
        for _ in range(2):
            with moving(tmp_path, f"tcp://127.0.0.1:{port}"):
                wait_until(lambda: read_recording(path).columns["state"][-3:] == [1, 1, 1] if path.exists() else False)
            wait_until(lambda: read_recording(path).columns["state"][-1] is None)
        code, _, told = ended(child)
    assert code == 0
    states = read_recording(path).columns["state"]
    gaps = states.count(None)
    assert f"{len(states)} rows, {gaps} of them with gaps\n" in told
    assert len([1 for before, after in pairwise(states) if before != after]) == 3  # good, gap, good, gap


def test_a_value_that_means_none_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    with moving(tmp_path) as device:
        device.mem.set_value(14, 0x8000)
        device.unreadable(0, 2)
        done = msm(*record(device.endpoint, tmp_path, path, "--seconds", "0"))
    assert done.returncode == 0
    columns = read_recording(path).columns
    assert (columns["temperature"], columns["speed"], columns["state"]) == ([None], [None], [1])


def test_the_files_are_what_others_read(tmp_path: Path) -> None:
    with moving(tmp_path) as device:
        for suffix in (".csv", ".sqlite", ".parquet"):
            assert msm(*record(device.endpoint, tmp_path, tmp_path / f"run{suffix}", "-s", "0")).returncode == 0
    header, row = (tmp_path / "run.csv").read_text().splitlines()
    assert header == "recorded_at,speed,state,total,serial,row[0],row[1],temperature,since,pump"
    assert row.endswith(f",1,{LARGE},007,-1,2,21.5,1970-01-01T07:32:16+00:00,1")
    with closing(sqlite3.connect(tmp_path / "run.sqlite")) as database:
        found = database.execute(
            'SELECT julianday(recorded_at) > 2460000, state, "row[0]", total FROM samples'
        ).fetchall()
    assert found == [(1, 1, -1, str(LARGE))]
    from pyarrow import parquet

    schema = parquet.read_schema(tmp_path / "run.parquet")
    types = {field.name: str(field.type) for field in schema}
    assert types == {
        "recorded_at": "timestamp[ms, tz=UTC]", "speed": "double", "state": "int64", "total": "uint64",
        "serial": "string", "row[0]": "int64", "row[1]": "int64", "temperature": "double", "since": "string",
        "pump": "bool",
    }  # fmt: skip


def test_a_line_of_a_csv_that_was_cut_off_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    with moving(tmp_path) as device:
        msm(*record(device.endpoint, tmp_path, path, "-s", "0"))
        whole = path.read_bytes()
        path.write_bytes(whole + b"2026-01-01T00:00:0")
        assert rows(path) == 1
        msm(*record(device.endpoint, tmp_path, path, "-s", "0"))
    assert path.read_bytes().startswith(whole)
    assert rows(path) == 2


def store(*names: str) -> MemoryStore:
    mem = MemoryStore(8)
    for address, name in enumerate(names):
        mem[name] = MemoryVariable.word(address)
    return mem


def test_a_kill_between_the_file_and_the_end_of_its_spool_doubles_no_row(tmp_path: Path) -> None:
    path = tmp_path / "run.parquet"
    with open_writer(path, store("a")) as writer:
        writer.write(1.0, [1])
        writer.write(2.0, [2])
        spool = shutil.copytree(tmp_path, tmp_path / "copy")
    for left in spool.iterdir():
        shutil.copy(left, tmp_path / left.name)
    assert spool_of(path).exists()
    assert read_recording(path).columns == {"a": [1, 2]}
    with open_writer(path, store("a")) as writer:
        writer.write(3.0, [3])
    assert not spool_of(path).exists()
    assert read_recording(path) == Recording([1.0, 2.0, 3.0], {"a": [1, 2, 3]}, read_recording(path).map_text)


@pytest.mark.parametrize("suffix", [".csv", ".sqlite", ".parquet"])
def test_two_recorders_of_one_file_lose_nothing(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"run{suffix}"
    with open_writer(path, store("a")) as one:
        with open_writer(path, store("a")) as other:
            one.write(1.0, [1])
            other.write(2.0, [2])
        one.write(3.0, [3])
        assert read_recording(path).columns == {"a": [1, 2, 3]}
    assert read_recording(path).columns == {"a": [1, 2, 3]}
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".csv", ".sqlite", ".parquet"])
def test_a_recording_with_other_columns_and_what_is_none_are_left_alone(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"run{suffix}"
    with open_writer(path, store("a", "b")) as writer:
        writer.write(1.0, [1, 2])
    with moving(tmp_path) as device:
        before = path.read_bytes()
        done = msm(*record(device.endpoint, tmp_path, path, "-s", "0"))
        assert done.returncode == 2
        assert done.stderr == f"msm: {path}: has other columns than the map; take another file\n"
        assert path.read_bytes() == before
        path.write_bytes(b"this is a letter\nand no recording\n" * 100)
        done = msm(*record(device.endpoint, tmp_path, path, "-s", "0"))
        assert done.returncode == 2
        assert done.stderr.startswith(f"msm: {path}: ")
        assert done.stderr.count("\n") == 1
        assert path.read_bytes().startswith(b"this is a letter")
    with pytest.raises(DeclarationError, match="run"):
        read_recording(path)


def test_what_is_wrong_is_told_before_a_file_is_made(tmp_path: Path) -> None:
    nobody = f"tcp://127.0.0.1:{free_port()}"
    done = msm(*record(nobody, tmp_path, tmp_path / "run.txt"))
    assert done.returncode == 2
    assert "a recording is a .csv, .sqlite, .db or .parquet file" in done.stderr
    done = msm(*record(nobody, tmp_path, tmp_path / "run.csv", "--timeout", "0.05"))
    assert done.returncode == 1
    assert "connection refused" in done.stderr
    assert not (tmp_path / "run.csv").exists()


def test_names_that_a_recording_cannot_have() -> None:
    for names in (["recorded_at"], ["speed", "SPEED"]):
        with pytest.raises(DeclarationError, match="this name is there twice"):
            columns_of(store(*names))
    with pytest.raises(DeclarationError, match="nothing to record"):
        columns_of(store())


def test_on_a_terminal_the_rows_are_counted(tmp_path: Path) -> None:
    seen: set[str] = set()
    path = tmp_path / "run.csv"
    with moving(tmp_path) as device:
        arguments = record(device.endpoint, tmp_path, path, "-s", "1")
        shown, code = screen(*arguments, columns=200, look=lambda at: seen.update(at.display))
    assert code == 0
    assert any(" rows, 0 of them with gaps; Ctrl+C ends it" in line for line in seen)
    assert shown.display[0].rstrip() == f"{path}: {rows(path)} rows, 0 of them with gaps"


def test_rows_come_at_whole_periods_and_what_was_missed_is_left_out() -> None:
    assert next_due(10.0, 10.1, 1.0) == 11.0
    assert next_due(10.0, 10.0, 0.5) == 10.5
    assert next_due(10.0, 13.2, 1.0) == 14.0


def test_times_are_the_same_after_a_round_trip() -> None:
    for at in (0.0, 1769860800.25, 1769860800.9996):
        assert time_of(time_text(at)) == round(at, 3)
    assert time_text(1769860800.25) == "2026-01-31T12:00:00.250Z"


def test_a_float_of_32_bits_has_the_digits_that_it_was_given() -> None:
    mem = MemoryStore(2)
    mem.v = MemoryVariable.float32(0)
    for value in (230.1, 49.98, 0.1, 1e-40, -3.4028234663852886e38, 16777217.0, 123456.7, 0.0, float("inf")):
        mem.v = value
        read = mem.v
        short = shortest(read)
        assert len(repr(short)) <= len(repr(read))
        mem.v = short
        assert mem.v == read
    assert shortest(230.10000610351562) == 230.1


def test_pauses_of_the_recorder() -> None:
    assert steps_of([]) == (0.0, [])
    assert steps_of([5.0]) == (0.0, [False])
    assert steps_of([0.0, 1.0, 2.0, 9.0, 10.0]) == (1.0, [False, False, False, True, False])
