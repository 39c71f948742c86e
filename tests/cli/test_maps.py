"""Commands for register maps, as a shell and as a terminal see them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.screen import screen
from tests.cli.test_app import msm

from msm import MemoryStore, MemoryVariable

MAPS = Path("examples/maps").resolve()
BROKEN = """
[variables.speed]
type = "flaot32"
address = 0

[variables.torque]
type = "word"
"""


def press(folder: Path) -> Path:
    """A map with a warning: two variables that overlap."""
    store = MemoryStore(8, coils=4)
    store.speed = MemoryVariable.float32(0, unit="rpm", access="ro")
    store.setpoint = MemoryVariable.word(1, access="wo")
    store.run = MemoryVariable.coil(2)
    file = folder / "press.toml"
    store.save(file)
    return file


def test_the_layout_in_a_pipe_is_that_of_the_library() -> None:
    file = MAPS / "beckhoff_bk9050.json"
    done = msm("layout", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{MemoryStore.load(file).layout()}\n"


def test_the_layout_on_a_terminal_is_as_wide_and_in_colour(tmp_path: Path) -> None:
    shown, code = screen("layout", str(press(tmp_path)), columns=100)
    assert code == 0
    lines = [line.rstrip() for line in shown.display]
    expected = MemoryStore.load(press(tmp_path)).layout().text(100).splitlines()
    assert [line for line in lines if line] == [line for line in expected if line]
    colours = {}
    for row, line in enumerate(shown.display):
        for name in ("speed", "setpoint", "run"):
            if name in line and name not in colours:
                colours[name] = shown.buffer[row][line.index(name)].fg
    assert colours == {"speed": "green", "setpoint": "brown", "run": "blue"}
    warning = next(row for row, line in enumerate(shown.display) if line.startswith("warning: overlap"))
    assert shown.buffer[warning][0].fg == "red"


def test_the_layout_as_svg(tmp_path: Path) -> None:
    file = press(tmp_path)
    done = msm("layout", str(file), "--svg", str(tmp_path / "press.svg"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "press.svg").read_text("utf-8") == MemoryStore.load(file).layout().svg()


def test_lint_says_nothing_of_a_clean_map() -> None:
    done = msm("lint", str(MAPS / "eastron_sdm630.csv"), "--strict")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_lint_tells_findings_and_with_strict_they_are_errors(tmp_path: Path) -> None:
    file = press(tmp_path)
    done = msm("lint", str(file))
    assert done.returncode == 0
    assert done.stdout.startswith(f"{file}: warning [overlap] holding word")
    assert all(line.startswith(f"{file}: warning [") for line in done.stdout.splitlines())
    assert msm("lint", str(file), "--strict").returncode == 1


def test_lint_tells_each_error_in_a_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text(BROKEN)
    done = msm("lint", str(file))
    assert (done.returncode, done.stderr) == (1, "")
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{file}:3: ")
    assert "did you mean float32?" in first
    assert second.startswith(f"{file}:6: ")
    assert "address is missing" in second


@pytest.mark.parametrize("name", ["sunspec_inverter.toml", "beckhoff_bk9050.json", "huawei_sun2000_kepware.csv"])
def test_a_map_is_the_same_in_all_formats(name: str, tmp_path: Path) -> None:
    layout = str(MemoryStore.load(MAPS / name).layout())
    source = MAPS / name
    for suffix in (".csv", ".json", ".toml"):
        target = tmp_path / f"map{suffix}"
        assert msm("convert", str(source), str(target)).returncode == 0
        assert str(MemoryStore.load(target).layout()) == layout
        source = target


def test_a_map_is_not_written_over_unless_it_is_forced(tmp_path: Path) -> None:
    target = tmp_path / "mine.toml"
    target.write_text("precious")
    done = msm("convert", str(MAPS / "eastron_sdm630.csv"), str(target))
    assert done.returncode == 2
    assert "is there already" in done.stderr
    assert target.read_text() == "precious"
    assert msm("convert", str(MAPS / "eastron_sdm630.csv"), str(target), "--force").returncode == 0
    assert target.read_text() != "precious"


# -- stubs


def odd_map(folder: Path) -> Path:
    """A map with all that Python's grammar does not like."""
    file = folder / "3-odd.toml"
    file.write_text(
        'word_order = "big"\n'
        '[variables."Grid.Power"]\ntype = "float32"\naddress = 0\nmax = inf\nlabel = "in \\"all\\", \\u0007"\n'
        '[variables.class]\ntype = "word"\naddress = 2\n'
        '[variables.__hidden]\ntype = "int16"\naddress = 3\nnan = -32768\nscale = 0.1\n'
        '[variables.State]\ntype = "enum"\naddress = 4\nmembers = { OFF = 0, "not ready" = 1 }\n'
        '[variables.other]\ntype = "enum"\naddress = 5\nenum = "State"\nmembers = { OFF = 0, RUN = 1, ON = 1 }\n'
        '[variables.alarms]\ntype = "flags"\naddress = 6\nmembers = { HOT = 1, OIL = 2 }\n'
        '[variables.name_of]\ntype = "string"\naddress = 8\nlength = 8\ntable = "input"\n'
        '[variables.curve]\ntype = "uint32"\naddress = 12\ncount = 4\n'
        '[variables.pump]\ntype = "coil"\naddress = 0\n'
    )
    return file


def test_stubs_are_what_the_map_is_and_mypy_accepts_them(tmp_path: Path) -> None:
    sources = [*(each for each in sorted(MAPS.iterdir()) if each.suffix != ".md"), odd_map(tmp_path)]
    programs = []
    for number, source in enumerate(sources):
        target = tmp_path / f"stub{number}.py"
        done = msm("stubs", str(source), "-o", str(target), "--class", "Its")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        code = f"from stub{number} import Its; print(Its().layout())"
        ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        # The names of enums may be others, and so the widths of columns.
        layout = str(MemoryStore.load(source).layout())
        shown, expected = (text.casefold().replace("type", "").split() for text in (ran.stdout, layout))
        assert shown == expected
        programs.append(target)
    uses = tmp_path / "uses.py"
    uses.write_text(
        f"from stub{len(sources) - 1} import Its, StateType\nmem = Its()\n"
        "reveal_type(mem.State)\nreveal_type(mem.curve)\nreveal_type(mem.name_of)\nreveal_type(mem.pump)\n"
        "mem.pump = 'on'\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path / "cache")]
    checked = subprocess.run(
        [*command, *map(str, programs), str(uses)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    told = [line.split(": ", 1)[1].replace("builtins.", "") for line in checked.stdout.splitlines()]
    assert told == [
        'note: Revealed type is "stub4.StateType"',
        'note: Revealed type is "tuple[int, ...]"',
        'note: Revealed type is "str"',
        'note: Revealed type is "bool"',
        'error: Incompatible types in assignment (expression has type "str", variable has type "bool")  [assignment]',
    ]


def test_stubs_are_named_after_the_map(tmp_path: Path) -> None:
    done = msm("stubs", str(MAPS / "eastron_sdm630.csv"))
    assert "\nclass EastronSdm630(MemoryStore, size=" in done.stdout
    assert "\nclass Map3Odd(MemoryStore, " in msm("stubs", str(odd_map(tmp_path))).stdout
    done = msm("stubs", str(MAPS / "eastron_sdm630.csv"), "--class", "not so")
    assert done.returncode == 2
    assert done.stderr == "msm: Invalid value: 'not so' is no name for a class: give one with --class\n"
