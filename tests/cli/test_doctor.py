"""`msm doctor`: what it says of devices that are well, and of those that are not."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import free_port, port_of

from msm import Functions, MemoryStore
from msm.cli.app import run
from msm.testing import FakeDevice, cut, ignored, late, refused

MAP = """
[variables.SPEED]
type = "word"
address = 0

[variables.FAR]
type = "word"
address = 99

[variables.RESET]
type = "word"
address = 1
access = "wo"
"""


@pytest.fixture
def device() -> Iterator[FakeDevice]:
    store = MemoryStore(10, input_registers=1, coils=1, discrete_inputs=1)
    with FakeDevice(store, functions=Functions(identification={0: "Example", 1: "P-100", 2: "1.0"})) as device:
        yield device


def said(
    capsys: pytest.CaptureFixture[str], endpoint: str, *options: str, code: int = 0
) -> dict[str, tuple[str, str, str]]:
    """What each check says: verdict, what is the case, and what to try."""
    assert run(["doctor", endpoint, "--json", *options]) == code
    out, err = capsys.readouterr()
    assert err == ""
    return {each["check"]: (each["verdict"], each["told"], each["remedy"]) for each in json.loads(out)}


def test_a_device_that_is_well(device: FakeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    findings = said(capsys, device.endpoint)
    assert {verdict for verdict, *_ in findings.values()} == {"ok"}
    assert findings["answer"][1] == "unit 1 answers"
    assert findings["reads"][1] == "gives all that was asked for: holding 0, input 0, coil 0, discrete 0"
    assert "answers, usually in" in findings["timing"][1]
    assert findings["bits"][1].startswith("has mask write")
    assert findings["identity"][1] == "Example, P-100, 1.0"
    assert findings["in all"][1].startswith("all is well")
    assert not device.writes
    assert device.mem[0:10] == [0] * 10


def test_it_is_told_in_lines_for_people(device: FakeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", f"tcp://localhost:{port_of(device.endpoint)}"]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0].startswith("ok     name      localhost is 127.0.0.1")
    assert lines[2] == "ok     answer    unit 1 answers"
    assert all(len(line) <= 80 for line in lines)


def test_a_name_that_nobody_knows(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    findings = said(capsys, "tcp://plc.example", code=1)
    assert list(findings) == ["name"]
    verdict, told, remedy = findings["name"]
    assert (verdict, told) == ("wrong", "plc.example is not known (Name or service not known)")
    assert "192.168.0.10" in remedy


def test_a_port_where_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    findings = said(capsys, f"tcp://127.0.0.1:{free_port()}", "--timeout", "0.1", code=1)
    assert findings == {
        "port": ("wrong", "no connection yet: connection refused", "is the server running, and is this its port?")
    }


def test_a_device_that_does_not_answer(device: FakeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    device.by_chance(1, ignored())
    findings = said(capsys, device.endpoint, "--timeout", "0.1", code=1)
    assert findings["port"][0] == "ok"
    verdict, told, remedy = findings["answer"]
    assert verdict == "wrong"
    assert told == "unit 1 does not answer"
    assert remedy.startswith("is the unit id right")
    assert findings["unit"][0] == "hint"
    assert findings["unit"][1] == "units 2, 255, 0 do not answer either"


def test_another_unit_that_answers_is_named(device: FakeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    findings = said(capsys, device.endpoint, "--unit", "7", "--timeout", "0.3", code=1)
    assert findings["answer"][0] == "wrong"
    assert findings["unit"] == ("wrong", "unit 1 answers, unit 7 does not", "--unit 1")


def test_variables_of_a_map_that_the_device_does_not_have(
    device: FakeDevice, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "press.toml"
    file.write_text(MAP, "utf-8")
    verdict, told, remedy = said(capsys, device.endpoint, str(file), code=1)["reads"]
    assert verdict == "wrong"
    assert told.startswith("gives SPEED; refuses FAR (exception 02")  # RESET is only written
    assert "address_base" in remedy


def test_without_a_map_a_device_need_not_have_all_tables(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeDevice(MemoryStore(1)) as device:
        verdict, told, _ = said(capsys, device.endpoint)["reads"]
    assert verdict == "ok"
    assert told.startswith("gives holding 0; refuses input 0, coil 0, discrete 0 (exception 0")


def test_udp_knows_no_connections(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeDevice(MemoryStore(1), "udp://127.0.0.1:0") as device:
        findings = said(capsys, device.endpoint)
        assert list(findings) == ["answer", "reads", "timing", "bits", "identity"]
        device.by_chance(1, ignored())
        assert "port" not in said(capsys, device.endpoint, "--timeout", "0.1", code=1)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (refused(1), "has no mask write"),
        (ignored(), "does not answer a mask write"),
        (cut(), "does not answer a mask write"),
    ],
)
def test_a_device_without_mask_write(
    device: FakeDevice, capsys: pytest.CaptureFixture[str], fault: object, told: str
) -> None:
    device.then(fault, on="write")  # type: ignore[arg-type]
    verdict, found, remedy = said(capsys, device.endpoint, "--timeout", "0.2")["bits"]
    assert (verdict, found) == ("hint", f"{told} (function 22)")
    assert "read" in remedy


def test_answers_that_are_late_or_missing(device: FakeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    device.by_chance(0.3, ignored())
    verdict, told, remedy = said(capsys, device.endpoint, "--timeout", "0.1")["timing"]
    assert verdict == "hint"
    assert "were not answered in 0.1 s" in told
    assert "--timeout" in remedy


def test_answers_that_take_nearly_all_of_the_time(device: FakeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    device.by_chance(1, late(0.06))
    verdict, _, remedy = said(capsys, device.endpoint, "--timeout", "0.1")["timing"]
    assert verdict == "hint"
    assert "--timeout" in remedy


def test_an_endpoint_that_is_none_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "plc:502"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
