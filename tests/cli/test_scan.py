"""`msm scan`, on fake devices: what is found, and what is asked for it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.screen import screen
from tests.cli.test_app import msm
from tests.support import FREE, free_port, mbap, until, wait_until
from tests.support import FakeDevice as ScriptedDevice
from tests.transports.lines import Cable

from msm import Functions, MemoryStore, MemoryVariable, ModbusServer
from msm.cli.guess import plausible, readings
from msm.cli.scanning import Pace, units_text, worth_scanning
from msm.testing import FakeDevice
from msm.testing.faults import busy, refused, wrong

IDENTITY = Functions(identification={0: "Acme", 1: "PRESS-1", 2: "1.2"})


@pytest.fixture
def device() -> Iterator[FakeDevice]:
    """A device with holes, silent to other units."""
    mem = MemoryStore(200, input_registers=300, coils=16)
    mem[0:4] = [1, 2, 3, 4]
    with FakeDevice(mem, FREE, unit=3, unknown_unit="silent", functions=IDENTITY) as running:
        running.unreadable(60, 3)
        running.unreadable(120, 80)
        yield running


def told(report: str, name: str) -> str:
    """What a report says under a name."""
    return next(
        line.strip().removeprefix(name).strip() for line in report.splitlines() if line.strip().startswith(name)
    )


def test_a_scan_finds_units_ranges_and_block_sizes_and_drafts_a_map(device: FakeDevice, tmp_path: Path) -> None:
    file = tmp_path / "draft.toml"
    done = msm("scan", device.endpoint, "--units", "1-4", "--timeout", "0.2", "-o", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    report = done.stdout
    assert report.splitlines()[1] == "unit 3"
    assert told(report, "holding registers") == "0-59, 63-119; 60 in a request, perhaps more"
    assert told(report, "input registers") == "0-299; at most 125 in a request"
    assert told(report, "coils") == "0-15; 16 in a request, perhaps more"
    assert told(report, "discrete inputs") == "not there: exception 01"
    assert told(report, "identification") == "vendor Acme, product PRESS-1, revision 1.2"
    assert told(report, "pipelining") == "works, 3 requests at a time"
    assert told(report, "function 22") == told(report, "function 23") == "not tried: --write-checks"
    assert "no answer from units 1-2, 4" in report
    # It has only read.
    assert {exchange.request[0] for exchange in list(device.exchanges)} <= {1, 2, 3, 4, 43}
    assert not device.writes

    draft = MemoryStore.load(file)
    variables = draft.variables()
    holding = [variable.address for variable in variables.values() if variable.table == "holding"]
    assert holding == [*range(60), *range(63, 120)]
    arrays = [(each.address, each.keywords["count"]) for each in variables.values() if each.table == "input"]
    assert arrays == [(0, 125), (125, 125), (250, 50)]
    assert variables["coil_15"].kind == "coil"
    assert file.read_text("utf-8").startswith(f"# Drafted by msm scan {device.endpoint}\n# unit 3\n")
    assert draft.layout().findings == []


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_the_draft_in_other_formats(device: FakeDevice, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"draft{suffix}"
    assert msm("scan", device.endpoint, "-u", "3", "-a", "0-9", "-o", str(file)).returncode == 0
    assert list(MemoryStore.load(file).variables())[:2] == ["holding_0", "holding_1"]


def test_without_a_file_the_draft_is_printed_and_the_report_is_beside_it(device: FakeDevice, tmp_path: Path) -> None:
    done = msm("scan", device.endpoint, "-u", "3", "-a", "0-9")
    file = tmp_path / "draft.toml"
    file.write_text(done.stdout)
    assert len(MemoryStore.load(file).variables()) == 30
    assert told(done.stderr, "holding registers") == "0-9; 10 in a request, perhaps more"


def test_what_a_unit_with_a_limit_gives_at_a_time(tmp_path: Path) -> None:
    class Small(ScriptedDevice):
        def answer(self, pdu: bytes) -> bytes:
            return bytes([0x83, 3]) if pdu[0] == 3 and pdu[4] > 20 else super().answer(pdu)

    async def run() -> str:
        async with Small([7] * 150, lacks=(1, 2, 4, 22)) as small:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "msm", "scan", small.endpoint, "-u", "1", "--write-checks", "-o",
                str(tmp_path / "draft.csv"), stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            report, _ = await child.communicate()
            writes = [request for request in small.writes if request[0] in (5, 6, 15, 16, 22, 23)]
            assert [write[0] for write in writes] == [22, 23]
            return report.decode()

    report = asyncio.run(run())
    assert told(report, "holding registers") == "0-149; at most 20 in a request"
    assert told(report, "coils") == "not there: exception 01"
    assert told(report, "function 22") == told(report, "function 23") == "no: exception 01"


def test_write_checks_change_nothing(device: FakeDevice, tmp_path: Path) -> None:
    done = msm("scan", device.endpoint, "-u", "3", "-a", "0-9", "--write-checks")
    assert told(done.stderr, "function 22") == told(done.stderr, "function 23") == "works"
    written = [each.request.hex() for each in device.exchanges if each.request[0] not in (1, 2, 3, 4, 43)]
    assert written == ["160000ffff0000", "170000000100000001020001"]
    assert device.mem[0:4] == [1, 2, 3, 4]


def test_a_device_that_drops_requests_that_come_together() -> None:
    """It answers the first of them, as one that reads a segment and looks at its beginning."""

    async def run() -> str:
        async with ScriptedDevice([7] * 10) as device:
            out: list[int] = []

            def script(transaction: int, unit: int, pdu: bytes) -> bytes | None:
                if out:
                    return b""
                out.append(transaction)

                def answer() -> None:
                    out.clear()
                    device.send(mbap(device.answer(pdu), transaction, unit))

                asyncio.get_running_loop().call_later(0.02, answer)
                return b""

            device.script = script
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "msm", "scan", device.endpoint, "-u", "1", "-a", "0-9", "-t", "0.3",
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            _, report = await child.communicate()
            return report.decode()

    assert told(asyncio.run(run()), "pipelining") == "no: no answer"


def test_several_units_have_a_draft_each(tmp_path: Path) -> None:
    units = {1: MemoryStore(4), 2: MemoryStore(0, coils=3)}
    with ModbusServer(units, FREE) as server:
        file = tmp_path / "line.toml"
        done = msm("scan", server.endpoint, "--units", "1-4", "-o", str(file))
        assert done.returncode == 0
        assert "no answer from units 3-4" in done.stdout  # exception 0B
        assert list(MemoryStore.load(file).variables()) == [f"holding_{at}" for at in range(4)]
        assert list(MemoryStore.load(tmp_path / "line-unit2.toml").variables()) == [f"coil_{at}" for at in range(3)]
        printed = msm("scan", server.endpoint, "--units", "1-4")
        assert "this is the map of unit 1: -o FILE writes one for each" in printed.stderr
        assert "coil" not in printed.stdout.partition("[variables")[2]


def test_a_device_that_answers_every_unit_is_looked_at_once(tmp_path: Path) -> None:
    with FakeDevice(MemoryStore(4), FREE, unknown_unit="accept") as device:
        done = msm("scan", device.endpoint, "-u", "5-12")
    assert "all units answer: the device does not look at the unit, so only unit 5 is looked at" in done.stderr
    assert sum(line.startswith("unit ") for line in done.stderr.splitlines()) == 1


def test_a_busy_device_is_asked_again(device: FakeDevice) -> None:
    device.then(busy(), busy(), refused(5))
    done = msm("scan", device.endpoint, "-u", "3", "-a", "0-9")
    assert told(done.stderr, "holding registers") == "0-9; 10 in a request, perhaps more"


def test_a_unit_that_is_silent_to_what_it_lacks(tmp_path: Path) -> None:
    async def run() -> str:
        async with ScriptedDevice([7] * 20) as device:
            device.script = lambda _, __, pdu: b"" if device.answer(pdu)[0] & 0x80 else None
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "msm", "scan", device.endpoint, "-u", "1", "-t", "0.05",
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            _, report = await child.communicate()
            return report.decode()

    report = asyncio.run(run())
    assert told(report, "holding registers").startswith("0-")
    assert told(report, "holding registers").endswith("(not all was looked at: 8 requests were not answered)")
    assert told(report, "coils").startswith("nothing that can be read was found (not all was looked at")


def test_nobody_there_and_no_unit_there_are_errors_of_the_device() -> None:
    done = msm("scan", f"tcp://127.0.0.1:{free_port()}", "-t", "0.05")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("msm: ")
    assert "connection refused" in done.stderr
    assert done.stderr.count("\n") == 1
    with FakeDevice(MemoryStore(1), FREE, unknown_unit="silent") as device:
        done = msm("scan", device.endpoint, "-u", "7,9", "-t", "0.05")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"{device.endpoint}\nno answer from units 7, 9\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--units", "1-300"), "--units: '1-300' is not within 0 to 255"),
        (("--units", "one"), "--units: 'one' is neither a number nor a range like 1-16"),
        (("--addresses", "0-9,20-29"), "--addresses: '0-9,20-29' is not one range like 0-99"),
        (("-o", "draft.txt"), ".toml, .json or .csv"),
    ],
)
def test_wrong_options_are_told_before_anything_is_asked(arguments: tuple[str, ...], told: str) -> None:
    done = msm("scan", "tcp://127.0.0.1:1", *arguments)
    assert done.returncode == 2
    assert told in done.stderr


def test_unit_0_of_a_line_is_never_asked() -> None:
    done = msm("scan", "rtu:///dev/nosuch", "--units", "0-3")
    assert done.returncode == 2
    assert "0 speaks to all units at once" in done.stderr


def test_the_time_that_a_scan_may_take(tmp_path: Path) -> None:
    with FakeDevice(MemoryStore(1), FREE, unknown_unit="silent") as device:
        done = msm("scan", device.endpoint, "-u", "1-200", "-t", "0.3", "--seconds", "1", "-a", "0-65535")
    assert "the time was up before units " in done.stderr
    assert "% was looked at)" in done.stderr


def test_ctrl_c_keeps_what_was_found(device: FakeDevice, tmp_path: Path) -> None:
    file = tmp_path / "draft.toml"
    command = [sys.executable, "-m", "msm", "scan", device.endpoint, "-u", "3", "--pause", "0.02", "-o", str(file)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: len(device.exchanges) > 20)
        child.send_signal(signal.SIGINT)
        report, errors = child.communicate(timeout=20)
    finally:
        child.kill()
        child.wait()
    assert (child.returncode, errors) == (130, "")
    assert "interrupted: not all was looked at" in report
    assert "holding_0" in MemoryStore.load(file).variables()


def test_on_a_terminal_there_is_a_bar_with_the_time_left(device: FakeDevice) -> None:
    seen: list[str] = []
    shown, code = screen(
        "scan", device.endpoint, "-u", "1-4", "-t", "0.3", columns=100, lines=400,
        look=lambda at: seen.extend(line for line in at.display if " s left" in line),
    )  # fmt: skip
    assert code == 0
    assert any(line.startswith("unit ") and "━" in line for line in seen)
    assert not any(" s left" in line for line in shown.display)  # it has gone at the end


# -- the time left, and which units are worth it: no device


def test_the_time_left_is_estimated_from_each_kind_of_work() -> None:
    pace = Pace()
    assert pace.seconds_left(60.0) == 0.0
    pace.done, pace.left, pace.spent = {"unit": 2, "table": 1}, {"unit": 8, "table": 3}, {"unit": 1.0, "table": 5.0}
    assert pace.seconds_left(60.0) == 4.0 + 15.0
    assert pace.seconds_left(10.0) == 10.0


def test_aliases_and_devices_that_do_not_look_at_the_unit() -> None:
    asked = [1, 2, 3, 255, 0]
    assert worth_scanning(asked, [1, 3]) == ([1, 3], "")
    assert worth_scanning(asked, [1, 255, 0])[0] == [1]
    assert "units 0, 255" in worth_scanning(asked, [1, 255, 0])[1]
    assert worth_scanning(asked, [255, 0])[0] == [255]
    assert worth_scanning(asked, asked)[0] == [1]
    assert worth_scanning([1], [1]) == ([1], "")
    assert units_text([7]) == "unit 7"


# -- guesses


def words(kind: str, *values: float, word_order: str = "big", byte_order: str = "big") -> list[int]:
    mem = MemoryStore(4 * len(values), word_order=word_order, byte_order=byte_order)  # type: ignore[arg-type]
    mem.v = getattr(MemoryVariable, kind)(0, count=len(values))
    mem.v = values
    return mem[0 : len(mem.info("v").words)]


MEASURED = (230.134, 0.0, 49.98, 12.5, -3.25, 1013.2)
COUNTED = (123456, 3, 0, 9_000_001, 70_000)


@pytest.mark.parametrize("letters", ["ABCD", "CDAB", "BADC", "DCBA"])
@pytest.mark.parametrize(("kind", "values"), [("float32", MEASURED), ("int32", COUNTED)])
@pytest.mark.parametrize("before", [0, 1])
def test_types_and_word_orders_are_told_apart(letters: str, kind: str, values: tuple[float, ...], before: int) -> None:
    word_order = "big" if letters in ("ABCD", "BADC") else "little"
    byte_order = "big" if letters in ("ABCD", "CDAB") else "little"
    its = [9] * before + words(kind, *values, word_order=word_order, byte_order=byte_order)
    found = [(reading.kind, reading.letters, reading.first) for reading in readings(its, 100)]
    # A small word before it may be the half of another number: then the right way is one of two.
    assert (kind, letters, 100 + before) in found[: 1 + before]


def test_words_are_words() -> None:
    assert readings([230, 231, 229, 500, 1, 0, 65530], 0)[0].kind == "int16"


def test_zeros_say_nothing() -> None:
    assert readings([0] * 8, 0) == []
    assert plausible("float32", 0.0) == 0
    assert plausible("float32", float("nan")) == plausible("float32", float("inf")) == -1


def test_a_guess_shows_types_and_orders_side_by_side(device: FakeDevice) -> None:
    device.mem[10:22] = words("float32", *MEASURED)
    done = msm("scan", device.endpoint, "-u", "3", "--guess", "10-21")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["address", "reference", "hex", "uint16", "int16", "text"]
    assert lines[1].split()[:5] == ["10", "400011", "4366", "17254", "17254"]
    floats = next(line for line in lines if line.split()[:2] == ["10", "230.134*"])
    assert len(floats.split()) == 5
    assert 'likely: float32 ABCD, word_order="big", 5 values from address 10' in lines
    assert lines[-1] == "Addresses count from 0, references from 1: address 10 is 400011."


def test_a_guess_of_what_is_not_there_is_an_error_of_the_device(device: FakeDevice) -> None:
    done = msm("scan", device.endpoint, "-u", "3", "--guess", "58-65")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "msm: reading holding 60: exception 02: illegal data address: the device does not have it\n"


def test_a_scan_over_a_serial_line(tmp_path: Path) -> None:
    line = "?baudrate=115200"
    with (
        Cable(tmp_path, "here", "there"),
        FakeDevice(MemoryStore(30), f"rtu://{tmp_path}/there{line}", unit=2) as device,
    ):
        device.unreadable(10)
        done = msm("scan", f"rtu://{tmp_path}/here{line}", "-u", "1-3", "-t", "0.15", "-a", "0-39")
    assert done.returncode == 0
    assert told(done.stderr, "holding registers") == "0-9, 11-29; 19 in a request, perhaps more"
    assert told(done.stderr, "pipelining") == "not tried: a line carries one request at a time"
    assert "no answer from units 1, 3" in done.stderr


@pytest.mark.parametrize("code", [10, 11])
def test_a_unit_behind_a_gateway_that_goes_away(code: int) -> None:
    with FakeDevice(MemoryStore(10), FREE, functions=IDENTITY) as device:

        async def run() -> str:
            command = [sys.executable, "-m", "msm", "scan", device.endpoint, "-u", "1", "--pause", "0.01"]
            child = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            await until(lambda: len(device.exchanges) > 10)
            device.by_chance(1.0, refused(code))
            _, report = await child.communicate()
            return report.decode()

        report = asyncio.run(run())
    assert told(report, "holding registers").endswith("(not all was looked at: the unit answers no more)")


def test_a_unit_that_answers_nonsense(device: FakeDevice) -> None:
    device.by_chance(1.0, wrong("function"))
    done = msm("scan", device.endpoint, "-u", "3", "-a", "0-9")
    assert done.returncode == 0
    assert told(done.stderr, "holding registers") == "nothing that can be read was found"
    assert told(done.stderr, "identification") == "not told: another answer"
