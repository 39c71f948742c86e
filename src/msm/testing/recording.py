"""What a link has carried, in a file: to look at, to open in Wireshark, and to be played again as a device."""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from msm.errors import MsmError
from msm.wire.framing import Message, frame

VERSION = 1
_RAW_IP = 101  # LINKTYPE_RAW
_PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, _RAW_IP)
_CLIENT, _SERVER = bytes((127, 0, 0, 1)), bytes((127, 0, 0, 2))
_CLIENT_PORT, _SERVER_PORT = 50000, 502


class RecordingError(MsmError, ValueError):
    """A file is no recording, or one of a later version."""


class Recording:
    """Writes each message of a door to a file: give it as ``trace=``.

    :param path: ``.pcap`` is written for Wireshark, everything else as JSON lines.
    :raises OSError: the file cannot be written.

    ::

        with Recording("field.jsonl") as recording, ModbusClient(mem, "tcp://plc", trace=recording):
            ...

    A file of JSON lines begins with a line of what it is, and then has a line for each message, written at once: what
    was recorded survives the end of the program, however it ends. ``t`` is seconds since the first message, ``kind`` is
    "request" or "reply", ``pdu`` is function code and data in hexadecimal::

        {"msm-recording": 1, "started": "2026-11-26T09:30:00+0000"}
        {"t": 0.0, "kind": "request", "transaction": 1, "unit": 1, "pdu": "0300000004"}
        {"t": 0.0021, "kind": "reply", "transaction": 1, "unit": 1, "pdu": "03080000000000070000"}

    Each door needs a recording of its own. That of a server tells its connections apart by their number,
    ``"connection"``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._pcap = self.path.suffix == ".pcap"
        self._file: IO[bytes] = self.path.open("wb")
        self._lock = threading.Lock()
        self._first: float | None = None
        self._started = time.time()
        self._sent = {True: 1, False: 1}
        if self._pcap:
            self._file.write(_PCAP_HEADER)
        else:
            started = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self._started))
            self._line({"msm-recording": VERSION, "started": started})
        self._file.flush()

    def __call__(self, message: Message) -> None:
        """Write a message."""
        with self._lock:
            if self._file.closed:
                return
            if self._first is None:
                self._first = message.at
            at = message.at - self._first
            if self._pcap:
                self._packet(at, message)
            else:
                told: dict[str, Any] = {
                    "t": round(at, 6),
                    "kind": "request" if message.request else "reply",
                    "transaction": message.transaction,
                    "unit": message.unit,
                    "pdu": message.pdu.hex(),
                }
                self._line(told | {"connection": message.connection} if message.connection else told)
            self._file.flush()

    def _line(self, told: dict[str, Any]) -> None:
        self._file.write(json.dumps(told).encode() + b"\n")

    def _packet(self, at: float, message: Message) -> None:
        """As Modbus TCP, whatever it was carried by: that is what dissectors know."""
        data = frame(message.transaction, message.unit, message.pdu)
        outward = message.request
        ports = (_CLIENT_PORT, _SERVER_PORT) if outward else (_SERVER_PORT, _CLIENT_PORT)
        addresses = _CLIENT + _SERVER if outward else _SERVER + _CLIENT
        numbers = self._sent[outward], self._sent[not outward]
        self._sent[outward] = (self._sent[outward] + len(data)) % (1 << 32)
        tcp = struct.pack(">HHIIBBHHH", *ports, *numbers, 5 << 4, 0x18, 65535, 0, 0)
        pseudo = addresses + struct.pack(">BBH", 0, 6, len(tcp) + len(data))
        tcp = tcp[:16] + _checksum(pseudo + tcp + data) + tcp[18:]
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp) + len(data), 0, 0, 64, 6, 0) + addresses
        packet = ip[:10] + _checksum(ip) + ip[12:] + tcp + data
        seconds = self._started + at
        head = struct.pack("<IIII", int(seconds), int(seconds % 1 * 1e6), len(packet), len(packet))
        self._file.write(head + packet)

    def close(self) -> None:
        """Write nothing more. Idempotent."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _checksum(data: bytes) -> bytes:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~total & 0xFFFF)


def recorded(path: str | Path) -> Iterator[Message]:
    """The messages of a recording. A last line that was cut off, as by a power failure, is left out.

    :raises RecordingError: it is no recording of a version that is known, or a line in it makes no sense.
    :raises OSError: the file cannot be read.
    """
    lines = Path(path).read_bytes().split(b"\n")
    whole, rest = lines[:-1], lines[-1]
    if not whole:
        raise RecordingError(f"{path}: this is no recording, it does not even have a first line")
    head = _parsed(path, 1, whole[0])
    version = head.get("msm-recording")
    if version is None:
        raise RecordingError(f"{path}: this is no recording: its first line has no 'msm-recording'")
    if version != VERSION:
        raise RecordingError(f"{path}: this is a recording of version {version!r}, and version {VERSION} is known here")
    del rest
    for number, line in enumerate(whole[1:], 2):
        told = _parsed(path, number, line)
        try:
            kind = told["kind"]
            if kind not in ("request", "reply"):
                raise ValueError(f"kind {kind!r} is neither 'request' nor 'reply'")
            pdu = bytes.fromhex(told["pdu"])
            if not pdu:
                raise ValueError("pdu is empty")
            yield Message(
                float(told["t"]),
                kind == "request",
                int(told["transaction"]),
                int(told["unit"]),
                pdu,
                int(told.get("connection", 0)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RecordingError(f"{path}, line {number}: {error!r}") from None


def _parsed(path: str | Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except ValueError as error:
        raise RecordingError(f"{path}, line {number}: {error}") from None
    if not isinstance(told, dict):
        raise RecordingError(f"{path}, line {number}: this is no JSON object")
    return told
