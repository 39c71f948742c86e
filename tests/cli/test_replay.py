"""`msm replay`: recordings as devices."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tests.cli.recorders import LARGE, ended, map_file, moving, running
from tests.cli.test_app import msm
from tests.support import FREE, wait_until

from msm import MemoryStore, MemoryVariable, ModbusClient
from msm.cli.recording_files import Value, open_writer
from msm.cli.replay import timetable
from msm.testing import Recording


def endpoint_of(child: subprocess.Popen[str]) -> str:
    assert child.stderr is not None
    line = child.stderr.readline()
    found = re.search(r" is played at (tcp://\S+); Ctrl\+C ends it$", line)
    assert found, line
    return found[1]


def played(folder: Path, suffix: str) -> Path:
    """A recording of some rows, in which the speed counts from 0 to 4."""
    path = folder / f"run{suffix}"
    with open_writer(path, MemoryStore.load(map_file(folder))) as writer:
        for number in range(5):
            row: list[Value] = [
                float(number),
                number % 2,
                LARGE,
                "007",
                -1,
                None,
                21.5,
                "2026-01-01T00:00:00+00:00",
                True,
            ]
            writer.write(1000.0 + number / 10, row)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".sqlite", ".parquet"])
def test_the_values_come_again(suffix: str, tmp_path: Path) -> None:
    path = played(tmp_path, suffix)
    own = [str(map_file(tmp_path))] if suffix == ".csv" else []
    mem = MemoryStore.load(map_file(tmp_path))
    with running("replay", str(path), *own, "--endpoint", FREE, "--speed", "0.5") as child:
        with mem.changes("speed") as changes, ModbusClient(mem, endpoint_of(child), period=0.02):
            wait_until(lambda: mem.speed == 4.0)
            seen = [0.0]
            while seen[-1] != 4.0:
                seen.append(changes.get(1.0).new)
            assert (mem.state, mem.total, mem.serial, mem.row[0]) == (0, LARGE, "007", -1)
            assert (mem.temperature, mem.pump, mem.since.year) == (21.5, True, 2026)
        assert ended(child) == (0, "", "")
    assert seen == sorted(seen)
    assert len(set(seen)) >= 3


def test_a_loop_begins_again_and_seconds_end_it(tmp_path: Path) -> None:
    path = played(tmp_path, ".sqlite")
    mem = MemoryStore.load(map_file(tmp_path))
    with running("replay", str(path), "-e", FREE, "--loop", "--seconds", "3") as child:
        with mem.changes("speed") as changes, ModbusClient(mem, endpoint_of(child), period=0.02):
            for _ in range(2):
                while changes.get(2.0).new != 4.0:
                    pass
                assert changes.get(2.0).new < 4.0
        assert child.wait(30) == 0


def test_what_a_variable_does_not_take_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_text("recorded_at,state,speed\n2026-01-01T00:00:00Z,7,2.5\n2026-01-01T00:00:01Z,8,3.5\n")
    mem = MemoryStore.load(map_file(tmp_path))
    with running("replay", str(path), str(map_file(tmp_path)), "-e", FREE) as child:
        with ModbusClient(mem, endpoint_of(child), period=0.02):
            wait_until(lambda: mem.speed == 3.5)
        code, _, told = ended(child)
    assert code == 0
    assert told.count("msm: left out: state: ") == 1


def test_a_recorded_line_is_played_by_its_replies(tmp_path: Path) -> None:
    path = tmp_path / "line.jsonl"
    mem = MemoryStore.load(map_file(tmp_path))
    with (
        moving(tmp_path) as device,
        Recording(path) as recording,
        ModbusClient(mem, device.endpoint, trace=recording),
    ):
        pass
    again = MemoryStore.load(map_file(tmp_path))
    with running("replay", str(path), "-e", FREE) as child:
        with ModbusClient(again, endpoint_of(child)):
            assert (again.serial, again.total) == ("007", LARGE)
        assert ended(child) == (0, "", "")


def test_recorded_and_replayed_is_the_same(tmp_path: Path) -> None:
    first, second = tmp_path / "first.parquet", tmp_path / "second.csv"
    with moving(tmp_path) as device:
        assert msm("record", device.endpoint, str(map_file(tmp_path)), "-o", str(first), "-s", "0").returncode == 0
    with running("replay", str(first), "-e", FREE) as child:
        done = msm("record", endpoint_of(child), str(map_file(tmp_path)), "-o", str(second), "-s", "0")
        assert done.returncode == 0
    from msm.cli.recording_files import read_recording

    assert read_recording(first).columns == read_recording(second).columns


def test_what_cannot_be_played(tmp_path: Path) -> None:
    path = played(tmp_path, ".csv")
    done = msm("replay", str(path))
    assert done.returncode == 2
    assert f"{path} has no register map in it: msm replay {path} MAP" in done.stderr
    other = MemoryStore(2)
    other.other = MemoryVariable.word(0)
    other.save(tmp_path / "other.toml")
    done = msm("replay", str(path), str(tmp_path / "other.toml"), "-e", FREE)
    assert done.returncode == 2
    assert "the recording has no row with a variable of the map" in done.stderr
    (tmp_path / "empty.jsonl").write_text("")
    done = msm("replay", str(tmp_path / "empty.jsonl"), "-e", FREE)
    assert "this is no recording" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_pause_of_the_recorder_is_left_out() -> None:
    assert timetable([0.0, 1.0, 2.0, 100.0, 101.0], 2.0) == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert timetable([7.0], 1.0) == [0.0]
