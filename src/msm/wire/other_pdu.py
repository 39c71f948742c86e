"""Requests and replies of the functions that do not move memory, taken apart and checked.

The numbers of sections are those of the Modbus application protocol specification V1.1b3. What is sent is put together
by pymodbus' classes, see `pymodbus_codec`. What has come is checked here, byte for byte, in the order of the
specification: these classes take much for granted.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from msm.errors import ProtocolError, device_error
from msm.wire.pdu import ILLEGAL_DATA_ADDRESS, ILLEGAL_DATA_VALUE, ILLEGAL_FUNCTION, Refusal

READ_EXCEPTION_STATUS = 7
DIAGNOSTICS = 8
GET_COMM_EVENT_COUNTER = 11
GET_COMM_EVENT_LOG = 12
REPORT_SERVER_ID = 17
READ_FILE_RECORD = 20
WRITE_FILE_RECORD = 21
READ_FIFO_QUEUE = 24
DEVICE_IDENTIFICATION = 43
READ_DEVICE_IDENTIFICATION = 14  # the MEI type

BASIC, REGULAR, EXTENDED = 1, 2, 3  # the streams of section 6.21
SPECIFIC = 4  # no stream: a single object

FILE_REFERENCE = 6  # sections 6.14 and 6.15
FILE_RECORDS = 10000  # words of a file
MAX_FILE_READ = 0xF5  # bytes of request and reply, section 6.14
MAX_FILE_WRITE = 0xFB  # section 6.15
MAX_FIFO = 31  # words, section 6.18

_FILE_PART = struct.Struct(">BHHH")
_BUSY = (b"\x00\x00", b"\xff\xff")


# -- what the other functions ask and tell, requests and replies alike


class FileRead(NamedTuple):
    """Read so many words of a file, from a record (section 6.14)."""

    file: int
    record: int
    words: int


class FileWrite(NamedTuple):
    """Write words of a file, from a record (section 6.15); high byte first."""

    file: int
    record: int
    data: bytes


class EventLog(NamedTuple):
    """What a device notes of the line that it hangs on (section 6.10)."""

    busy: bool
    """Is an earlier program command still being worked on?"""
    events: int
    """Messages that were answered without an exception, modulo 65536."""
    messages: int
    """Messages on the line since the device was started, modulo 65536."""
    log: bytes
    """Up to 64 events, the last one first; the bits of each are those of section 6.10."""


class ServerId(NamedTuple):
    """What a device says that it is (section 6.13)."""

    identifier: bytes
    """Its meaning is the maker's own."""
    running: bool


def bare_request(function: int) -> bytes:
    """Functions 07, 11, 12 and 17 (sections 6.7, 6.9, 6.10, 6.13): the code, and nothing else."""
    return bytes((function,))


def parse_bare(request: bytes) -> None:
    """Functions 07, 11, 12 and 17.

    :raises Refusal: with code 03, when there is more than the function code.
    """
    if len(request) != 1:
        raise Refusal(ILLEGAL_DATA_VALUE)


def _check(reply: bytes, function: int, asked: str, least: int) -> None:
    """Is it a reply to this function, and at least so long?"""
    if reply[0] == function | 0x80 and len(reply) == 2:
        raise device_error(reply[1], asked)
    if reply[0] != function or len(reply) < least:
        raise _not_understood(asked, reply)


def _not_understood(asked: str, reply: bytes) -> ProtocolError:
    return ProtocolError(f"{asked}: answered with {reply.hex(' ')}")


# -- function 07


def parse_exception_status(reply: bytes) -> int:
    """Function 07: the eight bits.

    :raises DeviceError: the device answered with an exception code.
    :raises ProtocolError: it is no reply to this function.
    """
    asked = "reading the exception status"
    _check(reply, READ_EXCEPTION_STATUS, asked, 2)
    if len(reply) != 2:
        raise _not_understood(asked, reply)
    return reply[1]


# -- function 08


def parse_diagnostic(request: bytes) -> tuple[int, bytes]:
    """Function 08: the subfunction and its data, one or more words.

    :raises Refusal: with code 03, when there is less than one word of data, or half of one.
    """
    if len(request) < 5 or len(request) % 2 == 0:
        raise Refusal(ILLEGAL_DATA_VALUE)
    return int.from_bytes(request[1:3], "big"), request[3:]


def parse_diagnostic_reply(subfunction: int, reply: bytes) -> bytes:
    """Function 08: the data.

    :raises DeviceError: the device answered with an exception code.
    :raises ProtocolError: it is no reply to this subfunction.
    """
    asked = f"diagnostics {subfunction:02X}"
    _check(reply, DIAGNOSTICS, asked, 5)
    if reply[1:3] != subfunction.to_bytes(2, "big") or len(reply) % 2 == 0:
        raise _not_understood(asked, reply)
    return reply[3:]


# -- functions 11 and 12


def parse_event_counter(reply: bytes) -> tuple[bool, int]:
    """Function 11: is the device busy, and how many messages it has answered well.

    :raises DeviceError: the device answered with an exception code.
    :raises ProtocolError: it is no reply to this function.
    """
    asked = "reading the event counter"
    _check(reply, GET_COMM_EVENT_COUNTER, asked, 5)
    if len(reply) != 5 or reply[1:3] not in _BUSY:
        raise _not_understood(asked, reply)
    return reply[1:3] == b"\xff\xff", int.from_bytes(reply[3:], "big")


def parse_event_log(reply: bytes) -> EventLog:
    """Function 12.

    :raises DeviceError: the device answered with an exception code.
    :raises ProtocolError: it is no reply to this function.
    """
    asked = "reading the event log"
    _check(reply, GET_COMM_EVENT_LOG, asked, 8)
    if reply[1] != len(reply) - 2 or reply[1] > 6 + 64 or reply[2:4] not in _BUSY:
        raise _not_understood(asked, reply)
    events, messages = int.from_bytes(reply[4:6], "big"), int.from_bytes(reply[6:8], "big")
    return EventLog(reply[2:4] == b"\xff\xff", events, messages, reply[8:])


# -- function 17


def parse_server_id(reply: bytes) -> ServerId:
    """Function 17. What follows the run indicator is left to `identifier` as well: makers disagree on the order.

    :raises DeviceError: the device answered with an exception code.
    :raises ProtocolError: it is no reply to this function.
    """
    asked = "reading the server id"
    _check(reply, REPORT_SERVER_ID, asked, 3)
    if reply[1] != len(reply) - 2:
        raise _not_understood(asked, reply)
    return ServerId(reply[2:-1], reply[-1] == 0xFF)


# -- functions 20 and 21


def parse_file_read(request: bytes) -> list[FileRead]:
    """Function 20. By hand: pymodbus 3.16 takes the length of a record, which is in words, for bytes.

    :raises Refusal: with code 03 or 02, in the order of the specification.
    """
    size = len(request) - 2
    if size < 7 or request[1] != size or not 7 <= size <= MAX_FILE_READ or size % 7:
        raise Refusal(ILLEGAL_DATA_VALUE)
    found = [_FILE_PART.unpack_from(request, at) for at in range(2, len(request), 7)]
    if not all(count for *_, count in found) or sum(2 + 2 * count for *_, count in found) > MAX_FILE_READ:
        raise Refusal(ILLEGAL_DATA_VALUE)
    return [_file_part(reference, FileRead(file, record, count)) for reference, file, record, count in found]


def _file_part(reference: int, part: FileRead) -> FileRead:
    if reference != FILE_REFERENCE or part.file == 0 or part.record + part.words > FILE_RECORDS:
        raise Refusal(ILLEGAL_DATA_ADDRESS)
    return part


def parse_file_read_reply(asked_for: Sequence[FileRead], reply: bytes) -> list[bytes]:
    """Function 20: the words of each part, high byte first.

    :raises DeviceError: the device answered with an exception code.
    :raises ProtocolError: it is no reply to this request.
    """
    asked = "reading a file"
    _check(reply, READ_FILE_RECORD, asked, 2)
    found = []
    at = 2
    for part in asked_for:
        size = 2 * part.words
        if reply[at : at + 2] != bytes((size + 1, FILE_REFERENCE)) or len(reply) < at + 2 + size:
            raise _not_understood(asked, reply)
        found.append(reply[at + 2 : at + 2 + size])
        at += 2 + size
    if at != len(reply) or reply[1] != len(reply) - 2:
        raise _not_understood(asked, reply)
    return found


def parse_file_write(request: bytes) -> list[FileWrite]:
    """Function 21.

    :raises Refusal: with code 03 or 02, in the order of the specification.
    """
    size = len(request) - 2
    if size < 9 or request[1] != size or size > MAX_FILE_WRITE:
        raise Refusal(ILLEGAL_DATA_VALUE)
    found = []
    at = 2
    while at < len(request):  # all sizes first, then what they are of
        if len(request) < at + 7:
            raise Refusal(ILLEGAL_DATA_VALUE)
        reference, file, record, count = _FILE_PART.unpack_from(request, at)
        at += 7
        if not count or len(request) < at + 2 * count:
            raise Refusal(ILLEGAL_DATA_VALUE)
        found.append((reference, FileWrite(file, record, request[at : at + 2 * count])))
        at += 2 * count
    for reference, part in found:
        _file_part(reference, FileRead(part.file, part.record, len(part.data) // 2))
    return [part for _, part in found]


def check_file_write_reply(request: bytes, reply: bytes) -> None:
    """Function 21: the reply is an echo.

    :raises DeviceError: the device answered with an exception code.
    :raises ProtocolError: it is another echo.
    """
    asked = "writing a file"
    _check(reply, WRITE_FILE_RECORD, asked, 2)
    if reply != request:
        raise _not_understood(asked, reply)


# -- function 24


def parse_fifo(request: bytes) -> int:
    """Function 24: the address of the queue.

    :raises Refusal: with code 03, when the size of the request is wrong.
    """
    if len(request) != 3:
        raise Refusal(ILLEGAL_DATA_VALUE)
    return int.from_bytes(request[1:], "big")


def parse_fifo_reply(reply: bytes) -> list[int]:
    """Function 24: the words in the queue.

    :raises DeviceError: the device answered with an exception code.
    :raises ProtocolError: it is no reply to this function.
    """
    asked = "reading a FIFO queue"
    _check(reply, READ_FIFO_QUEUE, asked, 5)
    count = int.from_bytes(reply[3:5], "big")
    if count > MAX_FIFO or int.from_bytes(reply[1:3], "big") != 2 + 2 * count or len(reply) != 5 + 2 * count:
        raise _not_understood(asked, reply)
    return [int.from_bytes(reply[at : at + 2], "big") for at in range(5, len(reply), 2)]


# -- function 43/14, the server's side


def parse_identification_request(request: bytes) -> tuple[int, int]:
    """Function 43/14 (section 6.21): the stream, or 4 for a single object, and the object's id.

    :raises Refusal: with code 01 for another MEI type, 03 when the size of the request or the stream is wrong.
    """
    if len(request) >= 2 and request[1] != READ_DEVICE_IDENTIFICATION:
        raise Refusal(ILLEGAL_FUNCTION)
    if len(request) != 4 or not BASIC <= request[2] <= SPECIFIC:
        raise Refusal(ILLEGAL_DATA_VALUE)
    return request[2], request[3]
