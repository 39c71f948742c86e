"""`msm plot`: pictures of recordings."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import typer
from tests.cli.test_app import msm

from msm import MemoryStore, MemoryVariable
from msm.cli.plot import alone, chosen, drawing, with_gaps
from msm.cli.recording_files import Recording, open_writer

TIMES = [0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0]
NAN = math.nan


def recording(folder: Path, suffix: str = ".sqlite") -> Path:
    """Speed, a state, a text, and an array; with a value missing, and a pause."""
    mem = MemoryStore(20)
    mem.speed = MemoryVariable.float32(0, unit="rpm")
    mem.state = MemoryVariable.word(2)
    mem.name = MemoryVariable.string(4, 4)
    mem.row = MemoryVariable.int16(8, count=2)
    path = folder / f"run{suffix}"
    with open_writer(path, mem) as writer:
        for number, at in enumerate(TIMES):
            speed = None if number == 1 else 20.0 + number / 2
            writer.write(1769860800.0 + at, [speed, number % 2, "abc", -number, number])
    return path


def same(points: list[float], expected: list[float]) -> bool:
    return len(points) == len(expected) and all(
        a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(points, expected, strict=True)
    )


def test_lines_break_where_a_value_is_missing_and_where_the_recorder_did_not_run() -> None:
    at, points = with_gaps(TIMES, [1, None, 3, 4, 5, 6, 7])
    assert same(points, [1.0, NAN, 3.0, 4.0, NAN, 5.0, 6.0, 7.0])
    assert at == [0.0, 1.0, 2.0, 3.0, 3.0, 10.0, 11.0, 12.0]
    assert alone(points) == [0]
    assert alone([1.0, NAN, NAN, 2.0, NAN, 3.0, 4.0]) == [0, 3]
    assert with_gaps([5.0], [True]) == ([5.0], [1.0])


@pytest.mark.parametrize(("suffix", "begins"), [(".svg", b"<?xml"), (".png", b"\x89PNG")])
@pytest.mark.parametrize("source", [".csv", ".sqlite", ".parquet"])
def test_a_picture_of_a_recording(source: str, suffix: str, begins: bytes, tmp_path: Path) -> None:
    path = recording(tmp_path, source)
    picture = tmp_path / f"picture{suffix}"
    done = msm("plot", str(path), "speed", "row", "-o", str(picture))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert picture.read_bytes().startswith(begins)
    if suffix == ".svg":
        text = picture.read_text("utf-8")
        assert all(f"<!-- {name} -->" in text for name in ("speed", "row[0]", "row[1]"))
        assert "<!-- state -->" not in text
        assert ("<!-- rpm -->" in text) is (source != ".csv")  # a CSV knows no units


def test_the_drawing_shares_its_time_and_has_gaps(tmp_path: Path) -> None:
    from msm.cli.recording_files import read_recording

    read = read_recording(recording(tmp_path))
    names = chosen(read, [])
    assert names == ["speed", "state", "row[0]", "row[1]"]
    figure = drawing(read, names, "run")
    assert len(figure.axes) == 4
    assert len({axis.get_xlim() for axis in figure.axes}) == 1
    assert figure.axes[0].get_ylabel() == "speed\nrpm"
    speed, single = figure.axes[0].lines
    assert same([float(y) for y in speed.get_ydata()], [20.0, NAN, 21.0, 21.5, NAN, 22.0, 22.5, 23.0])  # type: ignore[arg-type, union-attr]
    assert [float(y) for y in single.get_ydata()] == [20.0]  # type: ignore[arg-type, union-attr]
    assert speed.get_drawstyle() == "default"
    assert figure.axes[1].lines[0].get_drawstyle() == "steps-post"


def test_by_default_the_picture_is_beside_the_recording(tmp_path: Path) -> None:
    assert msm("plot", str(recording(tmp_path))).returncode == 0
    assert (tmp_path / "run.svg").exists()


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["sped"], "sped: the recording has only speed, state, name, row"),
        (["name"], "name: is a text, it cannot be drawn"),
        (["speed", "-o", "picture.pdf"], "a picture is an .svg or a .png file"),
    ],
)
def test_what_cannot_be_drawn(names: list[str], told: str, tmp_path: Path) -> None:
    done = msm("plot", str(recording(tmp_path)), *names)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_too_much_and_too_little_to_draw() -> None:
    with pytest.raises(typer.BadParameter, match="17 variables are more than the 16"):
        chosen(Recording([1.0], {f"v{number}": [1] for number in range(17)}), [])
    with pytest.raises(typer.BadParameter, match="no rows"):
        chosen(Recording([], {"v": []}), [])
    with pytest.raises(typer.BadParameter, match="no numbers"):
        chosen(Recording([1.0], {"v": ["text"]}), [])
