"""`msm get` and `msm set`: values, exit codes, and one line for what the device refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from msm import MemoryStore
from msm.cli.app import run
from msm.testing import FakeDevice, ignored, refused

MAP = """
size = 10
input_registers = 4

[variables.SPEED]
type = "float32"
address = 0
unit = "rpm"

[variables.STATE]
type = "enum"
address = 2
members = { OFF = 0, RUN = 1 }

[variables.ALARM]
type = "bool"
address = 3
bit_number = 4

[variables.HOURS]
type = "word"
address = 4
access = "ro"

[variables.TEMP]
type = "int16"
address = "input:0"
scale = 0.1
unit = "°C"
"""


@pytest.fixture
def map_file(tmp_path: Path) -> str:
    file = tmp_path / "press.toml"
    file.write_text(MAP, "utf-8")
    return str(file)


@pytest.fixture
def device(map_file: str) -> Iterator[FakeDevice]:
    mem = MemoryStore.load(map_file)
    with FakeDevice(mem) as device:
        mem.provide(SPEED=40.1, STATE=1, HOURS=7, TEMP=21.5)
        yield device


def asked_for(device: FakeDevice) -> set[int]:
    """The function codes of all requests so far."""
    return {exchange.request[0] for exchange in device.exchanges}


def test_get_prints_all_variables_of_a_map(
    device: FakeDevice, map_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["get", device.endpoint, map_file]) == 0
    assert capsys.readouterr() == (
        "SPEED  40.1 rpm\nSTATE  RUN\nALARM  false\nHOURS  7\nTEMP   21.5 °C\n",
        "",
    )


def test_get_reads_only_what_was_asked_for(
    device: FakeDevice, map_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["get", device.endpoint, map_file, "STATE", "SPEED"]) == 0
    assert capsys.readouterr().out == "STATE  RUN\nSPEED  40.1 rpm\n"
    assert asked_for(device) == {3}


def test_get_takes_addresses_with_a_type(device: FakeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    device.mem[8:10] = [0x4220, 0x8000]
    arguments = ["holding:8", "40004.4", "--type", "float32", "--word-order", "big"]
    assert run(["get", device.endpoint, *arguments]) == 0
    assert capsys.readouterr().out == "holding:8  40.125\n40004.4    false\n"


def test_get_prints_json(device: FakeDevice, map_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["get", device.endpoint, map_file, "TEMP", "STATE", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert list(said) == ["TEMP", "STATE"]
    at = said["TEMP"].pop("at")
    assert at > 1.6e9
    assert said["TEMP"] == {
        "value": 21.5,
        "unit": "°C",
        "quality": "good",
        "table": "input",
        "address": 0,
        "words": [215],
        "error": "",
    }
    assert said["STATE"]["value"] == "RUN"


def test_get_prints_what_it_got_and_tells_what_it_did_not(
    device: FakeDevice, capsys: pytest.CaptureFixture[str]
) -> None:
    device.unreadable(6, 2)
    assert run(["get", device.endpoint, "holding:5", "holding:7", "holding:8", "holding:12"]) == 1
    out, err = capsys.readouterr()
    assert out == "holding:5  0\nholding:8  0\n"
    assert err.startswith("msm: holding:7: reading holding 7: exception 02: illegal data address")
    assert "; holding:12: reading holding 12: exception 02" in err
    assert err.count("\n") == 1


def test_json_says_what_could_not_be_read(device: FakeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["get", device.endpoint, "12", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)["12"]
    assert said["quality"] == "bad"
    assert "exception 02" in said["error"]


def test_a_device_that_does_not_answer_is_told(device: FakeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    device.by_chance(1, ignored())
    assert run(["get", device.endpoint, "0", "--timeout", "0.05"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("msm: no exchange with the device within 0.25 s")


def test_set_says_that_the_device_has_taken_it(
    device: FakeDevice, map_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["set", device.endpoint, map_file, "SPEED=41.5", "STATE=OFF"]) == 0
    assert capsys.readouterr() == ("SPEED  41.5 rpm  acknowledged\nSTATE  OFF       acknowledged\n", "")
    assert (device.mem.SPEED, device.mem.STATE) == (41.5, 0)
    device.assert_wrote_only("SPEED", "STATE")


def test_set_takes_addresses_with_a_type(device: FakeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["set", device.endpoint, "holding:0=-2", "holding:3.4=on", "--type", "int32", "--unit", "1"]) == 0
    assert capsys.readouterr().out == "holding:0    -2    acknowledged\nholding:3.4  true  acknowledged\n"
    assert device.mem[0:2] == [0xFFFE, 0xFFFF]
    assert device.mem.ALARM is True


@pytest.mark.parametrize("as_json", [False, True])
def test_set_says_what_the_device_refuses_and_why(
    device: FakeDevice, map_file: str, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    device.then(refused(3), refused(3), on="write")
    assert run(["set", device.endpoint, map_file, "SPEED=41.5", *["--json"] * as_json]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("msm: SPEED: rejected, writing holding 0-1: exception 03: illegal data value")
    assert err.count("\n") == 1
    if as_json:
        fate = json.loads(out)["SPEED"]
        assert fate["acknowledged"] is False
        assert fate["error"].startswith("rejected")
    else:
        assert out == ""
    assert pytest.approx(40.1) == device.mem.SPEED


def test_json_says_that_it_was_acknowledged(
    device: FakeDevice, map_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["set", device.endpoint, map_file, "STATE=RUN", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"STATE": {"value": "RUN", "acknowledged": True, "error": ""}}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["SPEED"], "'SPEED' is not NAME=VALUE"),
        ([], "nothing to write"),
        (["SPEED=fast"], "SPEED: 'fast' is not a number"),
        (["SPED=1"], "did you mean SPEED?"),
        (["STATE=1", "HOURS=1"], "HOURS: cannot be assigned 1, it is read-only"),
        (["SPEED=1", "STATE=2"], "STATE: 2 is no member of STATE"),
    ],
)
def test_what_cannot_be_written_is_told_before_anything_is(
    device: FakeDevice, map_file: str, capsys: pytest.CaptureFixture[str], words: list[Any], told: str
) -> None:
    assert run(["set", device.endpoint, map_file, *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert err.count("\n") == 1
    assert not device.writes


def test_what_the_terminal_has_no_character_for_is_shown_all_the_same(device: FakeDevice, map_file: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "msm", "get", device.endpoint, map_file, "TEMP"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "TEMP  21.5 \\xb0C\n", "")
