"""The one place that knows pymodbus: messages of the function codes that do not move memory, CRC, LRC and RTU sizes.

pymodbus' PDU classes are sound and well kept, so what is off the hot path is put together by them. It is imported when
it is first needed: most programs never ask for these functions.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msm.errors import ProtocolError, device_error
from msm.wire.other_pdu import DEVICE_IDENTIFICATION, READ_DEVICE_IDENTIFICATION, FileRead, FileWrite


@dataclass(frozen=True, slots=True)
class Identification:
    """One reply of function 43/14: objects by their id, and where to go on when more follow."""

    objects: dict[int, bytes]
    next_object: int | None


def identification_request(stream: int, first_object: int) -> bytes:
    """Function 43/14: ask for the objects of a stream, from `first_object`."""
    from pymodbus.pdu.mei_message import ReadDeviceInformationRequest  # noqa: PLC0415

    request = ReadDeviceInformationRequest(read_code=stream, object_id=first_object)
    return bytes([request.function_code]) + request.encode()


def parse_identification(reply: bytes, stream: int) -> Identification:
    """What a reply to function 43/14 says. By hand: pymodbus takes a text that is cut off for the whole.

    :param stream: what was asked for.
    :raises DeviceError: the device answered with an exception code.
    :raises ProtocolError: it is not a reply to this function, or its sizes do not fit.
    """
    asked = "reading the device identification"
    if reply[0] == DEVICE_IDENTIFICATION | 0x80 and len(reply) == 2:
        raise device_error(reply[1], asked)
    wrong = ProtocolError(f"{asked}: answered with {reply.hex(' ')}")
    if len(reply) < 7 or reply[:3] != bytes((DEVICE_IDENTIFICATION, READ_DEVICE_IDENTIFICATION, stream)):
        raise wrong
    more, following, count = reply[4:7]
    objects: dict[int, bytes] = {}
    at = 7
    for _ in range(count):
        size = reply[at + 1] if len(reply) > at + 1 else len(reply)
        if len(reply) < at + 2 + size:
            raise wrong
        objects[reply[at]] = objects.get(reply[at], b"") + reply[at + 2 : at + 2 + size]
        at += 2 + size
    if at != len(reply) or more not in (0x00, 0xFF):
        raise wrong
    return Identification(objects, following if more else None)


def crc(data: bytes) -> bytes:
    """The two bytes that end an RTU frame (serial line V1.02, section 2.5.1.2)."""
    from pymodbus.framer.rtu import FramerRTU  # noqa: PLC0415

    return FramerRTU.compute_CRC(data).to_bytes(2, "big")


def lrc(data: bytes) -> int:
    """The byte that ends an ASCII frame (serial line V1.02, section 2.5.2.2)."""
    from pymodbus.framer.ascii import FramerAscii  # noqa: PLC0415

    return FramerAscii.compute_LRC(data)


def rtu_size(data: bytes, *, request: bool) -> int | None:
    """How many bytes the RTU frame that begins with `data` has, unit and CRC included; for functions off the hot path.

    :returns: 0 while `data` is too short to tell, None where no function of that code is known.
    """
    from pymodbus.exceptions import ModbusException  # noqa: PLC0415
    from pymodbus.pdu import DecodePDU  # noqa: PLC0415

    try:
        kind = DecodePDU(request).lookupPduClass(data)
        size = kind.calculateRtuFrameSize(data) if kind is not None else None
    except (IndexError, struct.error):
        return 0
    except ModbusException:
        return None
    # Some of its classes say "more than there is" by a number that no frame can have.
    return 0 if size is not None and size > MAX_RTU_FRAME else size


MAX_RTU_FRAME = 256  # serial line V1.02, section 2.5.1.1


def _whole(message: Any) -> bytes:
    encoded: bytes = message.encode()
    return bytes((message.function_code,)) + encoded


def exception_status_reply(status: int) -> bytes:
    """Function 07: eight bits."""
    from pymodbus.pdu.other_message import ReadExceptionStatusResponse  # noqa: PLC0415

    response = ReadExceptionStatusResponse()
    response.status = status  # declared as a bool, packed as a byte
    return _whole(response)


def diagnostic(subfunction: int, data: bytes) -> bytes:
    """Function 08 (section 6.8): request and reply look the same."""
    from pymodbus.pdu.diag_message import DiagnosticBase  # noqa: PLC0415

    message = DiagnosticBase(data)
    message.sub_function_code = subfunction
    return _whole(message)


def event_counter_reply(count: int) -> bytes:
    """Function 11 (section 6.9)."""
    from pymodbus.pdu.other_message import GetCommEventCounterResponse  # noqa: PLC0415

    response = GetCommEventCounterResponse()
    response.status, response.count = True, count
    return _whole(response)


def event_log_reply(events: int, messages: int, log: bytes) -> bytes:
    """Function 12 (section 6.10)."""
    from pymodbus.pdu.other_message import GetCommEventLogResponse  # noqa: PLC0415

    return _whole(GetCommEventLogResponse(event_count=events, message_count=messages, events=list(log)))


def server_id_reply(identifier: bytes) -> bytes:
    """Function 17 (section 6.13): a server that answers is running."""
    from pymodbus.pdu.other_message import ReportDeviceIdResponse  # noqa: PLC0415

    return _whole(ReportDeviceIdResponse(identifier, status=True))


def file_read_request(parts: Sequence[FileRead]) -> bytes:
    """Function 20 (section 6.14)."""
    from pymodbus.pdu.file_message import FileRecord, ReadFileRecordRequest  # noqa: PLC0415

    # Its records take their length in bytes, and send it in words.
    return _whole(ReadFileRecordRequest([FileRecord(part.file, part.record, b"", 2 * part.words) for part in parts]))


def file_read_reply(parts: Sequence[bytes]) -> bytes:
    """Function 20: what was read, high byte first."""
    from pymodbus.pdu.file_message import FileRecord, ReadFileRecordResponse  # noqa: PLC0415

    return _whole(ReadFileRecordResponse([FileRecord(record_data=part) for part in parts]))


def file_write_request(parts: Sequence[FileWrite]) -> bytes:
    """Function 21 (section 6.15)."""
    from pymodbus.pdu.file_message import FileRecord, WriteFileRecordRequest  # noqa: PLC0415

    return _whole(WriteFileRecordRequest([FileRecord(part.file, part.record, part.data) for part in parts]))


def fifo_request(address: int) -> bytes:
    """Function 24 (section 6.18)."""
    from pymodbus.pdu.file_message import ReadFifoQueueRequest  # noqa: PLC0415

    return _whole(ReadFifoQueueRequest(address))


def fifo_reply(words: Sequence[int]) -> bytes:
    """Function 24: up to 31 words, which stay in the queue."""
    from pymodbus.pdu.file_message import ReadFifoQueueResponse  # noqa: PLC0415

    return _whole(ReadFifoQueueResponse(list(words)))


def identification_reply(stream: int, conformity: int, objects: Mapping[int, bytes]) -> bytes:
    """Function 43/14: as many of the objects as fit, and the id of the next."""
    from pymodbus.pdu.mei_message import ReadDeviceInformationResponse  # noqa: PLC0415

    response = ReadDeviceInformationResponse(stream, dict(objects))
    response.conformity = conformity
    return _whole(response)
