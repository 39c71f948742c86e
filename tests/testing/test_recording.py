"""What a link has carried, in a file; and played again as a device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from msm import (
    DeviceFailureError,
    LinkTimeoutError,
    MemoryStore,
    MemoryVariable,
    Message,
    ModbusClient,
    ModbusServer,
    WriteError,
)
from msm.testing import FakeDevice, Recording, RecordingError, ignored, recorded, refused
from tests.support import FREE


class Press(MemoryStore, size=8):
    speed = MemoryVariable.word(0)
    limit = MemoryVariable.word(4)


def record(path: Path) -> None:
    """A press whose limit cannot be written, and that once did not answer."""
    panel = Press()
    with (
        FakeDevice(Press) as device,
        Recording(path) as recording,
        ModbusClient(panel, device.endpoint, period=60, timeout=0.2, trace=recording) as client,
    ):
        device.mem.speed = 40
        client.refresh()
        device.then(refused(3))
        panel.limit = 7
        with pytest.raises(WriteError):
            client.flush()
        client.refresh()  # what has been refused is read back, as it likes
        device.then(ignored())
        with pytest.raises(LinkTimeoutError):
            client.read_fifo(1)


def test_the_file_is_as_documented(tmp_path: Path) -> None:
    record(tmp_path / "field.jsonl")
    head, *lines = [json.loads(line) for line in (tmp_path / "field.jsonl").read_text().splitlines()]
    assert set(head) == {"msm-recording", "started"}
    assert head["msm-recording"] == 1
    assert [set(line) for line in lines] == [{"t", "kind", "transaction", "unit", "pdu"}] * len(lines)
    assert lines[0]["t"] == 0
    assert lines[0]["kind"] == "request"
    assert lines[0]["pdu"] == "0300000008"
    assert lines[1]["kind"] == "reply"
    assert lines[1]["pdu"][:4] == "0310"
    assert [line["t"] for line in lines] == sorted(line["t"] for line in lines)
    messages = list(recorded(tmp_path / "field.jsonl"))
    assert [message.pdu.hex() for message in messages] == [line["pdu"] for line in lines]


def test_a_fault_of_the_field_becomes_a_test(tmp_path: Path) -> None:
    record(tmp_path / "field.jsonl")
    panel = Press()
    with FakeDevice.replay(tmp_path / "field.jsonl") as device:
        client = ModbusClient(panel, device.endpoint, period=60, timeout=0.2)
        with client:
            client.refresh()
            assert panel.speed == 40
            panel.limit = 7
            with pytest.raises(WriteError, match=r"limit: .*exception 03"):
                client.flush()
            with pytest.raises(LinkTimeoutError):
                client.read_fifo(1)
            with pytest.raises(DeviceFailureError):  # that was never asked there
                client.read_server_id()


def test_a_server_is_recorded_as_well(tmp_path: Path) -> None:
    with Recording(tmp_path / "server.jsonl") as recording:
        with ModbusServer(Press(), FREE, trace=recording) as server, ModbusClient(Press(), server.endpoint):
            pass
        recording(Message(0.0, True, 1, 1, b"\x03"))
    with Recording(tmp_path / "none.jsonl") as recording:
        pass
    recording(Message(0.0, True, 1, 1, b"\x03"))  # nothing is written any more
    assert list(recorded(tmp_path / "none.jsonl")) == []
    kinds = [message.request for message in recorded(tmp_path / "server.jsonl")]
    assert kinds[:2] == [True, False]


def test_a_trace_that_raises_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def trace(message: Message) -> None:
        calls.append(message)
        raise OSError("the disk is full")

    panel = Press()
    with ModbusServer(Press(), FREE) as server, ModbusClient(panel, server.endpoint, trace=trace) as client:
        panel.speed = 3
        client.flush()
        client.refresh()
    assert len(calls) == 1
    assert caplog.text.count("trace= has raised") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "does not even have a first line"),
        (b"hello\n", "line 1"),
        (b"[]\n", "no JSON object"),
        (b'{"a": 1}\n', "no 'msm-recording'"),
        (b'{"msm-recording": 9}\n', "version 9"),
        (b'{"msm-recording": 1}\n{"t": 0}\n', "line 2: KeyError"),
        (b'{"msm-recording": 1}\n{"t":0,"kind":"x","transaction":1,"unit":1,"pdu":"03"}\n', "neither"),
        (b'{"msm-recording": 1}\n{"t":0,"kind":"reply","transaction":1,"unit":1,"pdu":"0"}\n', "line 2"),
        (b'{"msm-recording": 1}\n{"t":0,"kind":"reply","transaction":1,"unit":1,"pdu":""}\n', "pdu is empty"),
    ],
)
def test_what_is_no_recording(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "x.jsonl").write_bytes(text)
    with pytest.raises(RecordingError, match=message):
        list(recorded(tmp_path / "x.jsonl"))


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    record(tmp_path / "field.jsonl")
    data = (tmp_path / "field.jsonl").read_bytes()
    whole = list(recorded(tmp_path / "field.jsonl"))
    for size in (len(data) - 1, len(data) - 10, len(data) - 40):
        (tmp_path / "cut.jsonl").write_bytes(data[:size])
        assert list(recorded(tmp_path / "cut.jsonl")) == whole[:-1]


def test_a_replayed_device_knows_names_if_it_is_told(tmp_path: Path) -> None:
    panel, again = Press(), Press()
    with (
        Recording(tmp_path / "good.jsonl") as recording,
        FakeDevice(Press) as device,
        ModbusClient(panel, device.endpoint, period=60, trace=recording) as client,
    ):
        panel.limit = 7
        client.flush()
    with (
        FakeDevice.replay(tmp_path / "good.jsonl", memory=Press) as device,
        ModbusClient(again, device.endpoint, period=60) as client,
    ):
        again.limit = 7
        client.flush()
        device.assert_wrote("limit", 7)


def test_connections_of_a_server_are_told_apart(tmp_path: Path) -> None:
    with (
        Recording(tmp_path / "server.jsonl") as recording,
        ModbusServer(Press(), FREE, trace=recording) as server,
        ModbusClient(Press(), server.endpoint),
        ModbusClient(Press(), server.endpoint),
    ):
        pass
    assert len({message.connection for message in recorded(tmp_path / "server.jsonl")}) == 2
