"""Our traffic on loopback, as Wireshark's dissectors see it: every message is Modbus, and none is malformed."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from msm import DeviceError, Functions, MemoryStore, MemoryVariable, ModbusClient, ModbusServer
from tests.support import Deadline, port_of
from tests.testing.test_recording import record

STARTS = 30.0  # seconds that tshark may take to start
AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]


def knock(protocol: str, port: int, address: str) -> None:
    """A packet that carries nothing of ours, from an address by which it is found again."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM) as sock:
        sock.bind((address, 0))
        with suppress(OSError):  # nobody listens
            sock.connect(("127.0.0.1", port))
            sock.send(b"knock")


def seen(file: Path, protocol: str, port: int, address: str) -> None:
    """Knock until that stands in the file: all that went over the line before stands there, too."""
    wanted = socket.inet_aton(address)
    deadline = Deadline(STARTS)
    while not (file.exists() and wanted in file.read_bytes()):
        assert not deadline.over, "tshark does not capture"
        knock(protocol, port, address)
        select.select([], [], [], 0.05)


@contextmanager
def capture(protocol: str, port: int, file: Path) -> Iterator[None]:
    """What goes over a port of this machine, into a file."""
    command = [*AS_ROOT, "tshark", "-q", "-i", "lo", "-f", f"{protocol} port {port}", "-w", str(file)]
    shark = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        seen(file, protocol, port, "127.0.0.8")  # it says that it captures a while before it does
        yield
        seen(file, protocol, port, "127.0.0.9")
    finally:
        shark.send_signal(signal.SIGINT)
        shark.wait(timeout=STARTS)


def dissected(file: Path, *options: str) -> list[dict[str, Any]]:
    command = ["tshark", "-r", str(file), *options, "-T", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, stdin=subprocess.DEVNULL)
    packets: list[dict[str, Any]] = json.loads(done.stdout)
    return packets


def found(tree: object, name: str) -> Iterator[Any]:
    """Every field of that name, wherever it is."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == name:
                yield from value if isinstance(value, list) else [value]
            yield from found(value, name)
    elif isinstance(tree, list):
        for value in tree:
            yield from found(value, name)


def talk(endpoint: str) -> set[int]:
    """All that our client can ask our server; returns the functions that it asked for."""
    told = Functions(
        identification={0: "Maker", 1: "P-100", 2: "V1.4"},
        server_id="press",
        exception_status=lambda: 5,
        files={4: list(range(200))},
        fifos={12: [1, 2, 3]},
        diagnostics=True,
    )
    mem = MemoryStore(200, input_registers=20, coils=40, discrete_inputs=40)
    mem.SPEED = MemoryVariable.word(3)
    mem.FLOW = MemoryVariable.float64(10)
    mem.ALARM = MemoryVariable.bool(4, bit_number=9)
    mem.VALVE = MemoryVariable.coil(3)
    mem.DOORS = MemoryVariable.coil(20, count=5)
    device = MemoryStore(200, input_registers=20, coils=40, discrete_inputs=40)
    with ModbusServer(device, endpoint, functions=told), ModbusClient(mem, endpoint, period=60) as client:
        client.request(bytes.fromhex("06 0003 0005"))
        mem.FLOW, mem.ALARM, mem.VALVE, mem.DOORS = 1.5, True, True, [True] * 5
        client.flush()
        client.read_write(0, 5, 3, [7])
        client.read_device_identification()
        client.read_server_id()
        client.read_exception_status()
        client.read_event_counter()
        client.read_event_log()
        client.read_file(4, 10, 20)
        client.write_file(4, 10, [1, 2, 3])
        client.read_fifo(12)
        with pytest.raises(DeviceError):
            client.read_fifo(13)
    return {1, 2, 3, 4, 5, 6, 7, 11, 12, 15, 16, 17, 20, 21, 22, 23, 24, 43}


@pytest.mark.parametrize(
    ("scheme", "protocol", "dissector"),
    [("tcp", "tcp", "mbtcp"), ("udp", "udp", "mbudp"), ("rtu+tcp", "tcp", "mbrtu")],
)
def test_no_malformed_message(scheme: str, protocol: str, dissector: str, binaries: Path, tmp_path: Path) -> None:
    assert binaries  # the counterparts are installed
    with ModbusServer(MemoryStore(1), f"{scheme}://127.0.0.1:0") as free:
        port = port_of(free.endpoint)
    file = tmp_path / "capture.pcapng"
    if os.geteuid() != 0:
        tmp_path.chmod(0o777)
    with capture(protocol, port, file):
        asked = talk(f"{scheme}://127.0.0.1:{port}")
    options = ["-d", f"{protocol}.port=={port},{dissector}", "-Y", "ip.addr != 127.0.0.8 && ip.addr != 127.0.0.9"]
    if dissector == "mbrtu":
        options += ["-o", f"mbrtu.tcp.port:{port}", "-o", "mbrtu.crc_verification:TRUE"]
    else:
        options += ["-o", f"mbtcp.tcp.port:{port}"]
    payloads = [packet for packet in dissected(file, *options) if any(found(packet, f"{protocol}.payload"))]
    codes = Counter(int(code) for packet in payloads for code in found(packet, "modbus.func_code"))
    # A request and a reply. That of RTU takes a request of four bytes for too short.
    too_short = {7, 11, 12, 17} if dissector == "mbrtu" else set()
    missing = {function for function in asked if codes[function] < 2 - (function in too_short)}
    assert not missing, f"not seen: {missing}, but {codes}"
    for packet in payloads:
        layers = packet["_source"]["layers"]
        said = json.dumps(layers)
        assert "modbus" in layers or len(layers["tcp"]["tcp.payload"]) == len("01:07:e2:4b"), said
        assert "_ws.malformed" not in said, said
        assert "_ws.malformed.expert" not in said, said
        assert "incorrect" not in said.lower(), said


def test_a_recording_is_read_by_it(binaries: Path, tmp_path: Path) -> None:
    assert binaries  # the counterparts are installed
    record(tmp_path / "field.pcap")
    command = ["tshark", "-r", str(tmp_path / "field.pcap"), "-o", "tcp.check_checksum:TRUE", "-T", "fields"]
    command += ["-e", "modbus.func_code", "-e", "tcp.checksum.status", "-e", "_ws.malformed"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, stdin=subprocess.DEVNULL)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows[0][0] == rows[1][0] == "3"
    assert all(row[0] and row[1] == "1" and not row[2] for row in rows), rows
